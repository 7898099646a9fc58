"""How far apart two populations of cells are: EMD, energy distance, MMD.

Shapes: n and m cells, G features. Cells may have weights, which sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.transport import distances
from celldyn.errors import DataError

Floats = NDArray[np.float64]

MOST_CELLS = 2000
"""Cells that are drawn of a larger population."""


def emd(
    x: ArrayLike,
    y: ArrayLike,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> float:
    """Return the earth mover's distance, mean Euclidean distance that mass is carried (W₁)."""
    a, u, b, v = _populations(x, y, x_weights, y_weights, seed)
    import ot

    solve = cast("Callable[..., float]", ot.emd2)
    return float(solve(u, v, distances(a, b), numItermax=1_000_000))


def e_distance(
    x: ArrayLike,
    y: ArrayLike,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> float:
    """Return 2 E|X − Y| − E|X − X'| − E|Y − Y'|, Euclidean (Székely & Rizzo 2013); at least 0."""
    a, u, b, v = _populations(x, y, x_weights, y_weights, seed)
    across = float(u @ distances(a, b) @ v)
    within = float(u @ distances(a, a) @ u) + float(v @ distances(b, b) @ v)
    return max(2 * across - within, 0.0)


def mmd(
    x: ArrayLike,
    y: ArrayLike,
    x_weights: ArrayLike | None = None,
    y_weights: ArrayLike | None = None,
    *,
    bandwidth: float | None = None,
    seed: int = 0,
) -> float:
    """Return the squared maximum mean discrepancy (Gretton et al. 2012), at least 0.

    Parameters
    ----------
    x, y
        (n, G) and (m, G) cells.
    x_weights, y_weights
        Shares of cells; None for all alike.
    bandwidth
        h of the kernel exp(−|x − y|² / 2h²); None for the median distance within y. Give one
        number where several populations are compared with y.
    seed
        Seed of the draw from more than `MOST_CELLS` cells.
    """
    a, u, b, v = _populations(x, y, x_weights, y_weights, seed)
    if bandwidth is None:
        bandwidth = _median_distance(b)
    width = 2 * max(bandwidth**2, float(np.finfo(float).tiny))
    alike = [
        float(p @ np.exp(-squares / width) @ q)
        for p, squares, q in (
            (u, distances(a, a, squared=True), u),
            (v, distances(b, b, squared=True), v),
            (u, distances(a, b, squared=True), v),
        )
    ]
    return max(alike[0] + alike[1] - 2 * alike[2], 0.0)


def median_distance(y: ArrayLike, *, seed: int = 0) -> float:
    """Return the median distance between two cells, a bandwidth for `mmd`; 1 of a single cell."""
    return _median_distance(_population(y, None, np.random.default_rng(seed + 1))[0])


def _median_distance(cells: Floats) -> float:
    from scipy.spatial.distance import pdist

    return float(np.median(pdist(cells))) if len(cells) > 1 else 1.0


def _populations(
    x: ArrayLike, y: ArrayLike, u: ArrayLike | None, v: ArrayLike | None, seed: int
) -> tuple[Floats, Floats, Floats, Floats]:
    # Each is drawn by itself: what y is compared with does not change which of y are looked at.
    a, share_a = _population(x, u, np.random.default_rng(seed))
    b, share_b = _population(y, v, np.random.default_rng(seed + 1))
    if a.shape[1] != b.shape[1]:
        raise DataError(
            f"cells of {a.shape[1]:,} and of {b.shape[1]:,} features are not comparable",
            "give the same features of both",
        )
    return a, share_a, b, share_b


def _population(
    cells: ArrayLike, weights: ArrayLike | None, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    x = np.asarray(cells, np.float64)
    if x.ndim != 2 or len(x) == 0 or not np.isfinite(x).all():
        raise DataError(
            "a population has no cells, or holds what is not a number",
            "give (n_obs, n_features) finite numbers",
        )
    share = np.full(len(x), 1.0 / len(x)) if weights is None else np.asarray(weights, np.float64)
    if share.shape != (len(x),) or (share < 0).any() or not share.sum() > 0:
        raise DataError("weights do not fit the cells", "give one per cell, none below 0")
    if len(x) > MOST_CELLS:
        chosen = np.sort(rng.choice(len(x), MOST_CELLS, replace=False))
        x, share = x[chosen], share[chosen]
    return x, share / share.sum()
