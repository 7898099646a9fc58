"""Counts of a block of cells: what is likely to be above zero is found first, then inverted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from celldyn.errors import DataError
from celldyn.simulate.copula import Copula
from celldyn.simulate.csr_rows import Counts, narrowed
from celldyn.simulate.inversion import Floats, quantile
from celldyn.simulate.size_bins import SizeBins
from celldyn.simulate.strata import Strata, require_parameters
from celldyn.simulate.streams import Bits, mix_in_place, unit_interval

_CACHED = 1 << 16
"""Values hashed at once: these and their scratch stay in the processor's cache."""

MeanBlock = Callable[[slice], tuple[Floats, Floats]]
"""Gives (n_rows, n_genes) means, and inverse dispersions of that shape or (1, n_genes)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Entries of consecutive rows: how many in each, and their genes and counts in order."""

    per_row: NDArray[np.int32]
    column: NDArray[np.int32]
    count: Counts


@dataclass(frozen=True, slots=True)
class _Likely:
    """Elements that may be above zero, by row: position in the block, gene, tail."""

    row: NDArray[np.intp]
    column: NDArray[np.int32]
    tail: Floats


@dataclass(frozen=True)
class StrataDraw:
    """Draws cells in strata.

    Parameters
    ----------
    strata, bins
        The cells, and the same cells by size.
    cells, genes
        (n_cells,) and (n_genes,) spread identities.
    copula
        Correlates the genes of a class; None leaves them independent.
    """

    strata: Strata
    bins: SizeBins
    cells: Bits
    genes: Bits
    copula: Copula | None = None

    def plain(self, rows: slice) -> Part:
        """Draw some cells with numpy."""
        parts = [self._likely(tile) for tile in _tiles(rows, self.genes.size)]
        row = np.concatenate([p.row + k for p, k in parts])
        column = np.concatenate([p.column for p, _ in parts])
        tail = np.concatenate([p.tail for p, _ in parts])
        strata = self.strata
        stratum = strata.of[row]
        mean = strata.mu[stratum, column] * strata.scale[row]
        counts = quantile(tail, mean, strata.theta[stratum, column])
        return _part(rows, row - rows.start, column, counts)

    def compiled(self, rows: slice) -> Part:
        """Draw some cells with a kernel: what `plain` gives."""
        from celldyn.simulate.count_kernels import draw_strata

        strata, bins = self.strata, self.bins
        of, scale = strata.of[rows], strata.scale[rows]
        room = _Room(of.size, self.genes.size)
        found, n_hard = draw_strata(
            self.cells[rows],
            self.genes,
            bins.limit,
            bins.levels,
            bins.of[rows],
            strata.mu,
            strata.theta,
            of,
            scale,
            *room.arrays,
        )

        def parameters(row: NDArray[np.intp], column: NDArray[np.int32]) -> tuple[Floats, Floats]:
            mean = strata.mu[of[row], column] * scale[row]
            return mean, strata.theta[of[row], column]

        return room.part(found, n_hard, parameters)

    @cached_property
    def _score(self) -> Floats:
        score: Floats = ndtri(np.minimum(self.bins.probability * (1 + 1e-9), 1.0))
        return score

    def _likely(self, rows: slice) -> tuple[_Likely, int]:
        bits = _hashed(self.cells[rows], self.genes)
        bins = self.bins.of[rows]
        if self.copula is None:
            row, column, chosen = _chosen(bits, bits <= self.bins.limit[bins])
            return _Likely(row, column, unit_interval(chosen)), rows.start
        factors = self.copula.factors(rows)
        below = self.copula.below(bits, factors, self._score[bins])
        row, column, chosen = _chosen(bits, below)
        return _Likely(row, column, self.copula.tails(chosen, factors, row, column)), rows.start


