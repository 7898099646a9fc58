"""Sparse counts: made of any matrix, checked, and some of their rows and columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.check import require_whole
from celldyn.errors import DataError
from celldyn.vae.inputs import Csr, Ints

BYTES_PER_ENTRY = 8
"""Of a Csr: an int32 column and a float32 count."""


def checked_csr(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    n_features: int,
    name: str,
) -> Csr:
    """Return sparse rows as a Csr, after a look at every value; see `as_csr`."""
    in_order = check_rows(indptr, indices, data, n_features, name)
    return as_csr(indptr, indices, data, n_features, in_order=in_order)


def check_pointers(indptr: Ints, n_rows: int, n_stored: int, name: str) -> None:
    """Raise DataError unless rows begin and end within what is stored, one after the other."""
    right = len(indptr) == n_rows + 1 and indptr[0] == 0 and indptr[-1] <= n_stored
    if not right or np.any(np.diff(indptr) < 0):
        raise DataError(
            f"the sparse matrix {name} is damaged (its row pointers)", "export the file again"
        )


def check_rows(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    n_features: int,
    name: str,
) -> bool:
    """Return whether columns rise within rows and no zero is stored.

    Parameters
    ----------
    indptr, indices, data
        Sparse rows, as scipy has them.
    n_features
        Columns.
    name
        What an error calls the matrix.

    Raises
    ------
    DataError
        If a value is no count, or a column is outside.
    """
    if data.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {data.dtype} instead of numbers", "write it as float32")
    if not len(data):
        return True
    if indices.min() < 0 or indices.max() >= n_features:
        raise DataError(
            f"the sparse matrix {name} is damaged (it has columns beyond {n_features:,})",
            "export the file again",
        )
    require_whole(data, name)
    rises = indices[1:] > indices[:-1]
    borders = indptr[1:-1]
    rises[borders[(borders > 0) & (borders < len(data))] - 1] = True
    return bool(rises.all()) and bool(data.min() > 0)


def as_csr(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    n_features: int,
    *,
    in_order: bool,
) -> Csr:
    """Return sparse rows as a Csr; no array is copied that has its type and is in order."""
    if in_order:
        return Csr(
            indptr.astype(np.int64, copy=False),
            indices.astype(np.int32, copy=False),
            data.astype(np.float32, copy=False),
            n_features,
        )
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(
        (data.astype(np.float32), indices.copy(), indptr.copy()),
        shape=(len(indptr) - 1, n_features),
    )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return as_csr(matrix.indptr, matrix.indices, matrix.data, n_features, in_order=True)


def dense_to_csr(block: NDArray[Any], name: str) -> Csr:
    """Return dense rows as a Csr; raises as `checked_csr` does."""
    if block.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {block.dtype} instead of numbers", "write it as float32")
    filled = block != 0
    per_row = np.count_nonzero(filled, axis=1)
    data = block[filled]
    require_whole(data, name)
    at = np.flatnonzero(filled)
    at -= np.repeat(np.arange(len(block), dtype=np.int64) * block.shape[1], per_row)
    return Csr(_pointers(per_row), at.astype(np.int32), data.astype(np.float32), block.shape[1])


def _pointers(per_row: NDArray[Any]) -> Ints:
    indptr = np.zeros(len(per_row) + 1, np.int64)
    np.cumsum(per_row, out=indptr[1:])
    return indptr


def take_rows(csr: Csr, at: Ints) -> Csr:
    """Return some rows, in this order; a row of -1 is empty. Consecutive rows are not copied."""
    n = len(at)
    if n and at[0] >= 0 and at[-1] - at[0] == n - 1 and bool((np.diff(at) == 1).all()):
        first, last = csr.indptr[at[0]], csr.indptr[at[-1] + 1]
        indptr = csr.indptr[at[0] : at[-1] + 2] - first
        return Csr(indptr, csr.indices[first:last], csr.data[first:last], csr.n_features)
    begins = csr.indptr[at]
    per_row = np.where(at >= 0, csr.indptr[at + 1] - begins, 0)
    indptr = _pointers(per_row)
    places = np.repeat(begins - indptr[:-1], per_row) + np.arange(indptr[-1])
    return Csr(indptr, csr.indices[places], csr.data[places], csr.n_features)


def spread_rows(csr: Csr, at: Ints, n_rows: int) -> Csr:
    """Return a matrix with these rows at places `at`, which rise, and empty ones elsewhere."""
    per_row = np.zeros(n_rows, np.int64)
    per_row[at] = np.diff(csr.indptr)
    return Csr(_pointers(per_row), csr.indices, csr.data, csr.n_features)


def map_columns(csr: Csr, columns: Ints, n_features: int) -> Csr:
    """Return it with column j at columns[j] of n_features; those at -1 are left out."""
    places = columns[csr.indices]
    kept = places >= 0
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
    # Names of features are unique, so that at most their order has changed.
    return as_csr(ends[csr.indptr], places[kept], csr.data[kept], n_features, in_order=False)


class Stack:
    """Rows that come in pieces, put one after the other without holding any of them twice.

    Parameters
    ----------
    n_rows
        Rows that will come.
    n_entries
        Entries that will come, at most.
    n_features
        Columns.
    """

    def __init__(self, n_rows: int, n_entries: int, n_features: int) -> None:
        self._indptr = np.zeros(n_rows + 1, np.int64)
        self._indices = np.empty(n_entries, np.int32)
        self._data = np.empty(n_entries, np.float32)
        self._n_features, self._n_rows = n_features, 0

    def add(self, piece: Csr) -> None:
        """Put these rows after those that have come."""
        first = self._indptr[self._n_rows]
        last = first + len(piece.data)
        rows = slice(self._n_rows + 1, self._n_rows + len(piece.indptr))
        self._indptr[rows] = piece.indptr[1:] + first
        self._indices[first:last], self._data[first:last] = piece.indices, piece.data
        self._n_rows += len(piece.indptr) - 1

    def whole(self) -> Csr:
        """Return all rows that have come."""
        indptr = self._indptr[: self._n_rows + 1]
        return Csr(indptr, self._indices[: indptr[-1]], self._data[: indptr[-1]], self._n_features)


def row_sums(csr: Csr) -> NDArray[np.float64]:
    """Return the (n,) sum of each row, exactly."""
    sums = np.zeros(len(csr.indptr) - 1)
    filled = np.flatnonzero(np.diff(csr.indptr))
    if filled.size:
        sums[filled] = np.add.reduceat(csr.data, csr.indptr[filled], dtype=np.float64)
    return sums
