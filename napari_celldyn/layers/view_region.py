"""Which part of the canvas is seen, and which of a million marks lie in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

PER_BIN = 16
"""Marks that a bin of the index holds on average."""

LARGE = 4.0
"""A mark that reaches this many times further than usual is looked at by itself."""


class Region(NamedTuple):
    """A rectangle with sides along the axes, in the coordinates of the cells as drawn."""

    x0: float
    y0: float
    x1: float
    y1: float

    def grown(self, share: float) -> Region:
        """Return it with `share` of its width and height added on every side."""
        dx, dy = share * (self.x1 - self.x0), share * (self.y1 - self.y0)
        return Region(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy)

    def contains(self, other: Region) -> bool:
        """Whether the other one lies within it."""
        return (
            self.x0 <= other.x0
            and self.y0 <= other.y0
            and self.x1 >= other.x1
            and self.y1 >= other.y1
        )

    def overlap(self, other: Region) -> Region | None:
        """Return the part they share; None if they share none."""
        low = max(self.x0, other.x0), max(self.y0, other.y0)
        high = min(self.x1, other.x1), min(self.y1, other.y1)
        return Region(*low, *high) if low[0] <= high[0] and low[1] <= high[1] else None


class View(NamedTuple):
    """What the window shows of a layer: the rectangle, and pixels per unit of length."""

    region: Region
    pixels_per_unit: float


def view_of(viewer: ViewerModel, layer: Layer) -> View:
    """Return what a viewer shows of a two-dimensional layer.

    In 3-D, where the tissue can be seen at a slant, it is the square that the window fits into
    at every angle.
    """
    camera, dims = viewer.scene.camera, viewer.dims
    height, width = (max(float(side), 1.0) for side in viewer.canvas.size)
    zoom = max(float(camera.zoom), 1e-9)
    shown = dims.displayed
    half = [0.5 * height / zoom, 0.5 * width / zoom]
    if len(shown) == 3:
        half = 3 * [float(np.hypot(height, width)) / zoom]
    corners = []
    for sign in (-1.0, 1.0):
        point = list(dims.point)
        for axis, centre, reach in zip(shown, camera.center[-len(shown) :], half, strict=True):
            point[axis] = centre + sign * reach
        corners.append(np.asarray(layer.world_to_data(point), float)[-2:])
    low, high = np.minimum(*corners), np.maximum(*corners)
    return View(Region(float(low[1]), float(low[0]), float(high[1]), float(high[0])), zoom)


class GridIndex:
    """Finds the marks in a rectangle, in time that grows with how many these are.

    Parameters
    ----------
    xy
        (n, 2) finite middles of the marks.
    reach
        (n,) how far each reaches from its middle along x or y; 0 if not given.
    """

    def __init__(
        self, xy: NDArray[np.floating], reach: NDArray[np.floating] | None = None
    ) -> None:
        self.xy = xy
        n = len(xy)
        self._low = xy.min(axis=0).astype(float) if n else np.zeros(2)
        high = xy.max(axis=0).astype(float) if n else np.ones(2)
        side = float(np.sqrt(max(np.prod(high - self._low), 1e-12) * PER_BIN / max(n, 1)))
        self._side = max(side, float((high - self._low).max()) / 4096, 1e-9)
        self._shape = (1 + ((high - self._low) / self._side).astype(np.intp))[::-1]
        bins = self._bins(xy)
        self._order = np.argsort(bins, kind="stable").astype(np.int32 if n < 2**31 else np.intp)
        counts = np.bincount(bins, minlength=int(np.prod(self._shape)))
        self._start = np.concatenate([[0], np.cumsum(counts)])
        self._set_reach(reach)

    def _set_reach(self, reach: NDArray[np.floating] | None) -> None:
        self._reach, self._large = 0.0, np.empty(0, np.intp)
        self._extent = reach
        if reach is None or len(reach) == 0:
            return
        usual = LARGE * float(np.median(reach))
        self._large = np.flatnonzero(reach > usual)
        self._reach = float(reach[reach <= usual].max(initial=0.0))

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def region(self) -> Region:
        """The rectangle that holds all marks."""
        if len(self.xy) == 0:
            return Region(0.0, 0.0, 0.0, 0.0)
        reach = 0.0 if self._extent is None else self._extent[:, None]
        low, high = (self.xy - reach).min(axis=0), (self.xy + reach).max(axis=0)
        return Region(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def count(self, region: Region) -> int:
        """Return about how many marks lie in a region, never too few; those far larger apart."""
        first, last = self._runs(region)
        return int((last - first).sum())

    def holds_at_most(self, limit: int, region: Region) -> bool:
        """Whether no more than `limit` marks reach into a region."""
        count = self.count(region)
        return count <= limit or (count <= 4 * limit and len(self.rows(region)) <= limit)

    def rows(self, region: Region) -> NDArray[np.intp]:
        """Return the positions of the marks that reach into a region, in no order."""
        first, last = self._runs(region)
        runs = [self._order[a:b] for a, b in zip(first, last, strict=True) if b > a]
        near = np.concatenate(runs) if runs else np.empty(0, np.int32)
        if self._large.size:
            near = np.union1d(near, self._large)
        x, y = self.xy[near, 0], self.xy[near, 1]
        by = self._reach if self._extent is None else self._extent[near]
        inside = (x >= region.x0 - by) & (x <= region.x1 + by)
        inside &= (y >= region.y0 - by) & (y <= region.y1 + by)
        return near[inside]

    def _bins(self, xy: NDArray[np.floating]) -> NDArray[np.intp]:
        at = ((xy - self._low) / self._side).astype(np.int32)
        return at[:, 1] * int(self._shape[1]) + at[:, 0]

    def _runs(self, region: Region) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where in the order the marks of each line of bins begin and end."""
        low = np.array([region.x0, region.y0]) - self._reach
        high = np.array([region.x1, region.y1]) + self._reach
        n = self._shape[::-1]
        first = np.floor((low - self._low) / self._side)
        last = np.floor((high - self._low) / self._side)
        if len(self.xy) == 0 or (last < 0).any() or (first >= n).any():
            return np.empty(0, np.intp), np.empty(0, np.intp)
        (c0, r0), (c1, r1) = np.clip(first, 0, n - 1), np.clip(last, 0, n - 1)
        lines = np.arange(int(r0), int(r1) + 1) * int(self._shape[1])
        return self._start[lines + int(c0)], self._start[lines + int(c1) + 1]
