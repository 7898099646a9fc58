"""The first convolution of images that count points: each point leaves its stamp, no more."""

from __future__ import annotations

import numpy as np

from celldyn.betas.neighbours import Ints
from celldyn.betas.varying.block_kernels import Doubles, Singles, compiled
from celldyn.betas.varying.images import Places


@compiled
def stamp(start: Ints, place: Places, kernel: Singles, x: Singles) -> None:
    """Write the convolution of images of points.

    Parameters
    ----------
    start, place
        See `PointImages`.
    kernel
        (n_channels, 3, 3, n).
    x
        (n_cells, D, D, n), written.
    """
    n_cells, side, _, n = x.shape
    for i in range(n_cells):
        x[i] = 0
        for at in range(start[i], start[i + 1]):
            channel = place[at] // (side * side)
            row = place[at] // side % side
            column = place[at] % side
            for j in range(max(0, row - side + 2), min(3, row + 2)):
                for k in range(max(0, column - side + 2), min(3, column + 2)):
                    y, w = x[i, row + 1 - j, column + 1 - k], kernel[channel, j, k]
                    for o in range(n):
                        y[o] += w[o]


@compiled
def gather(start: Ints, place: Places, dx: Singles, dkernel: Doubles) -> None:
    """Add the gradient of the kernel, given that of the convolution; shapes as in `stamp`."""
    n_cells, side, _, n = dx.shape
    part = np.zeros(dkernel.shape, np.float32)
    for i in range(n_cells):
        for at in range(start[i], start[i + 1]):
            channel = place[at] // (side * side)
            row = place[at] // side % side
            column = place[at] % side
            for j in range(max(0, row - side + 2), min(3, row + 2)):
                for k in range(max(0, column - side + 2), min(3, column + 2)):
                    y, w = dx[i, row + 1 - j, column + 1 - k], part[channel, j, k]
                    for o in range(n):
                        w[o] += y[o]
    dkernel += part
