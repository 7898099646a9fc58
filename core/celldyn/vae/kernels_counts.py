"""What counts above 0 add to −log p, in vector registers; compiled."""

from __future__ import annotations

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

MOST = 2048
"""Counts at once."""
SCRATCH = 6 * (MOST + LANES)
"""Numbers of scratch for them."""

_ROOM = MOST + LANES
_ZERO, _ONE = np.float32(0), np.float32(1)


@inner
def put_right(
    indices: NDArray[np.int32],
    data: Singles,
    first: int,
    w: Single,
    theta: Singles,
    mu: Singles,
    base: Singles,
    theta_slope: Singles,
    scratch: Singles,
) -> Single:
    """Put right what the kernel says of genes with counts; returns what −log p lacked.

    Parameters
    ----------
    indices, data
        (n,) genes and counts, at most `MOST`.
    first
        The gene that `theta`, `mu`, `base` and `theta_slope` begin with; the last two are changed.
    w
        The cell's weight.
    scratch
        (`SCRATCH`,) overwritten.
    """
    n, total = indices.size, 0.0
    x, t, m = scratch[:_ROOM], scratch[_ROOM : 2 * _ROOM], scratch[2 * _ROOM : 3 * _ROOM]
    constant = scratch[5 * _ROOM :]
    for i in range(n):
        # Unsigned: else each index is asked whether it counts from the end.
        g, count = np.uintp(indices[i] - first), data[i]
        t[i], m[i] = theta[g], mu[g]
        if count > LARGEST_SINGLE:
            both = np.float64(t[i]) + np.float64(m[i])
            lacks, digammas = rising_of_large(count, t[i], both / m[i])
            total += lacks
            theta_slope[g] += np.float32(w * (count / both - digammas))
            base[g] *= _ONE - count / m[i]
            count = _ZERO
        x[i], constant[i] = count, LOG_FACTORIAL[np.uintp(count)]
    padded = (n + LANES - 1) // LANES * LANES
    for i in range(n, padded):
        x[i], t[i], m[i], constant[i] = _ZERO, _ONE, _ONE, _ZERO
    total += _all(padded, scratch)
    slope, factor = scratch[3 * _ROOM : 4 * _ROOM], scratch[4 * _ROOM : 5 * _ROOM]
    for i in range(n):
        g = np.uintp(indices[i] - first)
        theta_slope[g] += w * slope[i]
        base[g] *= factor[i]
    return total


@inner
def _all(n: int, scratch: Singles) -> Single:
    """Return what −log p lacks: x log((θ + μ)/μ) − log Γ(θ + x)/Γ(θ) + log x!.

    Writes the slope of θ, x/(θ + μ) − ψ(θ + x) + ψ(θ), and 1 − x/μ.
    """
    x, t, m = scratch[:_ROOM], scratch[_ROOM : 2 * _ROOM], scratch[2 * _ROOM : 3 * _ROOM]
    slope, factor = scratch[3 * _ROOM : 4 * _ROOM], scratch[4 * _ROOM : 5 * _ROOM]
    constant, total = scratch[5 * _ROOM :], _ZERO
    for i in range(n):
        count, theta, mu = x[i], t[i], m[i]
        of_mu, of_both = _ONE / mu, _ONE / (theta + mu)
        lacks, digammas = rising(count, theta, (theta + mu) * of_mu)
        total += constant[i] + lacks
        slope[i] = count * of_both - digammas
        factor[i] = _ONE - count * of_mu
    return total
