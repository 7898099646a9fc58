"""The flow of walks in training and its derivatives, compiled; `walk_flow` in torch is the twin.

Steps are those of the 3/8 rule. Going back, every step is made once more from the state that it
began with, so that only these states are kept; derivatives are of the steps as they were made, not
of the equation.

`LANES` walks are done at once: arrays are (rows, walks), a row being a dimension of the state or a
unit of the potential, its layers one below another.
Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.bits import Single
from celldyn.kernels.curves import inner
from celldyn.landscape.sweep_parts import (
    LANES,
    along,
    back_through,
    curves,
    gather_slopes,
    multiply,
)

Singles = NDArray[np.float32]
Longs = NDArray[np.int64]

_STAGES = 4
_THIRD, _EIGHTH, _THREE = np.float32(1 / 3), np.float32(1 / 8), np.float32(3)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def flow_down(
    widths: Longs,
    weights: Singles,
    biases: Singles,
    gate: Single,
    confinement: Single,
    h: Single,
    paths: Singles,
) -> None:
    """Fill paths from their first state on.

    Parameters
    ----------
    widths
        (K + 1,) dimensions of the state, and units of each of the K layers; the last has 1.
    weights, biases
        Of all layers, one after another, weights as (out, in).
    gate
        sig(γ).
    confinement
        c of the potential.
    h
        Length of a step.
    paths
        (n_times, d, W), the first of them given.
    """
    d, n_walks = paths.shape[1], paths.shape[2]
    slope = np.empty((biases.size, LANES), np.float32)
    value, up, down = np.empty_like(slope), np.empty_like(slope), np.empty_like(slope)
    z, y = np.zeros((d, LANES), np.float32), np.empty((d, LANES), np.float32)
    k = np.empty((_STAGES, d, LANES), np.float32)
    for first in range(0, n_walks, LANES):
        n = min(LANES, n_walks - first)
        z[:, :n] = paths[0, :, first : first + n]
        for step in range(1, paths.shape[0]):
            for s in range(_STAGES):
                _stage(s, z, k, h, y)
                _forward(widths, weights, biases, y, slope, value)
                _gradient(widths, weights, gate, confinement, y, slope, up, down, k[s])
            for i in range(d):
                for lane in range(LANES):
                    total = k[0, i, lane] + _THREE * (k[1, i, lane] + k[2, i, lane])
                    z[i, lane] -= h * _EIGHTH * (total + k[3, i, lane])
            paths[step, :, first : first + n] = z[:, :n]


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def flow_back(
    widths: Longs,
    weights: Singles,
    biases: Singles,
    gate: Single,
    confinement: Single,
    h: Single,
    paths: Singles,
    substeps: int,
    by_paths: Singles,
    by_start: Singles,
    by_weights: Singles,
    by_biases: Singles,
) -> float:
    """Return the slope by the gate, and write those by the first state and the potential.

    Parameters
    ----------
    paths
        As `flow_down` left them.
    substeps, by_paths
        (1 + (n_times − 1)/substeps, d, W) slopes by every `substeps`-th of the times.
    by_start
        (d, W), written.
    by_weights, by_biases
        Zeros; added to.
    """
    d, n_walks, units = paths.shape[1], paths.shape[2], biases.size
    slope = np.empty((_STAGES, units, LANES), np.float32)
    value, up, down = np.empty_like(slope), np.empty_like(slope), np.empty_like(slope)
    tangent = np.empty((units, LANES), np.float32)
    lifted, bent = np.empty_like(tangent), np.empty_like(tangent)
    z, by_z = np.zeros((d, LANES), np.float32), np.empty((d, LANES), np.float32)
    y = np.empty((_STAGES, d, LANES), np.float32)
    k, by_k, by_y = np.empty_like(y), np.empty_like(y), np.empty_like(z)
    by_gate = 0.0
    for first in range(0, n_walks, LANES):
        n = min(LANES, n_walks - first)
        by_z[:] = 0
        by_z[:, :n] = by_paths[-1, :, first : first + n]
        for step in range(paths.shape[0] - 2, -1, -1):
            z[:, :n] = paths[step, :, first : first + n]
            for s in range(_STAGES):
                _stage(s, z, k, h, y[s])
                _forward(widths, weights, biases, y[s], slope[s], value[s])
                _gradient(widths, weights, gate, confinement, y[s], slope[s], up[s], down[s], k[s])
            _begin_back(by_z, h, by_k)
            for s in range(_STAGES - 1, -1, -1):
                by_gate += along(widths, weights, by_k[s], slope[s], tangent, lifted)
                back_through(widths, weights, slope[s], up[s], tangent, bent, by_y)
                gather_slopes(
                    widths, by_k[s], y[s], value[s], down[s], lifted, bent, by_weights, by_biases
                )
                _spread(s, by_y, by_k, confinement, h, by_z)
            if step % substeps == 0:
                by_z[:, :n] += by_paths[step // substeps, :, first : first + n]
        by_start[:, first : first + n] = by_z[:, :n]
    return by_gate


@inner
def _stage(s: int, z: Singles, k: Singles, h: Single, y: Singles) -> None:
    """Write the states of a stage, given the gradients k of those before."""
    for i in range(z.shape[0]):
        for lane in range(LANES):
            if s == 0:
                y[i, lane] = z[i, lane]
            elif s == 1:
                y[i, lane] = z[i, lane] - h * _THIRD * k[0, i, lane]
            elif s == 2:
                a = k[1, i, lane] - _THIRD * k[0, i, lane]
                y[i, lane] = z[i, lane] - h * a
            else:
                a = k[0, i, lane] - k[1, i, lane] + k[2, i, lane]
                y[i, lane] = z[i, lane] - h * a


@inner
def _begin_back(by_z: Singles, h: Single, by_k: Singles) -> None:
    """Write slopes by the gradients of all stages that come of the step's sum."""
    for s in range(_STAGES):
        share = -h * _EIGHTH * (_THREE if s == 1 or s == 2 else np.float32(1))
        for i in range(by_z.shape[0]):
            for lane in range(LANES):
                by_k[s, i, lane] = share * by_z[i, lane]


