"""Sums over cells with a Gaussian kernel, at the nodes of a grid.

Shapes: n cells, c axes of the embedding (2 or 3), q values of a cell.
"""

from __future__ import annotations

import math
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.landscape.graph import Floats, Ints

MOST_NODES = {2: 200, 3: 64}
"""Along the longest axis."""
_NODES_PER_WIDTH = 1.5
_FINEST = 60.0
"""Widths of the kernel in the longest side of the embedding, where cells are dense."""
_NEAR = 6
"""The kernel reaches at least as far as this neighbour of a middling cell."""
_LOOKED_AT = 2000
_MARGIN = 2.0
"""Widths of the kernel beyond the outermost cells."""
_DOUBT = 0.5
"""Cells that say values do not change: slopes are not made of two or three cells."""


def kernel_width(places: Floats) -> float:
    """Return how wide a kernel the cells ask for: a share of the whole, or some neighbours.

    Raises
    ------
    DataError
        If all cells are at one place.
    """
    from scipy.spatial import cKDTree

    longest = float(np.ptp(places, axis=0).max())
    if longest <= 0:
        raise DataError("all cells are at one place of the embedding", "compute it again")
    some = places[:: math.ceil(len(places) / _LOOKED_AT)]
    found: Any = cKDTree(places).query(some, k=[min(_NEAR + 1, len(places))])
    return max(longest / _FINEST, float(np.median(found[0])))


def grid_axes(places: Floats, width: float, most: int | None = None) -> tuple[Floats, ...]:
    """Return the coordinates of nodes around all cells, evenly spaced and alike on all axes.

    Parameters
    ----------
    most
        Nodes along the longest side: all of them are taken; by default as many as the width asks
        for.
    """
    low, high = places.min(axis=0) - _MARGIN * width, places.max(axis=0) + _MARGIN * width
    finest = 0.0 if most else width / _NODES_PER_WIDTH
    step = max(finest, float((high - low).max()) / ((most or MOST_NODES[places.shape[1]]) - 1))
    counts = np.ceil((high - low) / step - 1e-9).astype(int) + 1
    return tuple(start + step * np.arange(count) for start, count in zip(low, counts, strict=True))


class KernelSums:
    """Sums over cells with a Gaussian kernel, at every node; coordinates in units of the width.

    Cells are shared out among the corners of their box first, so that time grows with the cells
    and with the nodes, not with their product.
    """

    def __init__(self, places: Floats, axes: tuple[Floats, ...], width: float) -> None:
        self.shape = tuple(len(axis) for axis in axes)
        step = axes[0][1] - axes[0][0]
        self.sigma = width / step
        at = np.stack([(x - axis[0]) / step for x, axis in zip(places.T, axes, strict=True)])
        self.at, self.low = at, np.floor(at).astype(np.int64)
        self.x = (at / self.sigma).T
        self.nodes = np.stack(
            np.meshgrid(*[np.arange(m) / self.sigma for m in self.shape], indexing="ij"), axis=-1
        )
        self.unit = (2 * math.pi * self.sigma**2) ** (len(axes) / 2)
        self.counted = self._shared_out(np.ones(len(places)))
        self.mass = self._smoothed(self.counted)

    def nearest_node(self) -> tuple[Ints, ...]:
        """Return the indices of the node nearest to each cell."""
        return tuple(np.rint(self.at).astype(np.int64))

    def of(self, values: Floats, wider: float = 1.0) -> Floats:
        """Return Σ K values of cells (n,) at the nodes; K is 1 at a distance of 0."""
        return self._smoothed(self._shared_out(values), wider)

    def effective(self, wider: float) -> Floats:
        """Return (Σ K)² / Σ K²: how many cells of equal weight say as much."""
        mass = self._smoothed(self.counted, wider)
        squared = self._smoothed(self.counted, wider / math.sqrt(2))
        return np.asarray(
            np.divide(np.square(mass), squared, out=np.zeros(self.shape), where=squared > 1e-12)
        )

    def regression_job(self, values: Floats) -> Job[Floats]:
        """Return values (n, q) at the nodes by a linear regression around each, (g_1, ..., q)."""
        c, q = len(self.shape), values.shape[1]
        mass = np.maximum(self.mass, 1e-9)[..., None]
        x = np.stack([self.of(column) for column in self.x.T], axis=-1) / mass
        yield Progress("smoothing", 0.3, 1.0)
        y = np.stack([self.of(column) for column in values.T], axis=-1) / mass
        spread, shared = np.empty((*self.shape, c, c)), np.empty((*self.shape, c, q))
        for i, j in combinations_with_replacement(range(c), 2):
            spread[..., i, j] = self.of(self.x[:, i] * self.x[:, j])
            spread[..., j, i] = spread[..., i, j]
            yield Progress("smoothing", 0.5, 1.0)
        for i, j in product(range(c), range(q)):
            shared[..., i, j] = self.of(self.x[:, i] * values[:, j])
            yield Progress("smoothing", 0.7, 1.0)
        spread = spread / mass[..., None] - x[..., :, None] * x[..., None, :]
        shared = shared / mass[..., None] - x[..., :, None] * y[..., None, :]
        slope = np.linalg.solve(spread + (_DOUBT / mass[..., None]) * np.eye(c), shared)
        yield Progress("smoothing", 0.9, 1.0)
        return np.asarray(y + np.einsum("...i,...ij->...j", self.nodes - x, slope))

    def _shared_out(self, values: Floats) -> Floats:
        total = np.zeros(math.prod(self.shape))
        for corner in product((0, 1), repeat=len(self.shape)):
            node = [low + up for low, up in zip(self.low, corner, strict=True)]
            share = np.ones(len(values))
            for at, k in zip(self.at, node, strict=True):
                share *= 1.0 - np.abs(at - k)
            flat = np.ravel_multi_index(node, self.shape, mode="clip")
            total += np.bincount(flat, share * values, minlength=total.size)
        return total.reshape(self.shape)

    def _smoothed(self, at_nodes: Floats, wider: float = 1.0) -> Floats:
        from scipy.ndimage import gaussian_filter

        sigma = self.sigma * wider
        found = gaussian_filter(at_nodes, sigma, mode="constant", truncate=3.5)
        return np.asarray(found * self.unit * wider ** len(self.shape))
