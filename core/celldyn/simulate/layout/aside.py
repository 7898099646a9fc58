"""One long call on a thread of its own, so that the job it belongs to goes on saying it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from celldyn.jobs import Job
from celldyn.simulate.parallel import blocks_job

T = TypeVar("T")


def aside_job(work: Callable[[], T], stage: str) -> Job[T]:
    """Return what `work` returns; numpy and scipy release the interpreter's lock meanwhile."""
    return (yield from blocks_job(lambda _: work(), 1, stage, threads=1))[0]
