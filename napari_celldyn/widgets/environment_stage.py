"""The stage that virtual cells live on: their job, their reel, and what is drawn of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from celldyn.errors import NotFittedError
from napari_celldyn.widgets.environment_drawing import StageDrawing
from napari_celldyn.widgets.environment_living import Pace, Reel, Until, living_job
from napari_celldyn.widgets.environment_look import SPACE, Look
from napari_celldyn.widgets.listen import listen

if TYPE_CHECKING:
    from napari_celldyn.handle import JobHandle
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_live import LiveCells, Shot, View
    from napari_celldyn.widgets.environment_opening import Opened


class EnvironmentStage(QObject):
    """Lets cells live on in a job, and draws the latest, or an earlier, picture of them.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    changed = Signal()
    """There are other cells, or none; they play or stand still; something else is held."""

    shown_changed = Signal()
    """Another picture is drawn."""

    failed = Signal(str)
    """What was asked for could not be done."""

    rested = Signal(object)
    """Cells were asked to come to rest, and this is the report."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._workspace = session, session.workspace
        self.opened: Opened | None = None
        self.reel, self.pace = Reel(), Pace()
        self.look = Look()
        self.shows_plain = False
        self.shown: Shot | None = None
        self._handle: JobHandle | None = None
        self._stop = Event()
        self._drawing = StageDrawing(session)
        self._following = True
        listen(self, self._workspace.data_changed, self.close)

    # --- what there is ------------------------------------------------------------------------

    @property
    def cells(self) -> LiveCells | None:
        """The cells; None where none were put into an environment."""
        return None if self.opened is None else self.opened.cells

    @property
    def playing(self) -> bool:
        """Whether they are on their way."""
        return self._handle is not None

    @property
    def handle(self) -> JobHandle | None:
        """The job that they are on their way in."""
        return self._handle

    @property
    def perturbed(self) -> bool:
        """Whether something was perturbed, at the time that is shown."""
        return self.shown is not None and self.shown.changed is not None

    @property
    def place(self) -> int:
        """Which shot of the reel is shown."""
        shots = self.reel.shots
        return next((k for k, each in enumerate(shots) if each is self.shown), len(shots) - 1)

    @property
    def per_unit(self) -> float:
        """Units of the canvas in one of the tissue's own coordinates."""
        return self._drawing.per_unit

    @property
    def unit(self) -> str:
        """Unit of shifts, as it follows a number: none in the cells' own space."""
        told = self.opened is not None and self.opened.on_tissue
        return " µm" if told and self._session.tissue.unit == "um" else ""

    def require(self) -> LiveCells:
        """Return the cells.

        Raises
        ------
        NotFittedError
            If there are none.
        """
        if self.opened is None:
            raise NotFittedError("no cells live in the environment", "click Enter first")
        return self.opened.cells

    # --- verbs --------------------------------------------------------------------------------

    def open(self, opened: Opened) -> None:
        """Put cells on the stage, in place of others."""
        self.close()
        self.opened = opened
        if not opened.on_tissue:
            self.look = replace(self.look, where=SPACE)
        self._take_shot()
        self.changed.emit()

    def close(self, *_: object) -> None:
        """Take the cells away."""
        self._stop.set()
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self.reel = None, Reel()
        self.opened, self.shown, self.shows_plain = None, None, False
        self._drawing.clear()
        self.changed.emit()

    def play(self, until: Until | None = None) -> JobHandle:
        """Let the cells live on; see `Until` for when they stop by themselves.

        Raises
        ------
        NotFittedError
            If there are none.
        """
        cells = self.require()
        if self._handle is not None:
            return self._handle
        stop = self._stop = Event()
        self._following = True
        reel, pace, until = self.reel, self.pace, until or Until()
        cells.running = True
        handle = self._session.runner.submit(
            f"{cells.n_cells:,} virtual cells",
            lambda: living_job(cells, reel, pace, until, stop),
            system="environment",
            on_result=self._on_report,
        )
        self._handle = handle
        handle.progressed.connect(self._on_progress)
        handle.finished.connect(lambda _state: self._on_finished(handle, cells))
        self.changed.emit()
        return handle

    def pause(self) -> None:
        """Let the cells stand still after the step that they are in."""
        self._stop.set()

    def ask(self, order: Callable[[LiveCells], object]) -> None:
        """Do something to the cells: now, or before their next step.

        Raises
        ------
        CelldynError
            If it is done now and cannot be.
        """
        cells = self.require()
        cells.ask(order)
        if not cells.running:
            self._take_shot()
            self.changed.emit()

    def seek(self, place: int) -> None:
        """Show an earlier shot; the last one follows what happens."""
        shots = self.reel.shots
        if shots:
            place = int(np.clip(place, 0, len(shots) - 1))
            self._following = place == len(shots) - 1
            self._draw(shots[place], jump=True)

    def show_plain(self, *, plain: bool) -> None:
        """Show the cells as they are without the perturbation, or with it."""
        if plain != self.shows_plain:
            self.shows_plain = plain
            self.redraw()

    def set_look(self, look: Look) -> None:
        """Show the cells otherwise."""
        self.look = look
        self.pace.with_flow = look.velocities
        self.redraw()

    def redraw(self) -> None:
        """Draw what is shown once more."""
        if self.shown is not None:
            self._draw(self.shown, jump=True)

    def view(self) -> View | None:
        """Return the cells that are shown: perturbed where they are, unless plain is wanted."""
        shot = self.shown
        if shot is None:
            return None
        return shot.plain if self.shows_plain or shot.changed is None else shot.changed

    # --- news of the job ----------------------------------------------------------------------

    def _take_shot(self) -> None:
        shot = self.require().shot(with_flow=self.pace.with_flow)
        if self.reel.shots and shot.time < self.reel.shots[-1].time:
            self._drawing.forget_limits()
        self.reel.add(shot)
        self._following = True
        self._draw(shot, jump=True)

    def _on_progress(self, _progress: object) -> None:
        cells, shots = self.cells, self.reel.shots
        if cells is None:
            return
        if cells.failed:
            cells.failed, said = "", cells.failed
            self.failed.emit(said)
        if shots and self._following and shots[-1] is not self.shown:
            before = self.shown
            self._draw(shots[-1], jump=before is None or shots[-1].time < before.time)
        elif not self._following:
            self.shown_changed.emit()  # there is more to go to

    def _on_report(self, report: Any) -> None:  # noqa: ANN401
        if report is not None:
            self.rested.emit(report)

    def _on_finished(self, handle: JobHandle, cells: LiveCells) -> None:
        if self._handle is not handle:
            return
        self._handle = None
        cells.running = False
        late = cells.obey()
        if self.cells is cells:
            if cells.failed:
                cells.failed, said = "", cells.failed
                self.failed.emit(said)
            if handle.error:
                self.failed.emit(handle.error)
            if late or not self.reel.shots:
                self._take_shot()
            elif self._following and self.reel.shots[-1] is not self.shown:
                self._draw(self.reel.shots[-1])
            self._session.agents.settle()
        self.changed.emit()

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self, shot: Shot, *, jump: bool = False) -> None:
        if self.opened is None:
            return
        self.shown = shot
        view = self.view()
        assert view is not None
        self._drawing.draw(self.opened, shot, view, self.look, jump=jump)
        if not self.playing:
            self._session.agents.settle()
        self.shown_changed.emit()
