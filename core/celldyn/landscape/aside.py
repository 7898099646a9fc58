"""Work that cannot be divided, on a thread, while a job goes on saying that it lives."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from celldyn.jobs import MAX_SILENCE_S, Job, Progress

T = TypeVar("T")


def aside_job(work: Callable[[], T], said: Progress) -> Job[T]:
    """Do one piece of work on a thread, and yield `said` until it is done.

    Closing the job waits for the work: what it has in hand cannot be taken from it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="celldyn-landscape")
    try:
        future = pool.submit(work)
        while not wait([future], timeout=MAX_SILENCE_S / 2).done:
            yield said
        return future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
