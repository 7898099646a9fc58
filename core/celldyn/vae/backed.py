"""Counts that are left on disk: read in neighbouring rows, and checked as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from celldyn.data.words import reason
from celldyn.errors import DataError
from celldyn.jobs import Job, Progress, run
from celldyn.vae.csr import (
    BYTES_PER_ENTRY,
    Stack,
    check_pointers,
    checked_csr,
    dense_to_csr,
    map_columns,
    take_rows,
)
from celldyn.vae.inputs import Csr, Ints

BLOCK_ENTRIES = 1 << 20
"""Entries that are looked at, or read from disk, at once."""

_GAP_ENTRIES = 1 << 16
"""Reading on over this many unwanted entries is cheaper than a second read."""


@dataclass(frozen=True, slots=True, eq=False)
class BackedCounts:
    """Counts on disk, checked as they are read.

    Parameters
    ----------
    matrix
        A dense HDF5 or zarr array, or anndata's sparse data set stored by rows.
    shape
        (n_obs, n_features).
    indptr
        (n_obs + 1,) where each row begins; of a dense array, as if all of it were stored.
    name
        What an error calls the matrix.
    """

    matrix: Any
    shape: tuple[int, int]
    indptr: Ints
    name: str = "X"

    @property
    def entries(self) -> Ints:
        """(n_obs,) how many are stored of each cell, at most."""
        return np.diff(self.indptr)

    @property
    def n_bytes(self) -> int:
        """What they take in memory, at most."""
        return BYTES_PER_ENTRY * int(self.indptr[-1]) + self.indptr.nbytes

    def rows(self, at: Ints) -> Csr:
        """Return the counts of these cells, in this order; `rows_job`, drained."""
        return run(self.rows_job(at), bar=False)

    def rows_job(self, at: Ints) -> Job[Csr]:
        """Read the counts of these cells, and return them in this order.

        They are read in the order of the file, each once, neighbours together.

        Raises
        ------
        DataError
            If a value is no count.
        """
        wanted, places = np.unique(np.asarray(at, np.int64), return_inverse=True)
        n_entries = int(self.entries[wanted].sum())
        return (
            yield from _stacked_job(self.pieces(wanted), wanted, places, n_entries, self.shape)
        )

    def pieces(self, wanted: Ints) -> Iterator[Csr]:
        """Yield the counts of some cells, whose numbers rise, as they come from disk."""
        if not len(wanted):
            return
        begins, ends = self.indptr[wanted], self.indptr[wanted + 1]
        apart = begins[1:] - ends[:-1] > _GAP_ENTRIES
        apart |= np.diff(begins // BLOCK_ENTRIES) > 0
        for run_of in np.split(wanted, np.flatnonzero(apart) + 1):
            yield take_rows(self._read(run_of[0], run_of[-1] + 1), run_of - run_of[0])

    def _read(self, first: int, last: int) -> Csr:
        """Return consecutive rows."""
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        try:
            if not hasattr(self.matrix, "group"):
                block = np.asarray(self.matrix[int(first) : int(last)])
            else:
                group = self.matrix.group
                indices, data = group["indices"][begin:end], group["data"][begin:end]
        except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise DataError(
                f"{self.name} can no longer be read from disk ({reason(error)})",
                "open the file again, or read it into memory",
            ) from error
        if not hasattr(self.matrix, "group"):
            return dense_to_csr(block, self.name)
        indptr = self.indptr[first : last + 1] - begin
        return checked_csr(indptr, indices, data, self.shape[1], self.name)


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
        """Return the counts of these cells, in this order; `rows_job`, drained."""
        return run(self.rows_job(at), bar=False)

    def rows_job(self, at: Ints) -> Job[Csr]:
        """Read the counts of these cells; see `BackedCounts.rows_job`."""
        cells = self.cells[at]
        has = cells >= 0
        wanted, found = np.unique(cells[has], return_inverse=True)
        places = np.full(len(cells), -1, np.int64)
        places[has] = found
        n_entries = int(self.source.entries[wanted].sum())
        pieces = (self._mapped(piece) for piece in self.source.pieces(wanted))
        return (yield from _stacked_job(pieces, wanted, places, n_entries, self.shape))

    def _mapped(self, piece: Csr) -> Csr:
        if self.columns is None:
            return piece
        return map_columns(piece, self.columns, self.n_features)


def _stacked_job(
    pieces: Iterator[Csr], wanted: Ints, places: Ints, n_entries: int, shape: tuple[int, int]
) -> Job[Csr]:
    """Put pieces with the wanted rows together, and return rows `places` of that."""
    stack = Stack(len(wanted), n_entries, shape[1])
    n_read = 0
    for piece in pieces:
        stack.add(piece)
        n_read += piece.shape[0]
        yield Progress("reading counts", n_read, len(wanted))
    return take_rows(stack.whole(), places)


def backed_counts(matrix: Any, name: str) -> BackedCounts:  # noqa: ANN401
    """Return the counts of a matrix that anndata has left on disk.

    Raises
    ------
    DataError
        If it is stored by columns.
    """
    layout = getattr(matrix, "format", "")
    if layout == "csc":
        raise DataError(
            f"{name} is on disk stored by columns, so that no cell can be read alone",
            "read it into memory, or save it as a CSR matrix",
        )
    n_obs, n_features = int(matrix.shape[0]), int(matrix.shape[1])
    if layout != "csr":
        every = np.arange(n_obs + 1, dtype=np.int64) * n_features
        return BackedCounts(matrix, (n_obs, n_features), every, name)
    indptr = np.asarray(matrix.group["indptr"][:], np.int64)
    n_stored = min(matrix.group[part].shape[0] for part in ("indices", "data"))
    check_pointers(indptr, n_obs, n_stored, name)
    return BackedCounts(matrix, (n_obs, n_features), indptr, name)
