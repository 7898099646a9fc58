"""Domains that are drawn as polygons: which cells lie in them, and their outlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely import Polygon
    from shapely.geometry.base import BaseGeometry

    from celldyn.simulate.config import SimulationConfig

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def polygons(config: SimulationConfig) -> list[tuple[int, Polygon]]:
    """Return (domain, polygon) in the order in which they were drawn."""
    from shapely import Polygon

    codes = {name: code for code, name in enumerate(config.domain_names)}
    return [
        (codes[name], Polygon(corners))
        for name, drawn in config.domain_polygons.items()
        for corners in drawn
    ]


def drawn_codes(config: SimulationConfig) -> Callable[[Floats], Codes]:
    """Return the function from (m, 2) positions to domains; what was drawn later wins."""
    import shapely

    drawn = polygons(config)
    shapely.prepare([polygon for _, polygon in drawn])

    def classify(xy: Floats) -> Codes:
        codes = np.zeros(len(xy), dtype=np.intp)
        for code, polygon in drawn:
            low_x, low_y, high_x, high_y = polygon.bounds
            near = np.flatnonzero(
                (xy[:, 0] >= low_x)
                & (xy[:, 0] <= high_x)
                & (xy[:, 1] >= low_y)
                & (xy[:, 1] <= high_y)
            )
            codes[near[shapely.intersects_xy(polygon, *xy[near].T)]] = code
        return codes

    return classify


def drawn_outlines(config: SimulationConfig) -> dict[str, BaseGeometry]:
    """Return what is left of each domain on the canvas, exactly."""
    import shapely

    canvas = shapely.box(0, 0, *config.canvas_um)
    outlines: list[BaseGeometry] = [canvas, *([shapely.Polygon()] * (config.n_domains - 1))]
    for code, polygon in polygons(config):
        piece = polygon.intersection(canvas)
        outlines = [
            outline.union(piece) if k == code else outline.difference(piece)
            for k, outline in enumerate(outlines)
        ]
    return dict(zip(config.domain_names, outlines, strict=True))
