"""The chosen cells, ringed on the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray

from napari_celldyn.layers.canvas import active_kept, ink
from napari_celldyn.layers.movers import write_places
from napari_celldyn.workspace import Workspace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.agents import AgentsView
    from napari_celldyn.layers.cells_view import CellsView
    from napari_celldyn.layers.tissue import TissueView

NAME = "selected cells"
MAX_MARKS = 20_000
"""Of a larger selection every k-th cell is ringed: rings that dense cannot be told apart."""

RING = 1.35
"""Width of a ring, in widths of a cell."""

FEW = 300
FEW_PIXELS = 8
"""So wide at least are the rings of few cells, however far one zooms out."""

VEIL = 0.4
"""Opacity of the rings of many cells: the colours of a densely chosen region shine through."""


class SelectionMarks:
    """Rings the selected cells, in a layer that is made with the first selection and then stays.

    Parameters
    ----------
    viewer
        The napari viewer.
    workspace
        Whose selection to show.
    tissue
        Knows where the cells are drawn.
    others
        Where they are drawn as well.
    agents
        Rings follow cells on their way.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        tissue: TissueView,
        others: Sequence[CellsView] = (),
        agents: AgentsView | None = None,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace = workspace
        self._tissue = tissue
        self._views: tuple[CellsView, ...] = (tissue, *others)
        self._layer: Points | None = None
        workspace.selection_changed.connect(self.refresh)
        self._agents = agents
        for view in self._views:
            view.rebuilt.connect(self.refresh)
        if agents is not None:
            agents.changed.connect(self.refresh)
            agents.moved.connect(self._on_moved)
        self._viewer.layers.events.removed.connect(self._on_removed)
        self.refresh()

    @property
    def layer(self) -> Points | None:
        """The layer of rings; None before the first selection."""
        return self._layer

    def refresh(self) -> None:
        """Draw the rings anew."""
        cells = _thinned(self._workspace.selection)
        if self._layer is None and (len(cells) == 0 or self._tissue.layer is None):
            return
        xy, sizes = marks_of(cells, self._views, RING, self._agents)
        if self._layer is None:
            self._layer = self._add(xy, sizes)
        else:
            # Not by removing the layer: napari collects all garbage then, which takes long.
            self._layer.data = xy[:, ::-1]
            self._layer.size = sizes
        self._layer.editable = False
        few = len(cells) <= FEW
        self._layer.canvas_size_limits = (FEW_PIXELS if few else 1, 10_000)
        self._layer.opacity = 1.0 if few else VEIL

    def close(self) -> None:
        """Take the rings away and stop listening."""
        self._workspace.selection_changed.disconnect(self.refresh)
        for view in self._views:
            view.rebuilt.disconnect(self.refresh)
        if self._agents is not None:
            self._agents.changed.disconnect(self.refresh)
            self._agents.moved.disconnect(self._on_moved)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._remove_layer()

    def _on_moved(self) -> None:
        """Take rings along with cells on their way; of many cells they follow at the next stop."""
        cells = self._workspace.selection
        if self._layer is None or not 0 < len(cells) <= FEW or self._agents is None:
            return
        xy, sizes = marks_of(cells, self._views, RING, self._agents)
        places = np.ascontiguousarray(xy[:, ::-1], np.float32)
        if len(sizes) != len(self._layer.data) or not write_places(
            self._viewer, self._layer, places
        ):
            self.refresh()

    def _add(self, xy: NDArray[np.floating], sizes: NDArray[np.floating]) -> Points:
        rings = _rings(xy, sizes, self._tissue.unit, ink(self._viewer))
        with active_kept(self._viewer):
            self._viewer.add_layer(rings)
        return rings

    def _on_removed(self, event: Event) -> None:
        if event.value is self._layer:
            self._layer = None
        elif self._tissue.layer is None or event.value is self._tissue.layer:
            self._remove_layer()  # before the tissue comes back, perhaps in another unit

    def _remove_layer(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def _thinned(cells: NDArray[np.intp]) -> NDArray[np.intp]:
    return cells[:: max(1, -(-len(cells) // MAX_MARKS))]


def _rings(
    xy: NDArray[np.floating], sizes: NDArray[np.floating], unit: str, colour: str
) -> Points:
    return Points(
        xy[:, ::-1],
        ndim=2,
        name=NAME,
        size=sizes,
        face_color="transparent",
        border_color=colour,
        border_width=0.15,
        units=(unit, unit),
        metadata={"celldyn": True},
    )


def marks_of(
    cells: NDArray[np.intp],
    views: Sequence[CellsView],
    width: float,
    agents: AgentsView | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where some cells are drawn, in all views, and how wide to mark each.

    Parameters
    ----------
    cells
        (n,) positions.
    views
        Those that draw nothing are left out, and so is a cell that one does not have.
    width
        Of a mark, in widths of a cell.
    agents
        Cells on their way are where these have them: on the tissue, which is the first view,
        instead of their own places; beside it, as well.

    Returns
    -------
    (m, 2) x and y on the canvas, and (m,) widths.
    """
    held = [view for view in views if len(view.display_xy)]
    xy = [np.empty((0, 2)), *(view.display_xy[cells] for view in held)]
    sizes = [np.full(len(cells), width * view.cell_size) for view in held]
    if agents is not None and agents.shown:
        moved = agents.places_of(cells)
        if agents.on_tissue and held and held[0] is views[0]:
            xy[1] = np.where(np.isfinite(moved), moved, xy[1])
        else:
            xy.append(moved)
            sizes.append(np.full(len(cells), width * agents.size))
    places, widths = np.concatenate(xy), np.concatenate([np.empty(0), *sizes])
    there = np.isfinite(places).all(axis=1)
    return places[there], widths[there]
