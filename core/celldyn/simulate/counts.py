"""Negative binomial counts from counter-based noise, by inverting the distribution function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job, Pace, Progress, run
from celldyn.simulate.inversion import detection_probability, quantile
from celldyn.simulate.streams import (
    Bits,
    hash_bits,
    mix_in_place,
    name_ids,
    spread,
    stream_key,
    unit_interval,
)

STAGE = "counts"
_TILE = 1 << 16
"""Values hashed at once: a tile and its scratch stay in the processor's cache."""
_BATCH = 1 << 16
"""Counts inverted at once: enough to hide the cost of a numpy call."""


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
    _check(mu, theta, scale)
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
) -> sparse.csr_matrix:
    """Draw the counts of all genes in all cells.

    Parameters
    ----------
    gpar_df
        (n_genes, ...) from `generate_gene_parameters`: `feature_name`, and per type
        `<type>_theta` and `<type>_mu`.
    celltype
        (n_cells,) cell type names, or their positions among the types of the table.
    scale
        (n_cells,) size factors, or one for all.
    seed
        The simulation's seed.
    cell_ids
        (n_cells,) integer identities; by default 0, 1, 2, ... A subset of cells with their own
        identities, or of genes, has the counts that it has in the whole.

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
    job = sample_counts_job(gpar_df, celltype, scale, seed, cell_ids=cell_ids)
    return run(job, bar=False)


def sample_counts_job(
    gpar_df: pd.DataFrame,
    celltype: ArrayLike,
    scale: ArrayLike,
    seed: int,
    *,
    cell_ids: ArrayLike | None = None,
) -> Job[sparse.csr_matrix]:
    """Do the work of `sample_counts` tile by tile; progress counts cells."""
    labels = pd.Categorical(_names_of(np.asarray(celltype), gpar_df))
    if (labels.codes < 0).any():
        cell = int(np.flatnonzero(labels.codes < 0)[0])
        raise DataError(f"cell {cell} has no cell type", "give one to every cell")
    factors, ids = _per_cell(scale, cell_ids, len(labels))
    genes = spread(name_ids(gpar_df["feature_name"]))
    cells = spread(ids, stream_key(seed, STAGE))
    found: list[_Found] = []
    pace, done = Pace(), 0
    try:
        for code, name in enumerate(labels.categories):
            members = np.flatnonzero(labels.codes == code)
            for n_cells in _one_type(members, cells, genes, gpar_df, str(name), factors, found):
                done += n_cells
                if pace.due():
                    yield Progress("counts", done, len(labels), f"cell type {name}")
        return _assemble(found, (len(labels), len(genes)))
    finally:
        found.clear()


@dataclass(frozen=True, slots=True)
class _Found:
    """Entries of the matrix: cell, gene, and the tail probability or the count."""

    row: NDArray[np.intp]
    column: NDArray[np.int32]
    value: NDArray[np.float64] | NDArray[np.int64]


def _one_type(
    members: NDArray[np.intp],
    cells: Bits,
    genes: Bits,
    gpar_df: pd.DataFrame,
    celltype: str,
    factors: NDArray[np.float64],
    found: list[_Found],
) -> Iterator[int]:
    """Append the counts of one cell type to `found`, and say how many cells each tile had."""
    mu, theta = _parameters(gpar_df, celltype)
    _check(mu, theta, factors)
    pending: list[_Found] = []
    # Cells of like size share a tile, so that one threshold per gene serves them all.
    members = members[np.argsort(factors[members], kind="stable")]
    for rows in _tiles(members, len(genes)):
        pending.append(_candidates(rows, cells, genes, mu, theta, factors))
        if sum(part.row.size for part in pending) >= _BATCH:
            found.append(_invert(pending, mu, theta, factors))
            pending = []
        yield rows.size
    if pending:
        found.append(_invert(pending, mu, theta, factors))


def _tiles(members: NDArray[np.intp], n_genes: int) -> Iterator[NDArray[np.intp]]:
    height = max(1, _TILE // max(n_genes, 1))
    for start in range(0, members.size, height):
        yield members[start : start + height]


def _candidates(
    rows: NDArray[np.intp],
    cells: Bits,
    genes: Bits,
    mu: NDArray[np.float64],
    theta: NDArray[np.float64],
    factors: NDArray[np.float64],
) -> _Found:
    """Keep what would be above zero in the largest cell of the tile: a test without exp or log."""
    limit = detection_probability(mu * factors[rows].max(), theta) * (1 + 1e-9) * 2.0**64 + 4096.0
    threshold = np.minimum(limit, 2.0**64 - 4096.0).astype(np.uint64)
    threshold[limit >= 2.0**64 - 4096.0] = np.iinfo(np.uint64).max
    bits = cells[rows][:, None] + genes
    mix_in_place(bits, np.empty_like(bits))
    flat = np.flatnonzero(bits <= threshold)
    row, column = np.divmod(flat, genes.size)
    return _Found(rows[row], column.astype(np.int32), unit_interval(bits.ravel()[flat]))


def _invert(
    pending: list[_Found],
    mu: NDArray[np.float64],
    theta: NDArray[np.float64],
    factors: NDArray[np.float64],
) -> _Found:
    row = np.concatenate([part.row for part in pending])
    column = np.concatenate([part.column for part in pending])
    tail = np.concatenate([part.value for part in pending])
    counts = quantile(
        tail.astype(np.float64, copy=False), mu[column] * factors[row], theta[column]
    )
    keep = counts > 0
    narrow = counts[keep]
    if narrow.size and narrow.max() <= np.iinfo(np.int32).max:
        narrow = narrow.astype(np.int32)
    return _Found(row[keep], column[keep], narrow)


def _assemble(found: list[_Found], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Put the entries in row order, giving each part's memory back as it is placed."""
    per_row = np.zeros(shape[0], dtype=np.int64)
    for part in found:
        per_row += np.bincount(part.row, minlength=shape[0]) if part.row.size else 0
    start = np.concatenate([[0], np.cumsum(per_row)])
    wide = any(part.value.dtype == np.int64 and part.value.size for part in found)
    column = np.empty(start[-1], dtype=np.int32)
    value = np.empty(start[-1], dtype=np.int64 if wide else np.int32)
    while found:
        part = found.pop()
        # A cell lies in one tile, its genes in order: its entries are one run.
        first = np.flatnonzero(np.diff(part.row, prepend=-1))
        run = np.arange(part.row.size) - np.repeat(first, np.diff(first, append=part.row.size))
        target = start[part.row] + run
        column[target], value[target] = part.column, part.value
    return sparse.csr_matrix((value, column, start), shape=shape)


