"""Pooling, batch norm and PReLU of a convolution's output in compiled loops, while it is in cache.

Pooling comes before batch norm and PReLU: both are monotone, so that the largest output of four is
that of the largest, or for a negative factor the smallest, input. Arrays are (cells, rows,
columns, channels) float32; `ConvolutionBlock.forward` is their twin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

_FAST = {"nnan", "nsz", "contract", "reassoc"}
"""Sums may be reordered, which lets them run in vector registers."""

compiled: Callable[[F], F] = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath=_FAST
)
inlined: Callable[[F], F] = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath=_FAST, inline="always"
)


@compiled
def pool(x: Singles, sign: Singles, centre: Singles, top: Singles, sums: Doubles) -> None:
    """Write the pooled input and add up what the mean and variance are made from.

    Parameters
    ----------
    x
        (b, H, W, n) outputs of a convolution.
    sign
        (n,) 1 where the largest of four is wanted, −1 where the smallest is.
    centre
        (n,) subtracted from x in the sums, which keeps them accurate.
    top
        (b, H // 2, W // 2, n), written.
    sums
        (2, n): Σ (x − centre) and Σ (x − centre)² are added.
    """
    b, H, W, n = x.shape
    first, second = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for i in range(b):
        for r in range(H // 2):
            first[:] = 0
            second[:] = 0
            for q in range(W // 2):
                x00, x01 = x[i, 2 * r, 2 * q], x[i, 2 * r, 2 * q + 1]
                x10, x11 = x[i, 2 * r + 1, 2 * q], x[i, 2 * r + 1, 2 * q + 1]
                t = top[i, r, q]
                for o in range(n):
                    s, m = sign[o], centre[o]
                    a, b_, c, d = x00[o], x01[o], x10[o], x11[o]
                    t[o] = s * max(max(s * a, s * b_), max(s * c, s * d))
                    a, b_, c, d = a - m, b_ - m, c - m, d - m
                    first[o] += (a + b_) + (c + d)
                    second[o] += (a * a + b_ * b_) + (c * c + d * d)
            for o in range(n):
                sums[0, o] += first[o]
                sums[1, o] += second[o]
        # Pixels that no window of four covers count in the mean all the same.
        for r in range(H):
            for q in range(W):
                if r < H - H % 2 and q < W - W % 2:
                    continue
                for o in range(n):
                    a = x[i, r, q, o] - centre[o]
                    sums[0, o] += a
                    sums[1, o] += a * a


@compiled
def activate(top: Singles, scale: Singles, shift: Singles, slope: float, out: Singles) -> None:
    """Write PReLU(scale · top + shift) of (m, n) pooled inputs."""
    m, n = top.shape
    a = np.float32(slope)
    zero = np.float32(0)
    for i in range(m):
        for o in range(n):
            z = scale[o] * top[i, o] + shift[o]
            out[i, o] = z if z > zero else a * z


@compiled
def deactivate(
    grad: Singles,
    top: Singles,
    scale: Singles,
    shift: Singles,
    slope: float,
    mean: Singles,
    sums: Doubles,
) -> None:
    """Take a gradient back through PReLU, in place, and add up what batch norm's needs.

    Parameters
    ----------
    grad
        (m, n) gradient of the pooled outputs; becomes that of z = scale · top + shift.
    top, scale, shift, slope
        As in `activate`.
    mean
        (n,) of the convolution's output.
    sums
        (3, n): Σ dz, Σ dz (top − mean), and Σ of the slope's gradient are added.
    """
    m, n = top.shape
    a = np.float32(slope)
    zero = np.float32(0)
    rows = 256
    for start in range(0, m, rows):
        s0, s1, s2 = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.float32)
        for i in range(start, min(start + rows, m)):
            for o in range(n):
                z = scale[o] * top[i, o] + shift[o]
                d = grad[i, o]
                s2[o] += d * min(z, zero)
                d = d if z > zero else d * a
                grad[i, o] = d
                s0[o] += d
                s1[o] += d * (top[i, o] - mean[o])
        for o in range(n):
            sums[0, o] += s0[o]
            sums[1, o] += s1[o]
            sums[2, o] += s2[o]


@compiled
def unpool(
    x: Singles,
    top: Singles,
    dz: Singles,
    factor: Singles,
    constant: Singles,
    linear: Singles,
    dx: Singles,
) -> None:
    """Take the gradient back through batch norm and pooling.

    The first of four that is closest to the pooled value gets its gradient (equal, unless `x` was
    computed again and rounded otherwise), and every pixel gets batch norm's terms for the mean and
    the variance.

    Parameters
    ----------
    x, top
        As in `pool`.
    dz
        (b, H // 2, W // 2, n) gradient after batch norm.
    factor, constant, linear
        (n,): dx = factor · dz where pooled + constant + linear · x.
    dx
        (b, H, W, n), written.
    """
    b, H, W, n = x.shape
    zero = np.float32(0)
    flat, out = x.reshape(-1), dx.reshape(-1)
    for i in range(b):
        for r in range(H // 2):
            for q in range(W // 2):
                up = ((i * H + 2 * r) * W + 2 * q) * n
                low = up + W * n
                x0, x1 = flat[up : up + 2 * n], flat[low : low + 2 * n]
                y0, y1 = out[up : up + 2 * n], out[low : low + 2 * n]
                t, g = top[i, r, q], dz[i, r, q]
                for o in range(n):
                    u, left, k0, k1 = t[o], g[o] * factor[o], constant[o], linear[o]
                    a, b_, c, d = x0[o], x0[n + o], x1[o], x1[n + o]
                    ea, eb, ec, ed = abs(a - u), abs(b_ - u), abs(c - u), abs(d - u)
                    e = min(min(ea, eb), min(ec, ed))
                    da = left if ea <= e else zero
                    left -= da
                    db = left if eb <= e else zero
                    left -= db
                    dc = left if ec <= e else zero
                    left -= dc
                    dd = left if ed <= e else zero
                    y0[o] = k0 + k1 * a + da
                    y0[n + o] = k0 + k1 * b_ + db
                    y1[o] = k0 + k1 * c + dc
                    y1[n + o] = k0 + k1 * d + dd
        for r in range(H):
            for q in range(W):
                if r < H - H % 2 and q < W - W % 2:
                    continue
                for o in range(n):
                    dx[i, r, q, o] = constant[o] + linear[o] * x[i, r, q, o]
