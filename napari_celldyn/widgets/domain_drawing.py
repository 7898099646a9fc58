"""Domains of a tissue drawn as polygons on the canvas, and named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from celldyn.data.palette import default_colours
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from napari.components import ViewerModel

Ring = list[tuple[float, float]]
"""Corners (x, y) in µm."""

LAYER = "drawn domains"
OUTSIDE = "outside"
_COLUMN = "domain"
_SETTLE_MS = 150
"""napari reports every corner of a polygon under way; it is read when it rests."""
_ELLIPSE_CORNERS = 48


class DomainDrawing(QWidget):
    """Draws domains on a Shapes layer, names them, and reads them back.

    Parameters
    ----------
    viewer
        Whose canvas is drawn on.
    """

    changed = Signal()
    """Polygons, or their names, are others than before."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._said: dict[str, list[Ring]] = {}
        self.draw_button = QPushButton("Draw domains")
        self.draw_button.setToolTip("Click the corners of a polygon; a double click closes it")
        self.name = QComboBox()
        self.name.setEditable(True)
        self.name.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.name.addItem("domain_1")
        self.name.setToolTip("Domain of the polygons that are selected, and of those drawn next")
        self.outside = QLineEdit(OUTSIDE)
        self.outside.setToolTip("Name of the domain outside all polygons")
        self.clear_button = QPushButton("Clear")
        self.clear_button.setToolTip("Take all polygons away")
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self._lay_out()
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_SETTLE_MS)
        self._rest.timeout.connect(self._announce)
        self.draw_button.clicked.connect(self.draw)
        self.clear_button.clicked.connect(self.clear)
        self.name.lineEdit().editingFinished.connect(self._rename)
        self.name.activated.connect(self._rename)
        self.outside.editingFinished.connect(self.changed)
        listen(self, viewer.layers.events.removed, self._on_removed)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.draw_button, 1)
        buttons.addWidget(self.clear_button)
        names = QFormLayout()
        names.addRow("domain", self.name)
        names.addRow("elsewhere", self.outside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addLayout(names)
        layout.addWidget(self.summary)

    # --- the polygons -------------------------------------------------------------------------

    @property
    def layer(self) -> Shapes | None:
        """The layer that is drawn on; None before the first drawing."""
        return self._layer

    def polygons(self) -> dict[str, list[Ring]]:
        """Return the corners of the polygons of each domain, in the order of drawing."""
        drawn: dict[str, list[Ring]] = {}
        if self._layer is None:
            return drawn
        names = self._layer.features.get(_COLUMN, pd.Series(dtype=object))
        shapes = zip(self._layer.data, self._layer.shape_type, names, strict=True)
        for corners, kind, name in shapes:
            ring = _ring(np.asarray(corners), str(kind))
            if len(ring) >= 3:
                drawn.setdefault(str(name), []).append(ring)
        return drawn

    def values(self) -> dict[str, Any]:
        """Return the parameters of a layout that has the drawn domains."""
        drawn = self.polygons()
        outside = self.outside.text().strip() or OUTSIDE
        labels = [outside, *(name for name in drawn if name != outside)]
        return {
            "domain_pattern": "drawn" if drawn else "voronoi",
            "n_domains": len(labels),
            "domain_labels": labels,
            "domain_polygons": {name: drawn[name] for name in labels if name in drawn},
        }

    def show_polygons(self, polygons: Mapping[str, list[Ring]], outside: str) -> None:
        """Draw these polygons in place of what is there, as those of a config that was loaded."""
        if self._said == polygons and (not polygons or self.outside.text() == outside):
            return
        if not polygons:
            self._take_away()
            return
        self.outside.setText(outside)
        layer = self._ready()
        rings = [(name, ring) for name, each in polygons.items() for ring in each]
        with layer.events.data.blocker():
            layer.selected_data = set(range(len(layer.data)))
            layer.remove_selected()
            for name, ring in rings:
                layer.feature_defaults = {_COLUMN: name}
                layer.add_polygons(np.array(ring, dtype=float)[:, ::-1])
        self._read()

    def draw(self) -> None:
        """Let the user draw polygons on the canvas."""
        layer = self._ready()
        self._viewer.layers.selection.active = layer
        layer.mode = "add_polygon"

    def clear(self) -> None:
        """Take all polygons away."""
        if self._layer is not None:
            self._layer.selected_data = set(range(len(self._layer.data)))
            self._layer.remove_selected()
            self._announce()

    def _take_away(self) -> None:
        """Remove the layer, and say nothing of it."""
        layer, self._layer, self._said = self._layer, None, {}
        self.summary.setText("")
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def move_to(self, offset: float) -> None:
        """Draw the canvas' left edge at this x, in µm."""
        if self._layer is not None:
            self._layer.translate = (0.0, offset)

    # --- following ----------------------------------------------------------------------------

    def _ready(self) -> Shapes:
        if self._layer is not None:
            return self._layer
        layer = Shapes(
            ndim=2,
            name=LAYER,
            features=pd.DataFrame({_COLUMN: pd.Series([], dtype=object)}),
            opacity=0.45,
            edge_width=2,
            units=("um", "um"),
            metadata={"celldyn_domains": True},
        )
        layer.feature_defaults = {_COLUMN: self._typed()}
        listen(self, layer.events.data, self._on_edited)
        listen(self, layer.selected_data.events.items_changed, self._on_selected)
        self._viewer.layers.append(layer)
        self._layer = layer
        return layer

    def _typed(self) -> str:
        return str(self.name.currentText()).strip() or "domain_1"

    def _rename(self, *_: object) -> None:
        """Give the selected polygons, and those to come, the name in the box."""
        layer, name = self._layer, self._typed()
        if layer is None:
            return
        layer.feature_defaults = {_COLUMN: name}
        chosen = [i for i in layer.selected_data if i < len(layer.features)]
        if not chosen:
            return
        features = layer.features.copy()
        features.loc[chosen, _COLUMN] = name
        layer.features = features
        self._announce()

    def _on_edited(self, *_: object) -> None:
        self._rest.start()

    def _on_selected(self, *_: object) -> None:
        layer = self._layer
        if layer is None:
            return
        names = {str(layer.features[_COLUMN][i]) for i in layer.selected_data
                 if i < len(layer.features)}  # fmt: skip
        if len(names) == 1:
            with signals_blocked(self.name):
                self.name.setCurrentText(names.pop())

    def _on_removed(self, event: Any) -> None:  # noqa: ANN401
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            self._announce()

    def _announce(self) -> None:
        before = self._said
        self._read()
        if self._said != before:
            self.changed.emit()

    def _read(self) -> None:
        """Remember, colour and sum up what is drawn."""
        self._said = drawn = self.polygons()
        typed = self._typed()
        with signals_blocked(self.name):
            self.name.clear()
            self.name.addItems(list(drawn) or [typed])
            self.name.setCurrentText(typed)
        parts = [f"{name} ({len(rings)})" for name, rings in drawn.items()]
        self.summary.setText(f"Drawn: {', '.join(parts)}" if parts else "")
        if self._layer is not None and drawn:
            # the first colour is what lies outside
            colour = dict(zip(drawn, default_colours(len(drawn) + 1)[1:], strict=True))
            names = self._layer.features[_COLUMN].astype(str)
            self._layer.face_color = [colour.get(name, "#888888") for name in names]


def _ring(corners: NDArray[np.floating], kind: str) -> Ring:
    """Return the outline of one shape as (x, y); a line has none."""
    if kind in ("line", "path"):
        return []
    if kind == "ellipse":  # four corners of the box round it
        centre = corners.mean(axis=0)
        one, other = corners[1] - corners[0], corners[2] - corners[1]
        angle = np.linspace(0.0, 2.0 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
        corners = centre + 0.5 * (np.cos(angle) * one + np.sin(angle) * other)
    return [(round(float(x), 3), round(float(y), 3)) for y, x in corners[:, -2:]]
