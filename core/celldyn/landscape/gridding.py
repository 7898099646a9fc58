"""Arrows of cells smoothed onto a regular grid: where flow is drawn, and where it is not.

Shapes: n cells, c axes of the embedding (2 or 3), g nodes of the grid in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.places import as_places, has_place, unit_arrows

_NODES_PER_WIDTH = 1.5
_MOST_NODES = {2: 200, 3: 64}
"""Along the longest axis."""
_FINEST = 60.0
"""Widths of the kernel in the longest side of the embedding, where cells are dense."""
_NEAR = 6
"""The kernel reaches at least as far as this neighbour of a middling cell."""
_LOOKED_AT = 2000
_MARGIN = 2.0
"""Widths of the kernel beyond the outermost cells."""
_LONGEST = 98.0
"""Percentile of the lengths to which longer arrows are cut: a few would outweigh all others."""
_DOUBT = 0.5
"""Cells that say the arrows do not change: slopes are not made of two or three cells."""
_WIDER = 2.0
"""Kernel within which arrows must agree, over that by which they are smoothed."""
_CHANCE = 3.0
"""Agreement times cells: arrows that have nothing in common come to 1 or more above their mean of
0 by chance alone, and to this in one of fifty places (Rayleigh's test)."""


@dataclass(frozen=True, slots=True)
class ArrowGrid:
    """Arrows at the nodes of a grid.

    Parameters
    ----------
    axes
        (g_1,), ..., coordinates of the nodes along each axis, evenly spaced.
    arrows
        (g_1, ..., c) smoothed arrows.
    mass
        (g_1, ...) cells within the kernel: a cell at the node counts 1, one at a width .61.
    agreement
        (g_1, ...) mean cosine between the arrows of two cells there, as `arrow_confidence`.
    there
        (g_1, ...) whether there are cells and they agree, so that the arrow means something.
    width
        Standard deviation of the kernel, in the embedding's units.
    """

    axes: tuple[Floats, ...]
    arrows: Floats
    mass: Floats
    agreement: Floats
    there: NDArray[np.bool_]
    width: float

    @property
    def spacing(self) -> Floats:
        """Distance of nodes along each axis, (c,)."""
        return np.array([axis[1] - axis[0] for axis in self.axes])

    def vectors(self, every: int = 1) -> tuple[Floats, Floats]:
        """Return the places and the arrows, (any, c) each, of nodes where arrows mean something.

        Parameters
        ----------
        every
            Of this many nodes along each axis, one is taken.
        """
        some = (slice(None, None, max(every, 1)),) * len(self.axes)
        there = self.there[some]
        places = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1)[some]
        return places[there], self.arrows[some][there]


def arrow_grid(
    embedding: ArrayLike,
    arrows: ArrayLike,
    *,
    smooth: float = 1.0,
    min_mass: float = 0.1,
    min_agreement: float = 0.2,
) -> ArrowGrid:
    """Smooth the arrows of cells onto a grid, by local linear regression with a Gaussian kernel.

    Parameters
    ----------
    embedding, arrows
        (n, c) places and arrows; cells without a place are left out. The longest 2 % are taken as
        long as the others are at most.
    smooth
        Width of the kernel, over what the density of cells asks for.
    min_mass
        Cells within the kernel, over what a middling cell has about it, below which nothing is
        drawn; never less than one.
    min_agreement
        Mean cosine between the arrows of two cells below which they are no flow.

    Raises
    ------
    DataError
        If arrays do not fit each other, or all cells are at one place.
    ConfigError
        If a parameter is out of its bounds.
    """
    job = arrow_grid_job(
        embedding, arrows, smooth=smooth, min_mass=min_mass, min_agreement=min_agreement
    )
    return run(job, bar=False)


