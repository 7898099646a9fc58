"""A line for a file, with a button that looks for it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget


class PathEdit(QWidget):
    """A path typed or looked for; `changed` when it is another one.

    Parameters
    ----------
    what
        What the file is, for the title of the dialog.
    patterns
        Qt's file filter ("Tables (*.csv *.parquet)").
    """

    changed = Signal()

    def __init__(self, what: str, patterns: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._what, self._patterns = what, patterns
        self.edit = QLineEdit()
        self.edit.setPlaceholderText("none")
        self.edit.setClearButtonEnabled(True)
        self.button = QToolButton()
        self.button.setText("…")
        self.button.setToolTip(f"Look for {what}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.edit, 1)
        row.addWidget(self.button)
        self.button.clicked.connect(self._look)
        self.edit.editingFinished.connect(self.changed)

    def text(self) -> str | None:
        """Return what is there; None if nothing is."""
        return self.edit.text().strip() or None

    def set_text(self, text: str | None) -> None:
        """Put a path there."""
        self.edit.setText(text or "")
        self.edit.setCursorPosition(0)
        self.changed.emit()

    def _look(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, f"Choose {self._what}", "", self._patterns)
        if path:
            self.set_text(path)
