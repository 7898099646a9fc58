"""What counts above 0 add to −log p, in vector registers: ratios of Γ without Γ; compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from celldyn.vae.kernels_bits import Single, exponent, mantissa
from celldyn.vae.kernels_math import LN2, inlined, inner, log_curve, log_of_positive

Singles = NDArray[np.float32]

MOST = 2048
"""Counts at once."""
SCRATCH = 6 * (MOST + 16)
"""Numbers of scratch for them."""
LARGEST = 128
"""Larger counts take double precision."""

_ROOM = MOST + 16
_LANES = 16
_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_TWO, _THREE, _FOUR = np.float32(2), np.float32(3), np.float32(4)
_LARGEST = np.float32(LARGEST)
_LOG_FACTORIAL = gammaln(np.arange(LARGEST + 1) + 1.0).astype(np.float32)


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
        if count > _LARGEST:
            lacks, steeper = _large(count, t[i], m[i])
            total += lacks
            theta_slope[g] += np.float32(w * steeper)
            base[g] *= _ONE - count / m[i]
            count = _ZERO
        x[i], constant[i] = count, _LOG_FACTORIAL[np.uintp(count)]
    padded = (n + _LANES - 1) // _LANES * _LANES
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

    Writes the slope of θ, x/(θ + μ) − ψ(θ + x) + ψ(θ), and 1 − x/μ. With z = θ + 4, e = z + x and
    ρ(z), ω(z) what Stirling's series leave,

        log Γ(e)/Γ(z) = (e − ½) log(e/z) + x log z − x + ρ(e) − ρ(z)
        ψ(e) − ψ(z) = log(e/z) − ω(e) + ω(z),

    and Γ(θ + 4)/Γ(θ) = θ (θ + 1) (θ + 2) (θ + 3). No large terms cancel.
    """
    x, t, m = scratch[:_ROOM], scratch[_ROOM : 2 * _ROOM], scratch[2 * _ROOM : 3 * _ROOM]
    slope, factor = scratch[3 * _ROOM : 4 * _ROOM], scratch[4 * _ROOM : 5 * _ROOM]
    constant, total = scratch[5 * _ROOM :], _ZERO
    for i in range(n):
        count, theta, mu = x[i], t[i], m[i]
        z = theta + _FOUR
        e = z + count
        of_z, of_e, of_mu, of_both = _ONE / z, _ONE / e, _ONE / mu, _ONE / (theta + mu)
        # The products below are those of θ + k and θ + x + k over e, so that none overflows.
        a, b, s = theta * of_e, (theta + count) * of_e, of_e
        a1, a2, a3 = a + s, a + _TWO * s, a + _THREE * s
        b1, b2, b3 = b + s, b + _TWO * s, b + _THREE * s
        low, high = a * a1, a2 * a3
        product = low * high
        q0, q1, q2, q3 = a * b, a1 * b1, a2 * b2, a3 * b3
        q01, q23 = q0 * q1, q2 * q3
        over = _ONE / (q01 * q23)
        sums = ((q0 + q1) * q23 + (q2 + q3) * q01) * over
        log_ratio = _log1p(count * of_z)
        digammas = count * s * s * sums + log_ratio + (_omega(of_z) - _omega(of_e))
        odds = (theta + mu) * of_mu * of_z
        total += count * log_of_positive(odds) - log_of_positive(product * product * over)
        total += (constant[i] + count - (e - _HALF) * log_ratio) + (_rho(of_z) - _rho(of_e))
        slope[i] = count * of_both - digammas
        factor[i] = _ONE - count * of_mu
    return total


@inlined
def _log1p(u: Single) -> Single:
    """Return log(1 + u) for u ≥ 0, tiny u included."""
    k = exponent(_ONE + u)
    f = u if k == _ZERO else mantissa(_ONE + u) - _ONE
    return k * LN2 + (f + log_curve(f))


@inlined
def _rho(w: Single) -> Single:
    """Return what Stirling's formula lacks of log Γ(1/w), w ≤ ¼."""
    v = w * w
    p = np.float32(1 / 1260) - v * np.float32(1 / 1680)
    p = np.float32(1 / 360) - v * p
    return w * (np.float32(1 / 12) - v * p)


@inlined
def _omega(w: Single) -> Single:
    """Return log z − ψ(z) of z = 1/w, w ≤ ¼."""
    v = w * w
    p = np.float32(1 / 120) - v * np.float32(1 / 252)
    return w * _HALF + v * (np.float32(1 / 12) - v * p)


@inner
def _large(count: Single, theta: Single, mu: Single) -> tuple[Single, Single]:
    """Do all that for one large count in double precision, by Stirling's series."""
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
