"""What molecules come from: cells, counts, leakage and compartments, checked and laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.errors import DataError
from celldyn.simulate.molecules.noise import STAGE
from celldyn.simulate.molecules.rays import OUTSIDE, Floats, rays
from celldyn.simulate.streams import Bits, name_ids, spread, stream_key

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.shapes.outlines import CellShapes

BLOCK = 1 << 19
"""Molecules placed at once: small beside the whole, large beside the cost of a call."""
_INT32 = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything the molecules of cells depend on.

    Parameters
    ----------
    centre, nucleus, cell
        (n, 2) µm and (n, R) radii of the outlines.
    counts
        (n, G) CSR of int32, genes in order within a cell.
    cell_id, section
        (n,) identities and codes.
    cell_bits, gene_bits
        (n,) and (G,) what their random numbers start from.
    leak_cell, leak_gene
        (n,) and (G,) probabilities.
    compartment
        (G,) codes of `rays.COMPARTMENTS`.
    config
        Seed, leak law, depth, quality, ambient rate.
    """

    centre: Floats
    nucleus: NDArray[np.float32]
    cell: NDArray[np.float32]
    counts: sparse.csr_matrix
    cell_id: NDArray[np.int32]
    section: NDArray[np.int16]
    cell_bits: Bits
    gene_bits: Bits
    leak_cell: Floats
    leak_gene: Floats
    compartment: NDArray[np.uint8]
    config: SimulationConfig

    @property
    def leaks(self) -> bool:
        """Whether any molecule can leak."""
        return bool(self.leak_cell.any() or self.leak_gene.any())


def make_sources(
    shapes: CellShapes,
    counts: sparse.csr_matrix,
    *,
    section: ArrayLike,
    cell_ids: ArrayLike,
    leak_cell: ArrayLike,
    leak_gene: ArrayLike,
    compartment: ArrayLike,
    gene_names: Sequence[str],
    config: SimulationConfig,
) -> Sources:
    """Check what molecules are made from; parameters are those of `molecules_job`.

    Raises
    ------
    DataError
        If lengths differ, a count is no whole number of at least 0, a probability lies outside
        [0, 1], or a compartment's code is not known.
    """
    n_cells, n_genes = counts.shape
    if len(shapes.centre) != n_cells or len(gene_names) != n_genes:
        raise DataError(
            f"counts are {n_cells} × {n_genes}, and there are {len(shapes.centre)} outlines and "
            f"{len(gene_names)} gene names",
            "give one outline per row and one name per column",
        )
    rays(shapes.cell.shape[1])
    ids = _per("cell_ids", cell_ids, n_cells).astype(np.int64)
    if ids.size and (ids.min() < 0 or ids.max() > _INT32):
        raise DataError("cell_ids leave 0 to 2^31 - 1", "number the cells from 0")
    codes = _per("compartment", compartment, n_genes).astype(np.int64)
    if ((codes < 0) | (codes >= OUTSIDE)).any():
        raise DataError("compartment holds an unknown code", f"use 0 to {OUTSIDE - 1}")
    return Sources(
        np.ascontiguousarray(shapes.centre, dtype=np.float64),
        np.ascontiguousarray(shapes.nucleus, dtype=np.float32),
        np.ascontiguousarray(shapes.cell, dtype=np.float32),
        _whole(counts),
        ids.astype(np.int32),
        _per("section", section, n_cells).astype(np.int16),
        spread(ids, stream_key(config.seed, STAGE)),
        spread(name_ids(gene_names)),
        _probability("leak_cell", leak_cell, n_cells),
        _probability("leak_gene", leak_gene, n_genes),
        codes.astype(np.uint8),
        config,
    )


def molecules_per_row(counts: sparse.csr_matrix) -> NDArray[np.int64]:
    """Return the sum of each row of counts."""
    totals = np.zeros(counts.shape[0], dtype=np.int64)
    held = np.flatnonzero(np.diff(counts.indptr))
    if held.size:
        totals[held] = np.add.reduceat(counts.data, counts.indptr[held], dtype=np.int64)
    return totals


def blocks_of(totals: NDArray[np.int64], size: int, first: int = 0) -> list[slice]:
    """Cut rows into runs of about `size` molecules each.

    Parameters
    ----------
    totals
        (n,) molecules per row.
    size
        How many a block may hold; more only where a single cell does.
    first
        Number of the first row.
    """
    before = np.concatenate([[0], np.cumsum(totals)])
    cuts: list[slice] = []
    start = 0
    while start < totals.size:
        stop = int(np.searchsorted(before, before[start] + size, side="right")) - 1
        stop = min(max(stop, start + 1), totals.size)
        cuts.append(slice(first + start, first + stop))
        start = stop
    return cuts


def _per(name: str, values: ArrayLike, n: int) -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.shape not in ((), (n,)):
        raise DataError(f"{name} has shape {array.shape}", f"give one number, or {n}")
    return np.broadcast_to(array, (n,))


def _probability(name: str, values: ArrayLike, n: int) -> Floats:
    given = _per(name, values, n).astype(np.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise DataError(f"{name} leaves 0 to 1", "give probabilities")
    return np.ascontiguousarray(given)


def _whole(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the counts as int32 with genes in order, without a copy where they are so."""
    if not sparse.issparse(counts) or counts.format != "csr":
        raise DataError("counts are not in CSR", "use scipy.sparse.csr_matrix")
    data = counts.data
    if data.size and (data.min() < 0 or data.max() > _INT32):
        raise DataError("counts leave 0 to 2^31 - 1", "give counts of molecules")
    whole = data.astype(np.int32, copy=False)
    if data.dtype.kind not in "iub" and not np.array_equal(whole, data):
        raise DataError("counts hold fractions", "give whole numbers")
    made = sparse.csr_matrix((whole, counts.indices, counts.indptr), shape=counts.shape)
    if not made.has_canonical_format:
        made = made.copy()
        made.sum_duplicates()
    return made
