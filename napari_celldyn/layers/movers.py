"""Cells on their way: marks that move from frame to frame, many times a second."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray

from napari_celldyn.layers.canvas import active_kept

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap

    from napari_celldyn.layers.colours import RGBA, Limits

NAME = "cells on their way"
ROUND_LIMIT = 30_000
"""Up to so many cells look like spheres, which without a graphics card takes twice as long."""

DIMMED = 0.25
"""Opacity of the cells at their own places meanwhile."""


class Movers:
    """One layer of cells that move over those that stay.

    Each move writes the places alone into what the graphics card has of the layer: of 100,000
    cells 2 ms instead of the 100 ms that `layer.data = places` takes, since that makes sizes,
    symbols and colours anew. The layer's own data follow at every `settle`.

    Parameters
    ----------
    viewer
        The viewer itself, not napari's proxy of it.
    places
        (n, 2 or 3) x, y and z where they start.
    size
        Of a mark, in the unit of the places.
    rgba
        (n, 4) their colours.
    over
        The layer of the same cells at rest, which is dimmed meanwhile.
    unit
        As napari names it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        places: NDArray[np.floating],
        size: float,
        rgba: RGBA,
        over: Layer | None,
        unit: str,
    ) -> None:
        self._viewer = viewer
        self._over, self._opacity = over, 1.0 if over is None else float(over.opacity)
        n_axes = places.shape[1]
        self.layer = Points(
            _drawable(places),
            ndim=n_axes,
            name=NAME,
            size=size,
            face_color=np.asarray(rgba),
            border_width=0,
            canvas_size_limits=(0, 10_000),
            shading="spherical" if n_axes == 3 and len(places) <= ROUND_LIMIT else "none",
            units=(unit,) * n_axes,
            metadata={"celldyn": True},
        )
        self.layer.editable = False
        self._places = self.layer.data
        self._rgba: RGBA = np.asarray(rgba)
        self._bar: tuple[Limits, str] | None = None
        with active_kept(viewer):
            viewer.add_layer(self.layer)
        if over is not None:
            over.opacity = DIMMED * self._opacity

    def move(self, places: NDArray[np.floating]) -> None:
        """Draw the cells at (n, 2 or 3) places."""
        self._places = _drawable(places)
        if not write_places(self._viewer, self.layer, self._places):
            self.layer.data = self._places

    def settle(self) -> None:
        """Tell the layer itself where its cells are by now, and in which colours."""
        if self._places is not self.layer.data:
            self.layer.data = self._places
            self._places = self.layer.data
        self._settle_colours()

    def paint(self, rgba: RGBA) -> None:
        """Give the cells other colours, (n, 4)."""
        self._rgba = np.asarray(rgba)
        if not write_colours(self._viewer, self.layer, self._rgba):
            self.settle()

    def show_bar(self, limits: Limits, colormap: Colormap) -> None:
        """Show what values the colours mean."""
        shown = (limits, colormap.name)
        if shown == self._bar:
            return
        self._bar = shown
        self.settle()  # the bar's colours make napari draw all that the layer itself knows
        layer = self.layer
        layer.face_colormap, layer.face_contrast_limits = colormap, limits
        layer.face_colorbar.visible = True

    def hide_bar(self) -> None:
        """Show no bar: the colours are those of categories, or of another layer's bar."""
        self._bar = None
        self.layer.face_colorbar.visible = False

    def _settle_colours(self) -> None:
        if not np.array_equal(self.layer.face_color, self._rgba):
            with self.layer.events.face_color.blocker():
                self.layer.face_color = self._rgba

    def close(self) -> None:
        """Take the layer away; the cells at rest are seen again as before."""
        if self._over is not None:
            self._over.opacity = self._opacity
        if self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)


def _drawable(places: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return places in napari's order of axes; a cell without one is far below the canvas."""
    found = np.asarray(places, np.float32)[:, ::-1]
    return np.nan_to_num(found, nan=-1e7)


def write_places(viewer: Any, layer: Points, places: NDArray[np.float32]) -> bool:  # noqa: ANN401
    """Write places into the vertices of a layer's markers; False where that cannot be done.

    Parameters
    ----------
    viewer
        With a window, or it has no markers.
    layer
        Of as many points.
    places
        (n, 2 or 3), in the layer's own order of axes.
    """
    n_axes = places.shape[1]
    return _write(viewer, layer, "a_position", slice(n_axes), places[:, ::-1])


def write_colours(viewer: Any, layer: Points, rgba: RGBA) -> bool:  # noqa: ANN401
    """Write (n, 4) colours into the same; False where that cannot be done."""
    return _write(viewer, layer, "a_bg_color", slice(4), rgba)


def _write(
    viewer: Any,  # noqa: ANN401
    layer: Points,
    what: str,
    columns: slice,
    values: NDArray[np.floating],
) -> bool:
    # napari offers no way to move points alone; where it is otherwise made, the slow way holds.
    with suppress(AttributeError, KeyError, TypeError, ValueError, IndexError):
        visual = viewer.window._qt_viewer.canvas.layer_to_visual[layer]
        markers = visual.node.points_markers
        held = markers._data
        if held is None or len(held) != len(values):
            return False
        held[what][:, columns] = values
        markers._vbo.set_data(held)
        markers.update()
        return True
    return False
