"""The list under a line edit, in napari's colours: a window of its own inherits no style."""

from __future__ import annotations

from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QListView

STYLE = """
QListView {{ background: {foreground}; color: {text}; border: 1px solid {primary}; }}
QListView::item {{ padding: 2px 4px; }}
QListView::item:selected {{ background: {current}; color: {text}; }}
"""


class CompletionPopup(QListView):
    """For `QCompleter.setPopup`; follows the theme whenever it is shown."""

    def showEvent(self, event: QShowEvent) -> None:
        """Take the colours of the present theme."""
        theme = get_theme(get_settings().appearance.theme)
        names = ("foreground", "text", "primary", "current")
        style = STYLE.format(**{name: getattr(theme, name).as_hex() for name in names})
        if style != self.styleSheet():
            self.setStyleSheet(style)
        super().showEvent(event)
