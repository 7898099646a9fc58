"""Lines along which cells flow on an embedding, or on the tissue.

Shapes: n cells, c axes of the embedding (2 or 3), m_i points of line i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import ConfigError
from celldyn.jobs import Job, run
from celldyn.landscape.graph import Floats
from celldyn.landscape.gridding import ArrowGrid, arrow_grid_job
from celldyn.landscape.spacing import spaced_job
from celldyn.landscape.tracing import STEP, Between, trace_job

_APART = {2: 1 / 28, 3: 1 / 14}
"""Distance between lines at a density of 1, over the longest side of what is drawn."""
_SHORTEST = 1.2
"""Length of the shortest line, in distances between lines."""
_SEEDS_PER_DISTANCE = {2: 2.0, 3: 1.5}
_MOST_SEEDS = 6000


@dataclass(frozen=True, slots=True)
class Streamlines:
    """Lines that follow the arrows, evenly spaced, each from where it comes to where it goes.

    Parameters
    ----------
    lines
        (m_i, c) each, in the embedding's units.
    speeds
        (m_i,) each: length of the smoothed arrow there, in the embedding's units per time.
    time
        (m_i,) each: time since the line's first point.
    """

    lines: list[Floats]
    speeds: list[Floats]
    time: list[Floats]

    def __len__(self) -> int:
        return len(self.lines)


def streamlines(
    embedding: ArrayLike,
    arrows: ArrayLike,
    *,
    density: float = 1.0,
    smooth: float = 1.0,
    min_mass: float = 0.1,
    min_agreement: float = 0.2,
    max_length: float = 2.0,
) -> Streamlines:
    """Return lines that follow the arrows of cells, evenly spaced.

    Arrows are smoothed to a grid first (`arrow_grid`). Lines are traced from places all over it,
    and the longest are kept, each as far as it stays away from those kept before. No line is
    drawn where there are no cells, or where the arrows of neighbours do not agree: an incoherent
    field has no lines.

    Parameters
    ----------
    embedding, arrows
        (n, c) places and arrows (`project_velocity`).
    density
        Lines per distance, over the default: twenty-eight across the longest side in the plane.
    smooth, min_mass, min_agreement
        Of the grid; see `arrow_grid`.
    max_length
        Of a line each way from where it was begun, in longest sides of the embedding.

    Raises
    ------
    DataError
        If arrays do not fit each other, or all cells are at one place.
    ConfigError
        If a parameter is out of its bounds.
    """
    job = streamlines_job(
        embedding, arrows, density=density, smooth=smooth, min_mass=min_mass,
        min_agreement=min_agreement, max_length=max_length,
    )  # fmt: skip
    return run(job, bar=False)


def streamlines_job(
    embedding: ArrayLike,
    arrows: ArrayLike,
    *,
    density: float = 1.0,
    smooth: float = 1.0,
    min_mass: float = 0.1,
    min_agreement: float = 0.2,
    max_length: float = 2.0,
) -> Job[Streamlines]:
    """Draw streamlines as a job; see `streamlines`."""
    for name, value in (("density", density), ("max_length", max_length)):
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}", "give a number above 0")
    grid = yield from arrow_grid_job(
        embedding, arrows, smooth=smooth, min_mass=min_mass, min_agreement=min_agreement
    )
    return (yield from lines_on_grid_job(grid, density=density, max_length=max_length))


def lines_on_grid_job(
    grid: ArrowGrid, *, density: float = 1.0, max_length: float = 2.0
) -> Job[Streamlines]:
    """Draw streamlines through a grid of arrows, as a job; see `streamlines`."""
    low, high = (np.array([axis[end] for axis in grid.axes]) for end in (0, -1))
    c, longest = len(grid.axes), float((high - low).max())
    apart = longest * _APART[c] / density
    seeds = _seeds(grid, apart / _SEEDS_PER_DISTANCE[c])
    traced = yield from trace_job(grid, seeds, max_length * longest, apart / 4)
    step = STEP * float(grid.spacing[0])
    chosen = yield from spaced_job(traced, low, high, apart, step, _SHORTEST * apart)
    lines = [traced.points[k, first:last].copy() for k, first, last in chosen]
    field = Between(grid)
    speeds = [np.linalg.norm(field(line), axis=1) for line in lines]
    return Streamlines(lines, speeds, [_times(*pair) for pair in zip(lines, speeds, strict=True)])


def _seeds(grid: ArrowGrid, apart: float) -> Floats:
    """Return places all over where arrows mean something, (s, c), about that far apart."""
    while True:
        step = max(apart, float(grid.spacing[0]))
        axes = [np.arange(a[0] + step / 2, a[-1] + step / 2, step) for a in grid.axes]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        inside = places[Between(grid).inside(places)]
        if len(inside) <= _MOST_SEEDS:
            return np.asarray(inside)
        apart = 1.2 * step


def _times(line: Floats, speed: Floats) -> Floats:
    """Return the time since the first point, (m,)."""
    length = np.linalg.norm(np.diff(line, axis=0), axis=1)
    mean = np.maximum((speed[1:] + speed[:-1]) / 2, np.finfo(float).tiny)
    return np.concatenate([[0.0], np.cumsum(length / mean)])
