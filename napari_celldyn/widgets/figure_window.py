"""A matplotlib figure in a window of its own, to look at and to save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PIXELS_PER_INCH = 75
"""Of a figure on the screen, at least."""

_EDGE = 30


class FigureWindow(QDialog):
    """Shows a figure and saves it as PNG, PDF or SVG.

    Parameters
    ----------
    figure
        A matplotlib figure made without pyplot.
    title
        Of the window; also the name offered for the file.
    """

    def __init__(self, figure: Figure, title: str, parent: QWidget | None = None) -> None:
        from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg

        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self.figure = figure
        self.canvas = FigureCanvasQTAgg(figure)
        wide, high = (round(PIXELS_PER_INCH * side) for side in figure.get_size_inches())
        self.canvas.setMinimumSize(wide, high)  # smaller, its words would lie on each other
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setWidget(self.canvas)
        self.save_button = QPushButton("Save…")
        self.save_button.clicked.connect(self._ask_and_save)
        foot = QHBoxLayout()
        foot.addStretch()
        foot.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.area, 1)
        layout.addLayout(foot)
        room = self.screen().availableSize()
        self.resize(
            min(max(wide + _EDGE, 900), round(0.9 * room.width())),
            min(max(high + 2 * _EDGE, 520), round(0.9 * room.height())),
        )

    def _ask_and_save(self) -> None:
        offered = f"{self.windowTitle().replace(' ', '_')}.pdf"
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the figure", offered, "Figures (*.pdf *.svg *.png)"
        )
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the figure, whole or not at all; the ending says in which format."""
        from celldyn.persist import atomic_path

        with atomic_path(path) as draft:
            self.figure.savefig(draft, dpi=200)
