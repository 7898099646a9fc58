"""Where work runs: cpu, cuda or mps, with how many threads, and kernels ready for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from celldyn.errors import ConfigError
from celldyn.jobs import MAX_SILENCE_S, Job, Progress

if TYPE_CHECKING:
    import torch


T = TypeVar("T")

MOST_THREADS = 4
"""Matrices of a minibatch are too small for more."""

_UNKNOWN_MEMORY = 4 << 30
"""Bytes taken to be free where the system does not say."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device of that name, or the best there is.

    Parameters
    ----------
    name
        "auto" (cuda, then mps, then cpu), "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    ConfigError
        If that device is not on this machine.
    """
    import torch

    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind, there in usable.items() if there), "cpu")
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device {name!r} is not known", "use auto, cpu, cuda, cuda:N or mps")
    if not usable.get(kind, True):
        raise ConfigError(f"device {name!r} is not on this machine", "use auto or cpu")
    return torch.device(name)


def free_memory() -> int:
    """Return the bytes of memory that are free, or half of all where that is not known."""
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _UNKNOWN_MEMORY


def usable_threads() -> int:
    """Return how many cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(usable or 1, 1)


def spare_threads() -> int:
    """Return how many threads work may take while a window stays alive: cores − 1, at least 1."""
    return max(usable_threads() - 1, 1)


@contextmanager
def few_threads() -> Iterator[None]:
    """Leave a core to others: threads that spin as they wait collapse where cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(spare_threads(), MOST_THREADS, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def aside_job(
    work: Callable[[], T],
    stage: str,
    message: str = "",
    *,
    done: float = 0.0,
    total: float | None = None,
) -> Job[T]:
    """Do one piece of work that cannot be divided on a thread, saying meanwhile that it lives.

    Closing the job waits for the work: what it has in hand cannot be taken from it.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="celldyn-aside")
    said = Progress(stage, done, total, message)
    try:
        future = pool.submit(work)
        yield said
        while not wait([future], timeout=MAX_SILENCE_S / 2).done:
            yield said
        return future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_one_thread(job: Job[T]) -> Job[T]:
    """Run a job with linear algebra on one thread, and as it was between its steps.

    Many small systems are solved no faster by several threads, and far slower where cores are
    shared: the threads wait for each other by spinning.
    """
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    with closing(job):
        while True:
            with controller.limit(limits=1, user_api="blas"):
                try:
                    step = next(job)
                except StopIteration as end:
                    result: T = end.value
                    return result
            yield step