@inner
def _spread(
    s: int, by_y: Singles, by_k: Singles, confinement: Single, h: Single, by_z: Singles
) -> None:
    """Hand slopes by the states of a stage on to what these were made of."""
    for i in range(by_z.shape[0]):
        for lane in range(LANES):
            b = by_y[i, lane] + confinement * by_k[s, i, lane]
            by_z[i, lane] += b
            if s == 1:
                by_k[0, i, lane] -= h * _THIRD * b
            elif s == 2:
                by_k[0, i, lane] += h * _THIRD * b
                by_k[1, i, lane] -= h * b
            elif s == 3:
                by_k[0, i, lane] -= h * b
                by_k[1, i, lane] += h * b
                by_k[2, i, lane] -= h * b


@inner
def _forward(
    widths: Longs,
    weights: Singles,
    biases: Singles,
    y: Singles,
    slope: Singles,
    value: Singles,
) -> None:
    """Write tanh and log cosh of what comes into every unit."""
    row, at = 0, 0
    for layer in range(widths.size - 1):
        n_in, n_out = widths[layer], widths[layer + 1]
        for j in range(row, row + n_out):
            for lane in range(LANES):
                slope[j, lane] = biases[j]
        if layer == 0:
            multiply(weights, at, n_out, n_in, n_in, 1, y, 0, slope, row)
        else:
            multiply(weights, at, n_out, n_in, n_in, 1, value, row - n_in, slope, row)
        curves(slope, value, row, n_out)
        row, at = row + n_out, at + n_in * n_out


@inner
def _gradient(
    widths: Longs,
    weights: Singles,
    gate: Single,
    confinement: Single,
    y: Singles,
    slope: Singles,
    up: Singles,
    down: Singles,
    out: Singles,
) -> None:
    """Write ∇V; and the slope of V by what comes out of every unit, and by what comes in."""
    row, at = slope.shape[0], 0
    for layer in range(widths.size - 1):
        at += widths[layer] * widths[layer + 1]
    for layer in range(widths.size - 2, -1, -1):
        n_in, n_out = widths[layer], widths[layer + 1]
        row, at = row - n_out, at - n_in * n_out
        last = layer == widths.size - 2
        for j in range(row, row + n_out):
            for lane in range(LANES):
                if last:
                    up[j, lane] = gate
                down[j, lane] = up[j, lane] * slope[j, lane]
        if layer > 0:
            up[row - n_in : row] = 0
            multiply(weights, at, n_in, n_out, 1, n_in, down, row, up, row - n_in)
        else:
            for i in range(n_in):
                for lane in range(LANES):
                    out[i, lane] = confinement * y[i, lane]
            multiply(weights, at, n_in, n_out, 1, n_in, down, row, out, 0)
