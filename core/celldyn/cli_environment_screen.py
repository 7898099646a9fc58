"""More that is asked of virtual cells on the command line: screens of genes, recovered stages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.cli_environment_asking import (
    REST_S,
    add_changed_cells,
    add_clamping,
    add_seconds,
    begun,
    question,
    rested,
    write_answer,
)
from celldyn.cli_environment_files import open_model
from celldyn.cli_parts import CHANGES, add_output, change_of, chosen_cells, say, write_csv
from celldyn.errors import ConfigError, MissingKeyError
from celldyn.jobs import run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment import BasicManager

_MOST_ROWS = 20


# --- screens ------------------------------------------------------------------------------------


def add_screen_cells(parts: Any) -> None:  # noqa: ANN401
    """Add the command `screen`."""
    what = "change every gene in turn, and rank them by how far cells go"
    parser = question(parts, "screen", what, _screen)
    parser.add_argument("--genes", "--features", nargs="+", action="extend", metavar="NAME",
                        help="genes that are changed, each alone [default: all]")  # fmt: skip
    parser.add_argument("--change", choices=CHANGES, default="knockout",
                        help="what happens to each [default: knockout]")  # fmt: skip
    parser.add_argument("--value", type=float, metavar="X",
                        help="to, by or of how much; not for a knockout")  # fmt: skip
    add_clamping(parser, ["pre", "post"])
    add_changed_cells(parser)
    add_seconds(parser, "time", 0.5, "that each is held for")
    parser.add_argument("--n-control", type=int, default=16, metavar="N",
                        help="stretches without a change, for z [default: 16]")  # fmt: skip
    parser.add_argument("--n-random", type=int, default=16, metavar="N",
                        help="changes at random, for z_random [default: 16]")  # fmt: skip
    parser.add_argument("--csv", type=Path, help="also write the table")
    parser.add_argument("--name", default="genes", help="under which it is written")
    add_output(parser)


def _screen(given: argparse.Namespace) -> None:
    from celldyn.environment import write_screen

    change = change_of(given)
    adata, manager = rested(given)
    job = manager.screen_job(
        given.genes, given.modality, change, given.clamping, given.time,
        cells=chosen_cells(adata, given.cells_where), groups=given.groups,
        n_control=given.n_control, n_random=given.n_random,
    )  # fmt: skip
    screen = run(job, bar=not given.quiet)
    write_screen(adata, screen, given.name)
    if given.csv is not None:
        write_csv(screen.table(), given.csv)
    say(f"{screen}.")
    table = screen.of_group().head(_MOST_ROWS)
    say(table.to_string(index=False, float_format="{:.4g}".format))
    for note in screen.notes:
        say(f"Note: {note}")
    write_answer(adata, given)


# --- stages -------------------------------------------------------------------------------------


def add_stages(parts: Any) -> None:  # noqa: ANN401
    """Add the command `stages`."""
    what = "recover cells between two stages, at biological times"
    parser = question(parts, "stages", what, _stages)
    parser.add_argument("--column", required=True, help="column of obs that has the stages")
    parser.add_argument("--origin", required=True, metavar="VALUE", help="where cells begin")
    parser.add_argument("--terminal", required=True, metavar="VALUE", help="where they end")
    parser.add_argument("--start", type=float, default=0.0, metavar="T",
                        help="biological time of the origin [default: 0]")  # fmt: skip
    parser.add_argument("--end", type=float, default=1.0, metavar="T",
                        help="biological time of the terminal stage [default: 1]")  # fmt: skip
    parser.add_argument("--at", nargs="+", type=float, metavar="T",
                        help="biological times that are written [default: 6, evenly]")  # fmt: skip
    parser.add_argument(
        "--truth", metavar="VALUE=T",
        help="a stage that was measured at this time, to compare with, beside straight ways",
    )  # fmt: skip
    parser.add_argument("--n-pcells", type=int, metavar="N",
                        help="pseudocells [default: those of the smaller stage]")  # fmt: skip
    for name in ("kmeans", "ot"):
        parser.add_argument(f"--{name}-modality", type=int, default=0, metavar="K",
                            help="modality that pairs pseudocells [default: 0]")  # fmt: skip
    add_seconds(parser, "time", 32.0, "from one stage to the other")
    add_seconds(parser, "rest-time", REST_S, "in which cells come to rest at the origin, at most")
    add_output(parser, "the .h5ad of pseudocells; .h5mu where several modalities are told")


def _stages(given: argparse.Namespace) -> None:
    fitted = open_model(given)
    several = len(fitted.targets) > 1
    if several and given.output.suffix != ".h5mu":
        raise ConfigError(
            f"the model tells {len(fitted.targets)} modalities", "give a name that ends in .h5mu"
        )
    truth = _stage_and_time(given)
    output, given.output = given.output, given.output.with_suffix(".h5ad")
    _, manager = begun(given)
    job = manager.recover_stages_job(
        given.origin, given.terminal, given.column, start=given.start, end=given.end,
        time=given.time, rest_time=given.rest_time, n_pcells=given.n_pcells,
        kmeans_modality=given.kmeans_modality, ot_modality=given.ot_modality,
    )  # fmt: skip
    recovery = run(job, bar=not given.quiet)
    tables = recovery.to_adatas(6 if given.at is None else given.at)
    written = _write_tables(tables, output)
    say(f"{recovery}.")
    for note in recovery.notes:
        say(f"Note: {note}")
    if truth is not None:
        _compare(manager, recovery, given.column, *truth)
    say(f"Written: {written}")


def _stage_and_time(given: argparse.Namespace) -> tuple[str, float] | None:
    if given.truth is None:
        return None
    stage, sign, time = given.truth.rpartition("=")
    try:
        if not sign:
            raise ValueError
        return stage, float(time)
    except ValueError:
        raise ConfigError(
            f"{given.truth!r} is no stage with its time", "write --truth stage=time"
        ) from None


def _compare(manager: BasicManager, recovery: Any, column: str, stage: str, time: float) -> None:  # noqa: ANN401
    """Print how near recovered cells are to measured ones, beside straight ways."""
    k = manager.fitted.targets[0]
    table = manager.adatas[k]
    inside = manager.groups_of(column) == stage
    if table is None or not np.any(inside):
        raise MissingKeyError(f"no cell of modality {k} has {column} {stage!r}", "check --truth")
    job = recovery.compare_job(table[inside].X, time)
    found = run(job, bar=False)
    say(f"Modality {k} at {time:g}, beside cells of {stage}:")
    say(found.to_string(float_format="{:.4g}".format))


def _write_tables(tables: dict[int, AnnData], output: Path) -> Path:
    """Write pseudocells: one table, or several in a MuData."""
    from celldyn.data import write
    from celldyn.persist import atomic_path

    if len(tables) == 1:
        return write(next(iter(tables.values())), output)
    import mudata  # type: ignore[import-untyped]

    with mudata.set_options(pull_on_update=False), atomic_path(output) as draft:
        mudata.MuData({f"modality{k}": table for k, table in tables.items()}).write_h5mu(draft)
    return output
