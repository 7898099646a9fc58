"""The layers of a landscape: ground, lines of equal potential, and the cells on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers.landscape_ground import ground
from napari_celldyn.layers.landscape_terrain import contours, terrain
from napari_celldyn.layers.movers import ROUND_LIMIT
from napari_celldyn.layers.points import PointsCells

if TYPE_CHECKING:
    from napari.layers import Layer, Surface

    from napari_celldyn.layers.landscape_relief import Relief

NAME = "cells on the landscape"
DARK = (0.04, 0.07, 0.11, 1.0)
"""Of lines on the ground."""


class Scene:
    """Makes the layers, and gives them other heights.

    Parameters
    ----------
    relief
        Where the ground is.
    places
        (n, 3) x, y and z of the cells.
    size
        Of a cell, in the unit of the canvas.
    unit
        As napari names it.
    """

    def __init__(
        self, relief: Relief, places: NDArray[np.floating], size: float, unit: str
    ) -> None:
        options: dict[str, Any] = {"units": (unit,) * 3, "metadata": {"celldyn": True}}
        self.ground: Surface = terrain(relief, **options)
        self.lines: Surface = contours(relief, DARK, **options)
        self.cells = PointsCells(
            places,
            size,
            has_bar=False,
            name=NAME,
            shading="spherical" if len(places) <= ROUND_LIMIT else "none",
            **options,
        )

    @property
    def layers(self) -> list[Layer]:
        """All of them, the lowest first."""
        return [self.ground, self.lines, self.cells.layer]

    def raise_to(self, relief: Relief, places: NDArray[np.floating]) -> None:
        """Give ground, lines and cells their places on a relief of the same surface."""
        self.ground.vertices = ground(relief).vertices[:, ::-1]
        self.lines.vertices = contours(relief, DARK).vertices
        self.cells.layer.data = places[:, ::-1]
