"""In which of several sets of cells a walk ends: committors of a chain, by sparse solving."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.errors import CelldynError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Csr, Floats, Ints, Matrix
from celldyn.landscape.prior import check_transition

_DIRECT = 5_000
"""Up to so many cells the system is factorised; above, its factors would fill memory."""
_TOLERANCE = 1e-10
_ROUNDS = 3_000


def committor(transition: Matrix, sets: Mapping[str, ArrayLike]) -> tuple[tuple[str, ...], Floats]:
    """Return the chance that a walk from each cell comes to each set before any other.

    Solves q_i = Σ_j P_ij q_j over the cells outside all sets, with q = 1 in the set, 0 in others.

    Parameters
    ----------
    transition
        (n, n) chances; rows that do not sum to 1 are divided by their sum.
    sets
        Name to cells: their numbers, or (n,) whether each is of it. They do not overlap.

    Returns
    -------
    The names, and (n, n_sets) chances: rows sum to 1, and are NaN for cells from which no set can
    be reached. Where a set can be reached but missed for good (a cell that a walk never leaves),
    rows sum to less.

    Raises
    ------
    DataError
        If the matrix is none of chances, or sets are empty, overlap, or name cells that are not
        there.
    """
    return run(committor_job(transition, sets), bar=False)


def committor_job(
    transition: Matrix, sets: Mapping[str, ArrayLike]
) -> Job[tuple[tuple[str, ...], Floats]]:
    """Return chances of absorption as a job; see `committor`."""
    yield Progress("chances of fates", 0, 1, "checking chances")
    chances, _ = check_transition(transition)
    names, member = _members(sets, chances.shape[0])
    inside = member >= 0
    free = np.flatnonzero(~inside & _reaches(chances, inside))
    q = np.full((chances.shape[0], len(names)), np.nan)
    q[inside] = np.eye(len(names))[member[inside]]
    if free.size:
        rows = chances[free]
        to_sets = np.asarray(rows[:, inside] @ q[inside])
        solve = partial(_solved, sparse.csr_array(rows[:, free]), to_sets)
        q[free] = yield from aside_job(solve, "chances of fates", "solving", total=1)
    return names, np.clip(q, 0.0, 1.0)


def _members(sets: Mapping[str, ArrayLike], n_cells: int) -> tuple[tuple[str, ...], Ints]:
    """Return the names, and the number of the set of each cell, (n,); −1 for none."""
    if not sets:
        raise DataError("there are no sets of cells", "name one or more")
    member = np.full(n_cells, -1)
    for number, (name, given) in enumerate(sets.items()):
        cells = np.asarray(given)
        if cells.dtype == bool and cells.shape == (n_cells,):
            cells = np.flatnonzero(cells)
        if cells.ndim != 1 or not cells.size or cells.dtype.kind not in "iu":
            raise DataError(
                f"set {name} is {cells.dtype} of shape {cells.shape}",
                f"give numbers of cells, or {n_cells} times whether a cell is of it",
            )
        if cells.min() < 0 or cells.max() >= n_cells:
            raise DataError(
                f"set {name} names cells beyond 0 to {n_cells - 1}", "give numbers of cells"
            )
        if (member[cells] >= 0).any():
            raise DataError(
                f"set {name} shares cells with another", "leave every cell in one set at most"
            )
        member[cells] = number
    return tuple(map(str, sets)), member


def _reaches(chances: Csr, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether a walk from each cell can come to a cell inside, (n,)."""
    n = chances.shape[0]
    # One more cell leads to all that are inside; from it edges are followed backwards.
    gate = sparse.csr_array(inside.astype(np.float64)[None, :])
    above: Any = sparse.hstack([chances.T, sparse.csr_array((n, 1))])
    whole = sparse.vstack([above, sparse.hstack([gate, sparse.csr_array((1, 1))])], format="csr")
    seen = sparse.csgraph.breadth_first_order(whole, n, return_predecessors=False)
    reached = np.zeros(n + 1, dtype=bool)
    reached[seen] = True
    return reached[:n]


def _solved(within: Csr, to_sets: Floats) -> Floats:
    """Solve (I − Q) q = r for every column r."""
    from scipy.sparse.linalg import splu

    n = within.shape[0]
    system = sparse.csc_array(sparse.eye_array(n, format="csc") - within)
    if n <= _DIRECT:
        return np.asarray(splu(system).solve(to_sets))
    by_row = system.tocsr()
    return np.stack([_iterated(by_row, column) for column in to_sets.T], axis=1)


def _iterated(system: Any, right: Floats) -> Floats:  # noqa: ANN401
    """Solve for one column round by round; with rough factors where that comes to nothing."""
    from scipy.sparse.linalg import LinearOperator, bicgstab, spilu

    how: dict[str, Any] = {"rtol": _TOLERANCE, "atol": 0.0, "maxiter": _ROUNDS}
    found, left = bicgstab(system, right, **how)
    if left:
        factors = spilu(system.tocsc(), drop_tol=1e-3, fill_factor=4)
        rough = LinearOperator(system.shape, factors.solve)
        found, left = bicgstab(system, right, x0=found, M=rough, **how)
    if left:
        raise CelldynError(
            "the chances of fates could not be solved for",
            "use a smaller beta, so that walks may turn back",
        )
    return np.asarray(found)
