"""From mouse and keys on the tissue to cells of the workspace."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from superqt.utils import qthrottled

from celldyn.errors import DataError
from napari_celldyn.layers.hover import HoverMarks
from napari_celldyn.layers.selection import SelectionMarks
from napari_celldyn.layers.tissue import TissueView
from napari_celldyn.workspace import Workspace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from napari_celldyn.layers.agents import AgentsView
    from napari_celldyn.layers.cells_view import CellsView

KEYS: dict[str, tuple[str, str]] = {
    "undo": ("Control-Z", "Take back the last annotation"),
    "lasso": ("Shift-S", "Choose cells with a lasso"),
    "clear": ("Escape", "Choose no cell; put the lasso away"),
}
"""Action to key and meaning. They act where the active layer has no use of its own for the key."""

LASSO = "lasso"
HOVER_MS = 30
CLICK_PIXELS = 4
"""A press that moved further than this before its release was a drag."""

TYPE_COLUMN = "cell_type"


class Interaction:
    """Click, hover and lasso on the tissue, and on the embedding beside it.

    Parameters
    ----------
    viewer
        The napari viewer.
    workspace
        Is told what was chosen and what is under the mouse.
    tissue_view
        Knows which cell is where.
    others
        Where the cells are drawn as well.
    agents
        Those of them that are on their way are chosen where they are.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        tissue_view: TissueView,
        others: Sequence[CellsView] = (),
        agents: AgentsView | None = None,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace = workspace
        self._tissue = tissue_view
        self._views: tuple[CellsView, ...] = (tissue_view, *others)
        self._agents = agents
        self.marks = SelectionMarks(self._viewer, workspace, tissue_view, others, agents)
        self.twins = HoverMarks(self._viewer, workspace, self._views)
        self._lasso: Shapes | None = None
        self._before_lasso: Layer | None = None
        self._hover = qthrottled(self._hover_at, timeout=HOVER_MS)
        self._viewer.mouse_drag_callbacks.append(self.on_press)
        self._viewer.mouse_move_callbacks.append(self.on_move)
        self._viewer.layers.selection.events.active.connect(self._on_active)
        workspace.hovered_changed.connect(self._on_hovered)
        self._bound = self._bind_keys()

    # --- verbs --------------------------------------------------------------------------------

    def annotate_selection(self, column: str, category: str) -> None:
        """Write a category into a column of obs for the selected cells.

        Raises
        ------
        DataError
            If no cell is selected.
        """
        cells = self._workspace.selection
        if len(cells) == 0:
            raise DataError("no cell is selected", "click cells or draw a lasso round them")
        self._workspace.annotate(cells, category, column)

    def undo(self) -> None:
        """Take back the last annotation."""
        self._workspace.undo()

    def clear(self) -> None:
        """Choose no cell and put the lasso away."""
        self.stop_lasso()
        self._workspace.selection = np.empty(0, np.intp)

    @property
    def lassoing(self) -> bool:
        """Whether a lasso is being drawn."""
        return self._lasso is not None

    def start_lasso(self) -> None:
        """Let the next drag on the canvas draw a lasso; the cells inside become the selection."""
        if self._lasso is not None or not self._drawn:
            return
        self._before_lasso = self._viewer.layers.selection.active
        # napari simplifies a lasso by half a unit of its layer: the unit follows the cells.
        unit = self._tissue.cell_size / 10.0
        lasso = Shapes(
            ndim=2,
            name=LASSO,
            scale=(unit, unit),
            units=(self._tissue.unit, self._tissue.unit),
            edge_width=2,
            edge_color="yellow",
            face_color=[1, 1, 0, 0.1],
            metadata={"celldyn": True},
        )
        self._viewer.add_layer(lasso)
        lasso.mode = "add_polygon_lasso"
        lasso.bind_key(KEYS["clear"][0], lambda _layer: self.stop_lasso(), overwrite=True)
        lasso.events.data.connect(self._on_lasso_data)
        self._lasso = lasso

    def stop_lasso(self) -> None:
        """Put the lasso away without choosing anything."""
        lasso, self._lasso = self._lasso, None
        if lasso is None:
            return
        layers = self._viewer.layers
        lasso.events.data.disconnect(self._on_lasso_data)
        in_hand = layers.selection.active is lasso
        if lasso in layers:
            layers.remove(lasso)
        before, self._before_lasso = self._before_lasso, None
        if in_hand and before is not None and before in layers:
            layers.selection.active = before

    def close(self) -> None:
        """Give mouse and keys back."""
        self.stop_lasso()
        self._hover.cancel()
        self.marks.close()
        self.twins.close()
        with suppress(ValueError):
            self._viewer.mouse_drag_callbacks.remove(self.on_press)
        with suppress(ValueError):
            self._viewer.mouse_move_callbacks.remove(self.on_move)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self._workspace.hovered_changed.disconnect(self._on_hovered)
        self._viewer.canvas.overlays.text.visible = False
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound = []

    # --- mouse --------------------------------------------------------------------------------

    def on_press(self, _viewer: ViewerModel, event: Any) -> Generator[None, None, None]:  # noqa: ANN401
        """Choose the cell under a click; with Shift, add it or take it away again."""
        if event.button != 1 or not self._listens(event):
            return
        start = np.asarray(event.pos, float)
        yield
        while event.type == "mouse_move":
            yield
        if np.linalg.norm(np.asarray(event.pos, float) - start) > CLICK_PIXELS:
            return
        cell = self._cell_at(event.position)
        chosen = self._workspace.selection
        if "Shift" in event.modifiers:
            if cell is not None:
                self._workspace.selection = np.setxor1d(chosen, [cell])
        else:
            self._workspace.selection = np.array([] if cell is None else [cell], np.intp)

    def on_move(self, _viewer: ViewerModel, event: Any) -> None:  # noqa: ANN401
        """Say which cell is under the mouse, at most every 30 ms."""
        if self._listens(event):
            self._hover(tuple(event.position))

    def _hover_at(self, position: tuple[float, ...]) -> None:
        self._workspace.hovered = self._cell_at(position)

    def _cell_at(self, position: tuple[float, ...]) -> int | None:
        y, x = position[-2:]
        if self._agents is not None and (cell := self._agents.pick((x, y))) is not None:
            return cell
        for view, layer in self._drawn:
            y, x = layer.world_to_data(position)
            if (cell := view.pick((x, y))) is not None:
                return cell
        return None

    @property
    def _drawn(self) -> list[tuple[CellsView, Layer]]:
        """The views that draw the cells, with their layers."""
        return [(view, view.layer) for view in self._views if view.layer is not None]

    def _listens(self, event: Any) -> bool:  # noqa: ANN401
        """Whether cells are drawn and no other layer is being worked on."""
        if not self._drawn or len(event.dims_displayed) != 2:
            return False
        active = self._viewer.layers.selection.active
        return active is None or str(active.mode) == "pan_zoom"

    # --- lasso --------------------------------------------------------------------------------

    def _on_lasso_data(self, event: Event) -> None:
        lasso = self._lasso
        if lasso is None or event.action != "added" or not lasso.data:
            return
        if lasso.shape_type[-1] != "polygon":  # an open path while it is being drawn
            return
        polygon = np.array([lasso.data_to_world(vertex) for vertex in lasso.data[-1]])
        # napari has not finished with the layer yet: it goes at the next turn of the event loop.
        QTimer.singleShot(0, self.stop_lasso)
        self._workspace.selection = self.cells_in(polygon)

    def cells_in(self, polygon: NDArray[np.floating]) -> NDArray[np.intp]:
        """Return the cells inside a polygon of (n_vertices, 2) world coordinates, y first.

        Those of every view count: of a lasso round a part of the embedding, the cells there.
        """
        inside, agents = [np.empty(0, np.intp)], self._agents
        for view, layer in self._drawn:
            corners = np.array([layer.world_to_data(vertex) for vertex in polygon])
            found = view.cells_in_polygon(corners[:, ::-1])
            if view is self._tissue and agents is not None and agents.on_tissue:
                found = np.setdiff1d(found, agents.cells)  # they are elsewhere
            inside.append(found)
        if agents is not None:
            inside.append(agents.cells_in_polygon(polygon[:, -2:][:, ::-1]))
        return np.unique(np.concatenate(inside))

    def _on_active(self, _event: Event) -> None:
        # Asked at the next turn: a layer that is just being added is active only for a moment.
        if self._lasso is not None:
            QTimer.singleShot(0, self._stop_if_left)

    def _stop_if_left(self) -> None:
        if self._viewer.layers.selection.active is not self._lasso:
            self.stop_lasso()

    # --- words --------------------------------------------------------------------------------

    def describe(self, cell: int) -> str:
        """Return one line on a cell: its name, its type, the value of the shown column."""
        adata, held = self._workspace.require(), self._tissue.column
        words = [str(adata.obs_names[cell])]
        shown_as_type = held is not None and held.codes is not None
        if not shown_as_type and TYPE_COLUMN in adata.obs:
            words.append(str(adata.obs[TYPE_COLUMN].iloc[cell]))
        if held is not None and held.codes is not None and held.categories is not None:
            code = int(held.codes[cell])
            words.append(f"{held.label}: {held.categories[code] if code >= 0 else 'missing'}")
        elif held is not None and held.values is not None:
            words.append(f"{held.label}: {held.values[cell]:.4g}")
        return "  ·  ".join(words)

    def _on_hovered(self) -> None:
        cell, line = self._workspace.hovered, self._viewer.canvas.overlays.text
        if cell is None:
            line.visible = False
            return
        line.text = self.describe(cell)
        line.position = "top_left"
        line.visible = True

    # --- keys ---------------------------------------------------------------------------------

    def _bind_keys(self) -> list[str]:
        acts: dict[str, Callable[[], None]] = {
            "undo": self.undo,
            "lasso": self.toggle_lasso,
            "clear": self.clear,
        }
        bound = []
        for name, (key, _) in KEYS.items():
            act = acts[name]
            with suppress(ValueError):  # the person's own binding of this key stays
                self._viewer.bind_key(key, lambda _viewer, act=act: act())
                bound.append(key)
        return bound

    def toggle_lasso(self) -> None:
        """Take the lasso up, or put it away."""
        if self._lasso is None:
            self.start_lasso()
        else:
            self.stop_lasso()
