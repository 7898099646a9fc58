"""A line for one gene: any part of its name finds it, whatever the case."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QModelIndex, QStringListModel, Signal
from qtpy.QtWidgets import QCompleter, QLineEdit, QWidget

from napari_celldyn.widgets.popup import CompletionPopup

LIMIT = 50


class GeneEdit(QLineEdit):
    """Offers the genes that contain what is typed; `picked` when one is taken or Enter pressed."""

    picked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText("gene")
        self.setClearButtonEnabled(True)
        self.set_genes(())
        self._hits = QStringListModel(self)
        completer = QCompleter(self._hits, self)
        # The hits are found already; a filtering completer would walk all genes again.
        completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        completer.setPopup(CompletionPopup())
        completer.setMaxVisibleItems(12)
        self.setCompleter(completer)
        self.textEdited.connect(self._offer)
        completer.activated[QModelIndex].connect(self._take)
        self.editingFinished.connect(lambda: self.picked.emit(self.text().strip()))

    def set_genes(self, genes: Iterable[str]) -> None:
        """Offer these genes from now on."""
        from celldyn.data import NameIndex

        self._index = NameIndex([str(gene) for gene in genes])

    def _offer(self, text: str) -> None:
        self._hits.setStringList(self._index.search(text.strip(), LIMIT))

    def _take(self, index: QModelIndex) -> None:
        gene = str(index.data())
        self.setText(gene)
        self.picked.emit(gene)
