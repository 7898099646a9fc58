"""What neighbour graphs are checked for, and how chances are spread over neighbours."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.errors import ConfigError, DataError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Csr: TypeAlias = "sparse.csr_array[np.float64, tuple[int, int]]"
Matrix: TypeAlias = Any
"""(n, n), sparse of any kind or dense."""
_NEAR = 500.0
"""Scores this far apart have exponentials that are normal numbers of float64."""


def as_csr(matrix: Matrix, what: str, n_cells: int | None = None) -> Csr:
    """Return a square matrix as CSR of float64 with sorted columns and without stored zeros.

    Parameters
    ----------
    matrix
        (n, n), sparse or dense; it is left as it is.
    what
        What a sentence calls it.
    n_cells
        n, where that is known.

    Raises
    ------
    DataError
        If it is not of numbers, not (n, n), or has entries below 0 or not finite.
    """
    found = _converted(matrix, what)
    n_rows = found.shape[0]
    n_cells = n_rows if n_cells is None else n_cells
    if found.shape != (n_cells, n_cells):
        raise DataError(
            f"{what} is {found.shape[0]} x {found.shape[1]} and there are {n_cells} cells",
            "give a square matrix of the same cells in the same order",
        )
    if not np.isfinite(found.data).all():
        raise DataError(f"{what} has entries that are not finite", "compute it again")
    if found.nnz and found.data.min() < 0:
        raise DataError(f"{what} has entries below 0", "give weights or chances, 0 or more")
    found.sum_duplicates()
    found.eliminate_zeros()
    kept: Csr = found
    return kept


def _converted(matrix: Matrix, what: str) -> Any:  # noqa: ANN401
    """Return a matrix of two dimensions as CSR of float64."""
    try:
        if not sparse.issparse(matrix):
            matrix = np.asarray(matrix)
        if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
            raise ValueError
        return sparse.csr_array(matrix, dtype=np.float64, copy=True)
    except (TypeError, ValueError):
        raise DataError(
            f"{what} is not a matrix of numbers", "give (n, n), sparse or dense"
        ) from None


def neighbour_graph(connectivities: Matrix, n_cells: int | None = None) -> Csr:
    """Return a graph of neighbours as `as_csr` does.

    Raises
    ------
    DataError
        As `as_csr` does, and if there are no cells.
    """
    graph = as_csr(connectivities, "the neighbour graph", n_cells)
    if not graph.shape[0]:
        raise DataError("the neighbour graph has no cells", "compute neighbours first")
    return graph


def with_diagonal(graph: Csr) -> Csr:
    """Return the graph with an edge of weight 1 from every cell to itself that had none."""
    absent = (graph.diagonal() == 0).astype(np.float64)
    joined = sparse.csr_array(graph + sparse.diags_array(absent, format="csr"))
    joined.eliminate_zeros()
    joined.sort_indices()
    return joined


def where_alone_stay(graph: Csr) -> Csr:
    """Return the graph with an edge of weight 1 to itself for every cell without a neighbour."""
    alone = (np.diff(graph.indptr) == 0).astype(np.float64)
    if not alone.any():
        return graph
    joined = sparse.csr_array(graph + sparse.diags_array(alone, format="csr"))
    joined.eliminate_zeros()
    joined.sort_indices()
    return joined


def rows_of(graph: Csr) -> Ints:
    """Return the row of every entry, (nnz,)."""
    return np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))


def refuse_isolated(graph: Csr, remedy: str) -> None:
    """Raise DataError if a cell has no neighbour."""
    alone = np.flatnonzero(np.diff(graph.indptr) == 0)
    if alone.size:
        raise DataError(
            f"{_count(alone.size, 'cell')} without a neighbour in the graph ({first_few(alone)})",
            remedy,
        )


def spread_by_score(graph: Csr, score: Floats) -> Csr:
    """Return P_ij = e^{s_j} / Σ_k e^{s_k} over the neighbours of i, as CSR.

    Where scores are near enough to one another that none underflows, an exponential is taken per
    cell; else the largest score of a row is taken off first, so that nothing overflows.

    Parameters
    ----------
    graph
        (n, n), of which the entries that are there count; no row is empty.
    score
        (n,) s.
    """
    starts = graph.indptr[:-1]
    per_row = np.diff(graph.indptr)
    highest = score.max()
    if highest - score.min() < _NEAR:
        chance = np.exp(score - highest)[graph.indices]
    else:
        chance = score[graph.indices]
        chance -= np.repeat(np.maximum.reduceat(chance, starts), per_row)
        np.exp(chance, out=chance)
    chance /= np.repeat(np.add.reduceat(chance, starts), per_row)
    return sparse.csr_array((chance, graph.indices, graph.indptr), shape=graph.shape)


def per_cell(values: ArrayLike, n_cells: int, what: str) -> Floats:
    """Return a finite number per cell, (n,).

    Raises
    ------
    DataError
        If they are not numbers, not one per cell, or some are not finite.
    """
    if hasattr(values, "detach"):  # a tensor of a graph
        values = values.detach().cpu()
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{what} is not numeric", "give one number per cell") from None
    if found.shape != (n_cells,):
        shape = " x ".join(map(str, found.shape)) or "a single number"
        raise DataError(f"{what} is {shape} for {n_cells} cells", "give one number per cell")
    missing = np.flatnonzero(~np.isfinite(found))
    if missing.size:
        raise DataError(
            f"{_count(missing.size, 'cell')} without a finite {what} ({first_few(missing)})",
            "drop them, or compute it on a connected neighbour graph",
        )
    return found


def check_beta(beta: float) -> None:
    """Raise ConfigError where an inverse temperature is not a number of 0 or more."""
    if not isinstance(beta, int | float | np.number) or not 0 <= beta < np.inf:
        raise ConfigError(f"beta is {beta}", "give 0 or more")


def first_few(cells: NDArray[Any]) -> str:
    """Name some cells by number."""
    named = ", ".join(str(cell) for cell in cells[:3])
    return f"numbers {named}, ..." if cells.size > 3 else f"number {named}"


def _count(n: int, unit: str) -> str:
    return f"1 {unit} is" if n == 1 else f"{n} {unit}s are"
