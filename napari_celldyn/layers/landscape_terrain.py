"""The ground that cells lie on: a lit surface under lines of equal potential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Surface
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_celldyn.layers.landscape_ground import ground
from napari_celldyn.layers.landscape_ribbons import Ribbons, ribbons

if TYPE_CHECKING:
    from celldyn.landscape.surfaces import PotentialSurface
    from napari_celldyn.layers.landscape_relief import Relief

NAME, CONTOURS_NAME = "potential landscape", "lines of equal potential"
N_CONTOURS = 14
CONTOUR_WIDTH = 0.0016
"""Of a line, in sides of the embedding."""

CONTOUR_ABOVE = 0.0012
"""Over the ground, in sides of the embedding."""

_STOPS = (
    (0.15, 0.26, 0.40),
    (0.25, 0.43, 0.53),
    (0.44, 0.59, 0.61),
    (0.69, 0.73, 0.66),
    (0.89, 0.85, 0.75),
    (0.99, 0.97, 0.93),
)
"""Pale, so that the colours of the cells are the ones that tell something."""


def terrain(relief: Relief, **options: Any) -> Surface:  # noqa: ANN401
    """Return the ground as a layer whose values are V; `options` are napari's."""
    mesh = ground(relief)
    low, high = float(mesh.values.min()), float(mesh.values.max())
    return Surface(
        (mesh.vertices[:, ::-1], mesh.faces, mesh.values),
        name=NAME,
        colormap=Colormap(list(_STOPS), name="relief"),
        contrast_limits=(low, high if high > low else low + 1.0),
        shading="smooth",
        **options,
    )


def contours(relief: Relief, colour: tuple[float, ...], **options: Any) -> Surface:  # noqa: ANN401
    """Return lines of equal V on the ground as a layer."""
    drawn = contour_ribbons(relief.surface, CONTOUR_WIDTH * relief.place.side / relief.place.scale)
    vertices = relief.points(drawn.vertices, CONTOUR_ABOVE * relief.place.side)
    return Surface(
        (vertices[:, ::-1], drawn.faces),
        vertex_colors=np.tile(np.asarray(colour, np.float32), (len(vertices), 1)),
        name=CONTOURS_NAME,
        shading="none",
        opacity=0.35,
        **options,
    )


def contour_ribbons(surface: PotentialSurface, width: float) -> Ribbons:
    """Return lines of equal V, evenly spaced in V, in the plane of the embedding."""
    values = np.asarray(surface.values, float)
    levels = np.linspace(values.min(), values.max(), N_CONTOURS + 2)[1:-1]
    parts = [_crossings(surface, level) for level in levels]
    segments = np.concatenate([np.empty((0, 2, 2)), *parts])
    return ribbons(list(segments), width)


def _crossings(surface: PotentialSurface, level: float) -> NDArray[np.float64]:
    """Return where the plane V = level cuts the triangles, (s, 2, 2): one segment in each."""
    plane = np.asarray(surface.vertices, float)[:, :2]
    faces = np.asarray(surface.faces, np.intp)
    values = np.asarray(surface.values, float)[faces]
    above = values > level
    count = above.sum(axis=1)
    cut = np.flatnonzero((count == 1) | (count == 2))
    # The corner that lies on its own side of the level first: both cut edges begin at it.
    alone = np.where(count[cut] == 1, above[cut].argmax(axis=1), (~above[cut]).argmax(axis=1))
    order = (alone[:, None] + np.arange(3)) % 3
    corners = plane[np.take_along_axis(faces[cut], order, axis=1)]
    V = np.take_along_axis(values[cut], order, axis=1)
    share = (level - V[:, :1]) / (V[:, 1:] - V[:, :1])
    ends: NDArray[np.float64] = corners[:, :1] + share[:, :, None] * (
        corners[:, 1:] - corners[:, :1]
    )
    return ends
