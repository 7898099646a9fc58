"""One path from a cell to another: a line among the states, and cells along it in the tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_celldyn.layers.canvas import active_kept
from napari_celldyn.layers.streamlines import StreamlinesView, Style

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.embedding import EmbeddingView
    from napari_celldyn.layers.landscape import TerrainView
    from napari_celldyn.layers.tissue import TissueView
    from napari_celldyn.workspace import Workspace

NAME, STOPS_NAME = "path", "cells along the path"
COLOUR = "#ff5ac8"
STYLE = Style(width=2.4, colour=COLOUR)
MAX_STOPS = 60
RING, LEAST_PIXELS = 2.2, 10
"""Width of a ring about a cell along the path, in widths of a cell, and in pixels at least."""

_FROM_TO = Colormap([(1.0, 0.93, 0.98), (1.0, 0.35, 0.78), (0.62, 0.05, 0.45)], name="along")


class RouteView:
    """Draws one path where its states are: on the embedding, the landscape and the tissue.

    In the tissue cells of one state lie far apart, so that there is no line to draw there: the
    cells nearest to the path are ringed, from pale where it begins to dark where it ends.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Its tissue: with another one the path goes.
    tissue, flat, landscape
        What it is drawn on.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        tissue: TissueView,
        flat: EmbeddingView,
        landscape: TerrainView,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._tissue = workspace, tissue
        self.flat = StreamlinesView(viewer, workspace, flat, f"{NAME} on the embedding")
        self.raised = StreamlinesView(viewer, workspace, landscape, f"{NAME} on the landscape")
        for view in (self.flat, self.raised):
            view.style = STYLE
        self._cells = np.empty(0, np.intp)
        self._stops: Points | None = None
        workspace.data_changed.connect(self.hide)
        tissue.rebuilt.connect(self._mark)
        self._viewer.layers.events.removed.connect(self._on_removed)

    @property
    def cells(self) -> NDArray[np.intp]:
        """Which cells are ringed, in the order of the path; none while there is no path."""
        return self._cells

    @property
    def stops(self) -> Points | None:
        """The layer of rings in the tissue; None while there is none."""
        return self._stops

    def show_cells(self, cells: NDArray[np.integer]) -> None:
        """Ring the cells of a path in the tissue, each once, in the order of the path."""
        _, first = np.unique(cells, return_index=True)
        along = np.asarray(cells, np.intp)[np.sort(first)]
        self._cells = along[np.linspace(0, len(along) - 1, min(len(along), MAX_STOPS)).astype(int)]
        self._mark()

    def show_line(self, points: NDArray[np.floating], key: str) -> None:
        """Draw the path on an embedding, wherever that is drawn.

        Parameters
        ----------
        points
            (m, 2) in the embedding's coordinates.
        key
            Of obsm.
        """
        for view in (self.flat, self.raised):
            view.show([points], [np.ones(len(points))], key)

    def hide(self) -> None:
        """Take the path away."""
        self._cells = np.empty(0, np.intp)
        self.flat.hide()
        self.raised.hide()
        self._forget()

    def close(self) -> None:
        """Take the layers away and stop listening."""
        self.hide()
        self.flat.close()
        self.raised.close()
        self._workspace.data_changed.disconnect(self.hide)
        self._tissue.rebuilt.disconnect(self._mark)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _mark(self) -> None:
        self._forget()
        xy = self._tissue.display_xy
        if not len(self._cells) or len(xy) <= self._cells.max():
            return
        self._stops = Points(
            xy[self._cells][:, ::-1],
            ndim=2,
            name=STOPS_NAME,
            size=RING * self._tissue.cell_size,
            face_color="transparent",
            border_color=_FROM_TO.map(np.linspace(0.0, 1.0, len(self._cells))),
            border_width=0.14,
            canvas_size_limits=(LEAST_PIXELS, 10_000),
            units=(self._tissue.unit,) * 2,
            metadata={"celldyn": True},
        )
        self._stops.editable = False
        with active_kept(self._viewer):
            self._viewer.add_layer(self._stops)

    def _on_removed(self, event: Event) -> None:
        if self._stops is not None and event.value is self._stops:
            self._stops = None

    def _forget(self) -> None:
        layer, self._stops = self._stops, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
