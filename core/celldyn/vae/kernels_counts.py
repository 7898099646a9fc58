"""What counts above 0 add to −log p, in vector registers: ratios of Γ without Γ; compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.vae.kernels_bits import Single
from celldyn.vae.kernels_math import inner, log_of_positive

Singles = NDArray[np.float32]

LANES = 32
"""Counts above 0 at once."""
SMALL = 16
"""Up to here Γ(x + θ)/Γ(θ) is a product; above, Stirling's series."""
N_LANES = 7 * LANES
"""Numbers of scratch for them."""

_ZERO, _ONE = np.float32(0), np.float32(1)
_SMALL = np.float32(SMALL)


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
    lanes: Singles,
    column: NDArray[np.int32],
) -> Single:
    """Put right what the kernel says of genes with counts; returns what −log p lacked."""
    total = 0.0
    x, t, m = lanes[:LANES], lanes[LANES : 2 * LANES], lanes[2 * LANES : 3 * LANES]
    for start in range(0, indices.size, LANES):
        n = min(LANES, indices.size - start)
        most = _ZERO
        for i in range(n):
            g, count = indices[start + i] - first, data[start + i]
            column[i] = g
            t[i], m[i] = theta[g], mu[g]
            if count > _SMALL:
                lacks, steeper = _large(count, t[i], m[i])
                total += lacks
                theta_slope[g] += np.float32(w * steeper)
                base[g] *= _ONE - count / m[i]
                count = _ZERO
            x[i] = count
            most = max(most, count)
        for i in range(n, LANES):
            x[i], t[i], m[i] = _ZERO, _ONE, _ONE
        total += _small(int(most), lanes)
        slope, factor = lanes[3 * LANES : 4 * LANES], lanes[4 * LANES : 5 * LANES]
        for i in range(n):
            g = column[i]
            theta_slope[g] += w * slope[i]
            base[g] *= factor[i]
    return total


@inner
def _small(most: int, lanes: Singles) -> Single:
    """Return what counts x up to `most` add to −log p; writes the slope of θ and 1 − x/μ.

    With c = 16/(θ + 16) and p = Π_{k<x} c (θ + k)/(k + 1), which neither overflows nor vanishes,

        −log p lacks x log(c (θ + μ)/μ) − log p
        its slope lacks Σ_{k<x} (k − μ)/((θ + k)(θ + μ)),

    whose sums of 1/(θ + k) and k/(θ + k) are kept over the common denominator p.
    """
    x, t, m = lanes[:LANES], lanes[LANES : 2 * LANES], lanes[2 * LANES : 3 * LANES]
    once, by_k = lanes[3 * LANES : 4 * LANES], lanes[4 * LANES : 5 * LANES]
    c, p = lanes[5 * LANES : 6 * LANES], lanes[6 * LANES : 7 * LANES]
    for i in range(LANES):
        c[i] = _SMALL / (t[i] + _SMALL)
        once[i], by_k[i], p[i] = _ZERO, _ZERO, _ONE
    for number in range(most):
        k = np.float32(number)
        share = _ONE / (k + _ONE)
        for i in range(LANES):
            each = c[i] * share
            step, added = (t[i] + k) * each, p[i] * each
            step = step if x[i] > k else _ONE
            added = added if x[i] > k else _ZERO
            once[i] = once[i] * step + added
            by_k[i] = by_k[i] * step + k * added
            p[i] *= step
    total = _ZERO
    for i in range(LANES):
        both = t[i] + m[i]
        over = _ONE / m[i]
        total += x[i] * log_of_positive(both * c[i] * over) - log_of_positive(p[i])
        once[i] = (by_k[i] - m[i] * once[i]) / (p[i] * both)
        by_k[i] = _ONE - x[i] * over
    return total


@inner
def _large(count: Single, theta: Single, mu: Single) -> tuple[Single, Single]:
    """Do the same for one large count in double precision, by Stirling's series."""
    x, m, z = np.float64(count), np.float64(mu), np.float64(theta)
    both = z + m
    p, inverses, left = 1.0, 0.0, x
    while z < 10.0:
        p *= z
        inverses += 1.0 / z
        z += 1.0
        left -= 1.0
    end, u = z + left, np.log1p(left / z)
    rising = np.log(p) + left * np.log(z) + (end - 0.5) * u - left + _rest(end) - _rest(z)
    factorial = (x + 0.5) * np.log(x) - x + 0.9189385332046727 + _rest(x)
    value = x * np.log(both / m) - rising + factorial
    digammas = inverses + u - _digamma_rest(end) + _digamma_rest(z)
    return value, x / both - digammas


@inner
def _rest(z: Single) -> Single:
    """Return what Stirling's formula lacks of log Γ(z)."""
    v = 1 / (z * z)
    return (1 / 12 - v * (1 / 360 - v * (1 / 1260 - v / 1680))) / z


@inner
def _digamma_rest(z: Single) -> Single:
    """Return log z − ψ(z)."""
    v = 1 / (z * z)
    return 0.5 / z + v * (1 / 12 - v * (1 / 120 - v * (1 / 252 - v / 240)))
