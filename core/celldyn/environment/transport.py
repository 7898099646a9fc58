"""Optimal transport between cells that weigh alike.

Shapes: n and m cells, G features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import counted
from celldyn.errors import DataError

Floats = NDArray[np.float64]

MOST_CELLS = 10_000
"""Costs are a dense table of pairs."""

_MOST_STEPS = 1_000_000


def require_few(n: int, what: str, remedy: str) -> None:
    """Raise DataError if there are too many cells for a table of all pairs."""
    if n > MOST_CELLS:
        raise DataError(
            f"transport between {counted(n, what)} would need a table of {n:,} by {n:,}", remedy
        )


def distances(x: Floats, y: Floats, *, squared: bool = False) -> Floats:
    """Return (n, m) Euclidean distances between rows of (n, G) and (m, G), or their squares."""
    from sklearn.metrics import pairwise_distances

    kind = "sqeuclidean" if squared else "euclidean"
    return np.asarray(pairwise_distances(x, y, metric=kind), np.float64)


def coupling(cost: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the cheapest transport between cells that weigh alike, as pairs and their shares.

    As many cells on both sides are an assignment, since some cheapest plan between equal weights
    is a permutation (Birkhoff); else it is POT's exact network simplex.

    Parameters
    ----------
    cost
        (n, m) cost of each pair.

    Returns
    -------
    Rows, columns and shares of the pairs, at most n + m − 1; shares sum to 1.
    """
    n, m = cost.shape
    if n == m:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(cost)
        return rows, columns, np.full(n, 1.0 / n)
    import ot

    solve = cast("Callable[..., Floats]", ot.emd)
    plan = solve(np.full(n, 1.0 / n), np.full(m, 1.0 / m), cost, numItermax=_MOST_STEPS)
    rows, columns = np.nonzero(plan > 0)
    return rows, columns, plan[rows, columns]
