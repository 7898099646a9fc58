"""The tissue dock: what is open, what colours it, what the colours mean, which cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_celldyn.session import session
from napari_celldyn.widgets.annotate import AnnotatePanel
from napari_celldyn.widgets.colour_box import ColourBox
from napari_celldyn.widgets.data_panel import DataPanel
from napari_celldyn.widgets.legend import LegendWidget

if TYPE_CHECKING:
    from napari import Viewer

WIDTH = 300
"""What the dock needs, in pixels: small screens have little more to give."""


class TissueWidget(QScrollArea):
    """Opens, colours, explains and annotates the tissue of one viewer.

    Closing it leaves the tissue as it is; any number of them show the same.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        place = session(napari_viewer)
        self.data = DataPanel(place.workspace)
        self.colour = ColourBox(place.workspace)
        self.legend = LegendWidget(place.workspace, place.tissue)
        self.annotate = AnnotatePanel(place)
        inside = QWidget()
        column = QVBoxLayout(inside)
        for title, part in (
            ("Tissue", self.data),
            ("Colour by", self.colour),
            ("Legend", self.legend),
            ("Annotate", self.annotate),
        ):
            column.addWidget(_heading(title))
            column.addWidget(part)
        column.addStretch()
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(WIDTH)

    def sizeHint(self) -> QSize:
        """Return a narrow and tall size: the canvas needs the width."""
        return QSize(WIDTH, 640)


def _heading(text: str) -> QLabel:
    label = QLabel(f"<b>{text}</b>")
    label.setContentsMargins(0, 6, 0, 0)
    return label
