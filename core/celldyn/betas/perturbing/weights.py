"""The coefficients of all genes whose betas are those of their fit, as matrices per fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.columns import Columns, Slopes
from celldyn.jobs import Job, Progress

_COMMON = 0.2
"""Share of the genes from which on a column is worth a dense row."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Coefficients of genes that share their fits.

    Parameters
    ----------
    genes
        (n_genes,) positions of the genes.
    fit_of_cell
        (n_cells,) fit of each cell; −1 for none.
    intercepts
        (n_fits, n_genes).
    common, rare
        Columns that many genes have, and those that few have.
    dense
        (n_fits, n_common, n_genes) coefficients of the first.
    sparse
        Per fit the (n_rare, n_genes) coefficients of the others.
    """

    genes: Ints
    fit_of_cell: Ints
    intercepts: Floats
    common: Ints
    rare: Ints
    dense: Floats
    sparse: tuple[csr_array, ...]

    def respond(
        self, slopes: Slopes, columns: Columns, changed: NDArray[np.bool_], cells: slice
    ) -> Floats:
        """Return the (n_genes, n_cells) sum over the columns of coefficient times change."""
        out = np.zeros((len(self.genes), cells.stop - cells.start))
        common, rare = changed[self.common].nonzero()[0], changed[self.rare].nonzero()[0]
        dense = slopes.of_columns(columns, self.common[common], cells)
        sparse = slopes.of_columns(columns, self.rare[rare], cells)
        fits = self.fit_of_cell[cells]
        for fit in np.unique(fits[fits >= 0]):
            mine = fits == fit
            whole = bool(mine.all())
            part = out if whole else np.zeros((len(out), int(mine.sum())))
            if len(common):
                weights = self.dense[fit] if len(common) == len(self.common) else None
                weights = self.dense[fit][common] if weights is None else weights
                part += weights.T @ (dense if whole else dense[:, mine])
            if len(rare):
                of_rare = self.sparse[fit]
                of_rare = of_rare if len(rare) == len(self.rare) else of_rare[rare]
                part += of_rare.T @ (sparse if whole else sparse[:, mine])
            if not whole:
                out[:, mine] = part
        return out


def weights_job(
    fields: Mapping[str, BetaField],
    genes: Mapping[str, int],
    columns: Columns,
    order: Ints,
    scale: float,
) -> Job[list[Weights]]:
    """Put the coefficients of genes into matrices, one set per way in which cells are fitted.

    Parameters
    ----------
    fields
        The genes whose betas do not vary inside a fit.
    genes
        Position of each gene.
    order
        Cells in the order in which they are computed.
    scale
        Multiplies the coefficients of pairs.
    """
    alike: dict[tuple[bytes, int], dict[str, BetaField]] = {}
    for gene, field in fields.items():
        key = field.fit_of_cell.astype(np.int64).tobytes(), len(field.coefficients)
        alike.setdefault(key, {})[gene] = field
    sets = []
    for some in alike.values():
        at = np.array([genes[name] for name in some], np.intp)
        sets.append((yield from _one_job(some, at, columns, order, scale)))
    return sorted(sets, key=lambda weights: -len(weights.genes))


def _one_job(
    fields: Mapping[str, BetaField], genes: Ints, columns: Columns, order: Ints, scale: float
) -> Job[Weights]:
    any_field = next(iter(fields.values()))
    n_fits = len(any_field.coefficients)
    column, gene, values = _triplets(fields, columns, scale)
    yield Progress("coefficients", 0, n_fits)
    used = np.zeros((len(columns), len(genes)), bool)
    used[column, gene] = values.any(axis=0)
    share = used.mean(axis=1)
    common = np.flatnonzero(share >= _COMMON)
    rare = np.flatnonzero((share > 0) & (share < _COMMON))
    place = np.full(len(columns), -1)
    place[common], place[rare] = np.arange(len(common)), np.arange(len(rare))
    of_common = np.flatnonzero(share[column] >= _COMMON)
    of_rare = np.flatnonzero((share[column] > 0) & (share[column] < _COMMON))
    dense = np.zeros((n_fits, len(common), len(genes)))
    in_dense = place[column[of_common]], gene[of_common]
    in_sparse = place[column[of_rare]], gene[of_rare]
    sparse = []
    for fit, row in enumerate(values):
        dense[fit][in_dense] = row[of_common]
        sparse.append(_compact(row[of_rare], in_sparse, (len(rare), len(genes))))
        yield Progress("coefficients", fit + 1, n_fits)
    return Weights(
        genes=genes,
        fit_of_cell=any_field.fit_of_cell[order],
        intercepts=np.array([field.coefficients[:, 0] for field in fields.values()]).T,
        common=common,
        rare=rare,
        dense=dense,
        sparse=tuple(sparse),
    )


def _triplets(
    fields: Mapping[str, BetaField], columns: Columns, scale: float
) -> tuple[Ints, Ints, Floats]:
    """Return column, gene and (n_fits, n) values of all coefficients."""
    column = np.concatenate([columns.of_gene[name] for name in fields])
    sizes = [len(columns.of_gene[name]) for name in fields]
    gene = np.repeat(np.arange(len(sizes)), sizes)
    values = np.concatenate([field.coefficients[:, 1:] for field in fields.values()], axis=1)
    values = np.where(column < columns.bounds[0], values, scale * values)
    return column, gene, values


def _compact(values: Floats, where: tuple[Ints, Ints], shape: tuple[int, int]) -> csr_array:
    held = values != 0
    return csr_array((values[held], (where[0][held], where[1][held])), shape=shape)


def shared_order(fields: Sequence[BetaField], n_obs: int) -> Ints:
    """Return the cells in an order in which those of a fit lie together, for most genes."""
    votes: dict[bytes, int] = {}
    kept: dict[bytes, Ints] = {}
    for field in fields:
        key = field.fit_of_cell.astype(np.int64).tobytes()
        votes[key] = votes.get(key, 0) + 1
        kept.setdefault(key, field.fit_of_cell)
    if not votes:
        return np.arange(n_obs)
    best = kept[max(votes, key=lambda key: votes[key])]
    return np.argsort(best, kind="stable").astype(np.intp)
