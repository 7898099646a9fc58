"""Negative binomial counts from counter-based noise, by inverting the distribution function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.devices import compile_job
from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import MAX_SILENCE_S, Job, Pace, Progress, run
from celldyn.simulate.blocks import MeanBlock, MeansDraw, Part, StrataDraw
from celldyn.simulate.copula import Copula
from celldyn.simulate.csr_rows import CsrRows
from celldyn.simulate.inversion import quantile
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.size_bins import SizeBins
from celldyn.simulate.strata import Strata, require_parameters
from celldyn.simulate.streams import hash_bits, name_ids, spread, stream_key, unit_interval

STAGE = "counts"
_TILE = 1 << 20
"""Values of a block of cells in strata: some hundredths of a second."""
_MEANS_TILE = 1 << 18
"""Values of a block of cells with means of their own, which lie in memory all at once."""
_KERNEL_VALUES = 20_000_000
"""From here on the seconds that a kernel takes to compile are worth it."""


def negative_binomial(
    mu: ArrayLike,
    theta: ArrayLike,
    scale: ArrayLike,
    seed: int,
    *,
    cell: ArrayLike | None = None,
    gene: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Draw negative binomial counts, one per element.

    Parameters
    ----------
    mu, theta, scale
        Mean at scale 1, inverse dispersion and size factor of the cell; they broadcast. The count
        has mean m = mu scale and variance m + m² / theta.
    seed
        The simulation's seed.
    cell, gene
        Integer identities of each element's cell and gene, which fix its noise; without them
        elements are counted in C order.

    Returns
    -------
    Counts in the broadcast shape. At the same seed and identities a larger mean never gives a
    smaller count, and the result does not depend on what else is drawn in the same call.

    Raises
    ------
    DataError
        If mu or scale is below 0, theta is not above 0, or one is not finite.
    """
    mu, theta, scale = (np.asarray(a, dtype=np.float64) for a in (mu, theta, scale))
    require_parameters(mu, theta, scale)
    own = np.broadcast_shapes(mu.shape, theta.shape, scale.shape)
    if cell is None:
        cell = np.arange(int(np.prod(own))).reshape(own) if gene is None else 0
    bits = hash_bits(stream_key(seed, STAGE), cell, gene if gene is not None else 0)
    shape = np.broadcast_shapes(own, bits.shape)
    parts = (unit_interval(bits), mu * scale, theta)
    return quantile(*(np.broadcast_to(a, shape).ravel() for a in parts)).reshape(shape)


def sample_counts(
    gpar_df: pd.DataFrame,
    celltype: ArrayLike,
    scale: ArrayLike,
    seed: int,
    *,
    cell_ids: ArrayLike | None = None,
    correlation: float = 0.0,
) -> sparse.csr_matrix:
    """Draw the counts of all genes in all cells.

    Parameters
    ----------
    gpar_df
        (n_genes, ...) from `generate_gene_parameters`: `feature_name`, and per type
        `<type>_theta` and `<type>_mu`; `gene_type`, if genes are correlated.
    celltype
        (n_cells,) cell type names, or their positions among the types of the table.
    scale
        (n_cells,) size factors, or one for all.
    seed
        The simulation's seed.
    cell_ids
        (n_cells,) integer identities; by default 0, 1, 2, ... A subset of cells with their own
        identities, or of genes, has the counts that it has in the whole.
    correlation
        Of the noise of genes of one `gene_type` within a cell, in [0, 1); see `Copula`.

    Returns
    -------
    (n_cells, n_genes) CSR of integers, of mean m = mu scale and variance m + m² / theta.

    Raises
    ------
    MissingKeyError
        If the table lacks a column for a cell type.
    DataError
        If a parameter is out of bounds or the lengths differ.
    """
    job = sample_counts_job(
        gpar_df, celltype, scale, seed, cell_ids=cell_ids, correlation=correlation
    )
    return run(job, bar=False)


