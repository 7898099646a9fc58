"""Cells that flow downhill: a slider of time, played forwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton
from superqt.utils import signals_blocked

from celldyn import keys
from napari_celldyn.widgets.labels import wrapped
from napari_celldyn.widgets.landscape_view_part import ViewPart, form, slider
from napari_celldyn.widgets.landscape_view_source import TRAIN
from napari_celldyn.widgets.listen import listen
from napari_celldyn.widgets.number_box import NumberBox

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from celldyn.landscape.moving import Frames
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.landscape_view_source import LandscapeSource

PLAY, PAUSE = "▶  Play downhill", "❚❚  Pause"
N_FRAMES = 41
BEND = 1.7
"""Frames are closer in time at first, when cells are fast."""

LENGTH_S = 9.0
"""Of a film that is played through."""

REST_S = 1.2
"""At its end, before it begins again."""

TICK_MS = 25
SLOW_S, SLOW_TICKS = 0.12, 4
"""So long between pictures, so often in a row: fewer cells are shown on their way."""

STEPS = 1000
TIME = 15.0
"""What fates are told after, by default."""


class PlayPart(ViewPart):
    """Plays cells downhill on the landscape and on the embedding.

    Time goes by the clock: where a picture takes long to draw, fewer are drawn.

    Parameters
    ----------
    session
        What the viewer's docks share.
    source
        What the tissue has.
    """

    def __init__(
        self, session: Session, source: LandscapeSource, parent: QWidget | None = None
    ) -> None:
        super().__init__(session, source, parent)
        self._journey = session.journey
        self._clock = self._at = self._rested = 0.0
        self._slow = 0
        self._shown: tuple[str, float, float] | None = None
        self.button, self.stop = QPushButton(PLAY), QPushButton("Back")
        self.place = slider(0, STEPS, 0, "Time; drag it")
        self.again = QCheckBox("again and again")
        self.until, self.noise = NumberBox(0.0, None), NumberBox(0.0, None)
        self.now = wrapped()
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._lay_out()
        self.button.clicked.connect(self._on_click)
        self.stop.clicked.connect(self._journey.hide)
        self.place.valueChanged.connect(self._on_place)
        self._timer.timeout.connect(self._tick)
        listen(self, self._journey.changed, self.refresh)
        for view in (session.embedding, session.landscape):
            listen(self, view.changed, self.refresh)
        self.finish()

    def _lay_out(self) -> None:
        self.stop.setToolTip("Cells are where they are")
        self.again.setChecked(True)
        self.until.setValue(TIME)
        self.until.setToolTip("How long cells flow, in the model's units of time")
        self.noise.setValue(0.0)
        self.noise.setToolTip("σ of dz = −∇V dt + σ dW; 0 follows the flow alone")
        buttons = QHBoxLayout()
        buttons.addWidget(self.button, 2)
        buttons.addWidget(self.stop, 1)
        fields = form()
        fields.addRow("Until", self.until)
        fields.addRow("Noise σ", self.noise)
        self.column.addLayout(buttons)
        self.column.addWidget(self.place)
        self.column.addWidget(self.now)
        self.column.addWidget(self.again)
        self.column.addLayout(fields)

    @property
    def playing(self) -> bool:
        """Whether time goes on."""
        return self._timer.isActive()

    def play(self) -> None:
        """Let time go on; find the frames first, if they are not there.

        Raises
        ------
        CelldynError
            If cells cannot flow: there is no model.
        """
        asked = self._key(), float(self.until.number()), float(self.noise.number())
        if self._journey.film is None or asked != self._shown:
            self._find(asked)
            return
        if self.place.value() >= STEPS:
            self.place.setValue(0)
        self._clock, self._slow = time.perf_counter(), 0
        self._timer.start()
        self.refresh()

    def pause(self) -> None:
        """Let time stand still."""
        self._timer.stop()
        self._journey.settle()
        self.refresh()

    def refresh(self) -> None:
        """Offer what the tissue in view has."""
        film = self._journey.film
        if film is None:
            self._timer.stop()
            self._shown = None
        can = self.source.has_model and bool(self.source.planes)
        self.button.setText(PAUSE if self.playing else PLAY)
        self.button.setEnabled(self.playing or (can and self.running is None))
        self.button.setToolTip(
            "Cells flow downhill on the landscape and on the embedding, in their colours"
            if can
            else f"Cells flow by a model, which this tissue has not: {TRAIN}"
        )
        self.stop.setEnabled(film is not None)
        self.place.setEnabled(film is not None)
        if film is None:
            with signals_blocked(self.place):
                self.place.setValue(0)
        self._tell()

    # --- frames -------------------------------------------------------------------------------

    def _key(self) -> str:
        """Return the embedding that is seen; one is put beside the tissue where none is."""
        landscape, embedding = self.session.landscape, self.session.embedding
        if landscape.shown:
            return landscape.key
        if embedding.key is None:
            embedding.show(self.source.planes[0])
        return str(embedding.key)

    def _find(self, asked: tuple[str, float, float]) -> None:
        from celldyn.landscape.moving import flow_frames_job

        key, until, sigma = asked
        z, graph = self.source.states(), self.source.graph()
        potential = self.source.networks().potential
        places = np.array(self.workspace.require().obsm[key], np.float64)[:, :2]
        times = (until or TIME) * np.linspace(0.0, 1.0, N_FRAMES) ** BEND
        seed = 0 if sigma else None

        def draw(frames: Frames) -> None:
            self._journey.show(frames, key)
            self._shown = asked
            self.play()

        self.run(
            f"Flow of {len(z):,} cells",
            lambda: flow_frames_job(potential, z, places, times, graph, sigma=sigma, seed=seed),
            draw,
        )

    # --- time ---------------------------------------------------------------------------------

    def _on_click(self) -> None:
        if self.playing:
            self.pause()
        else:
            self.attempt(self.play)

    def _tick(self) -> None:
        passed, self._clock = time.perf_counter() - self._clock, time.perf_counter()
        self._slow = self._slow + 1 if passed > SLOW_S else 0
        if self._slow >= SLOW_TICKS:
            self._slow = 0
            self._journey.thin()
        if self.place.value() >= STEPS:
            self._at_end(passed)
            return
        self._rested = 0.0
        if round(self._at) != self.place.value():  # a person has dragged it
            self._at = float(self.place.value())
        self._at = min(self._at + STEPS * passed / LENGTH_S, float(STEPS))
        self.place.setValue(round(self._at))

    def _at_end(self, passed: float) -> None:
        if not self.again.isChecked():
            self.pause()
            return
        self._rested += passed
        if self._rested > REST_S:
            self._rested = 0.0
            self.place.setValue(0)

    def _on_place(self, _value: int) -> None:
        film = self._journey.film
        if film is None:
            return
        at = self.place.value() / STEPS * (len(film.times) - 1)
        self._journey.seek(float(np.interp(at, np.arange(len(film.times)), film.times)))
        if not self.playing and not self.place.isSliderDown():
            self._journey.settle()
        self._tell()

    def _tell(self) -> None:
        film = self._journey.film
        self.now.setVisible(film is not None)
        if film is not None:
            said = f"t = {self._journey.time:.2f} of {film.times[-1]:g}"
            n, all_ = len(self._journey.cells), self.workspace.require().n_obs
            of = f"; {n:,} of {all_:,} cells, to keep up" if n <= all_ // 2 else ""
            self.now.setText(said + of)

    def on_written(self, written: frozenset[str]) -> None:
        """Forget frames of a model that is another now."""
        if written & {keys.LANDSCAPE_INFO.path(), keys.CELL_STATE.path()}:
            self._journey.hide()
