"""A heading that folds what is under it away."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible


class Fold(QCollapsible):
    """superqt's collapsible, folded at first, its arrow part of the text.

    superqt's own arrow is a picture of fixed colour, dark on a dark theme.
    """

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        blank = QIcon(_one_clear_pixel())  # a null icon counts as none with one of the bindings
        super().__init__(f"▸ {title}", parent, blank, blank)
        self._title = title
        self.setDuration(0)
        self.toggled.connect(self._retitle)

    def _retitle(self, is_open: bool) -> None:  # noqa: FBT001  (Qt's signal)
        self.setText(f"{'▾' if is_open else '▸'} {self._title}")


def _one_clear_pixel() -> QPixmap:
    pixel = QPixmap(1, 1)
    pixel.fill(Qt.GlobalColor.transparent)
    return pixel
