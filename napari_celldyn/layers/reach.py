"""How far a radius reaches around chosen cells: circles on the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from napari_celldyn.layers.canvas import active_kept

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

NAME = "reach"
COLOUR = "#e69f00"
MAX_CIRCLES = 50
"""Round more cells the circles would hide the tissue: every k-th has one."""

LINE_SHARE = 0.025
"""Width of the line, in radii."""


class ReachRings:
    """Draws one circle per cell, in a layer that is there only as long as there are some.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._layer: Shapes | None = None
        self._unit = ""
        self._viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Shapes | None:
        """The layer of circles; None while there are none."""
        return self._layer

    def show(self, xy: NDArray[np.floating], radius: float, unit: str) -> None:
        """Draw circles in place of those that are shown.

        Parameters
        ----------
        xy
            (n, 2) their middles on the canvas.
        radius
            In the same unit.
        unit
            As napari names it.
        """
        if len(xy) == 0 or radius <= 0:
            self.hide()
            return
        middles = xy[:: -(-len(xy) // MAX_CIRCLES), ::-1]
        reach = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * radius
        circles = [middle + reach for middle in middles]
        if self._unit != unit:
            self.hide()
        if self._layer is None:
            self._layer, self._unit = self._add(unit), unit
        # Not by removing the layer: napari collects all garbage then, which takes long.
        self._layer.data = []
        self._layer.add_ellipses(
            circles,
            edge_color=COLOUR,
            edge_width=LINE_SHARE * radius,
            face_color="transparent",
        )
        self._layer.editable = False

    def _add(self, unit: str) -> Shapes:
        layer = Shapes(ndim=2, name=NAME, units=(unit, unit), metadata={"celldyn": True})
        with active_kept(self._viewer):
            self._viewer.add_layer(layer)
        return layer

    def hide(self) -> None:
        """Take the circles away."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Take the circles away and stop listening."""
        self.hide()
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_removed(self, event: Event) -> None:
        if event.value is self._layer:
            self._layer = None
