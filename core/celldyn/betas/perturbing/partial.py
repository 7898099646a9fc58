"""What a few columns of a design explain beyond the others, for many genes of the same cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.betas.inputs import Floats, Ints

_TO_SPARE = 10
"""Cells that must be there beyond the columns."""
_GONE = 1e-8
"""A column of which a smaller share is left is one that the others make up."""


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """A centred design, cleared of the columns that all genes share.

    Parameters
    ----------
    shared
        (n_cells, n_shared) orthonormal basis of the shared columns.
    rest
        (n_cells, n_columns) what is left of each column.
    size
        (n_columns,) norm of each before.
    place
        Where each column stands in `rest`; −1 for a shared one.
    """

    shared: Floats
    rest: Floats
    size: Floats
    place: Ints

    @classmethod
    def of(cls, design: Floats, columns: Ints, common: Ints) -> Reduced:
        """Clear a design of its common columns.

        Parameters
        ----------
        design
            (n_cells, len(columns)) centred columns.
        columns
            Their numbers, ascending.
        common
            The numbers of the shared ones.
        """
        is_common = np.isin(columns, common)
        shared = _orthonormal(design[:, is_common])
        own = design[:, ~is_common]
        rest = own - shared @ (shared.T @ own)
        place = np.full(int(columns.max(initial=-1)) + 1, -1, np.intp)
        place[columns[~is_common]] = np.arange(own.shape[1])
        return cls(shared, rest, np.linalg.norm(own, axis=0), place)

    def n_taken(self, others: Ints) -> int:
        """Return how many degrees of freedom the other columns of a gene take, at most."""
        own = int(np.count_nonzero(self.place[others] >= 0))
        return int(self.shared.shape[1]) + own

    def basis(self, y: Floats, others: Ints, held: Ints) -> tuple[Floats, Floats] | None:
        """Return what the held columns add, and what the others leave of a gene.

        Parameters
        ----------
        y
            (n_cells,) expression of the gene.
        others, held
            Numbers of the gene's columns.

        Returns
        -------
        (n_cells, n_directions) orthonormal basis of what is left of the held columns, and
        (n_cells,) what is left of y; None if there are too few cells, or nothing is left.
        """
        mine, tested = self.place[others], self.place[held]
        own = self.rest[:, mine[mine >= 0]]
        if len(y) < self.n_taken(others) + len(held) + 1 + _TO_SPARE:
            return None
        inner = _orthonormal(own)
        y = y - y.mean()
        size = np.linalg.norm(y)
        y = y - self.shared @ (self.shared.T @ y)
        y = y - inner @ (inner.T @ y)
        added = self.rest[:, tested]
        added = added - inner @ (inner.T @ added)
        kept = np.linalg.norm(added, axis=0) > _GONE * np.maximum(self.size[tested], 1e-300)
        if not kept.any() or np.linalg.norm(y) <= _GONE * max(float(size), 1e-300):
            return None
        return _orthonormal(added[:, kept]), np.asarray(y, np.float64)


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of what columns span; constant ones and copies add nothing."""
    norms = np.linalg.norm(columns, axis=0)
    columns = columns[:, norms > 0] / norms[norms > 0]
    if not columns.shape[1]:
        return np.zeros((len(columns), 0))
    # By way of the Gram matrix: as many multiplications as a product, and ranks are told apart.
    values, vectors = np.linalg.eigh(columns.T @ columns)
    kept = values > 1e-10 * values[-1]
    basis: Floats = columns @ (vectors[:, kept] / np.sqrt(values[kept]))
    return basis
