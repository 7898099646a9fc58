"""Places of cells on an embedding, arrows at them, and who is near.

Shapes: n cells, c axes of the embedding (2 or 3).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.landscape.graph import Csr, Floats, Matrix, neighbour_graph, with_diagonal

Mask: TypeAlias = NDArray[np.bool_]

FEWEST, MOST, SHARE = 30, 100, 0.05
"""Nearest cells on the embedding that stand for a graph where none is given: a share of all cells,
within bounds. In a tissue, the states of a few cells side by side differ by chance more than by
where they are."""
_ASKED = 2048
"""Cells whose neighbours are looked up at once."""


def unit_arrows(arrows: ArrayLike, places: Floats) -> Floats:
    """Return arrows of length 1, or 0 where there is none.

    Raises
    ------
    DataError
        If there is not one for each place, or some are not finite.
    """
    found = as_rows(arrows, "arrows")
    if found.shape != places.shape:
        raise DataError(
            f"arrows {found.shape} and places {places.shape} do not fit each other",
            "give an arrow for each place",
        )
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(np.divide(found, length, out=np.zeros_like(found), where=length > 0))


def as_rows(values: ArrayLike, what: str) -> Floats:
    """Return (n, any) finite numbers.

    Raises
    ------
    DataError
        If they are none.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} are not numbers", "give one row per cell") from None
    if found.ndim != 2:
        raise DataError(f"{what} are of shape {found.shape}", "give one row per cell")
    if not np.isfinite(found).all():
        raise DataError(f"{what} are not finite", "compute them again, or leave those cells out")
    return found


def as_places(embedding: ArrayLike, n_cells: int | None) -> Floats:
    """Return places of cells, (n, c); NaN for a cell without one.

    Raises
    ------
    DataError
        If they are not numbers of 2 or 3 axes, or not of that many cells.
    """
    try:
        found = np.array(embedding, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("the embedding is not numeric", "give one row per cell") from None
    if found.ndim != 2 or found.shape[1] not in (2, 3) or n_cells not in (None, len(found)):
        cells = "every cell" if n_cells is None else f"each of {n_cells} cells"
        raise DataError(
            f"the embedding is of shape {found.shape}", f"give 2 or 3 numbers for {cells}"
        )
    found[~np.isfinite(found).all(axis=1)] = np.nan
    return found


def has_place(places: Floats) -> Mask:
    """Whether each cell has a place, (n,)."""
    return np.asarray(np.isfinite(places).all(axis=1))


def among(graph: Csr, there: Mask) -> Csr:
    """Return the graph without what comes from or leads to cells that are not there."""
    if there.all():
        return graph
    keep = sparse.diags_array(there.astype(np.float64), format="csr")
    kept = sparse.csr_array(keep @ graph @ keep)
    kept.eliminate_zeros()
    kept.sort_indices()
    return kept


def neighbours_job(places: Floats, connectivities: Matrix | None) -> Job[Csr]:
    """Return a graph of 1s in which each cell with a place is its own neighbour, too.

    Raises
    ------
    DataError
        If the graph is none of these cells, or no cell has a place.
    """
    there = has_place(places)
    if not there.any():
        raise DataError("no cell has a place on the embedding", "compute the embedding first")
    if connectivities is None:
        return (yield from _nearest_job(places, there))

    def work() -> Csr:
        kept = among(with_diagonal(neighbour_graph(connectivities, len(places))), there)
        kept.data[:] = 1.0
        return kept

    return (yield from aside_job(work, "neighbours"))


def _nearest_job(places: Floats, there: Mask) -> Job[Csr]:
    """Return the graph of the nearest cells on an embedding, each one itself among them."""
    from scipy.spatial import cKDTree

    cells = np.flatnonzero(there)
    k = min(int(np.clip(SHARE * len(cells), FEWEST, MOST)) + 1, len(cells))
    tree = cKDTree(places[cells])
    near = np.empty((len(cells), k), dtype=np.int32)
    for first in range(0, len(cells), _ASKED):
        yield Progress("neighbours", first, len(cells))
        rows = slice(first, first + _ASKED)
        found: Any = tree.query(places[cells[rows]], k=np.arange(1, k + 1))
        near[rows] = cells[found[1]]
    begin = np.concatenate([[0], np.cumsum(k * there)]).astype(np.int32)
    ones = np.ones(near.size)
    return sparse.csr_array((ones, near.ravel(), begin), shape=(len(places), len(places)))
