"""Outlines of the domains of a section, to draw and to export."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celldyn.simulate.layout.domains import domains
from celldyn.simulate.layout.drawn import drawn_outlines

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from celldyn.simulate.config import SimulationConfig

_RASTER = 200
"""Pixels along the longer side."""
_SMOOTHING = 2.0
"""Corners whose triangle is below the square of this many pixels are steps of the raster."""


def domain_outlines(config: SimulationConfig, section: int) -> dict[str, BaseGeometry]:
    """Return the outline of every domain of a section.

    Parameters
    ----------
    config
        Its `domain_pattern`, `n_domains`, `domain_polygons` and `canvas_um`.
    section
        Which one.

    Returns
    -------
    Name of the domain -> shapely Polygon or MultiPolygon in µm, empty where a domain covers
    nothing. Together they cover the canvas. Exact where they were drawn; otherwise to about a
    200th of the canvas.
    """
    import shapely

    if config.domain_pattern == "drawn":
        return drawn_outlines(config)
    width, height = config.canvas_um
    if config.n_domains == 1:
        return {config.domain_names[0]: shapely.box(0, 0, width, height)}
    pixel = max(width, height) / _RASTER
    columns, rows = (max(round(side / pixel), 1) for side in (width, height))
    x, y = np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1)
    left, low = (grid.ravel() for grid in np.meshgrid(x[:-1], y[:-1]))
    right, high = (grid.ravel() for grid in np.meshgrid(x[1:], y[1:]))
    centres = np.stack([(left + right) / 2, (low + high) / 2], axis=1)
    codes = domains(config, centres, section)
    pixels = shapely.box(left, low, right, high)
    merged = [
        shapely.coverage_union_all(pixels[codes == code]) for code in range(config.n_domains)
    ]
    return dict(zip(config.domain_names, _smoothed(merged, pixel), strict=True))


def _smoothed(merged: list[BaseGeometry], pixel: float) -> list[BaseGeometry]:
    """Take the steps of the raster away, the same way on both sides of a border."""
    import shapely

    if not hasattr(shapely, "coverage_simplify") or shapely.geos_version < (3, 12, 0):
        return merged
    there = [k for k, shape in enumerate(merged) if not shape.is_empty]
    smooth = shapely.coverage_simplify(
        [merged[k] for k in there], _SMOOTHING * pixel, simplify_boundary=False
    )
    # At no tolerance: only what lies in line, as along the canvas, is dropped.
    smooth = shapely.coverage_simplify(smooth, 0.0)
    for k, shape in zip(there, smooth, strict=True):
        merged[k] = shape
    return merged
