"""Small parts of a job's card: buttons, live values, the box of a traceback."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nlargest

from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QGridLayout, QLabel, QPlainTextEdit, QPushButton, QWidget
from superqt import QElidingLabel

MAX_ROWS = 8
"""Metrics listed on a card: a panel has thousands, of which the latest count."""


class LatestValues(QWidget):
    """The latest value of each metric, one row each; of many metrics those that came last."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[QElidingLabel, QLabel]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(0)
        self._grid.setColumnStretch(0, 1)
        self.setVisible(False)

    def show_latest(self, metrics: dict[str, list[tuple[float, float]]]) -> None:
        """Show the last value of each."""
        names = list(metrics)
        if len(names) > MAX_ROWS:
            latest = nlargest(
                MAX_ROWS, enumerate(names), key=lambda at: (metrics[at[1]][-1][0], at[0])
            )
            names = [name for _, name in sorted(latest)]
        while len(self._rows) < len(names):
            self._add_row()
        for (label, value), name in zip(self._rows, names, strict=False):
            label.setText(name)
            value.setText(f"{metrics[name][-1][1]:.4g}")
        self.setVisible(bool(names))

    def _add_row(self) -> None:
        label, value = QElidingLabel(), QLabel()
        value.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._grid.addWidget(label, len(self._rows), 0)
        self._grid.addWidget(value, len(self._rows), 1)
        self._rows.append((label, value))


def duration(seconds: float) -> str:
    """Write seconds as 0:07, 12:03 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def button(text: str, tip: str, clicked: Callable[[], None] | None = None) -> QPushButton:
    """Make a button with its tooltip and what a click does."""
    made = QPushButton(text)
    made.setToolTip(tip)
    if clicked is not None:
        made.clicked.connect(clicked)
    return made


def details_box() -> QPlainTextEdit:
    """Make the box of a traceback, hidden at first."""
    box = QPlainTextEdit()
    box.setReadOnly(True)
    box.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    box.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
    box.setMinimumHeight(160)
    box.setVisible(False)
    box.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
    return box


def show_text(label: QLabel, text: str) -> None:
    """Show a text; an empty one hides the label."""
    label.setText(text)
    label.setVisible(bool(text))
