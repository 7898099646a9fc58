"""Counting molecules by (row, column) without a dense canvas: sort blocks, then merge by rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job
from celldyn.simulate.parallel import blocks_job

_BUCKET = 1 << 19
"""Entries merged at once."""
_SAMPLES = 64
"""Keys looked at per block and bucket, to cut the buckets to about one size."""


@dataclass(frozen=True, slots=True)
class Part:
    """Sorted keys row n_columns + column, each once, with how often it came."""

    key: NDArray[np.int64]
    count: NDArray[np.int32]


@dataclass(slots=True)
class Tally:
    """Counts of (row, column) pairs that come block by block.

    Parameters
    ----------
    n_columns
        Columns of the table.
    """

    n_columns: int
    parts: list[Part] = field(default_factory=list)

    def part(self, row: NDArray[Any], column: NDArray[Any]) -> Part:
        """Count one block, on any thread; `parts` takes what comes back."""
        keys = np.asarray(row, dtype=np.int64) * self.n_columns + column
        keys.sort()
        return _reduced(keys, None)

    def rows_job(self, stage: str, *, threads: int | None = None) -> Job[OccupiedRows]:
        """Merge the blocks, which are given back as they are used; progress counts buckets."""
        parts, self.parts = self.parts, []
        total = sum(part.key.size for part in parts)
        out = OccupiedRows.empty(total)
        cuts = _cuts(parts, self.n_columns, -(-total // _BUCKET))
        bounds = [np.searchsorted(part.key, cuts) for part in parts]

        def merge(k: int) -> tuple[NDArray[Any], ...]:
            slices = [slice(b[k], b[k + 1]) for b in bounds]
            keys = np.concatenate([p.key[s] for p, s in zip(parts, slices, strict=True)])
            counts = np.concatenate([p.count[s] for p, s in zip(parts, slices, strict=True)])
            order = np.argsort(keys)
            whole = _reduced(keys[order], counts[order])
            row, column = np.divmod(whole.key, self.n_columns)
            first = np.flatnonzero(np.diff(row, prepend=-1))
            ends = np.append(first[1:], row.size)
            return row[first], ends - first, column, whole.count

        yield from blocks_job(
            merge, max(len(cuts) - 1, 0), stage, consume=out.append, threads=threads
        )
        return out


@dataclass(slots=True)
class OccupiedRows:
    """The rows of a table that hold something, and their entries in order.

    Parameters
    ----------
    row, per_row
        (m,) row numbers, ascending, and entries of each.
    column, count
        (nnz,) the entries, row by row, columns ascending.
    """

    row: NDArray[np.int64]
    per_row: NDArray[np.int64]
    column: NDArray[np.int32]
    count: NDArray[np.int32]
    _filled: tuple[int, int] = (0, 0)

    @classmethod
    def empty(cls, room: int) -> OccupiedRows:
        """Make room for that many entries; untouched room takes no memory."""
        return cls(
            np.empty(room, np.int64),
            np.empty(room, np.int64),
            np.empty(room, np.int32),
            np.empty(room, np.int32),
        )

    def append(self, block: int, piece: tuple[NDArray[Any], ...]) -> None:
        """Take the rows of one bucket; buckets come in order."""
        del block
        row, per_row, column, count = piece
        m, k = self._filled
        self._filled = m + row.size, k + column.size
        self.row[m : m + row.size], self.per_row[m : m + row.size] = row, per_row
        self.column[k : k + column.size], self.count[k : k + column.size] = column, count

    @property
    def rows(self) -> NDArray[np.int64]:
        """(m,) numbers of the rows that hold something."""
        return self.row[: self._filled[0]]

    def csr(self, n_rows: int, n_columns: int) -> sparse.csr_matrix:
        """(n_rows, n_columns) int32 counts, with the empty rows."""
        per_row = np.zeros(n_rows, dtype=np.int64)
        per_row[self.rows] = self.per_row[: self._filled[0]]
        return self._matrix(per_row, n_columns)

    def compact(self, n_columns: int) -> sparse.csr_matrix:
        """(m, n_columns) int32 counts of the rows that hold something."""
        return self._matrix(self.per_row[: self._filled[0]], n_columns)

    def _matrix(self, per_row: NDArray[np.int64], n_columns: int) -> sparse.csr_matrix:
        size = self._filled[1]
        start = np.concatenate([[0], np.cumsum(per_row)])
        if size < np.iinfo(np.int32).max:
            start = start.astype(np.int32)
        entries = (self.count[:size], self.column[:size], start)
        return sparse.csr_matrix(entries, shape=(per_row.size, n_columns))


def _reduced(keys: NDArray[np.int64], counts: NDArray[np.int32] | None) -> Part:
    """Add up equal keys, which are sorted; without counts each key counts 1."""
    if not keys.size:
        return Part(keys, np.zeros(0, dtype=np.int32))
    first = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    if counts is None:
        return Part(keys[first], np.diff(first, append=keys.size).astype(np.int32))
    return Part(keys[first], np.add.reduceat(counts, first))


def _cuts(parts: list[Part], n_columns: int, n_buckets: int) -> NDArray[np.int64]:
    """Return keys, each the first of a row, that cut all entries into about equal buckets."""
    if not n_buckets:
        return np.zeros(0, dtype=np.int64)
    looked = [part.key[:: max(part.key.size // (_SAMPLES * n_buckets), 1)] for part in parts]
    sample = np.sort(np.concatenate(looked))
    inner = sample[np.arange(1, n_buckets) * sample.size // n_buckets] // n_columns * n_columns
    last = max(int(part.key[-1]) for part in parts if part.key.size) + 1
    cuts: NDArray[np.int64] = np.unique(np.concatenate([[0], inner, [last]]))
    return cuts
