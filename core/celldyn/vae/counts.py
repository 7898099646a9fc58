"""Raw counts of any matrix, in memory or left on disk, as rows that the model is fed with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress, run
from celldyn.vae.backed import BLOCK_ENTRIES, BackedCounts, MappedCounts, backed_counts
from celldyn.vae.csr import (
    BYTES_PER_ENTRY,
    Stack,
    as_csr,
    check_pointers,
    check_rows,
    dense_to_csr,
    row_sums,
    take_rows,
)
from celldyn.vae.inputs import CountMatrix, Csr, Ints


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


def rows_job(counts: CountMatrix, at: Ints) -> Job[Csr]:
    """Return the counts of these cells, in this order, from wherever they are."""
    if isinstance(counts, BackedCounts | MappedCounts):
        return (yield from counts.rows_job(at))
    return counts.rows(at)


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
    return backed_counts(matrix, name)


def _dense_job(matrix: NDArray[Any], name: str) -> Job[Csr]:
    step = max(BLOCK_ENTRIES // matrix.shape[1], 1)
    parts = []
    for start in range(0, len(matrix), step):
        yield Progress("counts", start, len(matrix))
        parts.append(dense_to_csr(matrix[start : start + step], name))
    stack = Stack(len(matrix), sum(len(part.data) for part in parts), matrix.shape[1])
    for part in parts:
        stack.add(part)
    return stack.whole()


def _sparse_job(matrix: Any, name: str) -> Job[Csr]:  # noqa: ANN401
    """Check a sparse matrix block by block; it is copied only if it is not in order."""
    n_obs, n_features = matrix.shape
    indptr = np.asarray(matrix.indptr, np.int64)
    check_pointers(indptr, n_obs, len(matrix.data), name)
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
    n_blocks = int(indptr[-1]) // BLOCK_ENTRIES + 1
    cuts = np.searchsorted(indptr, np.linspace(0, indptr[-1], n_blocks + 1)[1:-1])
    ends = np.unique([0, *cuts, len(indptr) - 1])
    return [(int(a), int(b)) for a, b in pairwise(ends)]


def totals_job(counts: CountMatrix) -> Job[NDArray[np.float64]]:
    """Return the (n_obs,) total of each cell; of counts on disk this reads and checks them all."""
    n_obs, n_features = counts.shape
    if isinstance(counts, HeldCounts):
        blocks = _row_blocks(counts.csr.indptr)
    else:
        per_cell = max(getattr(counts, "n_bytes", BYTES_PER_ENTRY * n_obs * n_features), 1) / n_obs
        step = max(int(BYTES_PER_ENTRY * BLOCK_ENTRIES / per_cell), 1)
        blocks = [(at, min(at + step, n_obs)) for at in range(0, n_obs, step)]
    totals = np.zeros(n_obs)
    for first, last in blocks:
        yield Progress("counts", first, n_obs)
        totals[first:last] = row_sums(counts.rows(np.arange(first, last)))
    return totals
