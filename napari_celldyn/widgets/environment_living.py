"""The job that lets cells of an environment live on at a pace, and shows them. No Qt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from celldyn.environment.steady import SteadyReport, SteadyTest
from celldyn.jobs import Job, Progress

if TYPE_CHECKING:
    from napari_celldyn.widgets.environment_live import LiveCells, Shot

T = TypeVar("T")

PICTURE_S = 0.06
"""Between two pictures, where computing is quick enough."""

MAX_BYTES = 192_000_000
"""Of a reel; a longer one keeps every second shot."""

MAX_SHOTS = 4_000
NAP_S = 0.03
AT_ONCE = 1_000
"""Steps between two pictures on the way to rest, as far as time allows."""


@dataclass(slots=True)
class Pace:
    """How fast time goes; the window may change it at any moment.

    Parameters
    ----------
    rate
        Seconds of the environment in one of the clock.
    with_flow
        Whether pictures tell how fast places change.
    """

    rate: float = 2.0
    with_flow: bool = False


class Reel:
    """Shots in order of time, to be looked at again; of a long time every second one is kept."""

    def __init__(self) -> None:
        self.shots: list[Shot] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.shots)

    def add(self, shot: Shot) -> None:
        """Take a shot; those of a time to come are of a past that was gone back from."""
        while self.shots and self.shots[-1].time >= shot.time - 1e-9:
            self._bytes -= self.shots.pop().nbytes
        self.shots.append(shot)
        self._bytes += shot.nbytes
        if self._bytes > MAX_BYTES or len(self.shots) > MAX_SHOTS:
            self.shots = self.shots[:-1:2] + self.shots[-1:]
            self._bytes = sum(each.nbytes for each in self.shots)

    def clear(self) -> None:
        """Forget all."""
        self.shots, self._bytes = [], 0

    def __iter__(self) -> Iterator[Shot]:
        return iter(list(self.shots))


@dataclass(slots=True)
class Until:
    """When cells stop by themselves.

    Parameters
    ----------
    steps
        After so many steps; None for as long as nobody stops them.
    rest
        Once they are at rest.
    """

    steps: int | None = None
    rest: bool = False
    test: SteadyTest = field(default_factory=SteadyTest)


def living_job(
    cells: LiveCells, reel: Reel, pace: Pace, until: Until, stop: Event
) -> Job[SteadyReport | None]:
    """Let cells live on until they are told to stop; what is to be drawn is on the reel.

    Parameters
    ----------
    cells
        They are this job's alone while it runs; see `LiveCells.ask`.
    reel
        Takes every shot.
    pace
        How fast time goes.
    until
        When they stop by themselves.
    stop
        Once set, they stand still.

    Returns
    -------
    How they came to rest; None where that was not asked.
    """
    made, at_rest, speed = 0, False, 0.0
    began = cells.time
    while not (stop.is_set() or at_rest or made == until.steps):
        start = time.perf_counter()
        cells.obey()
        steps = _steps(cells, pace, until, made)
        for k in range(steps):
            speed = yield from _said_job(cells.advance_job(1), made, until.steps)
            made += 1
            at_rest = until.rest and until.test.update(speed)
            if at_rest or (k + 1 < steps and time.perf_counter() - start > PICTURE_S):
                break
        reel.add(cells.shot(with_flow=pace.with_flow))
        yield Progress("simulating", made, until.steps, f"mean speed {speed:.3g}",
                       {"speed": speed})  # fmt: skip
        if not until.rest:
            yield from _said_job(
                _rest_job(start + steps * cells.delta / pace.rate, stop), made, until.steps
            )
    if cells.obey():  # asked for during the last step
        reel.add(cells.shot(with_flow=pace.with_flow))
    if not until.rest:
        return None
    if at_rest:
        cells.settle()
    seconds = round(cells.time - began, 9)
    return until.test.report(reached=at_rest, time=seconds, speed=speed, steps=made)


def _steps(cells: LiveCells, pace: Pace, until: Until, made: int) -> int:
    """Return how many steps there are to the next picture."""
    steps = AT_ONCE if until.rest else max(round(pace.rate * PICTURE_S / cells.delta), 1)
    return steps if until.steps is None else min(steps, until.steps - made)


def _rest_job(until_s: float, stop: Event) -> Job[None]:
    """Wait for the time of the next picture, and say that the job lives meanwhile."""
    while (left := until_s - time.perf_counter()) > 0 and not stop.is_set():
        stop.wait(min(left, NAP_S))
        yield Progress("simulating")


def _said_job(job: Job[T], made: int, steps: int | None) -> Job[T]:
    """Run a job within this one, which goes on saying where it stands."""
    with closing(job):
        while True:
            try:
                next(job)
            except StopIteration as end:
                found: T = end.value
                return found
            yield Progress("simulating", made, steps)
