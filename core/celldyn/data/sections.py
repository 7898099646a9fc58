"""The sections that a tissue was cut in: which cells are of which, and where to draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data.categories import named
from celldyn.data.spatial import coordinates, described
from celldyn.data.words import listed
from celldyn.errors import DataError, MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

N_SECTIONS = range(2, 51)
"""Numbers of different values that a column of sections may have."""

_WORDS = ("section", "slice", "slide", "sample", "batch", "library", "replicate", "puck", "fov")
_LOOKED_AT = 5000
_MIXED = 0.25
"""Share of cells whose nearest neighbour is of another section, above which sections overlap.

Sections next to each other touch along their edges only; two that lie on top of each other give
about a half, more of them give more.
"""


def section_key(adata: AnnData) -> str | None:
    """Return the obs column that names each cell's section; None where all are one tissue."""
    key = described(adata).get(keys.SECTION.name)
    return str(key) if key is not None and str(key) in adata.obs else None


def set_section_key(adata: AnnData, key: str | None) -> None:
    """Say which obs column names each cell's section; None makes all one tissue.

    Raises
    ------
    MissingKeyError
        If there is no such column.
    """
    held = dict(described(adata))
    held.pop(keys.SECTION.name, None)
    if key is not None:
        if key not in adata.obs:
            there = listed(adata.obs.columns, 40)
            raise MissingKeyError(f"obs has no column {key!r}", f"its columns are: {there}")
        held[keys.SECTION.name] = key
    adata.uns[keys.CELLDYN.name] = held


def side_by_side(
    xy: NDArray[np.float64],
    sections: pd.Series | pd.Categorical | NDArray[Any] | Sequence[Any],
    gap: float = 0.05,
) -> NDArray[np.float64]:
    """Lay sections out in a row, so that those with the same coordinates do not overlap.

    The first section keeps its place; each other one follows to its right, with its least y at
    the least y of the first. Distances within a section do not change.

    Parameters
    ----------
    xy
        (n_obs, 2) coordinates.
    sections
        (n_obs,) the section of each cell; those without one make a section of their own.
    gap
        Space between two sections, as a share of the widest one.

    Returns
    -------
    (n_obs, 2) float64 coordinates, in the same unit.
    """
    out = np.array(xy, np.float64)
    held = named(pd.Series(sections))
    codes = pd.factorize(held.codes, sort=True)[0]
    n = int(codes.max(initial=-1)) + 1
    if n < 2:
        return out
    low, high = np.full((n, 2), np.inf), np.full((n, 2), -np.inf)
    np.minimum.at(low, codes, out)
    np.maximum.at(high, codes, out)
    width = high[:, 0] - low[:, 0]
    space = gap * (width.max() or 1.0)
    left = low[0, 0] + np.concatenate([[0.0], np.cumsum(width + space)[:-1]])
    shift = np.column_stack([left - low[:, 0], low[0, 1] - low[:, 1]])
    laid: NDArray[np.float64] = out + shift[codes]
    return laid


def section_columns(adata: AnnData) -> list[str]:
    """Return the obs columns that could name the sections: 2 to 50 values, none a fraction."""
    return [str(name) for name in adata.obs if _n_values(adata.obs[name]) in N_SECTIONS]


def _n_values(values: pd.Series) -> int:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return len(values.cat.categories)
    return 0 if pd.api.types.is_float_dtype(values) else int(values.nunique())


def propose_section(adata: AnnData) -> str | None:
    """Return the obs column whose sections seem to lie on top of each other; None if none does.

    A column is looked at if it is called section, slice, sample, batch or the like. It is a
    proposal: batches that were measured in one and the same tissue look alike.
    """
    if section_key(adata) is not None:
        return None
    for column in section_columns(adata):
        if any(word in column.casefold() for word in _WORDS):
            try:
                xy = coordinates(adata)
            except DataError:
                return None
            if _mixed(xy, named(adata.obs[column]).codes) > _MIXED:
                return column
    return None


def _mixed(xy: NDArray[np.float64], codes: NDArray[Any]) -> float:
    """Share of cells, of some at even distances, whose nearest neighbour has another code."""
    from scipy.spatial import cKDTree

    if len(xy) < 2:
        return 0.0
    some = np.linspace(0, len(xy) - 1, min(_LOOKED_AT, len(xy))).astype(np.intp)
    nearest = np.asarray(cKDTree(xy).query(xy[some], k=2)[1])
    other = np.where(nearest[:, 0] == some, nearest[:, 1], nearest[:, 0])
    return float(np.mean(codes[some] != codes[other]))
