"""Zero inflation: counts that are lost altogether, whatever their size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from celldyn.errors import DataError
from celldyn.jobs import MAX_SILENCE_S, Job, Pace, Progress, run
from celldyn.simulate.blocks import Part
from celldyn.simulate.csr_rows import CsrRows, narrowed
from celldyn.simulate.inversion import Floats
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import (
    Bits,
    mix_in_place,
    name_ids,
    spread,
    stream_key,
    unit_interval,
)

STAGE = "zeros"
_TILE = 1 << 18
"""Entries of a block."""


def zero_inflate(
    counts: sparse.csr_matrix,
    rate: ArrayLike,
    seed: int,
    names: Iterable[str],
    *,
    cell_ids: ArrayLike | None = None,
    stage: str = STAGE,
) -> sparse.csr_matrix:
    """Set counts to zero at random: negative binomial counts become zero-inflated ones (ZINB).

    Parameters
    ----------
    counts
        (n_cells, n_genes) integers.
    rate
        Probability that a count is lost, in [0, 1]: one, or an array that broadcasts to the
        shape of `counts`, such as (n_genes,) or (n_cells, 1).
    seed
        The simulation's seed.
    names
        (n_genes,) gene names.
    cell_ids
        (n_cells,) integer identities; by default 0, 1, 2, ...
    stage
        Which noise: stages share none.

    Returns
    -------
    (n_cells, n_genes) CSR; of probability rate + (1 - rate) P(K = 0) to be zero. At a higher
    rate, what was lost at a lower one is lost too.

    Raises
    ------
    DataError
        If a rate is not in [0, 1] or the lengths differ.
    """
    job = zero_inflate_job(counts, rate, seed, names, cell_ids=cell_ids, stage=stage)
    return run(job, bar=False)


def zero_inflate_job(
    counts: sparse.csr_matrix,
    rate: ArrayLike,
    seed: int,
    names: Iterable[str],
    *,
    cell_ids: ArrayLike | None = None,
    stage: str = STAGE,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Do the work of `zero_inflate` block by block; progress counts cells."""
    n_cells, n_genes = counts.shape
    genes = spread(name_ids(names))
    ids = np.arange(n_cells) if cell_ids is None else np.asarray(cell_ids)
    if genes.shape != (n_genes,) or ids.shape != (n_cells,):
        raise DataError(
            f"{genes.size} names or cell_ids {ids.shape} do not fit {n_cells} × {n_genes} counts",
            "give one name per gene and one identity per cell",
        )
    cells, lost = (
        spread(ids.astype(np.uint64), stream_key(seed, stage)),
        _rates(rate, counts.shape),
    )
    height = max(1, _TILE * n_cells // max(counts.nnz, 1))

    def work(k: int) -> Part:
        return _kept(counts, slice(k * height, min((k + 1) * height, n_cells)), cells, genes, lost)

    result, pace = CsrRows((n_cells, n_genes), counts.nnz), Pace(MAX_SILENCE_S / 8)
    for step in blocks_job(
        work,
        -(-n_cells // height),
        stage,
        consume=lambda _, part: result.append(part.per_row, part.column, part.count),
        threads=threads,
    ):
        if pace.due():
            yield Progress(stage, min(step.done * height, n_cells), n_cells)
    return result.matrix()


def _rates(rate: ArrayLike, shape: tuple[int, int]) -> Floats:
    lost = np.asarray(rate, dtype=np.float64)
    if lost.size and not (np.all(lost >= 0) and np.all(lost <= 1)):
        raise DataError("the rate of zero inflation leaves [0, 1]", "give probabilities")
    try:
        return np.broadcast_to(lost, shape)
    except ValueError:
        raise DataError(
            f"a rate of shape {lost.shape} does not fit {shape[0]} × {shape[1]} counts",
            "give one, one per gene, or (n_cells, 1)",
        ) from None


def _kept(counts: sparse.csr_matrix, rows: slice, cells: Bits, genes: Bits, lost: Floats) -> Part:
    """Return what is left of some rows."""
    start = counts.indptr
    entries, per_row = (
        slice(start[rows.start], start[rows.stop]),
        np.diff(start[rows.start : rows.stop + 1]),
    )
    row, column = np.repeat(np.arange(rows.start, rows.stop), per_row), counts.indices[entries]
    bits = cells[row] + genes[column]
    mix_in_place(bits, np.empty_like(bits))
    kept = np.flatnonzero(unit_interval(bits) >= lost[row, column])
    left = np.bincount(row[kept] - rows.start, minlength=per_row.size).astype(np.int32)
    count = narrowed(counts.data[entries][kept].astype(np.int64))
    return Part(left, column[kept].astype(np.int32), count)
