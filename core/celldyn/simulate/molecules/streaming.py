"""Blocks made on several threads and handed on, in order, on one more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from celldyn.devices import usable_threads
from celldyn.jobs import MAX_SILENCE_S, Job, Progress

T = TypeVar("T")

_AHEAD = 2
"""Finished blocks that wait for the sink: enough to keep it busy, few enough to stay small."""


def piped_job(
    work: Callable[[int], T],
    n_blocks: int,
    sink: Callable[[T], None],
    stage: str,
    *,
    threads: int | None = None,
) -> Job[None]:
    """Do `work(0) ... work(n_blocks - 1)` on several threads and give each result to `sink`.

    Parameters
    ----------
    work
        Makes one block; it must not depend on which others were made.
    n_blocks
        How many.
    sink
        Takes the results in order, on a thread of its own, as to write a file. Where it is slower
        than the work, the work waits, so that memory stays small.
    stage
        What `Progress` calls it; it counts blocks that the sink has taken.
    threads
        How many make blocks; by default every core.

    Returns
    -------
    None. Closing the job waits for the blocks that have begun and drops the others.
    """
    makers = ThreadPoolExecutor(threads or usable_threads(), thread_name_prefix="celldyn-make")
    taker = ThreadPoolExecutor(1, thread_name_prefix="celldyn-take")
    making: deque[Future[T]] = deque()
    taking: deque[Future[None]] = deque()
    started = taken = 0
    room = makers._max_workers + _AHEAD
    try:
        while taken < n_blocks:
            while started < n_blocks and len(making) + len(taking) < room:
                making.append(makers.submit(work, started))
                started += 1
            while making and making[0].done() and len(taking) < _AHEAD:
                taking.append(taker.submit(sink, making.popleft().result()))
            open_ends: list[Future[Any]] = [*list(taking)[:1]]
            if len(taking) < _AHEAD:
                open_ends += list(making)[:1]
            wait(open_ends, timeout=MAX_SILENCE_S / 2, return_when=FIRST_COMPLETED)
            while taking and taking[0].done():
                taking.popleft().result()
                taken += 1
            yield Progress(stage, taken, n_blocks)
    finally:
        makers.shutdown(wait=True, cancel_futures=True)
        taker.shutdown(wait=True, cancel_futures=True)
