"""What is asked of a landscape on the command line: fates, perturbations, screens, streamlines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.cli_parts import CHANGES, add_output, change_of, chosen_cells, say, write_csv
from celldyn.jobs import run

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celldyn.landscape import LSD


_MOST_ROWS = 20


def _part(parts: Any, name: str, what: str, command: Any) -> argparse.ArgumentParser:  # noqa: ANN401
    parser: argparse.ArgumentParser = parts.add_parser(
        name, help=what, description=what.capitalize() + "."
    )
    parser.set_defaults(command=command)
    parser.add_argument("file", type=Path, help="what celldyn landscape fit wrote")
    parser.add_argument("--layer", default="raw", help="layer of raw counts [default: raw]")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, mps [default: cpu]")
    add_output(parser)
    return parser


def _opened(given: argparse.Namespace) -> tuple[AnnData, LSD]:
    """Return the data set of a file and its landscape."""
    from celldyn.data import read
    from celldyn.data.writing import check_target
    from celldyn.landscape import LSD

    check_target(given.output)
    adata = read(given.file)
    return adata, LSD.from_adata(adata, given.device, layer=given.layer)


def _written(adata: AnnData, given: argparse.Namespace) -> Path:
    from celldyn.data import write

    return write(adata, given.output)


# --- fates --------------------------------------------------------------------------------------


def add_fates(parts: Any) -> None:  # noqa: ANN401
    """Add the command `fates`."""
    parser = _part(parts, "fates", "find what cells come to, and how surely", _fates)
    parser.add_argument(
        "--cluster-key", metavar="COLUMN", help="column of obs whose values are the fates"
    )
    parser.add_argument(
        "--terminal", metavar="A,B",
        help="clusters that count as fates, or found for minima of V [default: every cluster]",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=["vote", "nearest", "reference", "committor"], default="vote",
        help="reference is as sclsd does it [default: vote]",
    )  # fmt: skip
    parser.add_argument("--time-range", type=float, default=15.0, metavar="T",
                        help="how long cells flow; a walk is 1 [default: 15]")  # fmt: skip
    parser.add_argument("--dt", type=float, default=0.5, help="longest step [default: 0.5]")
    parser.add_argument("--n-runs", type=int, default=32, metavar="N",
                        help="noisy runs of each cell; 0 for none [default: 32]")  # fmt: skip
    parser.add_argument("--sigma", type=float, help="of the noise [default: what walks imply]")
    parser.add_argument("--k", type=int, default=15, help="near cells that vote [default: 15]")
    parser.add_argument("--seed", type=int, default=0, help="of the noise [default: 0]")
    parser.add_argument("--paths", action="store_true", help="keep the cells along each path")


def _fates(given: argparse.Namespace) -> None:
    from celldyn.landscape.results import write_fates

    adata, lsd = _opened(given)
    terminal: Any = None
    if given.terminal is not None:
        names = [name.strip() for name in given.terminal.split(",") if name.strip()]
        terminal = "found" if names == ["found"] else names
    labels = lsd.labels_of(adata, given.cluster_key)
    job = lsd.cell_fates_job(
        labels, method=given.method, n_runs=0 if given.method != "vote" else given.n_runs,
        sigma=given.sigma, time_range=given.time_range, dt=given.dt, terminal=terminal, k=given.k,
        seed=given.seed, return_paths=given.paths,
    )  # fmt: skip
    fates = run(job, bar=not given.quiet)
    write_fates(adata, fates, given.cluster_key)
    written = _written(adata, given)
    said = str(fates)
    say(f"{said[0].upper()}{said[1:]}.")
    for note in fates.notes:
        say(f"Note: {note}")
    say(f"Written: {written}")


# --- perturbations ------------------------------------------------------------------------------


def _add_cells(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cluster-key", metavar="COLUMN", required=True,
        help="column of obs whose values are the fates",
    )  # fmt: skip
    parser.add_argument(
        "--cells-where", metavar="COLUMN=VALUE",
        help="only cells with this value in an obs column [default: all cells]",
    )  # fmt: skip
    parser.add_argument("--housekeeping", nargs="+", metavar="GENE",
                        help="genes that effects are held against [default: found]")  # fmt: skip


def add_perturbed(parts: Any) -> None:  # noqa: ANN401
    """Add the command `perturb`."""
    from celldyn.landscape.perturbing.config import PerturbConfig

    what = "change genes, and follow what becomes of the fates of cells"
    parser = _part(parts, "perturb", what, _perturb)
    parser.add_argument("--genes", nargs="+", action="extend", required=True, metavar="GENE",
                        help="genes that are changed, all of them at once")  # fmt: skip
    parser.add_argument("--change", choices=CHANGES, default="knockout",
                        help="what happens to them [default: knockout]")  # fmt: skip
    parser.add_argument("--value", type=float, metavar="X",
                        help="to, by or of how much; not for a knockout")  # fmt: skip
    _add_cells(parser)
    parser.add_argument("--name", help="under which it is written [default: what was done]")
    add_config_arguments(parser, PerturbConfig)


def _perturb(given: argparse.Namespace) -> None:
    from celldyn.landscape.perturbing.config import PerturbConfig
    from celldyn.landscape.results import write_effect
    from celldyn.perturbation import Perturbation

    config = PerturbConfig(**given_parameters(PerturbConfig, given))
    changes = dict.fromkeys(given.genes, change_of(given))
    adata, lsd = _opened(given)
    inside = chosen_cells(adata, given.cells_where)
    perturbation = Perturbation(changes, inside)
    effect = run(
        lsd.perturb_effects_job(
            perturbation, given.cluster_key, config=config, housekeeping=given.housekeeping
        ),
        bar=not given.quiet,
    )
    write_effect(adata, effect, given.name or perturbation.describe(adata.n_obs))
    written = _written(adata, given)
    say(f"{effect}.")
    say(effect.fates().to_string(index=False, float_format="{:.4g}".format))
    for note in effect.notes:
        say(f"Note: {note}")
    say(f"Written: {written}")


def add_screen(parts: Any) -> None:  # noqa: ANN401
    """Add the command `screen`."""
    from celldyn.landscape.perturbing.config import PerturbConfig

    parser = _part(parts, "screen", "change every gene in turn, and rank them", _screen)
    parser.add_argument("--genes", nargs="+", action="extend", metavar="GENE",
                        help="genes that are changed, each alone [default: all]")  # fmt: skip
    parser.add_argument("--changes", nargs="+", choices=["knockout", "overexpress"],
                        default=["knockout"], help="what is done [default: knockout]")  # fmt: skip
    _add_cells(parser)
    parser.add_argument("--toward", metavar="FATE", help="rank by what leads to this fate")
    parser.add_argument("--csv", type=Path, help="also write the table")
    parser.add_argument("--name", default="genes", help="under which it is written")
    add_config_arguments(parser, PerturbConfig)


def _screen(given: argparse.Namespace) -> None:
    from celldyn.landscape.perturbing.config import PerturbConfig
    from celldyn.landscape.results import write_screen

    config = PerturbConfig(**given_parameters(PerturbConfig, given))
    adata, lsd = _opened(given)
    job = lsd.screen_job(
        given.cluster_key, cells=chosen_cells(adata, given.cells_where), genes=given.genes,
        changes=given.changes, config=config, housekeeping=given.housekeeping,
    )  # fmt: skip
    screen = run(job, bar=not given.quiet)
    ranked = screen.by_gene() if given.toward is None else screen.toward(given.toward)
    write_screen(adata, screen, given.name)
    written = _written(adata, given)
    if given.csv is not None:
        write_csv(screen.table(), given.csv)
    say(f"{screen}.")
    say(ranked.head(_MOST_ROWS).to_string(index=False, float_format="{:.4g}".format))
    for note in screen.notes:
        say(f"Note: {note}")
    say(f"Written: {written}")


# --- streamlines --------------------------------------------------------------------------------


def add_streamlines(parts: Any) -> None:  # noqa: ANN401
    """Add the command `streamlines`."""
    what = "find where the flow takes cells on an embedding or on the tissue"
    parser = _part(parts, "streamlines", what, _streamlines)
    parser.add_argument("--embedding", default="X_umap", metavar="KEY",
                        help="table of obsm: X_umap, spatial, ... [default: X_umap]")  # fmt: skip
    parser.add_argument(
        "--method", choices=["field", "transitions"], default="field",
        help="the learned field, or chances to go to neighbours as sclsd draws them "
        "[default: field]",
    )  # fmt: skip
    parser.add_argument("--density", type=float, default=1.0, help="of lines [default: 1]")
    parser.add_argument("--csv", type=Path, help="also write the lines: line, place, speed, time")
    parser.add_argument("--figure", type=Path, help="also draw them: .png, .svg or .pdf")
    parser.add_argument("--color", metavar="COLUMN", default="potential",
                        help="that cells of the figure have [default: potential]")  # fmt: skip


def _streamlines(given: argparse.Namespace) -> None:
    from celldyn import keys

    adata, lsd = _opened(given)
    how = {"method": given.method, "density": given.density}
    flow = run(lsd.stream_lines_job(given.embedding, **how), bar=not given.quiet)
    if given.figure is not None:
        lsd.stream_lines(given.embedding, given.color, **how, save=given.figure)
    adata.obsm[keys.ARROWS(embedding=given.embedding)] = np.asarray(flow.arrows, np.float32)
    written = _written(adata, given)
    if given.csv is not None:
        write_csv(_line_table(flow.streams), given.csv)
    known = np.isfinite(flow.arrows).all(axis=1) & (np.abs(flow.arrows) > 0).any(axis=1)
    say(f"{len(flow.streams)} lines; {known.mean():.0%} of the cells have an arrow")
    say(f"Written: {written}")


def _line_table(lines: Any) -> pd.DataFrame:  # noqa: ANN401
    import pandas as pd

    parts = []
    for k, line in enumerate(lines.lines):
        axes = dict(zip("xyz", np.asarray(line).T, strict=False))
        parts.append(pd.DataFrame({"line": k, **axes, "speed": lines.speeds[k],
                                   "time": lines.time[k]}))  # fmt: skip
    return pd.concat(parts) if parts else pd.DataFrame(columns=["line", "x", "y", "speed", "time"])
