"""Cells and genes as given by a person, found in the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError, MissingKeyError


def checked_cells(given: ArrayLike) -> NDArray[Any]:
    """Return a read-only mask, positions or names; refuse what is none of these, or no cell."""
    cells: NDArray[Any] = np.asarray(given).ravel().copy()
    if cells.size == 0 or (cells.dtype == bool and not cells.any()):
        raise DataError("the perturbation is in no cell", "select cells, or give None for all")
    if cells.dtype.kind in "UO" and all(isinstance(name, str) for name in cells):
        cells = cells.astype(object)
    elif cells.dtype != bool and cells.dtype.kind not in "iu":
        raise DataError(
            f"the perturbed cells are given as {cells.dtype}",
            "give a boolean mask, integer positions, or obs names",
        )
    if cells.dtype.kind == "i" and cells.min() < 0:
        raise DataError(f"cell {int(cells.min())} is perturbed", "count cells from 0")
    cells.flags.writeable = False
    return cells


def positions(
    wanted: Iterable[str], names: Iterable[str], what: str, *, keep_order: bool = False
) -> NDArray[np.intp]:
    """Return where `wanted` stand among `names`: sorted and each once, or in their own order."""
    import pandas as pd

    index, asked = pd.Index(names), pd.Index(list(wanted))
    where = index.get_indexer(asked) if index.is_unique else _first(index, asked)
    missing = asked[where < 0]
    if len(missing):
        some = ", ".join(map(str, index[:5]))
        raise MissingKeyError(
            f"{what} {missing[0]!r} is not in the data", f"there are {some}, ..."
        )
    return where.astype(np.intp) if keep_order else np.unique(where).astype(np.intp)


def _first(index: Any, asked: Any) -> NDArray[np.intp]:  # noqa: ANN401
    twice = [name for name in asked if name in set(index[index.duplicated()])]
    if twice:
        raise DataError(f"{twice[0]!r} is there more than once", "make names unique")
    unique = index[~index.duplicated()]
    at: NDArray[np.intp] = np.flatnonzero(~index.duplicated())
    found: NDArray[np.intp] = unique.get_indexer(asked)
    return np.where(found < 0, -1, at[found])
