"""What is asked of virtual cells on the command line: rest, perturbations, screens, stages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.cli_environment_files import add_modalities, add_model, open_model, read_modalities
from celldyn.cli_parts import add_output, chosen_cells, say
from celldyn.errors import ConfigError
from celldyn.jobs import run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment import BasicManager

REST_S = 512.0
"""Seconds in which cells come to rest, at most."""


def question(parts: Any, name: str, what: str, command: Any) -> argparse.ArgumentParser:  # noqa: ANN401
    """Add a command that asks a model of cells."""
    parser: argparse.ArgumentParser = parts.add_parser(
        name, help=what, description=what.capitalize() + ".",
        usage="%(prog)s MODEL FILE [FILE ...] -o OUTPUT [options]",
    )  # fmt: skip
    parser.set_defaults(command=command)
    add_model(parser)
    add_modalities(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps [default: auto]")
    parser.add_argument("--seed", type=int, default=0, help="of where cells begin [default: 0]")
    return parser


def add_seconds(parser: argparse.ArgumentParser, name: str, default: float, what: str) -> None:
    """Give a command a time of the environment."""
    parser.add_argument(f"--{name}", type=float, default=default, metavar="S",
                        help=f"{what} [s, default: {default:g}]")  # fmt: skip


def begun(given: argparse.Namespace) -> tuple[AnnData, BasicManager]:
    """Return the data set that results go to, and a manager of its cells."""
    from celldyn.data.writing import check_target
    from celldyn.environment import BasicManager

    check_target(given.output)
    fitted = open_model(given)
    tables = read_modalities(given)
    job = BasicManager.of_job(fitted, tables, device=given.device, seed=given.seed)
    manager: BasicManager = run(job, bar=not given.quiet)
    manager.reset_env()
    return tables[0], manager


def rested(given: argparse.Namespace) -> tuple[AnnData, BasicManager]:
    """Return the same with cells at rest, if they come to it."""
    adata, manager = begun(given)
    job = manager.simulate_job(
        given.rest_time, store_states=None, impute=False, stop_when_steady=True
    )
    run(job, bar=not given.quiet)
    say(str(manager.report))
    run(_put_job(adata, manager), bar=not given.quiet)
    return adata, manager


def _put_job(adata: AnnData, manager: BasicManager, spread: Any = None) -> Any:  # noqa: ANN401
    """Write where cells are on their data set."""
    from celldyn.environment import write_result

    result = yield from manager.result_job(spread)
    write_result(adata, result)


def write_answer(adata: AnnData, given: argparse.Namespace) -> None:
    """Write the data set with what was answered."""
    from celldyn.data import write

    say(f"Written: {write(adata, given.output)}")


# --- rest ---------------------------------------------------------------------------------------


def add_simulate_cells(parts: Any) -> None:  # noqa: ANN401
    """Add the command `simulate`."""
    what = "let cells come to rest, and write where they are and what that tells"
    parser = question(parts, "simulate", what, _simulate)
    add_seconds(parser, "time", REST_S, "at most")
    add_seconds(parser, "skip-time", 10.0, "between frames")
    parser.add_argument(
        "--whole-time", action="store_true", help="go on for the whole time, also at rest"
    )
    parser.add_argument("--starts", type=int, default=1, metavar="N",
                        help="starts that are compared: how sure it is [default: 1]")  # fmt: skip
    parser.add_argument(
        "--quality", action="store_true",
        help="also score what is told on cells held out, beside simple methods",
    )  # fmt: skip
    parser.add_argument(
        "--frames", type=Path, metavar="FILE.npz",
        help="also write times (T,), positions (T, n, dim) and obs_names",
    )  # fmt: skip
    add_output(parser)


def _simulate(given: argparse.Namespace) -> None:
    from celldyn.environment import quality_job, write_quality

    if given.frames is not None and given.frames.suffix != ".npz":
        raise ConfigError(f"{given.frames.name} is no file of frames", "end it in .npz")
    adata, manager = begun(given)
    bar = not given.quiet
    spread = None
    if given.starts > 1:
        spread = run(manager.simulate_spread_job(given.starts, given.time), bar=bar)
    job = manager.simulate_job(
        given.time, given.skip_time, impute=False, stop_when_steady=not given.whole_time,
        store_states=None if given.frames is None else "cpu",
    )  # fmt: skip
    times, positions = run(job, bar=bar)
    run(_put_job(adata, manager, spread), bar=bar)
    if given.quality:
        tables = [table for table in manager.adatas if table is not None]
        found = run(quality_job(manager.fitted, tables, device=manager.device), bar=bar)
        write_quality(adata, found)
    if given.frames is not None:
        _write_frames(given.frames, times, positions, manager)
    say(str(manager.report))
    if spread is not None:
        say(
            f"{given.starts} starts disagree by {np.nanmean(spread.per_cell()):.3g} sd of the data"
        )
    if given.quality:
        say(found.table().to_string(index=False, float_format="{:.4g}".format))
        say(str(found))
    write_answer(adata, given)


def _write_frames(path: Path, times: Any, positions: Any, manager: BasicManager) -> None:  # noqa: ANN401
    from celldyn.persist import atomic_path

    names = np.array(manager.obs_names, dtype=np.str_)
    with atomic_path(path) as draft:
        np.savez_compressed(draft, times=times, positions=positions, obs_names=names)


# --- perturbations ------------------------------------------------------------------------------


def add_changed_cells(parser: argparse.ArgumentParser) -> None:
    """Give a command whose features are changed, in which cells, and how these began."""
    parser.add_argument(
        "--cells-where", metavar="COLUMN=VALUE",
        help="only cells with this value in an obs column [default: all cells]",
    )  # fmt: skip
    parser.add_argument(
        "--groups", metavar="COLUMN", help="also tell effects for each value of an obs column"
    )
    parser.add_argument("--modality", type=int, default=0, metavar="K",
                        help="whose features, counted from 0 [default: 0]")  # fmt: skip
    add_seconds(parser, "rest-time", REST_S, "in which cells come to rest before, at most")


def add_perturb_cells(parts: Any) -> None:  # noqa: ANN401
    """Add the command `perturb`."""
    what = "hold features at values, and follow where cells go"
    parser = question(parts, "perturb", what, _perturb)
    parser.add_argument(
        "--features", "--genes", nargs="+", action="extend", required=True, metavar="NAME",
        help="features that are held, all of them at once",
    )  # fmt: skip
    parser.add_argument(
        "--feature-targets", nargs="+", type=float, default=[0.0], metavar="X",
        help="raw values they are held at: one for all, or one of each [default: 0]",
    )  # fmt: skip
    add_clamping(parser, ["pre", "post", "action"])
    parser.add_argument("--factor", type=float, default=1.0, help="of action [default: 1]")
    add_changed_cells(parser)
    add_seconds(parser, "time", 128.0, "that they are held for")
    add_seconds(parser, "skip-time", 1.0, "between frames")
    parser.add_argument("--name", help="under which it is written [default: what was done]")
    add_output(parser)


def add_clamping(parser: argparse.ArgumentParser, ways: list[str]) -> None:
    """Give a command the ways to hold a feature."""
    parser.add_argument(
        "--clamping", choices=ways, default="pre",
        help="pre: what cells see is drawn to the values; post: it is put there at once"
        + ("; action: cells are pushed to where they are told" if "action" in ways else "")
        + " [default: pre]",
    )  # fmt: skip


def _perturb(given: argparse.Namespace) -> None:
    from celldyn.environment import write_effect

    targets: Any = given.feature_targets
    if len(targets) not in (1, len(given.features)):
        raise ConfigError(
            f"{len(targets)} feature-targets are given for {len(given.features)} features",
            "give one for all, or one of each",
        )
    adata, manager = rested(given)
    groups = manager.groups_of(given.groups)
    manager.add_perturbation(
        given.features, given.modality, targets[0] if len(targets) == 1 else targets,
        given.clamping, given.factor, cells=chosen_cells(adata, given.cells_where),
    )  # fmt: skip
    effect = run(manager.perturbation_effect_job(given.time, given.skip_time), bar=not given.quiet)
    name = given.name or ", ".join(effect.said)
    write_effect(adata, effect, name, groups)
    say(f"{effect}")
    say(effect.table(groups).to_string(index=False, float_format="{:.4g}".format))
    write_answer(adata, given)
