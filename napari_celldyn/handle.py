"""One job as the window sees it: its state, progress, metrics and end."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from celldyn.jobs import Progress
from napari_celldyn.failures import Failure
from napari_celldyn.worker import JobState, Report, Worker

MAX_HISTORY = 4000
"""Samples kept of one metric; beyond it every second one is dropped."""


class JobHandle(QObject):
    """One job as the window sees it; used and signalled on the main thread only.

    Attributes
    ----------
    title, system
        What it is called, and which system it belongs to.
    writes
        Keys that its result will be written under, as "slot/name".
    progress
        The latest progress; None before the first.
    rate, eta_s, elapsed_s
        Units per second, seconds left (None while unknown), seconds of work without pauses.
    metrics
        For each metric its (seconds of work, value) pairs in order.
    failure
        Why it failed: a sentence and the traceback as text; else None.
    result
        What the job returned; None before.
    """

    changed = Signal()
    progressed = Signal(object)
    finished = Signal(object)

    def __init__(self, title: str, system: str, writes: frozenset[str], worker: Worker) -> None:
        super().__init__()
        self.title, self.system, self.writes = title, system, writes
        self.progress: Progress | None = None
        self.rate: float | None = None
        self.eta_s: float | None = None
        self.elapsed_s = 0.0
        self.metrics: dict[str, list[tuple[float, float]]] = {}
        self.failure: Failure | None = None
        self.result: Any = None
        self._state = JobState.QUEUED
        self._worker = worker

    @property
    def state(self) -> JobState:
        """Where the job stands."""
        return self._state

    @property
    def error(self) -> str:
        """The sentence that says why it failed; empty if it did not."""
        return self.failure.sentence if self.failure else ""

    @property
    def pausing(self) -> bool:
        """Whether it was asked to pause; it does at its next step."""
        return self._worker.pausing and not self._state.over

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not yet: it does at its next step."""
        return self._worker.cancelling and not self._state.over

    def pause(self) -> None:
        """Let the job stand still at its next step."""
        self._worker.pause()
        self.changed.emit()

    def resume(self) -> None:
        """Let it go on."""
        self._worker.resume()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop the job at its next step; what it held is freed and nothing is written."""
        self._worker.cancel()
        self.changed.emit()

    def start(self) -> None:
        """Say that it runs now, before its first step does."""
        self._state = JobState.RUNNING
        self.changed.emit()

    def adopt(self, report: Report) -> None:
        """Take over a report of the worker; its end is for `finish`, after the writing."""
        self.rate, self.eta_s, self.elapsed_s = report.rate, report.eta_s, report.elapsed_s
        for name, at, value in report.samples:
            history = self.metrics.setdefault(name, [])
            history.append((at, value))
            if len(history) > MAX_HISTORY:
                del history[-2::-2]
        fresh, self.progress = report.progress is not self.progress, report.progress
        if not report.state.over:
            self._state = report.state
            self.changed.emit()
        if fresh and report.progress is not None:
            self.progressed.emit(report.progress)

    def finish(self, state: JobState, failure: Failure | None = None) -> None:
        """Take over the end, which comes once."""
        self._state, self.failure, self.eta_s = state, failure, None
        self.changed.emit()
        self.finished.emit(state)