@dataclass(frozen=True, slots=True)
class MeansDraw:
    """Draws cells whose means are their own.

    Parameters
    ----------
    block
        Gives the means; it is called on several threads at once.
    cells, genes
        (n_cells,) and (n_genes,) spread identities.
    copula
        Correlates the genes of a class; None leaves them independent.
    """

    block: MeanBlock
    cells: Bits
    genes: Bits
    copula: Copula | None = None

    def plain(self, rows: slice) -> Part:
        """Draw some cells with numpy."""
        mean, theta = self._means(rows)
        bits = _hashed(self.cells[rows], self.genes)
        # The probability of a count is never above its mean.
        if self.copula is None:
            row, column, chosen = _chosen(bits, unit_interval(bits) <= mean * 1.000001)
            tail = unit_interval(chosen)
        else:
            row, column, chosen = _chosen(bits, mean > 0)
            tail = self.copula.tails(chosen, self.copula.factors(rows), row, column)
            some = np.flatnonzero(tail <= mean[row, column] * 1.000001)
            row, column, tail = row[some], column[some], tail[some]
        noise = np.broadcast_to(theta, mean.shape)[row, column]
        return _part(rows, row, column, quantile(tail, mean[row, column], noise))

    def compiled(self, rows: slice) -> Part:
        """Draw some cells with a kernel: what `plain` gives."""
        from celldyn.simulate.count_kernels import draw_means

        mean, theta = self._means(rows)
        room = _Room(*mean.shape)
        found, n_hard = draw_means(self.cells[rows], self.genes, mean, theta, *room.arrays)

        def parameters(row: NDArray[np.intp], column: NDArray[np.int32]) -> tuple[Floats, Floats]:
            return mean[row, column], np.broadcast_to(theta, mean.shape)[row, column]

        return room.part(found, n_hard, parameters)

    def _means(self, rows: slice) -> tuple[Floats, Floats]:
        mean, theta = (np.ascontiguousarray(a, dtype=np.float64) for a in self.block(rows))
        shape = (self.cells[rows].size, self.genes.size)
        if mean.shape != shape or theta.shape not in (shape, (1, shape[1])):
            raise DataError(
                f"means {mean.shape} or inverse dispersions {theta.shape} do not fit "
                f"{shape[0]} cells × {shape[1]} genes",
                "give the one per cell and gene, the other too or as (1, n_genes)",
            )
        require_parameters(mean, theta, np.ones(1))
        return mean, theta


class _Room:
    """Where a kernel writes, and what becomes of it."""

    def __init__(self, n_rows: int, n_genes: int) -> None:
        # Pages that are never written take no memory.
        size = n_rows * n_genes
        self._per_row = np.zeros(n_rows, dtype=np.int32)
        self._column, self._count = np.empty(size, np.int32), np.empty(size, np.int32)
        self._tail = np.empty(size)

    @property
    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], Floats]:
        """Entries per row, genes, counts and tails."""
        return self._per_row, self._column, self._count, self._tail

    def part(
        self,
        found: int,
        n_hard: int,
        parameters: Callable[[NDArray[np.intp], NDArray[np.int32]], tuple[Floats, Floats]],
    ) -> Part:
        """Return what was found, with what was hard put to `quantile`."""
        column, count = self._column[:found].copy(), self._count[:found].copy()
        if not n_hard:
            return Part(self._per_row, column, count)
        hard = np.flatnonzero(count < 0)
        row = np.repeat(np.arange(self._per_row.size), self._per_row)
        mean, theta = parameters(row[hard], column[hard])
        counts = count.astype(np.int64)
        counts[hard] = quantile(self._tail[hard], mean, theta)
        return _part(slice(0, self._per_row.size), row, column, counts)


def _tiles(rows: slice, n_genes: int) -> Iterator[slice]:
    height = max(1, _CACHED // max(n_genes, 1))
    for start in range(rows.start, rows.stop, height):
        yield slice(start, min(start + height, rows.stop))


def _hashed(cells: Bits, genes: Bits) -> Bits:
    bits: Bits = cells[:, None] + genes
    mix_in_place(bits, np.empty_like(bits))
    return bits


def _chosen(
    bits: Bits, which: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.int32], Bits]:
    flat = np.flatnonzero(which)
    row, column = np.divmod(flat, bits.shape[1])
    return row, column.astype(np.int32), bits.ravel()[flat]


def _part(
    rows: slice, row: NDArray[np.intp], column: NDArray[np.int32], counts: NDArray[np.int64]
) -> Part:
    keep = np.flatnonzero(counts > 0)
    per_row = np.bincount(row[keep], minlength=rows.stop - rows.start).astype(np.int32)
    return Part(per_row, column[keep], narrowed(counts[keep]))
