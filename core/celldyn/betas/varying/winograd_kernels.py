"""The linear maps of a Winograd convolution, tile by tile in compiled loops.

A row of tiles is worked on at once: pixels are first sorted by their place in a tile, so that each
loop runs over tiles and channels side by side. Images are (cells, D, D, n) float32, and
frequencies (36, n_tiles · n or more), the tiles of a cell row by row; a tile has 4 × 4 outputs
and 6 × 6 inputs, which overlap with its neighbours'. What lies beyond the image is 0.
"""

from __future__ import annotations

import numpy as np

from celldyn.betas.varying.block_kernels import Singles, compiled, inlined

INPUTS = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float32,
)
"""Bᵀ of F(4 × 4, 3 × 3) (Lavin and Gray 2016, arXiv:1509.09308)."""

OUTPUTS = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float32,
)
"""Aᵀ."""

_INPUTS_BACK, _OUTPUTS_BACK = INPUTS.T.copy(), OUTPUTS.T.copy()


@inlined
def mix6(
    w: Singles,
    a: Singles,
    b: Singles,
    c: Singles,
    d: Singles,
    e: Singles,
    f: Singles,
    out: Singles,
) -> None:
    """Write the sum of six rows with weights."""
    w0, w1, w2, w3, w4, w5 = w[0], w[1], w[2], w[3], w[4], w[5]
    for i in range(len(out)):
        out[i] = (w0 * a[i] + w1 * b[i] + w2 * c[i]) + (w3 * d[i] + w4 * e[i] + w5 * f[i])


@inlined
def mix4(w: Singles, a: Singles, b: Singles, c: Singles, d: Singles, out: Singles) -> None:
    """Write the sum of four rows with weights."""
    w0, w1, w2, w3 = w[0], w[1], w[2], w[3]
    for i in range(len(out)):
        out[i] = (w0 * a[i] + w1 * b[i]) + (w2 * c[i] + w3 * d[i])


@compiled
def inputs_to_frequencies(images: Singles, frequencies: Singles) -> None:
    """Write Bᵀ d B of every tile's 6 × 6 inputs d."""
    n_cells, side, _, n = images.shape
    n_tiles = (side + 3) // 4
    width = n_tiles * n
    pixels = np.zeros((4, 6, width + n), np.float32)
    half = np.empty((4, 6, width + n), np.float32)
    for i in range(n_cells):
        for r in range(n_tiles):
            for y in range(6):
                row = 4 * r + y - 1
                if row < 0 or row >= side:
                    pixels[:, y] = 0
                    continue
                for column in range(side):
                    at = (column + 1) // 4 * n
                    to, source = pixels[(column + 1) % 4, y, at : at + n], images[i, row, column]
                    for o in range(n):
                        to[o] = source[o]
            for x in range(4):
                p = pixels[x]
                for k in range(6):
                    mix6(INPUTS[k], p[0], p[1], p[2], p[3], p[4], p[5], half[x, k])
            start = (i * n_tiles + r) * width
            for k in range(6):
                p0, p1, p2, p3 = half[0, k], half[1, k], half[2, k], half[3, k]
                for j in range(6):
                    out = frequencies[6 * k + j, start : start + width]
                    mix6(INPUTS[j], p0, p1, p2, p3, p0[n:], p1[n:], out)


@compiled
def frequencies_to_outputs(frequencies: Singles, images: Singles) -> None:
    """Write Aᵀ m A, the 4 × 4 outputs, of every tile's frequencies m."""
    n_cells, side, _, n = images.shape
    n_tiles = (side + 3) // 4
    width = n_tiles * n
    half, row_out = np.empty((6, width), np.float32), np.empty((4, width), np.float32)
    for i in range(n_cells):
        for r in range(n_tiles):
            start = (i * n_tiles + r) * width
            stop = start + width
            for y in range(min(4, side - 4 * r)):
                for j in range(6):
                    w = OUTPUTS[y]
                    m0, m1 = frequencies[j, start:stop], frequencies[6 + j, start:stop]
                    m2, m3 = frequencies[12 + j, start:stop], frequencies[18 + j, start:stop]
                    m4, m5 = frequencies[24 + j, start:stop], frequencies[30 + j, start:stop]
                    mix6(w, m0, m1, m2, m3, m4, m5, half[j])
                for x in range(4):
                    w = OUTPUTS[x]
                    mix6(w, half[0], half[1], half[2], half[3], half[4], half[5], row_out[x])
                for column in range(side):
                    at = column // 4 * n
                    to, source = images[i, 4 * r + y, column], row_out[column % 4, at : at + n]
                    for o in range(n):
                        to[o] = source[o]


@compiled
def outputs_to_frequencies(images: Singles, frequencies: Singles) -> None:
    """Write A dy Aᵀ of the gradients dy of every tile's outputs."""
    n_cells, side, _, n = images.shape
    n_tiles = (side + 3) // 4
    width = n_tiles * n
    pixels = np.zeros((4, 4, width), np.float32)
    half = np.empty((4, width), np.float32)
    for i in range(n_cells):
        for r in range(n_tiles):
            for y in range(4):
                row = 4 * r + y
                if row >= side:
                    pixels[:, y] = 0
                    continue
                for column in range(side):
                    at = column // 4 * n
                    to, source = pixels[column % 4, y, at : at + n], images[i, row, column]
                    for o in range(n):
                        to[o] = source[o]
            start = (i * n_tiles + r) * width
            for k in range(6):
                for x in range(4):
                    p = pixels[x]
                    mix4(_OUTPUTS_BACK[k], p[0], p[1], p[2], p[3], half[x])
                for j in range(6):
                    out = frequencies[6 * k + j, start : start + width]
                    mix4(_OUTPUTS_BACK[j], half[0], half[1], half[2], half[3], out)


@compiled
def frequencies_to_inputs(frequencies: Singles, images: Singles) -> None:
    """Write the sums, over the tiles that a pixel is an input of, of B g Bᵀ."""
    n_cells, side, _, n = images.shape
    n_tiles = (side + 3) // 4
    width = n_tiles * n
    half, part = np.empty((6, width), np.float32), np.empty(width, np.float32)
    images[:] = 0
    for i in range(n_cells):
        for r in range(n_tiles):
            start = (i * n_tiles + r) * width
            stop = start + width
            for y in range(6):
                row = 4 * r + y - 1
                if row < 0 or row >= side:
                    continue
                w = _INPUTS_BACK[y]
                for j in range(6):
                    m0, m1 = frequencies[j, start:stop], frequencies[6 + j, start:stop]
                    m2, m3 = frequencies[12 + j, start:stop], frequencies[18 + j, start:stop]
                    m4, m5 = frequencies[24 + j, start:stop], frequencies[30 + j, start:stop]
                    mix6(w, m0, m1, m2, m3, m4, m5, half[j])
                for x in range(6):
                    v = _INPUTS_BACK[x]
                    mix6(v, half[0], half[1], half[2], half[3], half[4], half[5], part)
                    for q in range(n_tiles):
                        column = 4 * q + x - 1
                        if column < 0 or column >= side:
                            continue
                        to, source = images[i, row, column], part[q * n : (q + 1) * n]
                        for o in range(n):
                            to[o] += source[o]
