"""What every dock of the plugin is: parts under headings, scrolling, narrow."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QLabel,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

WIDE, EACH_MORE = 1300, 500
"""A window of so many pixels has room for two docks beside each other; more for each further."""


class Beside(QScrollArea):
    """What scrolls, and in a window stands beside its like: below one both would be too low."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._placed = False
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._find_place)

    def showEvent(self, event: QShowEvent) -> None:
        """Find a place, the first time."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            self._soon.start(0)  # napari is not done with the dock yet

    def _find_place(self) -> None:
        mine, window = _holder(self), self.window()
        if mine is None or not isinstance(window, QMainWindow):
            return
        others = [_holder(dock) for dock in window.findChildren(Beside) if dock is not self]
        shown = [dock for dock in others if dock is not None and dock.isVisible()]
        if not shown:
            return
        if window.width() >= WIDE + EACH_MORE * (len(shown) - 1):
            window.splitDockWidget(shown[-1], mine, Qt.Orientation.Horizontal)
        else:
            window.tabifyDockWidget(shown[-1], mine)
            mine.raise_()


class Dock(Beside):
    """A column of parts that scrolls, so that no dock pushes the window off a small screen."""

    WIDTH = 300
    """What the dock needs, in pixels: small screens have little more to give."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        inside = QWidget()
        self.column = QVBoxLayout(inside)
        self.setWidget(inside)
        self.setMinimumWidth(self.WIDTH)

    def sizeHint(self) -> QSize:
        """Return a narrow and tall size: the canvas needs the width."""
        return QSize(self.WIDTH, 640)

    def fill(self, parts: Iterable[tuple[str, QWidget]]) -> None:
        """Stack the parts, each under its heading if it has one."""
        for heading, part in parts:
            if heading:
                self.column.addWidget(_heading(heading))
            self.column.addWidget(part)
        self.column.addStretch()


def _holder(widget: QWidget) -> QDockWidget | None:
    """Return the dock widget of the window that holds this one."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above


def _heading(text: str) -> QLabel:
    label = QLabel(f"<b>{text}</b>")
    label.setWordWrap(True)
    label.setContentsMargins(0, 6, 0, 0)
    return label
