"""Blocks of work on a few threads, as a job: kernels and numpy release the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from celldyn.devices import usable_threads
from celldyn.jobs import MAX_SILENCE_S, Job, Progress

T = TypeVar("T")

_AHEAD = 2
"""Blocks in flight per thread: enough to keep it busy, few enough to keep memory small."""


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


def compile_job(compilers: list[Callable[[], object]]) -> Job[None]:
    """Compile kernels aside, so that the job goes on saying that it lives.

    Parameters
    ----------
    compilers
        Each calls one kernel on a tiny input; what is compiled already returns at once.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="celldyn-compile")
    try:
        for k, compiler in enumerate(compilers):
            future = pool.submit(compiler)
            while not wait([future], timeout=MAX_SILENCE_S / 2).done:
                yield Progress("compiling, once", k, len(compilers))
            future.result()
    finally:
        # A compiler cannot be stopped; it ends by itself, and its result is kept for next time.
        pool.shutdown(wait=False, cancel_futures=True)


def aside_job(work: Callable[[], T], stage: str, message: str = "") -> Job[T]:
    """Do one piece of work that cannot be divided on a thread, saying meanwhile that it lives.

    Closing the job waits for the work: what it has in hand cannot be taken from it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="celldyn-aside")
    try:
        future = pool.submit(work)
        while not wait([future], timeout=MAX_SILENCE_S / 2).done:
            yield Progress(stage, message=message)
        return future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
