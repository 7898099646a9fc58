"""Which of many lines are drawn, and how much of each: long ones first, none too near another.

Shapes: s lines, c axes.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.tracing import Traced

_BOXES_PER_DISTANCE = 3
"""Boxes in which it is noted how near the next line is."""
_SQUEEZE = 0.5
"""Lines begin a distance apart, and go on till they are this much of it apart: Jobard and Lefer
1997."""
_ROUND = 4.0
"""Distances after which a line that is where it was has come round."""


class _Ground:
    """How far it is from every box to the nearest line that is drawn already."""

    def __init__(self, low: Floats, high: Floats, distance: float) -> None:
        self.low, self.box = low, distance / _BOXES_PER_DISTANCE
        self.pad = _BOXES_PER_DISTANCE + 1
        self.shape = tuple(
            int(n) for n in np.ceil((high - low) / self.box).astype(int) + 1 + 2 * self.pad
        )
        self.nearest = np.full(math.prod(self.shape), np.inf)
        reach = np.arange(-self.pad, self.pad + 1)
        around = np.stack(np.meshgrid(*[reach] * len(low), indexing="ij"), axis=-1)
        around = around.reshape(-1, len(low))
        away = np.linalg.norm(around, axis=1) * self.box
        near = away < distance
        steps = np.cumprod([1, *self.shape[:0:-1]])[::-1]
        self.offsets, self.away = around[near] @ steps, away[near]

    def boxes(self, points: Floats) -> Ints:
        """Return the number of the box of each point."""
        at = ((points - self.low) / self.box).astype(np.int64) + self.pad
        return np.asarray(np.ravel_multi_index(tuple(at.T), self.shape, mode="clip"))

    def draw(self, boxes: Ints) -> None:
        """Note a line that goes through boxes."""
        passed = np.unique(boxes)
        around = (passed[:, None] + self.offsets).ravel()
        np.minimum.at(self.nearest, around, np.tile(self.away, len(passed)))


def spaced_job(
    traced: Traced, low: Floats, high: Floats, distance: float, step: float, shortest: float
) -> Job[list[tuple[int, int, int]]]:
    """Choose lines, the longest first, each cut where it comes too near one chosen before.

    Parameters
    ----------
    low, high
        (c,) corners of what is drawn on.
    distance
        Between one line and the next where they begin.
    step
        Length of a step of the lines.
    shortest
        Length below which a line is not worth drawing.

    Returns
    -------
    Line, first point and the one after its last, for each that is drawn.
    """
    ground = _Ground(low, high, distance)
    fewest = max(int(shortest / step), 3)
    begin, boxes = traced.begin.copy(), []
    for k, last in enumerate(traced.end):
        passed = ground.boxes(traced.points[k, begin[k] : last])
        part = _once(passed, traced.middle - int(begin[k]), int(_ROUND * distance / step))
        begin[k] += part.start
        boxes.append(passed[part])
    heap = [(-len(on), k) for k, on in enumerate(boxes) if len(on) >= fewest]
    heapq.heapify(heap)
    total, pace, chosen = max(len(heap), 1), Pace(), []
    while heap:
        believed, k = heapq.heappop(heap)
        seed = traced.middle - int(begin[k])
        first, last = _free(ground.nearest[boxes[k]], seed, distance)
        if last - first < fewest:
            continue
        # Lines only become shorter: one that is still the longest is the longest of all.
        if first - last > believed and heap and first - last > heap[0][0]:
            heapq.heappush(heap, (first - last, k))
            continue
        ground.draw(boxes[k][first:last])
        chosen.append((k, int(begin[k]) + first, int(begin[k]) + last))
        if pace.due():
            yield Progress("spacing", total - len(heap), total)
    return chosen


def _once(boxes: Ints, seed: int, long: int) -> slice:
    """Return the part of a line around its seed that comes back to no place, as spirals do.

    A box that a line passes again is passed before long, or it has come round.
    """
    order = np.concatenate([np.arange(seed, len(boxes)), np.arange(seed - 1, -1, -1)])
    _, first, which = np.unique(boxes[order], return_index=True, return_inverse=True)
    again = order[np.abs(order - order[first][which]) > long]
    after, before = again[again > seed], again[again < seed]
    return slice(int(before.max(initial=-1)) + 1, int(after.min(initial=len(boxes))))


def _free(nearest: Floats, seed: int, distance: float) -> tuple[int, int]:
    """Return the part of a line around its seed that is far enough from all others."""
    if nearest[seed] < distance:
        return 0, 0
    taken = np.flatnonzero(nearest < _SQUEEZE * distance)
    after = int(np.searchsorted(taken, seed))
    first = int(taken[after - 1]) + 1 if after else 0
    return first, int(taken[after]) if after < len(taken) else len(nearest)
