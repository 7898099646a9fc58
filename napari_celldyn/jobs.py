"""A core job behind the window: submitted, watched, paused, cancelled, and its result written."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal

from celldyn.errors import JobConflictError
from napari_celldyn.failures import Failure, describe
from napari_celldyn.handle import JobHandle
from napari_celldyn.worker import JobSource, JobState, Report, Worker
from napari_celldyn.workspace import Workspace

__all__ = ["JobHandle", "JobRunner", "JobState"]

MAX_RUNNING = 2
"""Jobs at work at a time; the others wait their turn."""
DELIVERY_MS = 50
"""Listeners hear of a job at most this often."""
HEARTBEAT_MS = 1000
"""A running job that reports nothing is announced this often all the same: its time goes on."""


class _Bell(QObject):
    """Rung in a job's thread, heard on the main thread."""

    rung = Signal(int)

    def ring(self, number: int) -> None:
        self.rung.emit(number)


OnResult = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A job that has not ended, and what is to be done with its result."""

    handle: JobHandle
    worker: Worker
    on_result: OnResult | None
    tissue: Callable[[], Any] | None


class JobRunner(QObject):
    """Runs the jobs of one workspace, a few at a time.

    Made and used on the main thread. Call `shutdown`, or `follow` the window, so that no job
    outlives what it would be drawn in.
    """

    submitted = Signal(object)
    dismissed = Signal(object)

    def __init__(self, workspace: Workspace, *, max_running: int = MAX_RUNNING) -> None:
        super().__init__()
        self._workspace = weakref.ref(workspace)
        self._max_running = max_running
        self._handles: dict[int, JobHandle] = {}
        self._live: dict[int, _Entry] = {}
        self._waiting: list[int] = []
        self._active: set[int] = set()
        self._due: set[int] = set()
        self._delivered_at = 0.0
        self._count = 0
        self._followed: weakref.ref[QObject] | None = None
        self._bell = _Bell()
        self._bell.rung.connect(self._heard, Qt.ConnectionType.QueuedConnection)
        self._delivery = QTimer(self)
        self._delivery.setSingleShot(True)
        self._delivery.timeout.connect(self._deliver)
        self._heartbeat = QTimer(self)
        self._heartbeat.setInterval(HEARTBEAT_MS)
        self._heartbeat.timeout.connect(self._beat)
        weakref.finalize(workspace, _abandon, self._live)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.shutdown)

    @classmethod
    def of(cls, workspace: Workspace) -> JobRunner:
        """Return the runner of a workspace, made on first use and gone with it."""
        runner = _OF_WORKSPACE.get(workspace)
        if runner is None:
            runner = _OF_WORKSPACE[workspace] = cls(workspace)
        return runner

    @classmethod
    def of_viewer(cls, viewer: Any) -> JobRunner:  # noqa: ANN401
        """Return the runner of a viewer's workspace; it shuts down with the viewer's window."""
        runner = cls.of(Workspace.of(viewer))
        window = getattr(getattr(viewer, "__wrapped__", viewer), "window", None)
        if window is not None:  # a model without a window has none
            runner.follow(window._qt_window)
        return runner

    @property
    def handles(self) -> tuple[JobHandle, ...]:
        """All jobs that were submitted and not dismissed, in order."""
        return tuple(self._handles.values())

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._live)

    def submit(
        self,
        title: str,
        source: JobSource,
        *,
        system: str,
        writes: Iterable[str] = (),
        on_result: OnResult | None = None,
    ) -> JobHandle:
        """Run a job as soon as there is room for it.

        Parameters
        ----------
        title
            What to call it on its card.
        source
            The job, or a function without arguments that makes it; that is called in the job's
            thread. Neither may touch the AnnData in view: it is handed arrays.
        system
            "simulate", "betas", ...
        writes
            Keys that `on_result` will write, as "slot/name"; empty if it does not write on the
            tissue in view.
        on_result
            Called with the result on the main thread: the place to write it on the AnnData and
            to announce the keys. Not called after a failure or a cancel, nor, if `writes` is
            given, when the tissue in view was replaced meanwhile.

        Raises
        ------
        JobConflictError
            If a job that has not ended would write one of the same keys.
        """
        claimed = frozenset(writes)
        self._refuse_conflict(title, claimed)
        self._count += 1
        number = self._count
        worker = Worker(source, partial(self._bell.ring, number))
        handle = JobHandle(title, system, claimed, worker)
        tissue = self._tissue() if claimed else None
        self._live[number] = _Entry(handle, worker, on_result, tissue)
        self._handles[number] = handle
        self._waiting.append(number)
        self.submitted.emit(handle)
        self._start_waiting()
        return handle

    def dismiss(self, handle: JobHandle) -> None:
        """Forget a job that has ended; one that has not stays."""
        for number, known in list(self._handles.items()):
            if known is handle and number not in self._live:
                del self._handles[number]
                self.dismissed.emit(handle)

    def cancel_all(self) -> None:
        """Cancel every job, running or waiting."""
        for entry in list(self._live.values()):
            entry.handle.cancel()

    def follow(self, window: QObject) -> None:
        """Shut down when this window is destroyed."""
        if self._followed is None or self._followed() is not window:
            self._followed = weakref.ref(window)
            window.destroyed.connect(self.shutdown)

    def shutdown(self, *_: object, timeout_s: float = 2.0) -> bool:
        """Cancel all and wait for the threads, no longer than the timeout; say if all ended."""
        self._delivery.stop()
        self._heartbeat.stop()
        self.cancel_all()
        until = time.perf_counter() + timeout_s
        left = dict(self._live)
        ended = [e.worker.join(max(until - time.perf_counter(), 0.0)) for e in left.values()]
        for number in left:
            self._end(number, JobState.CANCELLED)
        return all(ended)

    # --- news of the jobs ---------------------------------------------------------------------

    def _heard(self, number: int) -> None:
        self._due.add(number)
        if not self._delivery.isActive():
            since_ms = (time.perf_counter() - self._delivered_at) * 1000
            self._delivery.start(max(0, round(DELIVERY_MS - since_ms)))

    def _beat(self) -> None:
        self._due |= self._active
        self._deliver()

    def _deliver(self) -> None:
        due, self._due = self._due, set()
        self._delivered_at = time.perf_counter()
        for number in sorted(due):
            if (entry := self._live.get(number)) is None:
                continue
            report = entry.worker.take()
            entry.handle.adopt(report)
            if report.state.over:
                self._active.discard(number)  # first: writing may let other events in
                self._end(number, *self._conclude(entry, report))
        self._start_waiting()

    def _conclude(self, entry: _Entry, report: Report) -> tuple[JobState, Failure | None]:
        """Write the result of a job that is done, and say how it ended after all."""
        if report.state is not JobState.DONE:
            return report.state, report.failure
        entry.handle.result = report.result
        if entry.tissue is not None and entry.tissue() is not self._tissue()():
            sentence = "The tissue was replaced while this ran; its result was not written."
            return JobState.FAILED, Failure(sentence, "")
        if entry.on_result is not None:
            try:
                entry.on_result(report.result)
            except Exception as error:  # noqa: BLE001  (what writing raises is for the user)
                return JobState.FAILED, describe(error)
        return JobState.DONE, None

    def _end(self, number: int, state: JobState, failure: Failure | None = None) -> None:
        if (entry := self._live.pop(number, None)) is None:  # shut down while it was written
            return
        entry.worker.release()
        self._active.discard(number)
        if number in self._waiting:
            self._waiting.remove(number)
        if not self._active:
            self._heartbeat.stop()
        entry.handle.finish(state, failure)

    def _start_waiting(self) -> None:
        while self._waiting and len(self._active) < self._max_running:
            number = self._waiting.pop(0)
            entry = self._live[number]
            if entry.worker.cancelling:  # its end is on the way
                continue
            self._active.add(number)
            self._heartbeat.start()
            entry.worker.start()
            entry.handle.start()

    # --- what a job may write -----------------------------------------------------------------

    def _refuse_conflict(self, title: str, claimed: frozenset[str]) -> None:
        for other in (entry.handle for entry in self._live.values()):
            if common := sorted(claimed & other.writes):
                raise JobConflictError(
                    f"{title} would write {common[0]}, which {other.title} is to write as well",
                    f"wait until {other.title} has ended, or cancel it",
                )

    def _tissue(self) -> Callable[[], Any]:
        adata = getattr(self._workspace(), "adata", None)
        return (lambda: None) if adata is None else weakref.ref(adata)


_OF_WORKSPACE: weakref.WeakKeyDictionary[Workspace, JobRunner] = weakref.WeakKeyDictionary()


def _abandon(live: dict[int, _Entry]) -> None:
    """Stop what still runs when a workspace, or the program, goes without a shutdown."""
    workers = [entry.worker for entry in live.values()]
    for worker in workers:
        worker.release()
        worker.cancel()
    for worker in workers:
        worker.join(0.5)
