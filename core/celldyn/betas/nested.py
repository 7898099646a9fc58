"""A job inside a job: its progress as a part of the whole."""

from __future__ import annotations

from contextlib import closing
from typing import TypeVar

from celldyn.jobs import Job, Progress

T = TypeVar("T")


def scaled(job: Job[T], done: float, total: float, message: str | None = None) -> Job[T]:
    """Run a job as one unit of a larger one, under its own message or the one given."""
    with closing(job):
        while True:
            try:
                step = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            said = step.message if message is None else message
            yield Progress(step.stage, done + (step.fraction or 0.0), total, said)
