"""What the commands share: where the result goes, and how it is told."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import ConfigError, DataError, MissingKeyError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from celldyn.perturbation import Change

CHANGES = ["knockout", "set", "multiply", "add"]
"""What --change may do to a gene."""


def say(text: str) -> None:
    """Print a line on standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def add_output(
    parser: argparse.ArgumentParser,
    what: str = "the .h5ad or .zarr to write",
    *,
    required: bool = True,
) -> None:
    """Give a command the options -o and -q."""
    parser.add_argument("-o", "--output", type=Path, required=required, help=what)
    parser.add_argument("-q", "--quiet", action="store_true", help="draw no progress bar")


def change_of(given: argparse.Namespace) -> Change:
    """Return what --change and --value say is done to a gene."""
    from celldyn.perturbation import Change

    if given.change == "knockout" and given.value is not None:
        raise ConfigError(
            "a knockout has no value", "leave out --value, or give --change set, multiply or add"
        )
    if given.change != "knockout" and given.value is None:
        raise ConfigError(f"nothing says how much to {given.change}", "give --value")
    return Change(given.change, given.value or 0.0)


def chosen_cells(adata: AnnData, where: str | None) -> NDArray[np.bool_] | None:
    """Return a mask of cells, (n,); None for all."""
    if where is None:
        return None
    column, sign, value = where.partition("=")
    if not sign:
        raise ConfigError(f"{where!r} chooses no cells", "write --cells-where column=value")
    if column not in adata.obs:
        raise MissingKeyError(f"there is no column {column!r} in obs", "check its spelling")
    values = adata.obs[column].astype(str).to_numpy()
    inside: NDArray[np.bool_] = values == value
    if not inside.any():
        some = ", ".join(sorted(set(values))[:12])
        raise DataError(f"no cell has {column} {value!r}", f"there are {some}")
    return inside


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as commas, whole or not at all."""
    from celldyn.persist import atomic_path

    with atomic_path(path) as draft:
        table.to_csv(draft, index=False)
