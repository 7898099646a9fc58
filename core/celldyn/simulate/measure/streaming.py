"""A stream of blocks, worked through on threads, as a job."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from celldyn.devices import usable_threads
from celldyn.jobs import MAX_SILENCE_S, Job, Progress

S = TypeVar("S")
T = TypeVar("T")

_AHEAD = 2
"""Items in flight per thread."""


def stream_job(
    items: Iterable[S],
    work: Callable[[S], T],
    consume: Callable[[T], None],
    stage: str,
    *,
    size: Callable[[S], int],
    total: int | None = None,
    threads: int | None = None,
) -> Job[int]:
    """Do `work` on every item of a stream of unknown length, on several threads.

    Parameters
    ----------
    items
        Read a few ahead of the work, on a thread; closed with the job if it can be.
    work
        Does one item; it must not depend on which others were done.
    consume
        Takes the results in order, here and not on a thread.
    stage, total
        What `Progress` calls it, and how many units there are in all.
    size
        Units of one item.
    threads
        How many; by default every core.

    Returns
    -------
    Units done.
    """
    stream = iter(items)
    pool = ThreadPoolExecutor(threads or usable_threads(), thread_name_prefix="celldyn-measure")
    reader = ThreadPoolExecutor(1, thread_name_prefix="celldyn-read")
    room = _AHEAD * pool._max_workers
    waiting: deque[tuple[int, Future[T]]] = deque()
    done = 0
    # Read on a thread too: a stream may take its time for a block, or make it by a job.
    coming: Future[S | None] | None = reader.submit(next, stream, None)
    try:
        while coming is not None or waiting:
            if coming is not None and coming.done() and len(waiting) < room:
                item = coming.result()
                coming = None
                if item is not None:
                    waiting.append((size(item), pool.submit(work, item)))
                    coming = reader.submit(next, stream, None)
            if waiting and waiting[0][1].done():
                units, future = waiting.popleft()
                consume(future.result())
                done += units
            else:
                asleep: list[Future[Any]] = [future for _, future in waiting][:1]
                if coming is not None and len(waiting) < room:
                    asleep.append(coming)
                wait(asleep, timeout=MAX_SILENCE_S / 2, return_when=FIRST_COMPLETED)
            yield Progress(stage, done, total)
        return done
    finally:
        for workers in (pool, reader):
            workers.shutdown(wait=True, cancel_futures=True)
        if hasattr(stream, "close"):
            stream.close()
