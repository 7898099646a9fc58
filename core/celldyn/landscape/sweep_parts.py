"""Products and curves that the flow of walks is made of, compiled into `sweep_kernels`.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.curves import LN2, exp_of_negative, inner, log1p_of_share

Singles = NDArray[np.float32]
Longs = NDArray[np.int64]

LANES = 64
"""Walks at once: what is held of them stays in a core's cache."""

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_LOWEST = np.float32(-80)


@inner
def multiply(
    w: Singles,
    at: int,
    n_out: int,
    n_in: int,
    step_out: int,
    step_in: int,
    x: Singles,
    x_row: int,
    out: Singles,
    row: int,
) -> None:
    """Add W x to rows of `out`; W[j, i] is w[at + j step_out + i step_in].

    Eight rows of x at once, so that each row of `out` is fetched and put back but once for them.
    """
    for j in range(n_out):
        b, i = at + j * step_out, 0
        while i + 8 <= n_in:
            k, r = b + i * step_in, x_row + i
            w0, w1, w2, w3 = w[k], w[k + step_in], w[k + 2 * step_in], w[k + 3 * step_in]
            k += 4 * step_in
            w4, w5, w6, w7 = w[k], w[k + step_in], w[k + 2 * step_in], w[k + 3 * step_in]
            for lane in range(LANES):
                low = w0 * x[r, lane] + w1 * x[r + 1, lane]
                low += w2 * x[r + 2, lane] + w3 * x[r + 3, lane]
                high = w4 * x[r + 4, lane] + w5 * x[r + 5, lane]
                high += w6 * x[r + 6, lane] + w7 * x[r + 7, lane]
                out[row + j, lane] += low + high
            i += 8
        while i < n_in:
            w0, r = w[b + i * step_in], x_row + i
            for lane in range(LANES):
                out[row + j, lane] += w0 * x[r, lane]
            i += 1


@inner
def curves(slope: Singles, value: Singles, row: int, n_rows: int) -> None:
    """Write log cosh, and tanh in place of what it is of."""
    for j in range(row, row + n_rows):
        for lane in range(LANES):
            a = slope[j, lane]
            size = -a if a < _ZERO else a
            b = -_TWO * size
            e = exp_of_negative(_LOWEST if b < _LOWEST else b)
            value[j, lane] = size + log1p_of_share(e) - LN2
            t = (_ONE - e) / (_ONE + e)
            slope[j, lane] = -t if a < _ZERO else t


@inner
def along(
    widths: Longs,
    weights: Singles,
    v: Singles,
    slope: Singles,
    tangent: Singles,
    lifted: Singles,
) -> float:
    """Write how what comes into and out of every unit changes along v; returns that of V / gate.

    Parameters
    ----------
    v
        (d, lanes).
    tangent, lifted
        (units, lanes), written.
    """
    row, at, total = 0, 0, 0.0
    for layer in range(widths.size - 1):
        n_in, n_out = widths[layer], widths[layer + 1]
        tangent[row : row + n_out] = 0
        if layer == 0:
            multiply(weights, at, n_out, n_in, n_in, 1, v, 0, tangent, row)
        else:
            multiply(weights, at, n_out, n_in, n_in, 1, lifted, row - n_in, tangent, row)
        for j in range(row, row + n_out):
            for lane in range(LANES):
                lifted[j, lane] = tangent[j, lane] * slope[j, lane]
        row, at = row + n_out, at + n_in * n_out
    for lane in range(LANES):
        total += lifted[row - 1, lane]
    return total


@inner
def back_through(
    widths: Longs,
    weights: Singles,
    slope: Singles,
    up: Singles,
    tangent: Singles,
    bent: Singles,
    by_y: Singles,
) -> None:
    """Write slopes of v · ∇V by what comes into every unit, and by the state."""
    row, at = slope.shape[0], 0
    for layer in range(widths.size - 1):
        at += widths[layer] * widths[layer + 1]
    bent[row - 1] = 0
    for layer in range(widths.size - 2, -1, -1):
        n_in, n_out = widths[layer], widths[layer + 1]
        row, at = row - n_out, at - n_in * n_out
        for j in range(row, row + n_out):
            for lane in range(LANES):
                t = slope[j, lane]
                curved = tangent[j, lane] * up[j, lane] * (_ONE - t * t)
                bent[j, lane] = bent[j, lane] * t + curved
        if layer > 0:
            bent[row - n_in : row] = 0
            multiply(weights, at, n_in, n_out, 1, n_in, bent, row, bent, row - n_in)
        else:
            by_y[:] = 0
            multiply(weights, at, n_in, n_out, 1, n_in, bent, row, by_y, 0)


@inner
def gather_slopes(
    widths: Longs,
    v: Singles,
    y: Singles,
    value: Singles,
    down: Singles,
    lifted: Singles,
    bent: Singles,
    by_weights: Singles,
    by_biases: Singles,
) -> None:
    """Add slopes of v · ∇V by weights and biases."""
    row, at = 0, 0
    for layer in range(widths.size - 1):
        n_in, n_out = widths[layer], widths[layer + 1]
        for j in range(row, row + n_out):
            total = _ZERO
            for lane in range(LANES):
                total += bent[j, lane]
            by_biases[j] += total
            b = at + (j - row) * n_in
            if layer == 0:
                _add_products(n_in, down, j, v, bent, y, 0, by_weights, b)
            else:
                _add_products(n_in, down, j, lifted, bent, value, row - n_in, by_weights, b)
        row, at = row + n_out, at + n_in * n_out


@inner
def _add_products(
    n_in: int,
    down: Singles,
    j: int,
    lifted: Singles,
    bent: Singles,
    value: Singles,
    row: int,
    out: Singles,
    at: int,
) -> None:
    """Add what a unit's weights get, four of them at once."""
    i = 0
    while i + 4 <= n_in:
        a, b, c, d, r = _ZERO, _ZERO, _ZERO, _ZERO, row + i
        for lane in range(LANES):
            m, k = down[j, lane], bent[j, lane]
            a += m * lifted[r, lane] + k * value[r, lane]
            b += m * lifted[r + 1, lane] + k * value[r + 1, lane]
            c += m * lifted[r + 2, lane] + k * value[r + 2, lane]
            d += m * lifted[r + 3, lane] + k * value[r + 3, lane]
        out[at + i] += a
        out[at + i + 1] += b
        out[at + i + 2] += c
        out[at + i + 3] += d
        i += 4
    while i < n_in:
        a, r = _ZERO, row + i
        for lane in range(LANES):
            a += down[j, lane] * lifted[r, lane] + bent[j, lane] * value[r, lane]
        out[at + i] += a
        i += 1
