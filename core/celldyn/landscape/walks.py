"""Random walks over cells: many, reproducible, on as many threads as there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.devices import free_memory, usable_threads
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import MAX_SILENCE_S, Job, Progress, run
from celldyn.landscape.graph import Csr, Matrix
from celldyn.landscape.memory import in_words
from celldyn.landscape.prior import check_transition
from celldyn.landscape.stepping import cumulated, first_cells, step_walks, walk_keys

Walks = NDArray[np.int32]

_FEW_STEPS = 50_000
"""Up to so many steps numpy is done before a compiler would be imported."""
_BLOCK_STEPS = 500_000
"""Steps of a block: some 50 ms of one thread."""


def sample_walks(
    transition: Matrix,
    n_walks: int,
    path_len: int,
    seed: int,
    start: ArrayLike | None = None,
) -> Walks:
    """Draw random walks over cells.

    Parameters
    ----------
    transition
        (n, n) chances, sparse or dense; rows that do not sum to 1 are divided by their sum.
    n_walks
        How many.
    path_len
        Cells of a walk, its first one included; 1 gives the first cells alone.
    seed
        Of everything random: the same seed gives the same walks on any number of threads, and
        the first walks of many are those of few.
    start
        (n_walks,) first cells, or one for all walks; by default any cell, alike.

    Returns
    -------
    (n_walks, path_len) int32, numbers of cells; 4 n_walks path_len bytes.

    Raises
    ------
    DataError
        If the matrix is not one of chances (see `check_transition`), or a first cell is not there.
    ConfigError
        If there are to be no walks, or more than memory holds.
    """
    return run(sample_walks_job(transition, n_walks, path_len, seed, start), bar=False)


def sample_walks_job(
    transition: Matrix,
    n_walks: int,
    path_len: int,
    seed: int,
    start: ArrayLike | None = None,
    *,
    threads: int | None = None,
) -> Job[Walks]:
    """Draw random walks as a job; see `sample_walks`.

    Parameters
    ----------
    threads
        How many; by default every core. Walks do not depend on it.
    """
    asked = ((n_walks, "n_walks", 1), (path_len, "path_len", 1), (seed, "seed", 0))
    for value, name, least in asked:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ConfigError(f"{name} is {value!r}", f"give a whole number, {least} or more")
    needed, free = 4 * int(n_walks) * int(path_len), free_memory()
    if needed > free:
        raise ConfigError(
            f"{n_walks} walks of {path_len} cells take {in_words(needed)}, and {in_words(free)} "
            "of memory are free",
            "sample fewer walks, or shorter ones",
        )
    yield Progress("random walks", 0, n_walks, "checking chances")
    chances, _ = check_transition(transition)
    walks = np.empty((n_walks, path_len), dtype=np.int32)
    if start is not None:
        walks[:, 0] = _given_cells(start, n_walks, chances.shape[0])
    fill = _filler(chances, walks, int(seed), given=start is not None)
    yield from _blocks_job(fill, n_walks, path_len, threads)
    return walks


def _given_cells(start: ArrayLike, n_walks: int, n_cells: int) -> NDArray[np.int64]:
    cells = np.asarray(start)
    if cells.dtype.kind not in "iu" or cells.shape not in ((), (n_walks,)):
        raise DataError(
            f"start is {cells.dtype} of shape {cells.shape} for {n_walks} walks",
            "give the number of a cell, or one for every walk",
        )
    if cells.size and (cells.min() < 0 or cells.max() >= n_cells):
        raise DataError(
            f"start names cell {cells.max() if cells.max() >= n_cells else cells.min()}, and "
            f"cells are numbered 0 to {n_cells - 1}",
            "give numbers of cells",
        )
    return np.broadcast_to(cells.astype(np.int64), (n_walks,))


def _filler(chances: Csr, walks: Walks, seed: int, *, given: bool) -> Callable[[int, int], None]:
    """Return what fills walks from one number up to another."""
    n_cells = chances.shape[0]
    indptr, indices = chances.indptr.astype(np.int64), chances.indices.astype(np.int32)
    chance = cumulated(chances)
    few = walks.size <= _FEW_STEPS

    def fill(first: int, last: int) -> None:
        rows = walks[first:last]
        keys = walk_keys(seed, first, last - first)
        if not given:
            rows[:, 0] = first_cells(keys, n_cells)
        if few:
            step_walks(indptr, indices, chance, keys, rows)
            return
        from celldyn.landscape.walk_kernels import step_walks as compiled

        compiled(indptr, indices, chance, keys, rows)

    return fill


def _blocks_job(
    fill: Callable[[int, int], None], n_walks: int, path_len: int, threads: int | None
) -> Job[None]:
    """Fill blocks of walks on threads, so that this one goes on saying that it lives."""
    size = max(1, _BLOCK_STEPS // path_len)
    workers = threads or usable_threads()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="celldyn-walks")
    waiting: deque[tuple[int, Future[None]]] = deque()
    begun = done = 0
    try:
        while done < n_walks:
            while begun < n_walks and len(waiting) < 2 * workers:
                last = min(begun + size, n_walks)
                waiting.append((last, pool.submit(fill, begun, last)))
                begun = last
            if wait([waiting[0][1]], timeout=MAX_SILENCE_S / 2).done:
                done, block = waiting.popleft()
                block.result()
            yield Progress("random walks", done, n_walks)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
