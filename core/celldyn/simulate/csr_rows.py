"""A CSR matrix that grows row by row, in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Counts = NDArray[np.int32] | NDArray[np.int64]

_INT32_MAX = np.iinfo(np.int32).max


class CsrRows:
    """A matrix of counts that is filled in the order of its rows.

    Columns and counts lie in two arrays of the final size, so that a matrix takes no more memory
    while it grows than when it is done.

    Parameters
    ----------
    shape
        (n_cells, n_genes).
    expected
        How many entries to make room for; more of them cost a move.
    """

    def __init__(self, shape: tuple[int, int], expected: float = 0.0) -> None:
        self._shape = shape
        room = int(min(max(expected, 1024), shape[0] * shape[1]))
        # Pages that are never written take no memory, so room may be ample.
        self._column = np.empty(room, dtype=np.int32)
        self._count: Counts = np.empty(room, dtype=np.int32)
        self._start = np.zeros(shape[0] + 1, dtype=np.int64)
        self._row = self._size = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(n_cells, n_genes)."""
        return self._shape

    def append(
        self, per_row: NDArray[np.integer], column: NDArray[np.int32], count: Counts
    ) -> None:
        """Add the next rows.

        Parameters
        ----------
        per_row
            (n_rows,) entries of each.
        column, count
            (n_entries,) by row, columns in order, counts above zero.
        """
        end = self._size + column.size
        if end > self._column.size:
            self._grow(end, self._row + per_row.size)
        if count.dtype == np.int64 and self._count.dtype == np.int32:
            self._count = self._count.astype(np.int64)
        self._column[self._size : end], self._count[self._size : end] = column, count
        rows = slice(self._row + 1, self._row + 1 + per_row.size)
        np.cumsum(per_row, out=self._start[rows])
        self._start[rows] += self._size
        self._row += per_row.size
        self._size = end

    def matrix(self) -> sparse.csr_matrix:
        """Return the matrix, with indices of 32 bits; call it once, when all rows are there."""
        for array in (self._column, self._count):
            array.resize(self._size, refcheck=False)
        return sparse.csr_matrix((self._count, self._column, self._start), shape=self._shape)

    def _grow(self, needed: int, n_rows: int) -> None:
        """Make room for the rows to come as if they were like those before."""
        likely = int(1.05 * needed * self._shape[0] / n_rows)
        room = max(likely, needed + needed // 4)
        for array in (self._column, self._count):
            array.resize(room, refcheck=False)


def narrowed(counts: NDArray[np.int64]) -> Counts:
    """Return counts in 32 bits where all of them fit."""
    if counts.size and counts.max() > _INT32_MAX:
        return counts
    return counts.astype(np.int32)
