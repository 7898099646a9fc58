"""Keeps the window alive while jobs run: a short switch interval, and a core left to spare."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celldyn.devices import spare_threads

SWITCH_INTERVAL_S = 0.0005
"""After this long a thread that computes in Python lets the window have a turn."""


class _Hold:
    """The settings of the process, changed by the first job and put back after the last.

    The switch interval and the threads of BLAS belong to the process, whatever number of viewers
    it has, so there is one of these. Each job changing and restoring them by itself would not
    do: of two jobs that overlap, the one that ends last would restore what the other had set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs = 0
        self._interval = 0.0
        self._blas: Any = None
        self._torch_threads: int | None = None

    def enter(self) -> None:
        """Count one more job, called in its thread."""
        from threadpoolctl import ThreadpoolController

        with self._lock:
            pools, limit = ThreadpoolController(), spare_threads()
            if self._jobs == 0:
                self._interval = sys.getswitchinterval()
                sys.setswitchinterval(min(self._interval, SWITCH_INTERVAL_S))
                self._blas = pools.select(user_api="blas").limit(limits=limit)
            # OpenMP keeps its number for each calling thread: set here, it dies with the thread.
            pools.select(user_api="openmp").limit(limits=limit)
            self._jobs += 1

    def leave(self) -> None:
        """Count one job less; the last one puts everything back."""
        with self._lock:
            self._jobs -= 1
            if self._jobs:
                return
            sys.setswitchinterval(self._interval)
            self._blas.restore_original_limits()
            self._blas = None
            if self._torch_threads is not None:
                sys.modules["torch"].set_num_threads(self._torch_threads)
                self._torch_threads = None

    def limit_torch(self) -> bool:
        """Limit torch for the calling thread, once something has loaded it; say whether done."""
        torch = sys.modules.get("torch")
        if torch is None or not hasattr(
            torch, "set_num_threads"
        ):  # not imported, or not to the end yet
            return False
        with self._lock:
            if self._torch_threads is None:
                self._torch_threads = torch.get_num_threads()
            torch.set_num_threads(min(spare_threads(), self._torch_threads))
        return True


_HOLD = _Hold()


class Courtesy:
    """What one job does for the window: call `attend` at every step, it costs almost nothing."""

    def __init__(self) -> None:
        self._torch_limited = False

    def attend(self) -> None:
        """Limit torch's threads as soon as torch is there, which is often after the start."""
        if not self._torch_limited:
            self._torch_limited = _HOLD.limit_torch()


@contextmanager
def courtesy() -> Iterator[Courtesy]:
    """Hold the settings for the length of one job, inside its thread."""
    _HOLD.enter()
    try:
        yield Courtesy()
    finally:
        _HOLD.leave()


def give_back_gpu() -> None:
    """Return the GPU memory that torch keeps for later, where torch has used one."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()
    elif torch is not None and torch.backends.mps.is_available():
        torch.mps.empty_cache()
