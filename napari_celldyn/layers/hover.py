"""The cell under the mouse, ringed wherever it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points

from napari_celldyn.layers.canvas import active_kept
from napari_celldyn.layers.selection import marks_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.cells_view import CellsView
    from napari_celldyn.workspace import Workspace

NAME = "cell under the mouse"
COLOUR = "#ffd23f"
RING = 2.0
"""Width of a ring, in widths of a cell."""

LEAST_PIXELS = 14


class HoverMarks:
    """Rings the hovered cell in each view, as soon as more than one draws the cells.

    With the tissue alone the mouse itself says which cell it is.

    Parameters
    ----------
    viewer
        The napari viewer.
    workspace
        Says which cell is under the mouse.
    views
        Know where it is drawn.
    """

    def __init__(
        self, viewer: ViewerModel, workspace: Workspace, views: Sequence[CellsView]
    ) -> None:
        self._viewer = viewer
        self._workspace = workspace
        self._views = tuple(views)
        self._layer: Points | None = None
        workspace.hovered_changed.connect(self._refresh)
        for view in self._views:
            view.rebuilt.connect(self._on_rebuilt)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Points | None:
        """The layer of rings; None until two views were hovered over."""
        return self._layer

    def close(self) -> None:
        """Take the rings away and stop listening."""
        self._workspace.hovered_changed.disconnect(self._refresh)
        for view in self._views:
            view.rebuilt.disconnect(self._on_rebuilt)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._remove_layer()

    def _refresh(self) -> None:
        cell = self._workspace.hovered
        shown = [view for view in self._views if view.in_sight]
        if self._layer is None and (cell is None or len(shown) < 2):
            return
        cells = np.array([] if cell is None or len(shown) < 2 else [cell], np.intp)
        xy, sizes = marks_of(cells, shown, RING)
        if self._layer is None:
            self._layer = Points(
                ndim=2,
                name=NAME,
                face_color="transparent",
                border_color=COLOUR,
                border_width=0.12,
                canvas_size_limits=(LEAST_PIXELS, 10_000),
                units=(shown[0].unit, shown[0].unit),
                metadata={"celldyn": True},
            )
            self._layer.editable = False
            with active_kept(self._viewer):
                self._viewer.add_layer(self._layer)
        self._layer.data = xy[:, ::-1]
        self._layer.size = sizes if len(sizes) else 1.0
        self._layer.face_color = "transparent"
        self._layer.border_color = COLOUR

    def _on_rebuilt(self) -> None:
        """Take the ring away: it would stand where the cell was, perhaps in another unit."""
        if sum(view.layer is not None for view in self._views) < 2:
            self._remove_layer()
        else:
            self._refresh()

    def _on_removed(self, event: Event) -> None:
        if event.value is self._layer:
            self._layer = None

    def _remove_layer(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
