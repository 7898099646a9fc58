"""exp and log of single numbers as the compiler can put them in vector registers.

Calls to a mathematical library keep a loop out of them; a polynomial and a shift of bits do not.
Each is right to about 1e-7. Polynomials are minimax on the interval that the argument is brought
to. Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from celldyn.kernels.bits import Single, exponent, mantissa, power_of_two, rounded

F = TypeVar("F", bound=Callable[..., Any])

_FAST = {"contract", "nsz", "reassoc"}
"""Sums may be reordered, which lets them run in vector registers; NaN and infinity stay."""

inner: Callable[[F], F] = numba.njit(
    nogil=True, error_model="numpy", fastmath=_FAST, no_cpython_wrapper=True
)
inlined: Callable[[F], F] = numba.njit(
    nogil=True, error_model="numpy", fastmath=_FAST, inline="always"
)

_ONE = np.float32(1)
_LOG2_E, LN2 = np.float32(1 / np.log(2)), np.float32(np.log(2))


@inlined
def exp_of_negative(x: Single) -> Single:
    """Return e^x for −87 < x ≤ 0."""
    n = rounded(x * _LOG2_E)
    f = x - n * LN2
    p = np.float32(1.3815889e-3) * f + np.float32(8.3685036e-3)
    p = p * f + np.float32(4.1668341e-2)
    p = p * f + np.float32(1.6666523e-1)
    p = p * f + np.float32(0.49999994)
    return (p * f * f + f + _ONE) * power_of_two(n)


@inlined
def log1p_of_share(e: Single) -> Single:
    """Return log(1 + e) for 0 ≤ e ≤ 1, tiny e included."""
    p = np.float32(-3.2440119e-3) * e + np.float32(1.9851400e-2)
    p = p * e + np.float32(-5.6959413e-2)
    p = p * e + np.float32(1.0603642e-1)
    p = p * e + np.float32(-1.5305585e-1)
    p = p * e + np.float32(1.9675936e-1)
    p = p * e + np.float32(-2.4954133e-1)
    p = p * e + np.float32(3.3329962e-1)
    p = p * e + np.float32(-0.49999902)
    p = p * e + _ONE
    return p * e


@inlined
def log_curve(f: Single) -> Single:
    """Return log(1 + f) − f for √½ − 1 ≤ f ≤ √2 − 1."""
    p = np.float32(8.9019596e-2) * f + np.float32(-1.4212720e-1)
    p = p * f + np.float32(1.4820289e-1)
    p = p * f + np.float32(-1.6581242e-1)
    p = p * f + np.float32(1.9972554e-1)
    p = p * f + np.float32(-2.5001396e-1)
    p = p * f + np.float32(3.3333666e-1)
    p = p * f + np.float32(-0.49999996)
    return p * f * f


@inlined
def log_of_positive(x: Single) -> Single:
    """Return log x of a normal number above 0."""
    f = mantissa(x) - _ONE
    return exponent(x) * LN2 + (f + log_curve(f))
