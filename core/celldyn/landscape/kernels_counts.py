"""What counts say of the inverse dispersion alone, log Γ(θ + x)/(Γ(θ) x!), compiled.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.bits import Single
from celldyn.kernels.curves import inner
from celldyn.kernels.rising import (
    LANES,
    LARGEST_SINGLE,
    LOG_FACTORIAL,
    rising,
    rising_of_large,
)

Singles = NDArray[np.float32]
Longs = NDArray[np.int64]

_ZERO, _ONE = np.float32(0), np.float32(1)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def rising_rows(counts: Singles, weights: Singles, theta: Singles, by_log_theta: Singles) -> float:
    """Return Σ_u w_u Σ_g log Γ(θ_g + x_ug)/(Γ(θ_g) x_ug!), and add its slopes by log θ.

    Parameters
    ----------
    counts, weights
        (u, G) and (u,); rows of weight 0 are not looked at.
    theta
        (G,).
    by_log_theta
        (G,); added to.
    """
    scratch, genes = np.empty((4, theta.size + LANES), np.float32), np.empty(theta.size, np.int64)
    total = 0.0
    for u in range(counts.shape[0]):
        if weights[u] != _ZERO:
            value = _row(counts[u], weights[u], theta, by_log_theta, genes, scratch)
            total += weights[u] * value
    return total


@inner
def _row(
    counts: Singles,
    w: Single,
    theta: Singles,
    by_log_theta: Singles,
    genes: Longs,
    scratch: Singles,
) -> Single:
    """Do one row; `scratch` is (4, G + `LANES`)."""
    n, value = 0, 0.0
    x, t, slope, constant = scratch[0], scratch[1], scratch[2], scratch[3]
    for g in range(counts.size):
        genes[n] = g
        n += counts[g] > _ZERO
    for i in range(n):
        # Unsigned: else each index is asked whether it counts from the end.
        at = np.uintp(genes[i])
        count, shape = counts[at], theta[at]
        if count > LARGEST_SINGLE:
            lacks, digammas = rising_of_large(count, shape, 1.0)
            value -= lacks
            by_log_theta[at] += np.float32(w * shape * digammas)
            count = _ZERO
        x[i], t[i], constant[i] = count, shape, LOG_FACTORIAL[np.uintp(count)]
    padded = (n + LANES - 1) // LANES * LANES
    for i in range(n, padded):
        x[i], t[i], constant[i] = _ZERO, _ONE, _ZERO
    value -= _lacks(x[:padded], t[:padded], constant[:padded], slope[:padded])
    for i in range(n):
        by_log_theta[np.uintp(genes[i])] += w * slope[i]
    return value


@inner
def _lacks(x: Singles, theta: Singles, constant: Singles, slope: Singles) -> Single:
    """Return Σ log Γ(θ) x!/Γ(θ + x), and write slopes of its opposite by log θ."""
    total = _ZERO
    for i in range(x.size):
        lacks, digammas = rising(x[i], theta[i], _ONE)
        total += lacks + constant[i]
        slope[i] = theta[i] * digammas
    return total
