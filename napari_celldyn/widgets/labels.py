"""Labels that never make the dock wider than it is."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy
from superqt import QElidingLabel


def wrapped() -> QLabel:
    """Return a label of plain text that takes as many lines as it needs."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label


def elided(*, bold: bool = False) -> QElidingLabel:
    """Return a label of one line whose middle is left out where it does not fit."""
    label = QElidingLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setElideMode(Qt.TextElideMode.ElideMiddle)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    font = label.font()
    font.setBold(bold)
    label.setFont(font)
    return label