def _per_cell(
    scale: ArrayLike, cell_ids: ArrayLike | None, n_cells: int
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    factors = np.asarray(scale, dtype=np.float64)
    ids = np.arange(n_cells) if cell_ids is None else np.asarray(cell_ids)
    if factors.shape not in ((), (n_cells,)) or ids.shape != (n_cells,):
        raise DataError(
            f"scale {factors.shape} or cell_ids {ids.shape} do not fit {n_cells} cells",
            "give one of each per cell",
        )
    return np.broadcast_to(factors, (n_cells,)).copy(), ids.astype(np.uint64)


def _types_of(gpar_df: pd.DataFrame) -> list[str]:
    return [str(name).removesuffix("_mu") for name in gpar_df if str(name).endswith("_mu")]


def _names_of(celltype: NDArray[Any], gpar_df: pd.DataFrame) -> NDArray[Any]:
    """Return the names of types that are given by position; names stay as they are."""
    if celltype.dtype.kind not in "iu":
        return celltype
    names = np.array(_types_of(gpar_df), dtype=object)
    wrong = np.flatnonzero((celltype < 0) | (celltype >= len(names)))
    if wrong.size:
        raise MissingKeyError(
            f"cell {int(wrong[0])} is of type {int(celltype[wrong[0]])}, and the gene table has "
            f"{len(names)} types",
            f"number them from 0: {', '.join(names)}",
        )
    return np.asarray(names[celltype])


def _parameters(
    gpar_df: pd.DataFrame, celltype: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wanted = (f"{celltype}_mu", f"{celltype}_theta")
    missing = [name for name in wanted if name not in gpar_df.columns]
    if missing:
        known = ", ".join(_types_of(gpar_df))
        raise MissingKeyError(
            f"the gene table has no column {missing[0]!r}", f"its cell types are {known}"
        )
    mu, theta = (gpar_df[name].to_numpy(dtype=np.float64) for name in wanted)
    return mu, theta


def _check(
    mu: NDArray[np.float64], theta: NDArray[np.float64], scale: NDArray[np.float64]
) -> None:
    for name, values, low in (("mu", mu, True), ("theta", theta, False), ("scale", scale, True)):
        good = np.isfinite(values) & ((values >= 0) if low else (values > 0))
        if not np.all(good):
            raise DataError(
                f"{name} holds {float(values[~good].flat[0])!r}",
                f"it must be finite and {'at least 0' if low else 'above 0'}",
            )
