"""Arrows over the cells, never without a key that tells how much their length means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points, Vectors
from numpy.typing import NDArray
from psygnal import Signal

from napari_celldyn.layers.canvas import active_kept, ink

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from napari_celldyn.layers.cells_view import CellsView
    from napari_celldyn.workspace import Workspace

NAME, KEY_NAME = "arrows", "key of the arrows"
MAX_ARROWS = 20_000
"""More take napari seconds to draw; of more every k-th is drawn."""

WIDTH = 0.22
"""Of an arrow, in lengths of a usual one."""

GAP = 0.05
"""Between the cells and the key below them, in heights of the drawing."""

KEY_PIXELS = 11

DIMMED = 0.4
"""Opacity of the cells under arrows: of any colour, they do not hide them."""


@dataclass(frozen=True, slots=True)
class Arrows:
    """Arrows in the coordinates of the tissue as drawn, or of an embedding.

    Parameters
    ----------
    points, vectors
        (n, 2) where they start, and how they are drawn.
    scale
        Drawn length per unit of what an arrow measures.
    quantity
        What is measured, in words that follow a number.
    """

    points: NDArray[np.floating]
    vectors: NDArray[np.floating]
    scale: float
    quantity: str


class ArrowsView:
    """Draws one set of arrows at a time, with its key; they go with what they are drawn on.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Its tissue: with another one the arrows go.
    """

    changed = Signal()
    """Other arrows are shown, or none any more."""

    def __init__(self, viewer: ViewerModel, workspace: Workspace) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace = workspace
        self._layer: Vectors | None = None
        self._key: Points | None = None
        self._on: CellsView | None = None
        self._dimmed: tuple[Layer, float] | None = None
        workspace.data_changed.connect(self.hide)
        self._viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Vectors | None:
        """The layer of arrows, the last of which is the key's; None while there is none."""
        return self._layer

    @property
    def key(self) -> Points | None:
        """The layer with the words of the key; None while there is none."""
        return self._key

    def show(self, arrows: Arrows, view: CellsView) -> None:
        """Draw arrows over the cells of a view, in place of those that are shown.

        Nothing is drawn where none has a length, or the view draws nothing.
        """
        self._clear()
        points, vectors = (
            view.points_on_canvas(arrows.points),
            view.steps_on_canvas(arrows.vectors),
        )
        lengths = np.linalg.norm(vectors, axis=1)
        long = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
        if len(long) and len(view.display_xy):
            long = long[:: -(-len(long) // MAX_ARROWS)]
            self._draw(points[long], vectors[long], arrows, view)
            self._on = view
            self._dim(view)
            view.rebuilt.connect(self.hide)  # what they pointed from is elsewhere now
        self.changed.emit()

    def hide(self) -> None:
        """Take the arrows and their key away."""
        if self._layer is not None or self._key is not None:
            self._clear()
            self.changed.emit()

    def close(self) -> None:
        """Take the layers away and stop listening."""
        self._clear()
        self._workspace.data_changed.disconnect(self.hide)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    # --- drawing ------------------------------------------------------------------------------

    def _draw(
        self,
        points: NDArray[np.floating],
        vectors: NDArray[np.floating],
        arrows: Arrows,
        view: CellsView,
    ) -> None:
        lengths = np.linalg.norm(vectors, axis=1)
        per_unit = arrows.scale * float(np.linalg.norm(view.steps_on_canvas(np.eye(2)[:1])))
        measured = round_down(float(lengths.max()) / per_unit)
        start, end = self._key_place(view, measured * per_unit)
        tail = np.stack([np.vstack([points, start]), np.vstack([vectors, end - start])], axis=1)
        colour = ink(self._viewer)
        common = {"units": (view.unit, view.unit), "metadata": {"celldyn": True}}
        self._layer = Vectors(
            tail[:, :, ::-1],
            ndim=2,
            name=NAME,
            vector_style="arrow",
            edge_width=WIDTH * float(np.percentile(lengths, 75)),
            edge_color=colour,
            opacity=0.9,
            **common,
        )
        self._key = Points(
            start[None, ::-1],
            ndim=2,
            name=KEY_NAME,
            size=1e-6,
            face_color="transparent",
            border_color="transparent",
            text={
                "string": [f"{measured:g} {arrows.quantity}"],
                "anchor": "lower_left",
                "size": KEY_PIXELS,
                "color": colour,
            },
            **common,
        )
        self._key.editable = False
        with active_kept(self._viewer):
            self._viewer.add_layer(self._layer)
            self._viewer.add_layer(self._key)

    def _dim(self, view: CellsView) -> None:
        layer = view.layer
        if layer is not None:
            self._dimmed = (layer, float(layer.opacity))
            layer.opacity = DIMMED * layer.opacity

    @staticmethod
    def _key_place(view: CellsView, length: float) -> tuple[NDArray[np.float64], ...]:
        low = np.nanmin(view.display_xy, axis=0)
        high = np.nanmax(view.display_xy, axis=0)
        start = np.array([low[0], high[1] + GAP * float((high - low).max())])
        return start, start + np.array([length, 0.0])

    # --- following ----------------------------------------------------------------------------

    def _on_removed(self, event: Event) -> None:
        if event.value is self._layer or event.value is self._key:
            self.hide()

    def _clear(self) -> None:
        if self._on is not None:
            self._on.rebuilt.disconnect(self.hide)
        if self._dimmed is not None:
            self._dimmed[0].opacity = self._dimmed[1]
        self._on, self._dimmed = None, None
        layers = (self._layer, self._key)
        self._layer, self._key = None, None
        for layer in layers:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)


def round_down(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest that is not above a positive value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)) * power)
