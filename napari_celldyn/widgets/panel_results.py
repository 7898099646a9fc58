"""The genes of a panel: how well each is predicted, and a click that opens its betas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QLineEdit, QVBoxLayout, QWidget

from celldyn import keys
from celldyn.errors import CelldynError
from napari_celldyn.widgets.frame_table import FrameTable
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.panel_run import home_of
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from celldyn.betas.panel import BetaStore
    from napari_celldyn.workspace import Workspace


class PanelResults(QWidget):
    """Browses the store that the tissue in view names.

    A click on a gene takes its betas onto the tissue, where the maps are drawn from.

    Parameters
    ----------
    workspace
        The tissue in view.
    """

    opened = Signal(str)
    """A gene's betas are on the tissue now."""

    def __init__(self, workspace: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace = workspace
        self.store: BetaStore | None = None
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.find = QLineEdit()
        self.find.setPlaceholderText("find a gene of the panel")
        self.find.setClearButtonEnabled(True)
        self.table = FrameTable()
        self.sentence = ErrorSentence()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.summary, self.find, self.table, self.sentence):
            layout.addWidget(part)
        self.find.textChanged.connect(self.table.filter)
        self.table.chosen.connect(self._open_row)
        listen(self, workspace.data_changed, self.refresh)
        listen(self, workspace.keys_changed, self._on_keys)
        self.refresh()

    def refresh(self) -> None:
        """Look again which store the tissue names, and what is in it."""
        from celldyn.betas.panel import find_store

        adata, self.store = self._workspace.adata, None
        self.sentence.say("")
        if adata is not None:
            try:
                self.store = find_store(adata, home_of(self._workspace))
            except CelldynError as error:
                self.sentence.say(str(error))
        frame = pd.DataFrame() if self.store is None else gene_frame(self.store)
        self.table.show_frame(frame)
        self.summary.setText(_in_words(frame))
        for part in (self.summary, self.find, self.table):
            part.setVisible(bool(len(frame)))
        self.setVisible(bool(len(frame)) or bool(self.sentence.text()))

    def open_gene(self, gene: str) -> None:
        """Take the betas of a gene onto the tissue."""
        from celldyn.betas import write_result

        if self.store is None:
            return
        self.sentence.say("")
        try:
            written = write_result(self._workspace.require(), self.store.result(gene))
        except CelldynError as error:
            self.sentence.say(str(error))
            return
        self._workspace.announce(written)
        self.opened.emit(gene)

    def _open_row(self, row: int) -> None:
        self.open_gene(str(self.table.frame["gene"].iat[row]))

    def _on_keys(self, written: frozenset[str]) -> None:
        if keys.BETAS_STORE.path() in written:
            self.refresh()


def gene_frame(store: BetaStore) -> pd.DataFrame:
    """Return the genes of a store, the best predicted first, under short names."""
    table = store.gene_table()
    table["models"] = table["n_fitted"].astype(str) + "/" + table["n_models"].astype(str)
    names = {"heldout_r2": "held-out", "r2": "R²", "n_modulators": "modulators"}
    return table.rename(columns=names)[["gene", "held-out", "R²", "models", "modulators"]]


def _in_words(frame: pd.DataFrame) -> str:
    if not len(frame):
        return ""
    held_out = frame["held-out"].median()
    words = f"{len(frame)} genes"
    if not pd.isna(held_out):
        words += f", median held-out R² {round(held_out, 2) + 0.0:.2f}"
    return f"{words}. Click a gene to see what drives it."
