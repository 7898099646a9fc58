"""A sentence in the theme's colour of error, for forms and cards."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

from napari_celldyn.widgets import theme_colours


class ErrorSentence(QLabel):
    """Says in one sentence what is wrong and what to do; hidden while nothing is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)  # as high as its lines and no higher
        self.setSizePolicy(policy)
        self.setMinimumWidth(1)  # a long word may be cut, but does not push the window wider
        self.setVisible(False)
        self._recolour()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme: napari gives the window another style sheet."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._recolour()

    def say(self, sentence: str) -> None:
        """Show a sentence; an empty one hides the label."""
        self.setText(sentence)
        self.setVisible(bool(sentence))

    def _recolour(self) -> None:
        style = f"color: {theme_colours.error_text().name()};"
        if style != self.styleSheet():  # setting it is itself a change of style
            self.setStyleSheet(style)
