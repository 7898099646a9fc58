"""Minibatches: all in memory or on the device where that fits, else a few shards at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from celldyn.devices import free_memory
from celldyn.jobs import Job, run
from celldyn.vae.codes import CodeBlock, masks_needed
from celldyn.vae.counts import HeldCounts, rows_job
from celldyn.vae.csr import BYTES_PER_ENTRY, spread_rows
from celldyn.vae.inputs import Batch, CountMatrix, Csr, Ints, VAEInputs
from celldyn.vae.stores import CountStore, DenseStore, DeviceStore, HostStore

if TYPE_CHECKING:
    import torch

_POOL_CELLS = 1 << 16
"""Cells whose codes are gathered at once where the counts are all at hand."""

_MAX_POOL_BYTES = 1 << 28
"""A pool that is read in well under a second is random enough."""

_SHARDS_IN_POOL = 8


def default_budget(device: torch.device | str = "cpu") -> int:
    """Return how many bytes of counts a device may hold: half of the memory that is free."""
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    if device.type == "mps":
        most = torch.mps.recommended_max_memory()
        return int(max(most - torch.mps.driver_allocated_memory(), 0)) // 2
    return free_memory() // 2


_Resident: TypeAlias = tuple[tuple[CountStore, ...], Ints | None]
"""Stores of all counts, and the row in them of each cell; None if that is the cell's number."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pool:
    """Cells whose counts are at hand.

    Parameters
    ----------
    cells
        (n,) in the order of the minibatches.
    stores
        Counts per modality.
    at
        (n,) row of each cell in the stores.
    """

    cells: Ints
    stores: tuple[CountStore, ...]
    at: Ints


