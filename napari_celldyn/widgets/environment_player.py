"""Play, pause, step and go back: the bar of time under cells that live in an environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from celldyn.errors import CelldynError
from napari_celldyn.widgets.environment_living import Until
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_view_part import slider
from napari_celldyn.widgets.number_box import NumberBox

if TYPE_CHECKING:
    from celldyn.environment.steady import SteadyReport
    from napari_celldyn.widgets.environment_stage import EnvironmentStage

PLAY, PAUSE = "▶  Play", "❚❚  Pause"
RATES = {"0.5 s": 0.5, "1 s": 1.0, "2 s": 2.0, "5 s": 5.0, "20 s": 20.0, "as fast as can be": 1e9}
"""Seconds of the environment in one of the clock, as the box says it."""
USUAL = "2 s"


class EnvironmentPlayer(QWidget):
    """Buttons and a slider of time.

    Parameters
    ----------
    stage
        What they act on.
    """

    def __init__(self, stage: EnvironmentStage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._stage = stage
        self.play_button, self.step_button = QPushButton(PLAY), QPushButton("Step")
        self.rest_button, self.anew_button = QPushButton("To rest"), QPushButton("Anew")
        self.place = slider(0, 0, 0, "Time; drag it back to see what was")
        self.rate, self.seed = QComboBox(), NumberBox(0, 2**31 - 1, whole=True)
        self.now = wrapped()
        self._report = ""
        self._lay_out()
        self.play_button.clicked.connect(self._on_play)
        self.step_button.clicked.connect(lambda: self._attempt(self.step))
        self.rest_button.clicked.connect(lambda: self._attempt(self.to_rest))
        self.anew_button.clicked.connect(lambda: self._attempt(self.anew))
        self.place.valueChanged.connect(self._on_place)
        self.rate.currentTextChanged.connect(self._on_rate)
        stage.changed.connect(self.refresh)
        stage.shown_changed.connect(self._on_shown)
        stage.rested.connect(self._on_rested)
        self._on_rate(self.rate.currentText())
        self.refresh()

    def _lay_out(self) -> None:
        self.rate.addItems(list(RATES))
        self.rate.setCurrentText(USUAL)
        self.rate.setToolTip("How much time of the environment passes in a second")
        self.step_button.setToolTip("One step of time")
        self.rest_button.setToolTip("Go on, as fast as can be, until the cells are at rest")
        self.anew_button.setToolTip("Begin at random places; nothing is perturbed")
        self.seed.setToolTip("Seed of the places that cells begin at")
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.play_button, 2)
        first.addWidget(self.step_button, 1)
        second.addWidget(self.rest_button, 1)
        second.addWidget(self.anew_button, 1)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("a second is", self.rate)
        form.addRow("seed", self.seed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addLayout(second)
        column.addWidget(self.place)
        column.addWidget(self.now)
        column.addLayout(form)

    # --- verbs --------------------------------------------------------------------------------

    def step(self) -> None:
        """Let all cells go one step."""
        self._stage.play(Until(steps=1))

    def to_rest(self) -> None:
        """Let the cells go until they are at rest, or somebody stops them."""
        self._stage.play(Until(rest=True))

    def anew(self) -> None:
        """Begin at random places."""
        seed = int(self.seed.number())
        self._stage.ask(lambda cells: cells.reset(seed))

    # --- following ----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what can be done."""
        there, playing = self._stage.cells is not None, self._stage.playing
        self.play_button.setText(PAUSE if playing else PLAY)
        for button in (self.play_button, self.anew_button):
            button.setEnabled(there)
        for button in (self.step_button, self.rest_button):
            button.setEnabled(there and not playing)
        self._on_shown()

    def _attempt(self, act: Callable[[], None]) -> None:
        self._report = ""
        try:
            act()
        except CelldynError as error:
            self._stage.failed.emit(str(error))

    def _on_play(self) -> None:
        if self._stage.playing:
            self._stage.pause()
        else:
            self._attempt(lambda: self._stage.play() and None)

    def _on_rate(self, name: str) -> None:
        self._stage.pace.rate = RATES[name]

    def _on_place(self, value: int) -> None:
        self._stage.seek(value)

    def _on_rested(self, report: SteadyReport) -> None:
        self._report = f" {report}"
        self._on_shown()

    def _on_shown(self) -> None:
        n = len(self._stage.reel)
        with signals_blocked(self.place):
            self.place.setRange(0, max(n - 1, 0))
            self.place.setValue(self._stage.place)
        self.place.setEnabled(n > 1)
        shot = self._stage.shown
        if shot is None:
            self.now.setText("")
            return
        last = self._stage.reel.shots[-1].time if n else shot.time
        of = f" of {last:.1f} s" if last > shot.time + 1e-6 else " s"
        self.now.setText(f"t = {shot.time:.1f}{of}.{self._report}")
