"""Ratios of Γ without Γ, in vector registers: what counts add to a negative binomial; compiled.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

from celldyn.kernels.bits import Single, exponent, mantissa
from celldyn.kernels.curves import LN2, inlined, inner, log_curve, log_of_positive

LARGEST = 128
"""Larger counts take double precision."""
LARGEST_SINGLE = np.float32(LARGEST)
LANES = 16
"""Numbers of what is looped over by `rising` are best a multiple of this."""
LOG_FACTORIAL = gammaln(np.arange(LARGEST + 1) + 1.0).astype(np.float32)
"""log x! of x = 0, 1, ..."""

_ONE, _HALF = np.float32(1), np.float32(0.5)
_TWO, _THREE, _FOUR = np.float32(2), np.float32(3), np.float32(4)


@inlined
def rising(count: Single, theta: Single, odds: Single) -> tuple[Single, Single]:
    """Return x log(odds) − log Γ(θ + x)/Γ(θ), and ψ(θ + x) − ψ(θ), of a count up to `LARGEST`.

    With z = θ + 4, e = z + x and ρ(z), ω(z) what Stirling's series leave,

        log Γ(e)/Γ(z) = (e − ½) log(e/z) + x log z − x + ρ(e) − ρ(z)
        ψ(e) − ψ(z) = log(e/z) − ω(e) + ω(z),

    and Γ(θ + 4)/Γ(θ) = θ (θ + 1) (θ + 2) (θ + 3). No large terms cancel if the odds are about
    θ/x + 1.
    """
    z = theta + _FOUR
    e = z + count
    of_z, of_e = _ONE / z, _ONE / e
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
    value = count * log_of_positive(odds * of_z) - log_of_positive(product * product * over)
    value += (count - (e - _HALF) * log_ratio) + (_rho(of_z) - _rho(of_e))
    return value, digammas


@inlined
def _log1p(u: Single) -> Single:
    """Return log(1 + u) for u ≥ 0, tiny u included."""
    k = exponent(_ONE + u)
    f = u if k == np.float32(0) else mantissa(_ONE + u) - _ONE
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
def rising_of_large(count: Single, theta: Single, odds: float) -> tuple[float, float]:
    """Return x log(odds) − log Γ(θ + x)/Γ(θ) + log x!, and ψ(θ + x) − ψ(θ), of one large count.

    In double precision, by Stirling's series.
    """
    x, z = np.float64(count), np.float64(theta)
    p, inverses, left = 1.0, 0.0, x
    while z < 10.0:
        p *= z
        inverses += 1.0 / z
        z += 1.0
        left -= 1.0
    end, u = z + left, np.log1p(left / z)
    raised = np.log(p) + left * np.log(z) + (end - 0.5) * u - left + _rest(end) - _rest(z)
    factorial = (x + 0.5) * np.log(x) - x + 0.9189385332046727 + _rest(x)
    digammas = inverses + u - _digamma_rest(end) + _digamma_rest(z)
    return x * np.log(odds) - raised + factorial, digammas


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