def sample_counts_job(
    gpar_df: pd.DataFrame,
    celltype: ArrayLike,
    scale: ArrayLike,
    seed: int,
    *,
    cell_ids: ArrayLike | None = None,
    correlation: float = 0.0,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Do the work of `sample_counts` block by block; progress counts cells."""
    strata = Strata.of_types(gpar_df, celltype, scale)
    ids = np.arange(strata.n_cells) if cell_ids is None else cell_ids
    if correlation and "gene_type" not in gpar_df:
        raise MissingKeyError(
            "the gene table has no column 'gene_type'", "say which genes are correlated"
        )
    classes = gpar_df["gene_type"].tolist() if correlation else None
    return (
        yield from sample_strata_job(
            strata,
            gpar_df["feature_name"],
            seed,
            cell_ids=ids,
            correlation=correlation,
            classes=classes,
            threads=threads,
        )
    )


def sample_strata_job(
    strata: Strata,
    names: Iterable[str],
    seed: int,
    *,
    cell_ids: ArrayLike,
    stage: str = STAGE,
    correlation: float = 0.0,
    classes: Sequence[str] | None = None,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Draw the counts of cells that share their parameters by stratum; progress counts cells.

    Parameters
    ----------
    strata
        Means, inverse dispersions, and the stratum and size factor of each cell.
    names
        (n_genes,) gene names, whose identities fix the noise.
    seed
        The simulation's seed.
    cell_ids
        (n_cells,) integer identities.
    stage
        Which noise: stages share none.
    correlation
        Of the noise of genes of one class within a cell, in [0, 1); see `Copula`.
    classes
        (n_genes,) class of each gene; None takes all as one.
    threads
        How many; None takes every core.

    Returns
    -------
    (n_cells, n_genes) CSR of integers in 32 bits (64 where a count needs them). It is the same
    for any number of threads and any size of the blocks.

    Raises
    ------
    DataError
        If the lengths differ or the correlation is out of bounds.
    """
    ids, genes = _identities(cell_ids, strata.n_cells, names, strata.n_genes)
    start = Progress(stage, 0, strata.n_cells)
    yield start
    bins = SizeBins.of_strata(strata)
    yield start
    cells = spread(ids, stream_key(seed, stage))
    copula = _copula(correlation, classes, genes.size, ids, seed, stage)
    draw = StrataDraw(strata, bins, cells, genes, copula)
    rows = CsrRows((ids.size, genes.size), bins.expected)
    yield start
    compiled = draw.compiled if copula is None else None
    yield from _fill_job(rows, draw.plain, compiled, _TILE, stage, threads)
    return rows.matrix()


def sample_means_job(
    block: MeanBlock,
    n_cells: int,
    names: Iterable[str],
    seed: int,
    *,
    cell_ids: ArrayLike,
    stage: str = STAGE,
    correlation: float = 0.0,
    classes: Sequence[str] | None = None,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Draw the counts of cells whose means are their own; progress counts cells.

    Parameters
    ----------
    block
        Gives, for a slice of the cells, (mean, theta): (n_rows, n_genes) means, and inverse
        dispersions of that shape or (1, n_genes). It is called on several threads at once.
    n_cells
        How many cells there are.
    names, seed, cell_ids, stage, correlation, classes, threads
        As `sample_strata_job` takes them. A gene of the same mean and inverse dispersion has the
        same count there and here.

    Returns
    -------
    (n_cells, n_genes) CSR of integers.

    Raises
    ------
    DataError
        If lengths or shapes differ, a mean is below 0, theta is not above 0, or one is not finite.
    """
    ids, genes = _identities(cell_ids, n_cells, names, None)
    yield Progress(stage, 0, n_cells)
    copula = _copula(correlation, classes, genes.size, ids, seed, stage)
    draw = MeansDraw(block, spread(ids, stream_key(seed, stage)), genes, copula)
    rows = CsrRows((n_cells, genes.size))
    compiled = draw.compiled if copula is None else None
    yield from _fill_job(rows, draw.plain, compiled, _MEANS_TILE, stage, threads)
    return rows.matrix()


def _fill_job(
    rows: CsrRows,
    plain: Callable[[slice], Part],
    compiled: Callable[[slice], Part] | None,
    tile: int,
    stage: str,
    threads: int | None,
) -> Job[None]:
    """Draw blocks of cells in order, with a kernel where they are many."""
    n_cells, n_genes = rows.shape
    height = max(1, tile // max(n_genes, 1))
    work = plain
    if compiled is not None and n_cells * n_genes > _KERNEL_VALUES:
        one = slice(0, 1)
        yield from compile_job([lambda: compiled(one)])
        work = compiled

    def rows_of(k: int) -> slice:
        return slice(k * height, min((k + 1) * height, n_cells))

    pace = Pace(MAX_SILENCE_S / 8)
    for step in blocks_job(
        lambda k: work(rows_of(k)),
        -(-n_cells // height),
        stage,
        consume=lambda _, part: rows.append(part.per_row, part.column, part.count),
        threads=threads,
    ):
        if pace.due():
            yield Progress(stage, min(step.done * height, n_cells), n_cells)


def _identities(
    cell_ids: ArrayLike, n_cells: int, names: Iterable[str], n_genes: int | None
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    ids, genes = np.asarray(cell_ids), spread(name_ids(names))
    if ids.shape != (n_cells,):
        raise DataError(
            f"cell_ids {ids.shape} do not fit {n_cells} cells", "give one of each per cell"
        )
    if n_genes is not None and genes.size != n_genes:
        raise DataError(
            f"there are {genes.size} names for {n_genes} genes", "give one name per gene"
        )
    return ids.astype(np.uint64), genes


def _copula(
    correlation: float,
    classes: Sequence[str] | None,
    n_genes: int,
    ids: NDArray[np.uint64],
    seed: int,
    stage: str,
) -> Copula | None:
    if correlation == 0.0:
        return None
    known = ["all"] * n_genes if classes is None else classes
    return Copula(correlation, known, n_genes, ids, seed, stage)
