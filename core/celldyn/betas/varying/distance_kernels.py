"""The first block of distance images in compiled loops: neither images nor outputs are stored.

Of a convolution with few inputs, mean, variance and batch norm's part of the gradient follow from
the second moments of the 3 × 3 patches; what is left is one output of four.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.varying.block_kernels import Doubles, Singles, compiled, inlined

Choices = NDArray[np.uint8]


@inlined
def draw(down: Singles, across: Singles, low: float, per_unit: float, image: Singles) -> None:
    """Write a (D + 2, D + 2) image with a border of 0; see `DistanceImages`."""
    side = len(down)
    least, factor = np.float32(low), np.float32(per_unit)
    for r in range(side):
        row, height = image[r + 1], down[r]
        for q in range(side):
            row[q + 1] = (np.sqrt(height + across[q]) - least) * factor


@inlined
def convolve(image: Singles, kernel: Singles, r: int, q: int, o: int) -> np.float32:
    """Return one output."""
    total = np.float32(0)
    for i in range(3):
        for j in range(3):
            total += image[r + i, q + j] * kernel[i, j, o]
    return total


@compiled
def pool_distances(
    down: Singles,
    across: Singles,
    low: Singles,
    per_unit: Singles,
    kernel: Singles,
    sign: Singles,
    top: Singles,
    choice: Choices,
) -> None:
    """Convolve and pool.

    Parameters
    ----------
    down, across, low, per_unit
        (b, D) twice and (b,) twice, see `DistanceImages`.
    kernel
        (3, 3, n).
    sign
        See `block_kernels.pool`.
    top, choice
        (b, D // 2, D // 2, n), written: the pooled output, and which of four it is.
    """
    b, side = down.shape
    n = kernel.shape[2]
    image = np.zeros((side + 2, side + 2), np.float32)
    for i in range(b):
        draw(down[i], across[i], low[i], per_unit[i], image)
        for r in range(side // 2):
            for q in range(side // 2):
                t, w = top[i, r, q], choice[i, r, q]
                for o in range(n):
                    s = sign[o]
                    a = s * convolve(image, kernel, 2 * r, 2 * q, o)
                    b_ = s * convolve(image, kernel, 2 * r, 2 * q + 1, o)
                    c = s * convolve(image, kernel, 2 * r + 1, 2 * q, o)
                    d = s * convolve(image, kernel, 2 * r + 1, 2 * q + 1, o)
                    m = max(max(a, b_), max(c, d))
                    t[o] = s * m
                    w[o] = 0 if a >= m else (1 if b_ >= m else (2 if c >= m else 3))


@compiled
def learn_distances(
    down: Singles,
    across: Singles,
    low: Singles,
    per_unit: Singles,
    choice: Choices,
    dz: Singles,
    dkernel: Doubles,
) -> None:
    """Add Σ dz · patch over the chosen outputs to dkernel, (3, 3, n)."""
    b, side = down.shape
    n = dz.shape[3]
    image = np.zeros((side + 2, side + 2), np.float32)
    part = np.zeros((3, 3, n), np.float32)
    for i in range(b):
        draw(down[i], across[i], low[i], per_unit[i], image)
        for r in range(side // 2):
            for q in range(side // 2):
                w, g = choice[i, r, q], dz[i, r, q]
                for j in range(3):
                    for k in range(3):
                        a, b_ = image[2 * r + j, 2 * q + k], image[2 * r + j, 2 * q + k + 1]
                        c, d = image[2 * r + j + 1, 2 * q + k], image[2 * r + j + 1, 2 * q + k + 1]
                        to = part[j, k]
                        for o in range(n):
                            p = a if w[o] == 0 else (b_ if w[o] == 1 else (c if w[o] == 2 else d))
                            to[o] += g[o] * p
        dkernel += part
        part[:] = 0


@compiled
def patch_moments(
    down: Singles,
    across: Singles,
    low: Singles,
    per_unit: Singles,
    first: Doubles,
    second: Doubles,
) -> None:
    """Add the sums of patches, (9,), and of their products, (9, 9) above the diagonal."""
    b, side = down.shape
    image = np.zeros((side + 2, side + 2), np.float32)
    for i in range(b):
        draw(down[i], across[i], low[i], per_unit[i], image)
        for k in range(9):
            dy, dx = k // 3, k % 3
            for m in range(k, 9):
                ey, ex = m // 3, m % 3
                for r in range(side):
                    x, y = image[r + dy, dx : dx + side], image[r + ey, ex : ex + side]
                    product = np.float32(0)
                    for q in range(side):
                        product += x[q] * y[q]
                    second[k, m] += product
            for r in range(side):
                x = image[r + dy, dx : dx + side]
                along = np.float32(0)
                for q in range(side):
                    along += x[q]
                first[k] += along
