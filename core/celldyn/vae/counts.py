"""Raw counts of any matrix, in memory or left on disk, as rows that the model is fed with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress, run
from celldyn.vae.csr import (
    BYTES_PER_ENTRY,
    as_csr,
    check_rows,
    checked_csr,
    dense_to_csr,
    map_columns,
    row_sums,
    stack_rows,
    take_rows,
)
from celldyn.vae.inputs import CountMatrix, Csr, Ints

_BLOCK_ENTRIES = 1 << 22
"""Entries that are looked at, or read from disk, at once."""

_GAP_ENTRIES = 1 << 16
"""Reading on over this many unwanted entries is cheaper than a second read."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldCounts:
    """Counts in memory.

    Parameters
    ----------
    csr
        All of them. The arrays may be those of the AnnData: while they are used, its matrix is
        to be replaced, not written into.
    """

    csr: Csr

    @property
    def shape(self) -> tuple[int, int]:
        """(n_obs, n_features)."""
        return self.csr.shape

    @property
    def entries(self) -> Ints:
        """(n_obs,) how many are stored of each cell."""
        return np.diff(self.csr.indptr)

    @property
    def n_bytes(self) -> int:
        """What they take in memory."""
        return BYTES_PER_ENTRY * len(self.csr.data) + self.csr.indptr.nbytes

    def rows(self, at: Ints) -> Csr:
        """Return the counts of these cells, in this order; without a copy if consecutive."""
        return take_rows(self.csr, at)


