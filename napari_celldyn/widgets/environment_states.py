"""States of virtual cells that have names: kept, and brought back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError
from napari_celldyn.widgets.sentence import ErrorSentence

if TYPE_CHECKING:
    from napari_celldyn.widgets.environment_live import LiveCells
    from napari_celldyn.widgets.environment_stage import EnvironmentStage


class EnvironmentStates(QWidget):
    """Keeps where cells are and what is held, and goes back to it.

    Parameters
    ----------
    stage
        Where the cells live.
    """

    def __init__(self, stage: EnvironmentStage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._stage = stage
        self.name, self.keep_button = QLineEdit(), QPushButton("Keep")
        self.kept, self.back_button = QComboBox(), QPushButton("Bring back")
        self.sentence = ErrorSentence()
        self.name.setPlaceholderText("name of the state")
        self.keep_button.setToolTip("Keep where all cells are, and what is held, under this name")
        self.back_button.setToolTip("Go back to it: nothing of what came after is left")
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.kept.setSizeAdjustPolicy(policy)
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.name, 1)
        first.addWidget(self.keep_button)
        second.addWidget(self.kept, 1)
        second.addWidget(self.back_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addLayout(second)
        column.addWidget(self.sentence)
        self.keep_button.clicked.connect(self.keep)
        self.name.returnPressed.connect(self.keep)
        self.back_button.clicked.connect(self.bring_back)
        stage.changed.connect(self.refresh)
        stage.shown_changed.connect(self.refresh)
        self.refresh()

    def keep(self) -> None:
        """Keep the state under the name that was typed, or its time."""
        shot = self._stage.shown
        if shot is None:
            return
        name = self.name.text().strip() or f"at {shot.time:.1f} s"
        self._ask(lambda cells: cells.keep(name))
        self.name.clear()

    def bring_back(self) -> None:
        """Go back to the state that is chosen."""
        name = self.kept.currentText()
        if name:
            self._ask(lambda cells: cells.bring_back(name))

    def refresh(self) -> None:
        """Offer what was kept; the newest is chosen."""
        cells = self._stage.cells
        self.setEnabled(cells is not None)
        names = [] if cells is None else list(cells.kept)
        there = [self.kept.itemText(k) for k in range(self.kept.count())]
        if names != there:
            with signals_blocked(self.kept):
                self.kept.clear()
                self.kept.addItems(names)
                self.kept.setCurrentIndex(len(names) - 1)
        self.back_button.setEnabled(bool(names))

    def _ask(self, order: Callable[[LiveCells], object]) -> None:
        self.sentence.say("")
        try:
            self._stage.ask(order)
        except CelldynError as error:
            self.sentence.say(str(error))
        self.refresh()
