"""A heading that shows and hides what is under it, however high that becomes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

_INDENT = 6


class Drawer(QWidget):
    """Shut at first. A `Fold` keeps the height of its content; this follows it at once.

    Parameters
    ----------
    title
        The heading.
    *parts
        What is under it, from top to bottom.
    """

    toggled = Signal(bool)

    def __init__(self, title: str, *parts: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self.button = QPushButton()
        self.button.setCheckable(True)
        self.button.setStyleSheet("text-align: left; border: none; font-weight: bold;")
        self.body = QWidget()
        inside = QVBoxLayout(self.body)
        inside.setContentsMargins(_INDENT, 0, 0, 4)
        for part in parts:
            inside.addWidget(part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.button)
        column.addWidget(self.body)
        self.button.toggled.connect(self._on_toggled)
        self._on_toggled(on=False)

    @property
    def is_open(self) -> bool:
        """Whether what is under the heading is shown."""
        return self.button.isChecked()

    def open(self, *, on: bool = True) -> None:
        """Show what is under the heading, or hide it."""
        self.button.setChecked(on)

    def _on_toggled(self, on: bool) -> None:  # noqa: FBT001  (Qt's signal)
        self.button.setText(f"{'▾' if on else '▸'} {self._title}")
        self.body.setVisible(on)
        self.toggled.emit(on)
