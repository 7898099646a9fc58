"""From chosen cells to a category in a column of obs, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import QStringListModel, Qt, QTimer
from qtpy.QtWidgets import (
    QCompleter,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from celldyn.errors import CelldynError, ConfigError
from napari_celldyn.widgets.labels import elided
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.popup import CompletionPopup
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.session import Session

MAX_CATEGORIES = 200
"""A column of more categories holds identities; one does not write regions into it."""


def annotatable(adata: AnnData) -> list[str]:
    """List the obs columns of categories, into which one more category can be written."""
    return [
        str(name)
        for name, held in adata.obs.items()
        if isinstance(held.dtype, pd.CategoricalDtype)
        and len(held.cat.categories) <= MAX_CATEGORIES
    ]


class AnnotatePanel(QWidget):
    """Choose cells with a lasso or by clicks, name them, take it back.

    Parameters
    ----------
    session
        What the viewer's docks share: its workspace and its mouse.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._workspace, self._interaction = session.workspace, session.interaction
        # A lasso, and what can be undone, are noted just after they are announced.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._build()
        workspace = session.workspace
        listen(self, workspace.data_changed, self._show)
        listen(self, workspace.keys_changed, self._on_keys)
        listen(self, workspace.selection_changed, self._show_chosen)
        layers = session.viewer.layers.events
        listen(self, layers.inserted, self._on_layers)
        listen(self, layers.removed, self._on_layers)
        self._show()

    def _build(self) -> None:
        self.chosen = elided()
        self.lasso, self.clear = QPushButton("Lasso"), QPushButton("Clear")
        self.lasso.setCheckable(True)
        self.lasso.setToolTip("Draw round cells to choose them (Shift-S)")
        self.clear.setToolTip("Choose no cell (Escape)")
        self.column, self.category = QLineEdit("region"), QLineEdit()
        self.column.setToolTip("The obs column to write into; a new name makes a new column")
        self.category.setPlaceholderText("name of these cells")
        self._columns, self._categories = QStringListModel(self), QStringListModel(self)
        for edit, names in ((self.column, self._columns), (self.category, self._categories)):
            edit.setCompleter(_completer(names, edit))
        self.annotate, self.undo = QPushButton("Annotate"), QPushButton("Undo")
        self.message = ErrorSentence()
        self.lasso.clicked.connect(self._toggle_lasso)
        self.clear.clicked.connect(self._interaction.clear)
        self.annotate.clicked.connect(self._annotate)
        self.category.returnPressed.connect(self._annotate)
        self.column.textChanged.connect(lambda: self._show_categories())
        self.category.textChanged.connect(lambda: self._show_chosen())
        self.undo.clicked.connect(self._interaction.undo)
        self._soon.timeout.connect(self._show_undo)
        self._soon.timeout.connect(self._show_lasso)
        self._lay_out()

    def _lay_out(self) -> None:
        top, form, bottom = QHBoxLayout(), QGridLayout(), QHBoxLayout()
        for item in (self.lasso, self.clear):
            top.addWidget(item)
        form.setColumnStretch(1, 1)
        for row, (name, edit) in enumerate((("column", self.column), ("name", self.category))):
            form.addWidget(QLabel(name), row, 0)
            form.addWidget(edit, row, 1)
        bottom.addWidget(self.annotate)
        bottom.addWidget(self.undo)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.chosen)
        column.addLayout(top)
        column.addLayout(form)
        column.addLayout(bottom)
        column.addWidget(self.message)

    # --- what the workspace says ---------------------------------------------------------------

    def _show(self) -> None:
        adata = self._workspace.adata
        self.setEnabled(adata is not None)
        self.message.say("")
        self._columns.setStringList([] if adata is None else annotatable(adata))
        self._show_categories()
        self._show_undo()

    def _on_keys(self, written: Iterable[str]) -> None:
        if any(key.startswith("obs/") for key in written):
            self._show()
        self._soon.start()

    def _show_undo(self) -> None:
        what = self._workspace.undoable
        self.undo.setEnabled(what is not None)
        self.undo.setToolTip("Nothing to take back" if what is None else f"Take back: {what}")
        room = self.undo.fontMetrics()
        text = "Undo" if what is None else f"Undo ({what})"
        self.undo.setText(room.elidedText(text, Qt.TextElideMode.ElideRight, 150))

    def _show_categories(self) -> None:
        adata, column = self._workspace.adata, self.column.text().strip()
        names: list[str] = []
        if adata is not None and column in annotatable(adata):
            names = [str(name) for name in adata.obs[column].cat.categories]
        self._categories.setStringList(names)
        self._show_chosen()

    def _show_chosen(self) -> None:
        n = len(self._workspace.selection)
        self.chosen.setText(f"{n:,} cell{'' if n == 1 else 's'} chosen")
        self.clear.setEnabled(n > 0)
        self.annotate.setEnabled(n > 0 and bool(self.category.text().strip()))

    def _on_layers(self, _event: object) -> None:
        self._soon.start()

    def _show_lasso(self) -> None:
        self.lasso.setChecked(self._interaction.lassoing)

    # --- what the user does --------------------------------------------------------------------

    def _toggle_lasso(self) -> None:
        self._interaction.toggle_lasso()
        self._show_lasso()

    def _annotate(self) -> None:
        column, category = self.column.text().strip(), self.category.text().strip()
        self.message.say("")
        try:
            _check(column, category, self._workspace.require())
            self._interaction.annotate_selection(column, category)
        except CelldynError as error:
            self.message.say(str(error))
            return
        self._show_undo()
        n = len(self._workspace.selection)
        self.chosen.setText(f"{n:,} cell{'' if n == 1 else 's'}: now {category!r} in {column!r}")


def _check(column: str, category: str, adata: AnnData) -> None:
    if not column or not category:
        what = "column" if not column else "name"
        raise ConfigError(f"the {what} is empty", f"type a {what} for the chosen cells")
    if "/" in column:
        raise ConfigError(f"the column {column!r} has a slash", "no file can hold that")
    if column in adata.obs and column not in annotatable(adata):
        raise ConfigError(
            f"obs[{column!r}] holds numbers or free text, not categories", "give another column"
        )


def _completer(names: QStringListModel, edit: QLineEdit) -> QCompleter:
    completer = QCompleter(names, edit)
    completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
    completer.setFilterMode(Qt.MatchFlag.MatchContains)
    completer.setPopup(CompletionPopup())
    return completer
