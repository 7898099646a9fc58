"""Arrows of cells smoothed onto a regular grid: where flow is drawn, and where it is not.

Shapes: n cells, c axes of the embedding (2 or 3), g nodes of the grid in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Progress, run
from celldyn.landscape.graph import Floats
from celldyn.landscape.kernel_sums import KernelSums, grid_axes, kernel_width
from celldyn.landscape.places import as_places, has_place, unit_arrows

_FEWEST = 3.0
"""Cells within the kernel without which nothing is drawn: beyond the outermost cells arrows are
those of a line through very few."""
_LONGEST = 98.0
"""Percentile of the lengths to which longer arrows are cut: a few would outweigh all others."""
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
        drawn; never less than three.
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
    sums = KernelSums(places, axes, width)
    fitted = yield from sums.regression_job(_cut(long))
    mass = sums.mass
    agreement, asked = _agreement(sums, units)
    yield Progress("smoothing", 0.95, 1.0)
    typical = float(np.median(mass[sums.nearest_node()]))
    there = (mass >= max(min_mass * typical, _FEWEST)) & (
        agreement >= np.maximum(min_agreement, asked)
    )
    there &= np.square(fitted).sum(axis=-1) > 0
    return ArrowGrid(axes, fitted, mass, agreement, there, width)


def _cut(arrows: Floats) -> Floats:
    """Return arrows of which none is longer than nearly all of them."""
    length = np.linalg.norm(arrows, axis=1)
    if not (length > 0).any():
        return arrows
    longest = np.percentile(length[length > 0], _LONGEST)
    return np.asarray(arrows * (longest / np.maximum(length, longest))[:, None])


def _agreement(sums: KernelSums, units: Floats) -> tuple[Floats, Floats]:
    """Return the mean cosine between two cells' arrows at the nodes, and what chance can make."""
    n = sums.effective(_WIDER)
    mass = np.maximum(sums.of(np.ones(len(units)), _WIDER), 1e-9)
    squared = sum(np.square(sums.of(column, _WIDER) / mass) for column in units.T)
    others = np.maximum(n - 1.0, 0.5)
    return np.clip((n * squared - 1.0) / others, 0.0, 1.0), _CHANCE / others
