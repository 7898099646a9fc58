"""The command `celldyn perturb`: genes changed in a fitted tissue, and what follows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn.cli_arguments import add_config_arguments, given_parameters
from celldyn.cli_parts import add_output, say
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.betas import PerturbResult
    from celldyn.perturbation import Perturbation

_SHOWN = 20


def add_perturb(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's."""
    from celldyn.betas import PerturbConfig

    what = "change genes of a fitted tissue, and follow what changes with them"
    parser = commands.add_parser("perturb", help=what, description=what.capitalize() + ".")
    parser.set_defaults(command=perturb)
    parser.add_argument(
        "file", type=Path, help="a tissue with betas, from celldyn betas or celldyn panel"
    )
    parser.add_argument("--table", help="which table of a SpatialData")
    parser.add_argument(
        "--genes",
        nargs="+",
        action="extend",
        required=True,
        metavar="GENE",
        help="genes that are changed, all of them at once",
    )
    parser.add_argument(
        "--change",
        choices=["knockout", "set", "multiply", "add"],
        default="knockout",
        help="what happens to them [default: knockout]",
    )
    parser.add_argument(
        "--value", type=float, metavar="X", help="to, by or of how much; not for a knockout"
    )
    parser.add_argument(
        "--cells-where",
        metavar="COLUMN=VALUE",
        help="only in cells with this value in an obs column [default: all cells]",
    )
    parser.add_argument("--name", help="under which it is written [default: what was done]")
    add_output(parser)
    add_config_arguments(parser, PerturbConfig)


def perturb(given: argparse.Namespace) -> None:
    """Run the command."""
    from celldyn.betas import (
        PerturbConfig,
        perturb_job,
        prepare_perturb,
        read_models,
        write_perturbed,
    )
    from celldyn.betas.panel.linked import find_store, name_store
    from celldyn.data import read, write
    from celldyn.data.writing import check_target

    check_target(given.output)
    config = PerturbConfig(**given_parameters(PerturbConfig, given))
    changes = _changes(given)
    adata = read(given.file, table=given.table)
    perturbation = _perturbation(adata, changes, given.cells_where)
    models = read_models(adata, file_path=given.file)
    inputs = prepare_perturb(adata, perturbation, config, fields=models)
    for note in inputs.notes:
        say(f"Note: {note}")
    result = run(perturb_job(inputs, config), bar=not given.quiet)
    done = result.perturbation.describe(adata.n_obs)
    write_perturbed(adata, result, given.name or done)
    store = find_store(adata, given.file)
    if store is not None:
        name_store(adata, store, given.output)
    written = write(adata, given.output)  # first the file: printing may fail
    _report(result, done)
    say(f"Written: {written}")


def _changes(given: argparse.Namespace) -> dict[str, Any]:
    from celldyn.perturbation import Change

    if given.change == "knockout" and given.value is not None:
        raise ConfigError(
            "a knockout has no value", "leave out --value, or give --change set, multiply or add"
        )
    if given.change != "knockout" and given.value is None:
        raise ConfigError(f"nothing says how much to {given.change}", "give --value")
    change = Change(given.change, given.value or 0.0)
    return dict.fromkeys(given.genes, change)


def _perturbation(adata: AnnData, changes: dict[str, Any], where: str | None) -> Perturbation:
    from celldyn.data import labels
    from celldyn.perturbation import Perturbation

    if where is None:
        return Perturbation(changes)
    column, sign, value = where.partition("=")
    if not sign:
        raise ConfigError(f"{where!r} chooses no cells", "write --cells-where column=value")
    values = labels(adata, column)
    inside = np.asarray(values.astype(str)) == value
    if not inside.any():
        some = ", ".join(str(name) for name in values.categories[:12])
        raise DataError(f"no cell has {column} {value!r}", f"there are {some}")
    return Perturbation(changes, adata.obs_names[inside])


def _report(result: PerturbResult, done: str) -> None:
    say(f"{done}: {result.config.n_propagation} steps, {result.seconds:.1f} s")
    table = result.top(_SHOWN)
    if table.empty:
        say("No other gene changes.")
        return
    say(table.to_string(index=False, float_format="{:.4g}".format))
