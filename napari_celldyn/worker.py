"""A core job in a thread of its own: drained, paused, closed there. Knows no Qt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeAlias

from celldyn.jobs import Job, Meter, Progress
from napari_celldyn.failures import Failure, describe
from napari_celldyn.responsive import Courtesy, courtesy, give_back_gpu

HALF_LIFE_S = 30.0
"""Time left is told from about the last minute: a panel's gene has slow and quick stages."""


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


JobSource: TypeAlias = "Job[Any] | Callable[[], Job[Any]]"
"""A job, or what makes one; what makes one is called in the job's thread."""

Sample: TypeAlias = tuple[str, float, float]
"""Name of a metric, seconds of work since the start, value."""


@dataclass(frozen=True, slots=True)
class Report:
    """What has become of a job since the last report; `samples` are the new ones only."""

    state: JobState
    progress: Progress | None
    rate: float | None
    eta_s: float | None
    elapsed_s: float
    samples: list[Sample]
    failure: Failure | None = None
    result: Any = None


@dataclass(slots=True)
class _Outcome:
    state: JobState
    result: Any = None
    failure: Failure | None = None


class Worker:
    """Drains one job in a daemon thread.

    Parameters
    ----------
    source
        The job, or a function that makes it. It is dropped as soon as it is no longer needed.
    wake
        Called, from the job's thread, when there is something to `take`; not again before it was
        taken.
    """

    def __init__(self, source: JobSource, wake: Callable[[], None]) -> None:
        self._source: JobSource | None = source
        self._wake: Callable[[], None] | None = wake
        self._news = False
        self._turn = threading.Condition()
        self._pause = self._cancel = False
        self._state = JobState.QUEUED
        self._progress: Progress | None = None
        self._samples: list[Sample] = []
        self._outcome: _Outcome | None = None
        self._meter = Meter(half_life_s=HALF_LIFE_S)
        self._since: float | None = None
        self._worked_s = 0.0
        self._thread = threading.Thread(target=self._live, name="celldyn job", daemon=True)

    # --- from any thread ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin; does nothing if the job was cancelled while it waited."""
        with self._turn:
            if self._outcome is not None:
                return
            self._state = JobState.RUNNING
            self._meter = Meter(half_life_s=HALF_LIFE_S)
            self._since = time.perf_counter()
        self._thread.start()

    def pause(self) -> None:
        """Stand still at the next step."""
        with self._turn:
            self._pause = True

    def resume(self) -> None:
        """Go on."""
        with self._turn:
            self._pause = False
            self._turn.notify_all()

    def cancel(self) -> None:
        """Close the job at its next step, in its own thread."""
        with self._turn:
            if self._outcome is not None:
                return
            self._cancel = True
            self._turn.notify_all()
            if self._state is JobState.QUEUED:
                self._source = None
                self._end(_Outcome(JobState.CANCELLED))

    @property
    def pausing(self) -> bool:
        """Whether it was asked to stand still."""
        return self._pause

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancel

    def take(self) -> Report:
        """Return where the job stands, with the samples that came since the last time."""
        with self._turn:
            self._news = False
            samples, self._samples = self._samples, []
            end = self._outcome or _Outcome(self._state)
            return Report(
                end.state,
                self._progress,
                self._meter.rate,
                self._meter.eta_s,
                self._elapsed(),
                samples,
                end.failure,
                end.result,
            )

    def release(self) -> None:
        """Forget the outcome and whom to wake: nothing more will be taken."""
        with self._turn:
            self._wake = None
            if self._outcome is not None:
                self._outcome = _Outcome(self._outcome.state)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; say whether it has ended."""
        if self._thread.ident is None or self._thread is threading.current_thread():
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- in the job's thread ------------------------------------------------------------------

    def _live(self) -> None:
        outcome = self._drain()
        with suppress(RuntimeError):  # a GPU that has failed raises at every call from then on
            give_back_gpu()
        with self._turn:
            self._end(outcome)

    def _drain(self) -> _Outcome:
        try:
            with courtesy() as manners:
                return self._advance(manners)
        except BaseException as error:  # noqa: BLE001  (whatever a job raises is for the user)
            failure = describe(error)
        if self._cancel:
            sentence = f"The job was cancelled, and failed while stopping: {failure.sentence}"
            failure = replace(failure, sentence=sentence)
        return _Outcome(JobState.FAILED, failure=failure)

    def _advance(self, manners: Courtesy) -> _Outcome:
        source, self._source = self._source, None
        manners.attend()
        job: Job[Any] = source() if callable(source) else source  # type: ignore[assignment]
        del source  # it may hold arrays that the job gives up on its way
        with closing(job):
            while not self._cancel:
                try:
                    progress = next(job)
                except StopIteration as end:
                    if self._cancel:  # what comes too late is not wanted any more
                        break
                    return _Outcome(JobState.DONE, end.value)
                manners.attend()
                if not self._cancel:
                    self._observe(progress)
                    self._stand_still()
        return _Outcome(JobState.CANCELLED)

    def _observe(self, progress: Progress) -> None:
        samples = [(str(name), float(value)) for name, value in progress.metrics.items()]
        with self._turn:
            self._meter.update(progress)
            self._progress = progress
            at = self._elapsed()
            self._samples += [(name, at, value) for name, value in samples]
            self._tell()

    def _stand_still(self) -> None:
        """Wait as long as the job is paused; that time does not count as work."""
        if not self._pause:
            return
        with self._turn:
            self._worked_s, self._since = self._elapsed(), None
            self._state = JobState.PAUSED
            self._tell()
            self._turn.wait_for(lambda: self._cancel or not self._pause)
            self._state = JobState.RUNNING
            self._since = time.perf_counter()
            self._meter.pause()
            self._tell()

    # --- under the lock -----------------------------------------------------------------------

    def _elapsed(self) -> float:
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._worked_s + running

    def _end(self, outcome: _Outcome) -> None:
        self._worked_s, self._since = self._elapsed(), None
        self._outcome = outcome
        if self._progress is not None:
            self._progress = replace(self._progress, preview=None)
        self._tell()

    def _tell(self) -> None:
        if not self._news and self._wake is not None:
            self._news = True
            self._wake()
