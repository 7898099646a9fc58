"""The entries of a matrix of counts, run by run of rows, each with noise of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.errors import DataError
from celldyn.jobs import Job
from celldyn.simulate.csr_rows import CsrRows
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import (
    Bits,
    mix_in_place,
    name_ids,
    spread,
    stream_key,
    unit_interval,
)

_ENTRIES = 1 << 18
"""Entries of one block."""
_VALUES = 1 << 20
"""Cells times genes of one block, for work that needs their means."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The nonzeros of a run of rows.

    Parameters
    ----------
    rows
        The run.
    row, column, count
        (k,) where and how many; `row` counts from the top of the matrix.
    cell, gene
        (k,) well-mixed identities.
    """

    rows: slice
    row: NDArray[np.intp]
    column: NDArray[np.int32]
    count: NDArray[Any]
    cell: Bits
    gene: Bits

    def bits(self, key: np.uint64) -> Bits:
        """(k,) random bits per (cell, gene) of one stage."""
        bits = self.cell + self.gene + key
        mix_in_place(bits, np.empty_like(bits))
        return bits

    def uniforms(self, key: np.uint64) -> NDArray[np.float64]:
        """(k,) uniform numbers per (cell, gene) of one stage."""
        return unit_interval(self.bits(key))


@dataclass(frozen=True, slots=True)
class CountTable:
    """Counts with the identities of their cells and genes.

    Parameters
    ----------
    counts
        (n, G) CSR of integers, columns ascending within a row.
    cell, gene
        (n,) and (G,) well-mixed identities.
    """

    counts: sparse.csr_matrix
    cell: Bits
    gene: Bits

    @classmethod
    def of(
        cls, counts: sparse.csr_matrix, cell_ids: ArrayLike, gene_names: Iterable[str]
    ) -> CountTable:
        """Take counts, (n,) integer identities and (G,) names.

        Raises
        ------
        DataError
            If they do not fit, or the counts are not a CSR of integers.
        """
        cells, genes = np.asarray(cell_ids), name_ids(gene_names)
        if counts.format != "csr" or counts.dtype.kind not in "iu":
            raise DataError(
                f"the counts are {counts.format} of {counts.dtype}", "give a CSR of integers"
            )
        if counts.shape != (cells.size, genes.size):
            raise DataError(
                f"counts of shape {counts.shape} for {cells.size} cells and {genes.size} genes",
                "give one identity per cell and one name per gene",
            )
        return cls(counts, np.atleast_1d(spread(cells)), np.atleast_1d(spread(genes, 1)))

    def replaced(self, counts: sparse.csr_matrix) -> CountTable:
        """Return other counts of the same cells and genes."""
        return CountTable(counts, self.cell, self.gene)

    def runs(self) -> list[slice]:
        """Return runs of rows that are small enough to be one block of work."""
        n_cells, n_genes = self.counts.shape
        height = max(_VALUES // max(n_genes, 1), 1)
        by_entries = (
            np.searchsorted(
                self.counts.indptr, np.arange(0, self.counts.nnz, _ENTRIES), side="right"
            )
            - 1
        )
        starts = np.union1d(np.arange(0, n_cells, height), by_entries).astype(int)
        return [slice(a, b) for a, b in zip(starts, [*starts[1:], n_cells], strict=True)]

    def entries(self, rows: slice) -> Entries:
        """Return the entries of a run of rows."""
        start = self.counts.indptr[rows.start : rows.stop + 1]
        row = np.repeat(np.arange(rows.start, rows.stop), np.diff(start))
        held = slice(start[0], start[-1])
        column = self.counts.indices[held]
        return Entries(
            rows, row, column, self.counts.data[held], self.cell[row], self.gene[column]
        )


def map_entries_job(
    table: CountTable,
    work: Callable[[Entries], NDArray[Any]],
    stage: str,
    *,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Give every entry another count; entries that become 0 leave the matrix.

    Parameters
    ----------
    table
        The counts.
    work
        Entries -> (k,) their new counts.
    stage
        What `Progress` calls it; progress counts runs of rows.
    threads
        How many.
    """
    runs, counts = table.runs(), table.counts
    made = CsrRows(counts.shape, counts.nnz)

    def one(k: int) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[Any]]:
        rows, entries = runs[k], table.entries(runs[k])
        values = work(entries)
        keep = values > 0
        per_row = np.bincount(entries.row[keep] - rows.start, minlength=rows.stop - rows.start)
        return per_row, entries.column[keep], values[keep].astype(counts.dtype)

    yield from blocks_job(
        one, len(runs), stage, consume=lambda _, part: made.append(*part), threads=threads
    )
    kept: sparse.csr_matrix = made.matrix().astype(counts.dtype, copy=False)
    return kept


def stage_key(seed: int, stage: str) -> np.uint64:
    """Return the key of one technical step."""
    return stream_key(seed, f"technical/{stage}")
