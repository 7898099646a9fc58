"""Lines traced through a grid of arrows, all at once, upstream and downstream of where they begin.

Shapes: s lines, c axes, t steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.gridding import ArrowGrid
from celldyn.landscape.places import Mask

STEP = 0.5
"""Length of a step, in nodes of the grid."""
_SLOWEST = 1e-3
"""Of the middling speed: slower is rest."""
_TURN = 0.0
"""Cosine between a step and the next below which a line has run into a point of rest."""
_AWAY = 3.0
"""Closing distances that a line must have gone before it can come back."""


@dataclass(frozen=True, slots=True)
class Traced:
    """Candidates of streamlines.

    Parameters
    ----------
    points
        (s, 2 t + 1, c) upstream end to downstream end; the seed is in the middle.
    begin, end
        (s,) the first point of each line, and the one after its last.
    """

    points: Floats
    begin: Ints
    end: Ints

    @property
    def middle(self) -> int:
        """Number of the point that lines were begun at."""
        return int(self.points.shape[1] // 2)


class Between:
    """Arrows between the nodes, by multilinear interpolation."""

    def __init__(self, grid: ArrowGrid) -> None:
        self.origin = np.array([axis[0] for axis in grid.axes])
        self.step = float(grid.spacing[0])
        self.shape = grid.there.shape
        self.there = grid.there.ravel()
        self.arrows = np.where(grid.there[..., None], grid.arrows, 0.0)
        self.arrows = self.arrows.reshape(-1, len(self.shape))

    def __call__(self, places: Floats) -> Floats:
        """Return the arrows at places, (s, c); beyond the grid those at its edge."""
        at = np.clip((places - self.origin) / self.step, 0.0, np.array(self.shape) - 1.0)
        low = np.minimum(at.astype(np.int64), np.array(self.shape) - 2)
        share = at - low
        found = np.zeros(places.shape)
        for corner in product((0, 1), repeat=len(self.shape)):
            weight = np.where(np.array(corner), share, 1.0 - share).prod(axis=1)
            flat = np.ravel_multi_index(tuple((low + np.array(corner)).T), self.shape)
            found += weight[:, None] * self.arrows[flat]
        return found

    def inside(self, places: Floats) -> Mask:
        """Whether the node nearest to each place has an arrow that means something, (s,)."""
        at = np.rint((places - self.origin) / self.step).astype(np.int64)
        on = ((at >= 0) & (at < np.array(self.shape))).all(axis=1)
        flat = np.ravel_multi_index(tuple(at.T), self.shape, mode="clip")
        return np.asarray(on & self.there[flat])


def trace_job(grid: ArrowGrid, seeds: Floats, length: float, closing: float) -> Job[Traced]:
    """Trace lines from seeds, (s, c), up and down as far as `length`, or to where flow ends.

    A line that comes back to within `closing` of its seed has come round, and ends.
    """
    field = Between(grid)
    step = STEP * field.step
    n_steps = max(int(length / step), 1)
    points = np.full((len(seeds), 2 * n_steps + 1, seeds.shape[1]), np.nan)
    points[:, n_steps] = seeds
    lines = np.arange(len(seeds))
    end, closed = yield from _onward_job(field, points, lines, 1, step, closing)
    start = np.full(len(seeds), n_steps)
    open_ = lines[~closed]
    # A line that is closed has been all the way round.
    start[open_] = (yield from _onward_job(field, points, open_, -1, step, closing))[0]
    return Traced(points, start, end + 1)


def _onward_job(
    field: Between, points: Floats, lines: Ints, sign: int, step: float, closing: float
) -> Job[tuple[Ints, Mask]]:
    """Fill points from the middle on, and return the last of each line and whether it closed."""
    middle = points.shape[1] // 2
    last, closed = np.full(len(lines), middle), np.zeros(len(lines), dtype=bool)
    slowest = _SLOWEST * _middling(field)
    active = np.arange(len(lines))
    x = points[lines, middle]
    seed, before = x, np.zeros_like(x)
    pace = Pace()
    for k in range(1, middle + 1):
        if not active.size:
            break
        move, moving = _step(field, x, sign * step, slowest)
        straight = (move * before).sum(axis=1) >= _TURN * step**2
        going = moving & field.inside(x + move) & straight
        active, x, before = active[going], (x + move)[going], move[going]
        seed = seed[going]
        points[lines[active], middle + sign * k] = x
        last[active] = middle + sign * k
        back = (np.linalg.norm(x - seed, axis=1) < closing) & (k * step > _AWAY * closing)
        closed[active[back]] = True
        active, x, before, seed = active[~back], x[~back], before[~back], seed[~back]
        if pace.due():
            yield Progress("tracing", (sign < 0) / 2 + 0.5 * k / middle, 1.0)
    return last, closed


def _step(field: Between, x: Floats, step: float, slowest: float) -> tuple[Floats, Mask]:
    """Return a step of the classical Runge-Kutta scheme, and whether there is one.

    Lines are parametrised by their length: arrows count by direction alone.
    """
    first, speed = _directed(field(x))
    second, _ = _directed(field(x + 0.5 * step * first))
    third, _ = _directed(field(x + 0.5 * step * second))
    fourth, _ = _directed(field(x + step * third))
    return step / 6 * (first + 2 * second + 2 * third + fourth), speed > slowest


def _directed(arrows: Floats) -> tuple[Floats, Floats]:
    length = np.linalg.norm(arrows, axis=1)
    return arrows / np.maximum(length, 1e-300)[:, None], length


def _middling(field: Between) -> float:
    length = np.linalg.norm(field.arrows, axis=1)
    return float(np.median(length[length > 0])) if (length > 0).any() else 0.0
