"""Rows dealt out to as many threads as torch has; compiled code lets them run side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

T = TypeVar("T")

_FEWEST = 32
"""Rows that are worth a thread."""


def in_parts(n_rows: int, work: Callable[[slice], T]) -> list[T]:
    """Return what work on every part of the rows returns, the parts in order.

    The same number of threads makes the same parts.
    """
    n = max(1, min(torch.get_num_threads(), n_rows // _FEWEST))
    parts = [slice(k * n_rows // n, (k + 1) * n_rows // n) for k in range(n)]
    return [work(parts[0])] if n == 1 else list(_pool(n).map(work, parts))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="celldyn-likelihood")
