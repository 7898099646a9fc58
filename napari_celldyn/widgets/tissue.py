"""The tissue dock: what is open, what colours it, what lies beside the cells, which cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_celldyn.session import session
from napari_celldyn.widgets.annotate import AnnotatePanel
from napari_celldyn.widgets.colour_box import ColourBox
from napari_celldyn.widgets.data_panel import DataPanel
from napari_celldyn.widgets.dock import Dock
from napari_celldyn.widgets.elements_panel import ElementsPanel
from napari_celldyn.widgets.embedding_panel import EmbeddingPanel
from napari_celldyn.widgets.fold import Fold
from napari_celldyn.widgets.legend import LegendWidget

if TYPE_CHECKING:
    from napari import Viewer


class TissueWidget(Dock):
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
        self.embedding = EmbeddingPanel(place)
        self.annotate = AnnotatePanel(place)
        self.elements = ElementsPanel(place)
        self.elements_fold = Fold("Outlines and molecules")
        self.elements_fold.addWidget(self.elements)
        self.fill(
            (
                ("Tissue", self.data),
                ("Colour by", self.colour),
                ("Legend", self.legend),
                ("Embedding", self.embedding),
                ("", self.elements_fold),
                ("Annotate", self.annotate),
            )
        )