@dataclass(frozen=True, slots=True, eq=False)
class BackedCounts:
    """Counts on disk, checked as they are read.

    Parameters
    ----------
    matrix
        A dense HDF5 or zarr array, or anndata's sparse data set stored by rows.
    indptr
        (n_obs + 1,) where each row begins; of a dense array, as if all of it were stored.
    name
        What an error calls the matrix.
    """

    matrix: Any
    indptr: Ints
    name: str = "X"

    @property
    def shape(self) -> tuple[int, int]:
        """(n_obs, n_features)."""
        return int(self.matrix.shape[0]), int(self.matrix.shape[1])

    @property
    def entries(self) -> Ints:
        """(n_obs,) how many are stored of each cell, at most."""
        return np.diff(self.indptr)

    @property
    def n_bytes(self) -> int:
        """What they take in memory, at most."""
        return BYTES_PER_ENTRY * int(self.indptr[-1]) + self.indptr.nbytes

    def rows(self, at: Ints) -> Csr:
        """Return the counts of these cells, in this order.

        They are read in the order of the file, each once, neighbours together.

        Raises
        ------
        DataError
            If a value is no count.
        """
        wanted, places = np.unique(np.asarray(at, np.int64), return_inverse=True)
        if not len(wanted):
            return self._read(0, 0)
        entries = (self.indptr[wanted], self.indptr[wanted + 1])
        apart = entries[0][1:] - entries[1][:-1] > _GAP_ENTRIES
        apart |= np.diff(entries[0] // _BLOCK_ENTRIES) > 0
        parts = [
            take_rows(self._read(run[0], run[-1] + 1), run - run[0])
            for run in np.split(wanted, np.flatnonzero(apart) + 1)
        ]
        return take_rows(stack_rows(parts, self.shape[1]), places)

    def _read(self, first: int, last: int) -> Csr:
        """Return consecutive rows."""
        n_features = self.shape[1]
        if not hasattr(self.matrix, "group"):
            block = np.asarray(self.matrix[int(first) : int(last)])
            return dense_to_csr(block, self.name)
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        group = self.matrix.group
        indptr = self.indptr[first : last + 1] - begin
        return checked_csr(
            indptr, group["indices"][begin:end], group["data"][begin:end], n_features, self.name
        )


@dataclass(frozen=True, slots=True, eq=False)
class MappedCounts:
    """Counts of another matrix with its cells and features put in other places.

    Parameters
    ----------
    source
        The other matrix.
    cells
        (n_obs,) its row of each cell; -1 for one that it lacks.
    columns
        (n_source_features,) where each of its features goes; -1 for one that is left out. None
        leaves them as they are.
    n_features
        Features.
    """

    source: BackedCounts
    cells: Ints
    columns: Ints | None
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n_obs, n_features)."""
        return len(self.cells), self.n_features

    @property
    def entries(self) -> Ints:
        """(n_obs,) how many are stored of each cell, at most."""
        return np.where(self.cells >= 0, self.source.entries[self.cells], 0)

    @property
    def n_bytes(self) -> int:
        """What they take in memory, at most."""
        return self.source.n_bytes

    def rows(self, at: Ints) -> Csr:
        """Return the counts of these cells, in this order; raises as `BackedCounts.rows`."""
        wanted = self.cells[at]
        has = wanted >= 0
        read = self.source.rows(wanted[has])
        places = np.full(len(wanted), -1, np.int64)
        places[has] = np.arange(np.count_nonzero(has))
        placed = read if has.all() else take_rows(read, places)
        if self.columns is None:
            return placed
        return map_columns(placed, self.columns, self.n_features)


Counts: TypeAlias = HeldCounts | BackedCounts | MappedCounts


def counts_of(matrix: Any, name: str = "X") -> HeldCounts | BackedCounts:  # noqa: ANN401
    """Return `counts_job(matrix, name)`, drained."""
    return run(counts_job(matrix, name), bar=False)


def counts_job(matrix: Any, name: str = "X") -> Job[HeldCounts | BackedCounts]:  # noqa: ANN401
    """Make rows of counts out of a matrix.

    What is in memory is looked at now: nothing is copied of a float32 matrix stored by rows with
    its columns in order. What is on disk is opened, and looked at when it is read.

    Parameters
    ----------
    matrix
        (n_obs, n_features) dense or sparse, in memory or as anndata leaves it on disk.
    name
        What an error calls it.

    Raises
    ------
    DataError
        If it has no cells, a value that is no raw count, or is on disk stored by columns.
    """
    if not matrix.shape[0] or not matrix.shape[1]:
        raise DataError(f"{name} has no cells or no features", "check what was filtered out")
    if isinstance(matrix, np.ndarray):
        return HeldCounts((yield from _dense_job(matrix, name)))
    if hasattr(matrix, "tocsr"):
        return HeldCounts((yield from _sparse_job(matrix.tocsr(), name)))
    return _backed(matrix, name)


def _dense_job(matrix: NDArray[Any], name: str) -> Job[Csr]:
    step = max(_BLOCK_ENTRIES // matrix.shape[1], 1)
    parts = []
    for start in range(0, len(matrix), step):
        yield Progress("counts", start, len(matrix))
        parts.append(dense_to_csr(matrix[start : start + step], name))
    return stack_rows(parts, matrix.shape[1])


def _sparse_job(matrix: Any, name: str) -> Job[Csr]:  # noqa: ANN401
    """Check a sparse matrix block by block; it is copied only if it is not in order."""
    n_obs, n_features = matrix.shape
    indptr = np.asarray(matrix.indptr, np.int64)
    if indptr[0] != 0 or indptr[-1] > len(matrix.data) or np.any(np.diff(indptr) < 0):
        raise DataError(
            f"the sparse matrix {name} is damaged (its row pointers)", "export the file again"
        )
    indices, data = matrix.indices[: indptr[-1]], matrix.data[: indptr[-1]]
    in_order = True
    for first, last in _row_blocks(indptr):
        yield Progress("counts", first, n_obs)
        part = slice(indptr[first], indptr[last])
        own = indptr[first : last + 1] - indptr[first]
        in_order &= check_rows(own, indices[part], data[part], n_features, name)
    return as_csr(indptr, indices, data, n_features, in_order=in_order)


def _row_blocks(indptr: Ints) -> list[tuple[int, int]]:
    """Return first row and end of blocks of rows with about as many entries each."""
    n_blocks = int(indptr[-1]) // _BLOCK_ENTRIES + 1
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], n_blocks + 1)[1:-1])
    ends = np.unique([0, *cuts, len(indptr) - 1])
    return [(int(a), int(b)) for a, b in pairwise(ends)]


def _backed(matrix: Any, name: str) -> BackedCounts:  # noqa: ANN401
    layout = getattr(matrix, "format", "")
    if layout == "csc":
        raise DataError(
            f"{name} is on disk stored by columns, so that no cell can be read alone",
            "read it into memory, or save it as a CSR matrix",
        )
    n_obs, n_features = matrix.shape
    if layout == "csr":
        return BackedCounts(matrix, np.asarray(matrix.group["indptr"][:], np.int64), name)
    return BackedCounts(matrix, np.arange(n_obs + 1, dtype=np.int64) * n_features, name)


def totals_job(counts: CountMatrix) -> Job[NDArray[np.float64]]:
    """Return the (n_obs,) total of each cell; of counts on disk this reads and checks them all."""
    n_obs, n_features = counts.shape
    if isinstance(counts, HeldCounts):
        blocks = _row_blocks(counts.csr.indptr)
    else:
        per_cell = max(getattr(counts, "n_bytes", BYTES_PER_ENTRY * n_obs * n_features), 1) / n_obs
        step = max(int(BYTES_PER_ENTRY * _BLOCK_ENTRIES / per_cell), 1)
        blocks = [(at, min(at + step, n_obs)) for at in range(0, n_obs, step)]
    totals = np.zeros(n_obs)
    for first, last in blocks:
        yield Progress("counts", first, n_obs)
        totals[first:last] = row_sums(counts.rows(np.arange(first, last)))
    return totals
