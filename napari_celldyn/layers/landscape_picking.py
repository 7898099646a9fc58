"""Which cell of a landscape is under the mouse: along a ray, in front of whatever hides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from napari_celldyn.layers.landscape_relief import Relief

_MARCH = 512
"""Places of the ray that are held against the relief."""


def pick_along(
    cells: NDArray[np.floating],
    origin: ArrayLike,
    direction: ArrayLike,
    radius: float,
    *,
    seen_to: float = np.inf,
) -> int | None:
    """Return the cell that a ray meets first, or None where it meets none.

    Of cells that lie equally far in front, give or take a cell, that nearest to the ray counts.

    Parameters
    ----------
    cells
        (n, 3) places; a cell without one is met by no ray.
    origin, direction
        (3,) a point of the ray and its unit direction, away from the eye.
    radius
        How far from the ray a cell's centre may be.
    seen_to
        Along the ray from the origin; what lies beyond is hidden.
    """
    away = np.asarray(cells, float) - np.asarray(origin, float)
    ahead = np.asarray(direction, float)
    along = away @ ahead
    aside = np.einsum("ij,ij->i", away, away) - along**2
    met = np.flatnonzero((aside <= radius**2) & (along <= seen_to))
    if not len(met):
        return None
    front = met[along[met] <= along[met].min() + 2 * radius]
    return int(front[np.argmin(aside[front])])


def ground_at(origin: ArrayLike, direction: ArrayLike) -> NDArray[np.float64] | None:
    """Return x and y where a ray meets the plane of the tissue, z = 0; None if it does not."""
    start, ahead = np.asarray(origin, float), np.asarray(direction, float)
    if abs(ahead[2]) < 1e-9:
        return None
    return np.asarray((start - ahead * (start[2] / ahead[2]))[:2])


class Hiding:
    """Knows how far along a ray the relief lets one see.

    Parameters
    ----------
    relief
        Where there is no triangle of its surface, it hides nothing.
    """

    def __init__(self, relief: Relief) -> None:
        self._relief = relief
        vertices, _ = relief.mesh()
        self._low = vertices.min(axis=0) if len(vertices) else np.zeros(3)
        self._high = vertices.max(axis=0) if len(vertices) else np.zeros(3)
        self._covered = _covered(relief)

    def seen_to(self, origin: ArrayLike, direction: ArrayLike) -> float:
        """Return how far along a ray it enters the relief; inf if it does not.

        The origin may be any point of the ray, as napari's is: before it distances are below 0.
        """
        start, ahead = np.asarray(origin, float), np.asarray(direction, float)
        first, last = _inside_box(start, ahead, self._low, self._high)
        if not first < last:
            return float("inf")
        along = np.linspace(first, last, _MARCH)
        places = start + along[:, None] * ahead
        plane = self._relief.plane(places[:, :2])
        below = places[:, 2] < self._relief.points(plane)[:, 2] - 1e-9
        hit = np.flatnonzero(below & self._is_covered(plane))
        return float(along[hit[0]]) if len(hit) else float("inf")

    def _is_covered(self, plane: NDArray[np.floating]) -> NDArray[np.bool_]:
        index, inside = [], np.ones(len(plane), bool)
        for axis, x in zip(self._relief.surface.axes, plane.T, strict=True):
            box = np.floor((x - axis[0]) / (axis[1] - axis[0])).astype(int)
            inside &= (box >= 0) & (box < len(axis) - 1)
            index.append(np.clip(box, 0, len(axis) - 2))
        return np.asarray(inside & self._covered[index[0], index[1]])


def _covered(relief: Relief) -> NDArray[np.bool_]:
    """Return which boxes of the surface's grid hold a triangle, (nx − 1, ny − 1)."""
    surface = relief.surface
    boxes = np.zeros([len(axis) - 1 for axis in surface.axes], bool)
    if len(surface.faces):
        middles = np.asarray(surface.vertices)[np.asarray(surface.faces), :2].mean(axis=1)
        index = [
            np.clip(((x - axis[0]) / (axis[1] - axis[0])).astype(int), 0, len(axis) - 2)
            for axis, x in zip(surface.axes, middles.T, strict=True)
        ]
        boxes[index[0], index[1]] = True
    return boxes


def _inside_box(
    start: NDArray[np.floating],
    ahead: NDArray[np.floating],
    low: NDArray[np.floating],
    high: NDArray[np.floating],
) -> tuple[float, float]:
    """Return from where to where a ray is inside a box; the second is less if it never is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.stack([(low - start) / ahead, (high - start) / ahead])
    sides = np.nan_to_num(sides, nan=0.0)
    return float(sides.min(axis=0).max()), float(sides.max(axis=0).min())
