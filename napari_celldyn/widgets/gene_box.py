"""A line to type a part of a gene's name into, and choose one that contains it."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QModelIndex, QStringListModel, QTimer, Signal
from qtpy.QtWidgets import QCompleter, QLineEdit, QWidget

from celldyn.data import NameIndex
from napari_celldyn.widgets.popup import CompletionPopup

LIMIT = 50
"""Hits offered at once."""


class GeneBox(QLineEdit):
    """Emits every gene that is chosen, and is empty again."""

    chosen = Signal(str)
    unknown = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._index = NameIndex(())
        self._model = QStringListModel(self)
        completer = QCompleter(self._model, self)
        completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        completer.setMaxVisibleItems(12)
        completer.setPopup(CompletionPopup())
        self.setCompleter(completer)
        self.setToolTip("Any part of a name; Enter takes the first hit")
        self.textEdited.connect(self._offer)
        self.returnPressed.connect(self._enter)
        completer.activated[QModelIndex].connect(self._take)

    def offer(self, genes: Iterable[str]) -> None:
        """Say which genes there are."""
        self._index = NameIndex(genes)

    def _offer(self, text: str) -> None:
        self._model.setStringList(self._index.search(text, LIMIT) if text.strip() else [])

    def _take(self, index: QModelIndex) -> None:
        self._choose(str(index.data()))

    def _enter(self) -> None:
        text = self.text().strip()
        if not text:
            return
        popup = self.completer().popup()
        if popup.isVisible() and popup.currentIndex().isValid():
            return  # the completer tells of it itself
        hits = self._index.search(text, LIMIT)
        if not hits:
            self.unknown.emit(f"No gene's name contains {text!r}.")
            return
        popup.hide()
        self._choose(next((gene for gene in hits if gene == text), hits[0]))

    def _choose(self, gene: str) -> None:
        QTimer.singleShot(0, self.clear)  # the completer writes the name after this
        self.chosen.emit(gene)
