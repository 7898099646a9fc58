"""What every dock of the plugin is: parts under headings, scrolling, narrow."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget


class Dock(QScrollArea):
    """A column of parts that scrolls, so that no dock pushes the window off a small screen."""

    WIDTH = 300
    """What the dock needs, in pixels: small screens have little more to give."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        inside = QWidget()
        self.column = QVBoxLayout(inside)
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
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


def _heading(text: str) -> QLabel:
    label = QLabel(f"<b>{text}</b>")
    label.setWordWrap(True)
    label.setContentsMargins(0, 6, 0, 0)
    return label
