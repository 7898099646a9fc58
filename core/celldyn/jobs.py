"""Long work as generators of `Progress`: the only contract between core and plugin."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

MAX_SILENCE_S = 0.1
"""A job yields at least this often, in seconds of its work."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands.

    Parameters
    ----------
    stage
        What is being done, in the words of the field ("received ligands").
    done, total
        Units finished and to do over the whole job; `total` is None while unknown.
    message
        One short line on the current unit ("cluster Astro").
    metrics
        Numbers to plot or tabulate as they come (losses, R² per cluster).
    preview
        Something small to draw, when it is cheap; else None.
    """

    stage: str
    done: float = 0.0
    total: float | None = None
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    preview: Any = None

    @property
    def fraction(self) -> float | None:
        """Share of the whole that is done, in [0, 1]; None while the total is unknown."""
        if not self.total:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)


Job: TypeAlias = Generator[Progress, None, T]
"""Yields `Progress`, returns a result, frees what it holds when it is closed."""


class Pace:
    """Tells a tight loop when it is time to yield again, for the price of one clock reading."""

    def __init__(self, every_s: float = MAX_SILENCE_S / 2) -> None:
        self.every_s = every_s
        self._last = time.perf_counter()

    def due(self) -> bool:
        """Whether `every_s` seconds have passed since this last said yes."""
        now = time.perf_counter()
        if now - self._last < self.every_s:
            return False
        self._last = now
        return True


class Meter:
    """Rate and time left of a job, smoothed over about the last ten seconds.

    Parameters
    ----------
    clock
        A monotonic clock in seconds.
    half_life_s
        After this long an observation counts half.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, half_life_s: float = 5.0
    ) -> None:
        self._clock = clock
        self._half_life_s = half_life_s
        self._at = clock()
        self._done = 0.0
        self._total: float | None = None
        self._gained = self._spent_s = 0.0

    @property
    def rate(self) -> float | None:
        """Units per second; None before anything was measured."""
        return self._gained / self._spent_s if self._spent_s > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the present rate; None while unknown."""
        rate = self.rate
        if self._total is None or not rate:
            return None
        return max(self._total - self._done, 0.0) / rate

    def update(self, progress: Progress) -> None:
        """Take one observation; a job that went back to an earlier count starts afresh."""
        now = self._clock()
        elapsed, gained = now - self._at, progress.done - self._done
        self._total = progress.total
        if gained < 0:
            self._gained = self._spent_s = 0.0
        elif gained > 0:
            # Units and seconds fade alike, so that a burst weighs no more than the time it took.
            keep = 0.5 ** (elapsed / self._half_life_s)
            self._gained = keep * self._gained + gained
            self._spent_s = keep * self._spent_s + elapsed
        if gained != 0:
            self._at, self._done = now, progress.done

    def pause(self) -> None:
        """Forget the time that passes until the next observation's start."""
        self._at = self._clock()


def scaled(
    job: Job[T], done: float, total: float, message: str | None = None, *, units: float = 1.0
) -> Job[T]:
    """Run a job inside another, as one unit of it, under its own message or the one given.

    Parameters
    ----------
    job
        The job inside.
    done, total
        Units of the outer job that are finished, and all there are.
    message
        What to say instead of what the inner job says.
    units
        How many units the inner job is.
    """
    with closing(job):
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            said = step.message if message is None else message
            at = min(done + units * (step.fraction or 0.0), total)
            yield replace(step, done=at, total=total, message=said)


def run(job: Job[T], *, bar: bool = True) -> T:
    """Drain a job here and now, with a progress bar.

    Parameters
    ----------
    job
        Any job of this package (`SpatialCellularProgramsEstimator.fit_job`, ...).
    bar
        Whether to draw a bar on standard error.

    Returns
    -------
    What the job returns. Ctrl-C closes the job, which frees what it held, and is raised on.
    """
    from tqdm.auto import tqdm

    with closing(job), tqdm(disable=not bar, leave=False, unit_scale=True) as line:
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            line.total = progress.total
            line.set_description(progress.stage, refresh=False)
            line.set_postfix_str(progress.message, refresh=False)
            line.update(progress.done - line.n)
