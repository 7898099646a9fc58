"""The potential as a relief on the canvas: where its surface stands, and what lies on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_celldyn.layers.beside import Beside, beside

if TYPE_CHECKING:
    from celldyn.landscape.surfaces import PotentialSurface

RISE = 0.45
"""Height of the relief at exaggeration 1, in sides of the embedding."""

LARGER = 1.3
"""Than the flat embedding would be beside the tissue: seen from the side it looks smaller."""

Places = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Relief:
    """Raises the plane of an embedding to its potential, at its place beside the tissue.

    The deepest valley lies in the plane of the tissue; z of the canvas points up from there.

    Parameters
    ----------
    surface
        V over the plane of the embedding, in the embedding's own coordinates.
    place
        On the canvas, of that plane after it was turned.
    exaggeration
        How steep: at 1 the whole relief is about half as high as it is wide.
    turn
        Radians by which the plane is turned, anticlockwise.
    """

    surface: PotentialSurface
    place: Beside
    exaggeration: float = 1.0
    turn: float = 0.0

    @property
    def low(self) -> float:
        """V of the deepest valley."""
        return float(np.min(self.surface.values)) if len(self.surface.values) else 0.0

    @property
    def per_unit(self) -> float:
        """Height on the canvas of one unit of V."""
        values = self.surface.values
        span = float(np.ptp(values)) if len(values) else 0.0
        return self.exaggeration * RISE * self.place.side / (span or 1.0)

    def points(self, xy: ArrayLike, above: float = 0.0) -> Places:
        """Return where points of the embedding lie on the relief.

        Parameters
        ----------
        xy
            (n, 2) in the embedding's coordinates.
        above
            How far over the relief, in units of the canvas.

        Returns
        -------
        (n, 3) x, y and z on the canvas; NaN for a point without a place.
        """
        at = np.asarray(xy, float).reshape(-1, 2)
        z = self.per_unit * (self.surface.potential_at(at) - self.low) + above
        z[~np.isfinite(at).all(axis=1)] = np.nan
        return np.column_stack([self.place.points(turned(at, self.turn)), z])

    def mesh(self) -> tuple[Places, NDArray[np.intp]]:
        """Return the vertices of the surface on the canvas, (m, 3), and its faces, (k, 3).

        Faces are wound so that napari lights them from above.
        """
        plane = np.asarray(self.surface.vertices, float)[:, :2]
        z = self.per_unit * (np.asarray(self.surface.values, float) - self.low)
        faces = np.asarray(self.surface.faces, np.intp)
        return np.column_stack([self.place.points(turned(plane, self.turn)), z]), faces

    def plane(self, xy: ArrayLike) -> Places:
        """Return which points of the embedding lie under (n, 2) places of the canvas."""
        sides = (self.place.scale, -self.place.scale)
        return turned((np.asarray(xy, float) - self.place.origin) / sides, -self.turn)


def relief_beside(
    surface: PotentialSurface,
    xy: NDArray[np.floating],
    tissue: NDArray[np.floating],
    exaggeration: float = 1.0,
) -> Relief:
    """Return the relief beside a tissue, its valleys to the front.

    Parameters
    ----------
    surface
        V over the plane of the embedding.
    xy
        (n, 2) places of the cells in the embedding; NaN for a cell that is not in it.
    tissue
        (n, 2) places of the cells in the tissue as drawn.
    exaggeration
        See `Relief`.
    """
    turn = downhill_turn(surface)
    plane = turned(xy, turn)
    place = beside(plane, tissue)
    x, y = np.nanmin(place.points(plane), axis=0) + np.nanmax(place.points(plane), axis=0)
    left, middle = x / 2 - place.side / 2, y / 2  # the left edge stays off the tissue
    origin = (
        float(left + LARGER * (place.origin[0] - left)),
        float(middle + LARGER * (place.origin[1] - middle)),
    )
    larger = Beside(origin, LARGER * place.scale, LARGER * place.side)
    return Relief(surface, larger, exaggeration, turn)


def downhill_turn(surface: PotentialSurface) -> float:
    """Return by which angle the plane is to be turned, so that V falls against its second axis.

    On the canvas that is towards who looks: nothing high then hides what lies low.
    """
    if len(surface.vertices) < 3:
        return 0.0
    plane = np.asarray(surface.vertices, float)[:, :2]
    plane = plane - plane.mean(axis=0)
    values = np.asarray(surface.values, float)
    slope = np.linalg.lstsq(plane, values - values.mean(), rcond=None)[0]
    return float(np.pi / 2 - np.arctan2(slope[1], slope[0])) if slope.any() else 0.0


def turned(xy: ArrayLike, angle: float) -> Places:
    """Return (n, 2) points turned about the origin, anticlockwise."""
    x, y = np.asarray(xy, float).reshape(-1, 2).T
    cos, sin = np.cos(angle), np.sin(angle)
    return np.column_stack([cos * x - sin * y, sin * x + cos * y])