class Minibatches:
    """The cells of a data set in minibatches, each cell once; every iteration is an epoch.

    What is in memory is read where it is, on the CPU without a copy. On a device the counts are
    put there once, dense where that takes no more than half the budget, else sparse. What is on
    disk is read into memory if it fits the budget. What does not fit is read in shards of
    neighbouring cells: a pool of shards in random order is shuffled, and while it is used a thread
    reads the next.

    Parameters
    ----------
    inputs
        The data set.
    cells
        (n,) which of its cells.
    batch_size
        Cells of a minibatch; the last may have fewer.
    device
        Where the tensors are; on "cpu" counts are rows of a sparse matrix, elsewhere dense.
    memory_budget
        Bytes that counts may take, those being read included; None is half of what is free.
    shuffle
        Whether every epoch has another order; else cells come as in `cells`.
    generator
        What orders are drawn from: one number an epoch; None is torch's own.
    drop_last
        Whether a minibatch that is not full is left out.
    """

    def __init__(
        self,
        inputs: VAEInputs,
        cells: Ints,
        batch_size: int,
        *,
        device: torch.device | str = "cpu",
        memory_budget: int | None = None,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> None:
        import torch

        self.inputs, self.cells = inputs, np.asarray(cells, np.int64)
        self.batch_size, self.device = batch_size, torch.device(device)
        self._budget = default_budget(device) if memory_budget is None else memory_budget
        self._shuffle, self._generator, self._drop_last = shuffle, generator, drop_last
        self._masked = masks_needed(inputs, self.cells)
        self._bytes = _bytes_of([each.counts for each in inputs.modalities], inputs.n_obs)
        self._resident: _Resident | None = None

    def __len__(self) -> int:
        whole, rest = divmod(len(self.cells), self.batch_size)
        return whole + (rest > 0 and not self._drop_last)

    @property
    def is_resident(self) -> bool:
        """Whether all counts are at hand at once, and none is read again in the next epoch."""
        return self._is_held or int(self._bytes[self.cells].sum()) <= self._budget

    @property
    def _is_held(self) -> bool:
        held = all(isinstance(each.counts, HeldCounts) for each in self.inputs.modalities)
        return held and self.device.type == "cpu"

    def __iter__(self) -> Iterator[Batch]:
        rng = self._epoch_rng()
        pools = self._whole_pools(rng) if self.is_resident else self._shard_pools(rng)
        for pool in pools:
            yield from self._batches(pool)

    def _epoch_rng(self) -> np.random.Generator | None:
        import torch

        if not self._shuffle:
            return None
        seed = torch.randint(2**63 - 1, (), generator=self._generator)
        return np.random.default_rng(int(seed))

    def _batches(self, pool: _Pool) -> Iterator[Batch]:
        block = CodeBlock(self.inputs, pool.cells, self.device, self._masked)
        parts = [store.pool(pool.at) for store in pool.stores]
        n = len(pool.cells)
        for start in range(0, n, self.batch_size):
            stop = min(start + self.batch_size, n)
            if self._drop_last and stop - start < self.batch_size:
                continue
            yield Batch(
                counts=tuple(part(start, stop) for part in parts), **block.part(start, stop)
            )

    def _whole_pools(self, rng: np.random.Generator | None) -> Iterator[_Pool]:
        """Yield the cells of an epoch whose counts are all at hand."""
        stores, rows = self._resident or run(self._resident_job(), bar=False)
        order = np.arange(len(self.cells)) if rng is None else rng.permutation(len(self.cells))
        step = max(_POOL_CELLS // self.batch_size, 1) * self.batch_size
        for start in range(0, len(order), step):
            part = order[start : start + step]
            cells = self.cells[part]
            yield _Pool(cells, stores, cells if rows is None else rows[part])

    def load_job(self) -> Job[None]:
        """Bring all counts to where they are used, if they fit there.

        The first iteration does so if this has not run; this can be watched and stopped.
        """
        if self._resident is None and self.is_resident:
            yield from self._resident_job()

    def _resident_job(self) -> Job[_Resident]:
        """Fill and return the stores of all counts."""
        held = [each.counts for each in self.inputs.modalities]
        if self._is_held:
            stores = tuple(HostStore(each.csr) for each in held if isinstance(each, HeldCounts))
            self._resident = stores, None
            return self._resident
        wanted, rows = np.unique(self.cells, return_inverse=True)
        n_dense = sum(4 * len(wanted) * each.shape[1] for each in held)
        parts = []
        for each in held:
            csr = yield from rows_job(each, wanted)
            if self.device.type == "cpu":  # a cell's dropout hangs on its row: as in memory
                csr = spread_rows(csr, wanted, self.inputs.n_obs)
            parts.append(self._store(csr, dense=n_dense <= self._budget // 2))
            del csr
        self._resident = tuple(parts), None if self.device.type == "cpu" else rows
        return self._resident

    def _store(self, csr: Csr, *, dense: bool) -> CountStore:
        if self.device.type == "cpu":
            return HostStore(csr)
        return DenseStore(csr, self.device) if dense else DeviceStore(csr, self.device)

    def _shard_pools(self, rng: np.random.Generator | None) -> Iterator[_Pool]:
        """Yield an epoch's cells as their counts are read."""
        pools = self._pooled(rng)
        with ThreadPoolExecutor(1, thread_name_prefix="counts") as reader:
            ahead = reader.submit(self._read, pools[0]) if pools else None
            for following in (*pools[1:], None):
                if ahead is None:
                    return
                pool = ahead.result()
                ahead = None if following is None else reader.submit(self._read, following)
                yield pool
                del pool

    def _read(self, cells: Ints) -> _Pool:
        wanted, at = np.unique(cells, return_inverse=True)
        rows = (each.counts.rows(wanted) for each in self.inputs.modalities)
        return _Pool(cells, tuple(self._store(csr, dense=False) for csr in rows), at)

    def _pooled(self, rng: np.random.Generator | None) -> list[Ints]:
        """Return the cells of each pool in their order."""
        # Within the budget are the pool of the last minibatch, which its user still holds, the
        # pool in use, and the next one being read, with what its reading takes.
        room = min(self._budget // 6, _MAX_POOL_BYTES)
        order = self.cells if rng is None else np.sort(self.cells)
        size, largest = self._shard_size(order, room // _SHARDS_IN_POOL)
        shards = np.split(order, np.arange(size, len(order), size))
        if rng is not None:
            shards = [shards[at] for at in rng.permutation(len(shards))]
        step = max(room // max(largest, 1), 1)
        pools = [np.concatenate(shards[at : at + step]) for at in range(0, len(shards), step)]
        return pools if rng is None else [rng.permutation(pool) for pool in pools]

    def _shard_size(self, order: Ints, most: int) -> tuple[int, int]:
        """Return the cells of a shard, whole minibatches, and the bytes of the largest shard."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._bytes[order])])
        n_batches = max(len(self) * most // max(int(ends[-1]), 1), 1)
        while True:
            size = n_batches * self.batch_size
            cuts = ends[np.append(np.arange(0, len(order), size), len(order))]
            largest = int(np.diff(cuts).max(initial=0))
            if largest <= most or n_batches == 1:
                return size, largest
            n_batches = n_batches // 2


def _bytes_of(counts: Sequence[CountMatrix], n_obs: int) -> Ints:
    """Return what each cell takes in memory, at most: (n_obs,)."""
    total = np.full(n_obs, 8 * len(counts), np.int64)
    for each in counts:
        dense = np.full(n_obs, each.shape[1], np.int64)
        total += BYTES_PER_ENTRY * np.asarray(getattr(each, "entries", dense), np.int64)
    return total


def batch_of(inputs: VAEInputs, cells: Ints, device: torch.device | str = "cpu") -> Batch:
    """Return one minibatch of these cells, in this order."""
    every = Minibatches(inputs, cells, max(len(cells), 1), device=device)
    return next(iter(every))
