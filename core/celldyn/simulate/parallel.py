"""Blocks of work on a few threads, as a job: kernels and numpy release the interpreter's lock."""

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
"""Blocks in flight per thread, or waiting for a sink: enough to keep it busy, few enough to keep
memory small."""


_END = object()


def blocks_job(
    work: Callable[[int], T],
    n_blocks: int,
    stage: str,
    *,
    consume: Callable[[int, T], None] | None = None,
    threads: int | None = None,
) -> Job[list[T]]:
    """Do `work(0) ... work(n_blocks - 1)` on several threads; progress counts blocks.

    Parameters
    ----------
    work
        Does one block; it must not depend on which others were done.
    n_blocks
        How many.
    stage
        What `Progress` calls it.
    consume
        Takes (block, result) in order, here and not on a thread, as to write a file; then no
        results are kept.
    threads
        How many; by default every core; a window leaves one for itself.

    Returns
    -------
    The results in order; empty where `consume` took them. Closing the job waits for the blocks
    that have begun (keep a block below 0.3 s) and drops the others.
    """
    results: list[T] = []
    take = consume or (lambda _, result: results.append(result))
    pool = ThreadPoolExecutor(threads or usable_threads(), thread_name_prefix="celldyn-simulate")
    waiting: deque[tuple[int, Future[T]]] = deque()
    room = _AHEAD * pool._max_workers
    started = 0
    try:
        while started < n_blocks or waiting:
            while started < n_blocks and len(waiting) < room:
                waiting.append((started, pool.submit(work, started)))
                started += 1
            block, first = waiting[0]
            if wait([first], timeout=MAX_SILENCE_S / 2).done:
                waiting.popleft()
                take(block, first.result())
            yield Progress(stage, started - len(waiting), n_blocks)
        return results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def piped_job(
    items: Iterable[S],
    work: Callable[[S], T],
    sink: Callable[[T], object],
    stage: str,
    *,
    size: Callable[[S], int] = lambda _: 1,
    total: int | None = None,
    threads: int | None = None,
) -> Job[int]:
    """Do `work` on every item of a stream on several threads, and give each result to `sink`.

    Parameters
    ----------
    items
        Read a few ahead of the work, on a thread: a stream may take its time for an item, or make
        it by a job. Closed with this job if it can be.
    work
        Does one item; it must not depend on which others were done.
    sink
        Takes the results in order, on a thread of its own, as to write a file. Where it is slower
        than the work, the work waits, so that memory stays small.
    stage, total
        What `Progress` calls it, and how many units there are in all; None while unknown.
    size
        Units of one item; 1 by default.
    threads
        How many do the work; by default every core.

    Returns
    -------
    Units done. Closing the job waits for the items that have begun and drops the others.
    """
    stream = iter(items)
    makers = ThreadPoolExecutor(threads or usable_threads(), thread_name_prefix="celldyn-make")
    reader, taker = (
        ThreadPoolExecutor(1, thread_name_prefix=f"celldyn-{name}") for name in ("read", "take")
    )
    making: deque[tuple[int, Future[T]]] = deque()
    taking: deque[tuple[int, Future[object]]] = deque()
    room, done = makers._max_workers + _AHEAD, 0
    coming: Future[Any] | None = reader.submit(next, stream, _END)
    try:
        while coming or making or taking:
            if coming and coming.done() and len(making) + len(taking) < room:
                item, coming = coming.result(), None
                if item is not _END:
                    making.append((size(item), makers.submit(work, item)))
                    coming = reader.submit(next, stream, _END)
            while making and making[0][1].done() and len(taking) < _AHEAD:
                units, made = making.popleft()
                taking.append((units, taker.submit(sink, made.result())))
            while taking and taking[0][1].done():
                units, taken = taking.popleft()
                taken.result()
                done += units
            yield Progress(stage, done, total)
            asleep: list[Future[Any]] = [future for _, future in [*taking][:1]]
            if len(taking) < _AHEAD:
                asleep += [future for _, future in [*making][:1]]
            if coming and len(making) + len(taking) < room:
                asleep.append(coming)
            wait(asleep, timeout=MAX_SILENCE_S / 2, return_when=FIRST_COMPLETED)
        return done
    finally:
        for pool in (makers, reader, taker):
            pool.shutdown(wait=True, cancel_futures=True)
        if hasattr(stream, "close"):
            stream.close()