def arrow_grid_job(
    embedding: ArrayLike,
    arrows: ArrayLike,
    *,
    smooth: float = 1.0,
    min_mass: float = 0.1,
    min_agreement: float = 0.2,
) -> Job[ArrowGrid]:
    """Smooth arrows onto a grid as a job; see `arrow_grid`."""
    if not 0 < smooth < math.inf:
        raise ConfigError(f"smooth is {smooth}", "give a number above 0")
    if not (0 <= min_mass < math.inf and -1 <= min_agreement <= 1):
        raise ConfigError(
            f"min_mass is {min_mass} and min_agreement {min_agreement}",
            "give a mass of 0 or more and a cosine, -1 to 1",
        )
    places = as_places(embedding, None)
    units = unit_arrows(arrows, places)
    kept = has_place(places)
    if not kept.any():
        raise DataError("no cell has a place on the embedding", "compute the embedding first")
    places, units, long = places[kept], units[kept], np.asarray(arrows, np.float64)[kept]
    yield Progress("smoothing", 0.0, 1.0)
    width = smooth * kernel_width(places)
    axes = grid_axes(places, width)
    sums = _Sums(places, axes, width)
    fitted = yield from sums.regression_job(_cut(long))
    mass = sums.mass
    agreement, asked = _agreement(sums, units)
    yield Progress("smoothing", 0.95, 1.0)
    typical = float(np.median(mass[sums.nearest_node()]))
    there = (mass >= max(min_mass * typical, 1.0)) & (
        agreement >= np.maximum(min_agreement, asked)
    )
    there &= np.square(fitted).sum(axis=-1) > 0
    return ArrowGrid(axes, fitted, mass, agreement, there, width)


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


def grid_axes(places: Floats, width: float) -> tuple[Floats, ...]:
    """Return the coordinates of nodes around all cells, evenly spaced and alike on all axes."""
    low, high = places.min(axis=0) - _MARGIN * width, places.max(axis=0) + _MARGIN * width
    most = _MOST_NODES[places.shape[1]]
    step = max(width / _NODES_PER_WIDTH, float((high - low).max()) / (most - 1))
    counts = np.ceil((high - low) / step).astype(int) + 1
    return tuple(start + step * np.arange(count) for start, count in zip(low, counts, strict=True))


def _cut(arrows: Floats) -> Floats:
    """Return arrows of which none is longer than nearly all of them."""
    length = np.linalg.norm(arrows, axis=1)
    if not (length > 0).any():
        return arrows
    longest = np.percentile(length[length > 0], _LONGEST)
    return np.asarray(
        arrows * (np.minimum(length, longest) / np.maximum(length, longest))[:, None]
    )


class _Sums:
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
        """Return values (n, c) at the nodes by a linear regression around each, (g_1, ..., c)."""
        c = values.shape[1]
        mass = np.maximum(self.mass, 1e-9)[..., None]
        x = np.stack([self.of(column) for column in self.x.T], axis=-1) / mass
        yield Progress("smoothing", 0.3, 1.0)
        y = np.stack([self.of(column) for column in values.T], axis=-1) / mass
        spread, shared = np.empty((*self.shape, c, c)), np.empty((*self.shape, c, c))
        for i, j in product(range(c), repeat=2):
            if i <= j:
                spread[..., i, j] = self.of(self.x[:, i] * self.x[:, j])
                spread[..., j, i] = spread[..., i, j]
            shared[..., i, j] = self.of(self.x[:, i] * values[:, j])
            yield Progress("smoothing", 0.3 + 0.6 * (i * c + j + 1) / c**2, 1.0)
        spread = spread / mass[..., None] - x[..., :, None] * x[..., None, :]
        shared = shared / mass[..., None] - x[..., :, None] * y[..., None, :]
        ridge = (_DOUBT / mass[..., None]) * np.eye(c)
        slope = np.linalg.solve(spread + ridge, shared)
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


def _agreement(sums: _Sums, units: Floats) -> tuple[Floats, Floats]:
    """Return the mean cosine between two cells' arrows at the nodes, and what chance can make."""
    n = sums.effective(_WIDER)
    mass = np.maximum(sums.of(np.ones(len(units)), _WIDER), 1e-9)
    squared = sum(np.square(sums.of(column, _WIDER) / mass) for column in units.T)
    others = np.maximum(n - 1.0, 0.5)
    return np.clip((n * squared - 1.0) / others, 0.0, 1.0), _CHANCE / others
