"""The chosen cells and the one under the mouse, ringed on the landscape; and its own mouse."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray
from superqt.utils import qthrottled

from napari_celldyn.interact import CLICK_PIXELS, HOVER_MS
from napari_celldyn.layers.canvas import active_kept, ink
from napari_celldyn.layers.hover import COLOUR, LEAST_PIXELS
from napari_celldyn.layers.landscape_picking import ground_at
from napari_celldyn.layers.selection import FEW_PIXELS, MAX_MARKS, RING, VEIL

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.landscape import TerrainView
    from napari_celldyn.layers.tissue import TissueView
    from napari_celldyn.workspace import Workspace

CHOSEN, HOVERED = "chosen cells on the landscape", "cell under the mouse in space"
FEW = 40
"""So few cells have rings of a least width, that are found again however far one zooms out."""

HOVER_RING = 2.0
"""Width of the ring about the cell under the mouse, in widths of a cell."""


class LandscapeMouse:
    """Click and hover in three dimensions, on the landscape and on the tissue beside it.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Is told what was chosen and what is under the mouse.
    tissue, landscape
        Know which cell is where.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        tissue: TissueView,
        landscape: TerrainView,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._tissue, self._landscape = workspace, tissue, landscape
        self._chosen: Points | None = None
        self._hovered: Points | None = None
        self._hover = qthrottled(self._hover_at, timeout=HOVER_MS)
        self._viewer.mouse_drag_callbacks.append(self.on_press)
        self._viewer.mouse_move_callbacks.append(self.on_move)
        self._viewer.layers.events.removed.connect(self._on_removed)
        workspace.selection_changed.connect(self._ring_chosen)
        workspace.hovered_changed.connect(self._ring_hovered)
        landscape.rebuilt.connect(self._on_rebuilt)

    @property
    def chosen(self) -> Points | None:
        """The layer of rings about chosen cells; None while there is none."""
        return self._chosen

    @property
    def hovered(self) -> Points | None:
        """The layer of rings about the cell under the mouse; None while there is none."""
        return self._hovered

    def close(self) -> None:
        """Give the mouse back and take the rings away."""
        self._hover.cancel()
        with suppress(ValueError):
            self._viewer.mouse_drag_callbacks.remove(self.on_press)
        with suppress(ValueError):
            self._viewer.mouse_move_callbacks.remove(self.on_move)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._workspace.selection_changed.disconnect(self._ring_chosen)
        self._workspace.hovered_changed.disconnect(self._ring_hovered)
        self._landscape.rebuilt.disconnect(self._on_rebuilt)
        self._forget()

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
            return  # the landscape was turned
        cell = self.cell_at(event.position, event.view_direction)
        chosen = self._workspace.selection
        if "Shift" in event.modifiers:
            if cell is not None:
                self._workspace.selection = np.setxor1d(chosen, [cell])
        else:
            self._workspace.selection = np.array([] if cell is None else [cell], np.intp)

    def on_move(self, _viewer: ViewerModel, event: Any) -> None:  # noqa: ANN401
        """Say which cell is under the mouse, at most every 30 ms."""
        if self._listens(event):
            self._hover(tuple(event.position), tuple(event.view_direction))

    def cell_at(self, position: Any, direction: Any) -> int | None:  # noqa: ANN401
        """Return the cell that is seen at a place: on the landscape, else on the tissue.

        Parameters
        ----------
        position, direction
            As napari has them, the axes x and y last.
        """
        origin = np.asarray(position, float)[-3:][::-1]
        ahead = np.asarray(direction, float)[-3:][::-1]
        cell = self._landscape.pick(origin, ahead)
        layer = self._tissue.layer
        if cell is None and layer is not None and layer.visible:
            on_ground = ground_at(origin, ahead)
            cell = None if on_ground is None else self._tissue.pick(on_ground)
        return cell

    def _hover_at(self, position: tuple[float, ...], direction: tuple[float, ...]) -> None:
        if self._landscape.shown:
            self._workspace.hovered = self.cell_at(position, direction)

    def _listens(self, event: Any) -> bool:  # noqa: ANN401
        """Whether the landscape is drawn and no other layer is being worked on."""
        if not self._landscape.shown or len(event.dims_displayed) != 3:
            return False
        active = self._viewer.layers.selection.active
        return active is None or str(active.mode) == "pan_zoom"

    # --- rings --------------------------------------------------------------------------------

    def _ring_chosen(self) -> None:
        cells = self._workspace.selection if self._landscape.shown else np.empty(0, np.intp)
        cells = cells[:: max(1, -(-len(cells) // MAX_MARKS))]
        if self._chosen is None:
            if not len(cells):
                return
            self._chosen = self._add(CHOSEN, ink(self._viewer), 0.15)
        few = len(cells) <= FEW
        self._chosen.opacity = 1.0 if few else VEIL
        self._chosen.canvas_size_limits = (FEW_PIXELS if few else 1, 10_000)
        _place(self._chosen, self._landscape.display_xyz[cells], RING * self._landscape.cell_size)

    def _ring_hovered(self) -> None:
        cell = self._workspace.hovered if self._landscape.shown else None
        if self._hovered is None:
            if cell is None:
                return
            self._hovered = self._add(HOVERED, COLOUR, 0.12)
            self._hovered.canvas_size_limits = (LEAST_PIXELS, 10_000)
        if cell is None:
            _place(self._hovered, np.empty((0, 3)), 1.0)
            return
        on_tissue = np.append(self._tissue.display_xy[cell], 0.0)
        places = np.stack([self._landscape.display_xyz[cell], on_tissue])
        size = HOVER_RING * np.array([self._landscape.cell_size, self._tissue.cell_size])
        _place(self._hovered, places, size)

    def _add(self, name: str, colour: str, width: float) -> Points:
        rings = Points(
            ndim=3,
            name=name,
            face_color="transparent",
            border_color=colour,
            border_width=width,
            units=(self._landscape.unit,) * 3,
            # Seen through the ground: a chosen cell behind a hill is still a chosen cell.
            blending="translucent_no_depth",
            metadata={"celldyn": True},
        )
        rings.current_face_color, rings.current_border_color = "transparent", colour
        rings.current_border_width = width
        rings.editable = False
        with active_kept(self._viewer):
            self._viewer.add_layer(rings)
        return rings

    # --- following ----------------------------------------------------------------------------

    def _on_rebuilt(self) -> None:
        if not self._landscape.shown:
            self._forget()
            return
        self._ring_chosen()
        self._ring_hovered()

    def _on_removed(self, event: Event) -> None:
        if event.value is self._chosen:
            self._chosen = None
        elif event.value is self._hovered:
            self._hovered = None

    def _forget(self) -> None:
        rings, self._chosen, self._hovered = (self._chosen, self._hovered), None, None
        for layer in rings:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)


def _place(rings: Points, xyz: NDArray[np.floating], size: Any) -> None:  # noqa: ANN401
    there = np.isfinite(xyz).all(axis=1)
    rings.data = xyz[there][:, ::-1]
    sizes = np.broadcast_to(np.asarray(size, float), (len(xyz),))[there]
    rings.size = sizes if len(sizes) else 1.0
