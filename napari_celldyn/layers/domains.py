"""Domains of a tissue: a few named outlines, as a Shapes layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from celldyn.data import Polygons
from celldyn.data.palette import default_colours
from napari_celldyn.layers.colours import category_table

MAX_CORNERS = 400
"""A domain's outline is thinned to about this many corners: napari triangulates each."""


LINE_PIXELS = 2.5
"""Width of the lines, kept as one zooms."""

ZOOM_STEP = 1.4


def domains_layer(
    domains: Mapping[str, Any],
    ink: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    **options: Any,  # noqa: ANN401
) -> Shapes:
    """Return a layer of named outlines.

    Parameters
    ----------
    domains
        Name to shapely polygon or multipolygon, in the coordinates of the cells as drawn.
    ink
        Colour of the names.
    options
        Passed on to `napari.layers.Shapes`.
    """
    names = list(domains)
    held = Polygons.from_shapely(list(domains.values()), np.arange(len(names)))
    rings = [_thinned(ring[:, ::-1]) for ring in np.split(held.vertices, held.start[1:-1])]
    rings = rings if len(held) else []
    colours = category_table(default_colours(max(len(names), 1)))
    of = held.ids.astype(np.intp)
    # Of several parts the largest bears the name.
    sizes = [float(np.prod(np.ptp(ring, axis=0))) for ring in rings]
    largest = {int(k): max(np.flatnonzero(of == k), key=lambda i: sizes[i]) for k in np.unique(of)}
    labels = [names[k] if largest[int(k)] == i else "" for i, k in enumerate(of)]
    faces = colours[of].copy()
    faces[:, 3] = 0.06
    layer = Shapes(
        rings or None,
        ndim=2,
        shape_type="polygon",
        edge_width=1.0,
        edge_color=colours[of] if rings else "white",
        face_color=faces if rings else "transparent",
        features={"domain": [names[k] for k in of], "label": labels},
        text={"string": "{label}", "size": 14, "color": np.array(ink)} if rings else None,
        opacity=0.95,
        **options,
    )
    layer.editable = False
    return layer


def keep_width(layer: Shapes, pixels_per_unit: float) -> None:
    """Give the lines their width in pixels at another zoom; a small step changes nothing."""
    width = LINE_PIXELS / max(pixels_per_unit, 1e-9)
    held = layer.edge_width[0] if layer.nshapes else width
    if not 1 / ZOOM_STEP < width / held < ZOOM_STEP:
        layer.edge_width = [width] * layer.nshapes
        layer.refresh()  # which setting the width leaves out


def _thinned(ring: NDArray[np.floating]) -> NDArray[np.floating]:
    return ring[:: max(1, len(ring) // MAX_CORNERS)]
