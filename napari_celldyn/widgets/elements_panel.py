"""Outlines, molecules and domains that the tissue offers, each with a check box."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from celldyn.errors import CelldynError
from napari_celldyn.layers.elements import MAX_GENES
from napari_celldyn.widgets.gene_box import GeneBox
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.data import ElementSource
    from napari_celldyn.layers.elements import ElementsView
    from napari_celldyn.session import Session

NOTHING = (
    "This tissue comes with none. A SpatialData holds them, and so does what the simulator makes."
)

CHIP_CHARACTERS = 11
"""Genes with longer names stand one below the other."""


class ElementsPanel(QWidget):
    """Shows and hides what lies beside the cells.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view, self._workspace = session.elements, session.workspace
        self._offered: list[ElementSource] = []
        self.rows: dict[str, ElementRow] = {}
        self.empty, self.message = wrapped(), ErrorSentence()
        self.empty.setText(NOTHING)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self.empty)
        self._column.addWidget(self.message)
        listen(self, self._view.changed, self._refresh)
        listen(self, self._view.failed, self.message.say)
        self._refresh()

    def _refresh(self) -> None:
        offered = self._view.sources
        if offered != self._offered:
            self._offered = offered
            self._rebuild()
        for row in self.rows.values():
            row.refresh()

    def _rebuild(self) -> None:
        for row in self.rows.values():
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.message.say("")
        self.rows = {}
        adata = self._workspace.adata
        genes = [] if adata is None else [str(name) for name in adata.var_names]
        for source in self._offered:
            make = MoleculesRow if source.kind == "molecules" else ElementRow
            row = self.rows[source.name] = make(source.name, self._view, self.message)
            if isinstance(row, MoleculesRow):
                row.box.offer(genes)
            self._column.insertWidget(self._column.count() - 1, row)
        self.empty.setVisible(not self.rows)


class ElementRow(QWidget):
    """One element: whether it is shown, and how much of it.

    Parameters
    ----------
    name
        Of the source.
    view
        Draws it.
    message
        Says what went wrong.
    """

    def __init__(self, name: str, view: ElementsView, message: ErrorSentence) -> None:
        super().__init__()
        self.name, self._view, self._message = name, view, message
        self.check, self.note = QCheckBox(name), wrapped()
        self.check.setToolTip(f"Show {name} beside the cells")
        self.note.setContentsMargins(20, 0, 0, 0)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addWidget(self.check)
        self._column.addWidget(self.note)
        self.check.clicked.connect(self._toggle)

    def refresh(self) -> None:
        """Show how it stands."""
        self.check.setChecked(self.name in self._view.shown)
        note = self._view.note(self.name)
        if note != self.note.text():
            self.note.setText(note)
        self.note.setVisible(bool(note))

    def show_element(self) -> None:
        """Put the element on the canvas, or say why not."""
        self._message.say("")
        try:
            self._show()
        except CelldynError as error:
            self._message.say(str(error))
        self.refresh()

    def _show(self) -> None:
        self._view.show(self.name)

    def _toggle(self) -> None:
        if self.check.isChecked():
            self.show_element()
        else:
            self._view.hide(self.name)


class MoleculesRow(ElementRow):
    """Molecules: with the genes that are shown, each in its colour; all where none is chosen."""

    def __init__(self, name: str, view: ElementsView, message: ErrorSentence) -> None:
        super().__init__(name, view, message)
        self.genes: list[str] = []
        self.box = GeneBox()
        self.box.setPlaceholderText("genes (none chosen: all)")
        self.box.chosen.connect(self.add)
        self.box.unknown.connect(message.say)
        line = QHBoxLayout()
        line.setContentsMargins(20, 0, 0, 0)
        line.addWidget(self.box)
        self._chips = QWidget()
        self._grid = QGridLayout(self._chips)
        self._grid.setContentsMargins(20, 0, 0, 0)
        self._grid.setSpacing(3)
        self._column.addLayout(line)
        self._column.addWidget(self._chips)
        self.chips: dict[str, QPushButton] = {}

    def refresh(self) -> None:
        """Show how it stands, in which colours."""
        super().refresh()
        shown = [(gene, colour) for gene, colour in self._view.genes(self.name)]
        colours = dict(shown) if len(shown) <= MAX_GENES or self.genes else {}
        names = self.genes or list(colours)
        if list(self.chips) != names:
            self._rebuild_chips(names)
        for gene, chip in self.chips.items():
            chip.setIcon(_square(colours.get(gene, "#808080")))
        self._chips.setVisible(bool(names))

    def add(self, gene: str) -> None:
        """Show one more gene."""
        self._message.say("")
        if gene in self.genes:
            return
        if len(self.genes) >= MAX_GENES:
            self._message.say(f"{MAX_GENES} genes are shown already; click one to take it away.")
            return
        self.genes.append(gene)
        self.show_element()

    def remove(self, gene: str) -> None:
        """Show one gene less; without any, all."""
        if gene in self.genes:
            self.genes.remove(gene)
            if self.name in self._view.shown:
                self.show_element()
        self.refresh()

    def _show(self) -> None:
        self._view.show(self.name, self.genes or None)

    def _rebuild_chips(self, names: list[str]) -> None:
        for chip in self.chips.values():
            self._grid.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self.chips = {}
        across = 2 if max(map(len, names), default=0) <= CHIP_CHARACTERS else 1
        for i, gene in enumerate(names):
            chip = self.chips[gene] = QPushButton(f"{_short(gene)} ×" if self.genes else gene)
            chip.setFlat(True)
            chip.setStyleSheet("text-align: left; padding: 2px 4px")
            chip.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            chip.setCursor(Qt.CursorShape.PointingHandCursor)
            chip.setToolTip(f"Take {gene} away" if gene in self.genes else f"Molecules of {gene}")
            chip.clicked.connect(partial(self.remove, gene))
            self._grid.addWidget(chip, i // across, i % across)


def _short(name: str, limit: int = 28) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _square(colour: str) -> QIcon:
    pixels = QPixmap(12, 12)
    pixels.fill(QColor(colour))
    return QIcon(pixels)
