"""The contract of long work: Progress, Meter, Pace, run."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from celldyn.jobs import Meter, Pace, Progress, run, scaled


class Clock:
    """A clock that is told the time."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def counting(total, closed=None, step_s=0.0):
    try:
        for done in range(total):
            time.sleep(step_s)
            yield Progress("count", done + 1, total, message=f"unit {done}")
        return total
    finally:
        if closed is not None:
            closed.append(1)


@pytest.mark.parametrize("bar", [True, False])
def test_run_returns_the_value_of_the_job(bar, capsys):
    closed = []
    assert run(counting(5, closed, step_s=0.06), bar=bar) == 5
    assert closed == [1]
    drawn = capsys.readouterr().err
    assert ("count" in drawn) is bar
    assert ("unit" in drawn) is bar


def test_run_closes_the_job_when_it_is_interrupted():
    closed = []

    def job():
        try:
            yield Progress("work")
            raise KeyboardInterrupt
        finally:
            closed.append(1)

    with pytest.raises(KeyboardInterrupt):
        run(job(), bar=False)
    assert closed == [1]


def test_ctrl_c_closes_the_job():
    script = """
import os, signal, time
from celldyn.jobs import Progress, run
def job():
    try:
        yield Progress("start")
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            time.sleep(0.01)
            yield Progress("work")
    finally:
        print("closed", flush=True)
try:
    run(job())
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["closed", "interrupted"]


def test_an_error_passes_through_run():
    def job():
        yield Progress("work")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(job(), bar=False)


@pytest.mark.parametrize(
    ("done", "total", "fraction"),
    [(3, 4, 0.75), (5, 4, 1.0), (-1, 4, 0.0), (3, None, None), (3, 0, None)],
)
def test_fraction(done, total, fraction):
    assert Progress("x", done, total).fraction == fraction


def test_the_meter_measures_a_steady_job_exactly(clock):
    meter = Meter(clock)
    assert meter.rate is None
    assert meter.eta_s is None
    for done in range(1, 21):
        clock.now += 0.5
        meter.update(Progress("x", done, 100))
    assert meter.rate == pytest.approx(2.0)
    assert meter.eta_s == pytest.approx(40.0)


def test_the_meter_follows_a_job_that_slows_down(clock):
    meter, done = Meter(clock, half_life_s=5), 0
    for step_s, steps in ((0.1, 100), (1.0, 30)):
        for _ in range(steps):
            clock.now += step_s
            done += 1
            meter.update(Progress("x", done, 1000))
    # 10 units/s weighs 2^-6 of what it did after 30 s
    assert meter.rate == pytest.approx(1.0, rel=0.15)


def test_a_burst_at_the_start_does_not_spoil_the_estimate(clock):
    meter = Meter(clock, half_life_s=5)
    clock.now += 0.001
    meter.update(Progress("x", 100, 200))  # what an earlier run had saved already
    for done in range(101, 131):
        clock.now += 1.0
        meter.update(Progress("x", done, 200))
    assert meter.rate == pytest.approx(1.0, rel=0.35)


def test_the_meter_starts_afresh_when_the_count_goes_back(clock):
    meter = Meter(clock)
    clock.now += 1
    meter.update(Progress("first stage", 100, 100))
    clock.now += 1
    meter.update(Progress("second stage", 0, 10))
    assert meter.rate is None
    clock.now += 1
    meter.update(Progress("second stage", 2, 10))
    assert meter.rate == pytest.approx(2.0)
    assert meter.eta_s == pytest.approx(4.0)


def test_a_pause_is_not_work(clock):
    meter = Meter(clock)
    clock.now += 1
    meter.update(Progress("x", 1, 10))
    clock.now += 500
    meter.pause()
    clock.now += 1
    meter.update(Progress("x", 2, 10))
    assert meter.rate == pytest.approx(1.0)


def test_progress_that_does_not_count_leaves_the_time_running(clock):
    meter = Meter(clock)
    for done in (0, 0, 1, 1, 2):
        clock.now += 1
        meter.update(Progress("x", done, 10))
    assert meter.rate == pytest.approx(0.4, rel=0.2)


def test_pace_is_due_once_in_its_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("celldyn.jobs.time.perf_counter", lambda: now[0])
    pace, due = Pace(0.05), 0
    for step in range(1000):
        now[0] = step * 0.001
        due += pace.due()
    assert due == 19


# --- a job inside a job ---


def test_a_job_inside_another_counts_as_a_part_of_it():
    def inner():
        yield Progress("inner", 1, 4, "quarter", {"loss": 2.0})
        yield Progress("inner")
        return "result"

    job = scaled(inner(), 2, 3)
    assert next(job) == Progress("inner", 2.25, 3, "quarter", {"loss": 2.0})
    assert next(job) == Progress("inner", 2, 3)
    with pytest.raises(StopIteration, match="result"):
        next(job)


def test_it_never_counts_beyond_the_whole_and_says_what_it_is_told():
    def inner():
        yield Progress("inner", 1, 2, "its own")

    assert next(scaled(inner(), 3, 3, "given")) == Progress("inner", 3, 3, "given")


def test_closing_the_outer_closes_the_inner():
    closed = []

    def inner():
        try:
            yield Progress("inner")
        finally:
            closed.append(True)

    job = scaled(inner(), 0, 1)
    next(job)
    job.close()
    assert closed == [True]
