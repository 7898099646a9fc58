"""Where a walk may go next: chances from pseudotime, from a phylogeny, or given."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import DataError
from celldyn.landscape.graph import (
    Csr,
    Floats,
    Matrix,
    as_csr,
    check_beta,
    first_few,
    neighbour_graph,
    per_cell,
    refuse_isolated,
    spread_by_score,
    with_diagonal,
)

_CLOSE = 1e-4
"""How far a row's sum may be from 1 before it is said: rounding of float32 stays below it."""


def prior_transition(
    connectivities: Matrix,
    pseudotime: ArrayLike,
    *,
    beta: float = 50.0,
    self_loop: bool = False,
) -> Csr:
    """Return the chances that a walk goes from a cell to each of its neighbours.

    P_ij = e^{β(t_j − t_i)} / Σ_k e^{β(t_k − t_i)} over the neighbours k of i, with pseudotime t
    brought to [0, 1] first, (t − min) / (max − min): so its unit does not matter, and β = 50
    means the same on every data set. Of the graph it matters only which entries are above 0.

    Parameters
    ----------
    connectivities
        (n, n) neighbour graph; its own entries on the diagonal are kept. It may fall into parts:
        no walk goes from one to another.
    pseudotime
        (n,) in any unit.
    beta
        How strictly a walk goes forward; 0 takes every neighbour alike.
    self_loop
        Whether a walk may rest: every cell is its own neighbour, too.

    Returns
    -------
    (n, n) CSR of float64; rows sum to 1.

    Raises
    ------
    DataError
        If the graph is not (n, n), of finite weights of 0 or more; if a cell has no neighbour and
        may not rest; if pseudotime is not one finite number per cell, or the same in all.

    Notes
    -----
    sclsd 0.3.0 `set_prior_transition` with `prior_time_key`, without its dense matrices and
    without the overflow where pseudotime is not in [0, 1].
    """
    check_beta(beta)
    graph = neighbour_graph(connectivities)
    if self_loop:
        graph = with_diagonal(graph)
    refuse_isolated(graph, "compute the graph with more neighbours, drop them, or use self_loop")
    return spread_by_score(graph, beta * unit_time(pseudotime, graph.shape[0]))


def unit_time(pseudotime: ArrayLike, n_cells: int) -> Floats:
    """Return pseudotime brought to [0, 1], (n,).

    Raises
    ------
    DataError
        As `prior_transition` does.
    """
    time = per_cell(pseudotime, n_cells, "pseudotime")
    first, last = time.min(), time.max()
    if first == last:
        raise DataError(
            f"pseudotime is {first:g} in every cell", "give one that tells early cells from late"
        )
    # Divided before it is subtracted where the range itself would overflow.
    scale = max(abs(first), abs(last))
    span = last / scale - first / scale
    unit: Floats = (time / scale - first / scale) / span
    return unit


def check_transition(
    transition: Matrix, n_cells: int | None = None
) -> tuple[Csr, tuple[str, ...]]:
    """Return chances that were made elsewhere, checked, and what was done to them.

    Parameters
    ----------
    transition
        (n, n), sparse or dense, of 0 or more.
    n_cells
        n, where that is known.

    Returns
    -------
    (n, n) CSR whose rows sum to 1, and a line on each thing that was done: rows that did not sum
    to 1 were divided by their sum.

    Raises
    ------
    DataError
        If it is not (n, n), has entries below 0 or not finite, or a row without any.
    """
    found = as_csr(transition, "the transition matrix", n_cells)
    total: Floats = np.asarray(found.sum(axis=1), dtype=np.float64).ravel()
    nowhere = np.flatnonzero(total == 0)
    if nowhere.size:
        raise DataError(
            f"the transition matrix leads nowhere from {nowhere.size} of {total.size} cells "
            f"({first_few(nowhere)})",
            "give those cells a chance to stay where they are, or drop them",
        )
    if not np.isfinite(total).all():
        raise DataError("rows of the transition matrix sum to infinity", "give chances")
    off = int((np.abs(total - 1) > _CLOSE).sum())
    notes = () if not off else (f"{off} rows did not sum to 1 and were divided by their sum",)
    found.data /= np.repeat(total, np.diff(found.indptr))
    return found, notes
