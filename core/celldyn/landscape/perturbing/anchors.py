"""A few thousand cells that say what a change of expression does to a state.

Shapes: n cells, m anchors, G genes, h units of the encoder's first layer, d dimensions of z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.perturbing.edits import HIGH, Edit
from celldyn.landscape.perturbing.shift import ShiftEncoder

Expression: TypeAlias = Callable[[NDArray[np.int64]], Tensor]
"""Gives log-normalised expression, (len(cells), G), of cells by number."""

_ROWS = 256
"""Cells that are encoded between two words of progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Cells with their expression by columns, and how far the encoder has come with them.

    Parameters
    ----------
    cells
        (m,) their numbers, rising.
    x
        (m, G) log-normalised expression.
    first, state
        (m, h) and (m, d) what comes out of the encoder's first layer and of its last.
    encoder
        Gives the rest.
    """

    cells: Ints
    x: sparse.csc_array
    first: Tensor
    state: Tensor
    encoder: ShiftEncoder

    def shifts(self, edit: Edit) -> tuple[Ints, Tensor]:
        """Return which anchors are changed at all, (r,), and how far they move, (r, d)."""
        values = self.x[:, edit.genes].toarray()
        change = edit.added(values)
        rows = np.flatnonzero(change.any(axis=1))
        at = torch.from_numpy(rows)
        genes = torch.from_numpy(np.asarray(edit.genes, dtype=np.int64))
        change_of = torch.from_numpy(change[rows])
        return rows, self.encoder.shift(self.first[at], self.state[at], change_of, genes)

    def sizes(self, factor: Floats, offset: Floats) -> Floats:
        """Return mean and spread over the anchors of what is added to each gene, (G, 2).

        Parameters
        ----------
        factor, offset
            (G,) of the change of each gene, or one for all.
        """
        m, n_genes = self.x.shape
        factor, offset = (np.broadcast_to(one, n_genes) for one in (factor, offset))
        per_gene = np.diff(self.x.indptr)
        gene = np.repeat(np.arange(n_genes), per_gene)
        x = self.x.data.astype(np.float64)
        change = np.maximum(factor[gene] * x + offset[gene], 0.0) - x
        of_zero = np.maximum(offset, 0.0)
        n_zero = m - per_gene
        mean = (np.bincount(gene, change, n_genes) + n_zero * of_zero) / m
        square = (np.bincount(gene, change**2, n_genes) + n_zero * of_zero**2) / m
        spread = np.sqrt(np.maximum(square - mean**2, 0.0))
        return np.stack([mean, spread], axis=1)

    @property
    def mean(self) -> Floats:
        """Mean expression of every gene, (G,)."""
        return np.asarray(self.x.mean(axis=0), dtype=np.float64).ravel()

    def high(self) -> Floats:
        """Return the level that 99 % of the cells which express a gene are below, (G,).

        0 for a gene that none expresses.
        """
        n_genes, begin, size = self.x.shape[1], self.x.indptr[:-1], np.diff(self.x.indptr)
        gene = np.repeat(np.arange(n_genes), size)
        rising = self.x.data[np.lexsort([self.x.data, gene])].astype(np.float64)
        found, some = np.zeros(n_genes), size > 0
        at = HIGH * (size[some] - 1)
        below = np.floor(at).astype(np.int64)
        low = rising[begin[some] + below]
        above = rising[begin[some] + np.minimum(below + 1, size[some] - 1)]
        found[some] = low + (at - below) * (above - low)
        return found

    def told_by(self, codes: Ints) -> Floats:
        """Return the share of every gene's variance that clusters explain, (G,).

        Parameters
        ----------
        codes
            (m,) cluster of every anchor.
        """
        n, n_clusters = self.x.shape[0], int(codes.max()) + 1
        sizes = np.maximum(np.bincount(codes, minlength=n_clusters), 1)
        member = sparse.csr_array((np.ones(n), (codes, np.arange(n))), shape=(n_clusters, n))
        means = (member @ self.x).toarray() / sizes[:, None]
        mean = self.mean
        between = (sizes[:, None] * (means - mean) ** 2).sum(axis=0) / n
        square = np.asarray(self.x.multiply(self.x).mean(axis=0), dtype=np.float64).ravel()
        whole = square - mean**2
        share = np.divide(between, whole, out=np.zeros_like(mean), where=whole > 1e-12)
        return np.asarray(share)


def anchor_cells(codes: Ints, n_anchors: int, seed: int) -> Ints:
    """Return cells to ask, rising: all, or a part of every cluster, of small ones a larger part.

    Parameters
    ----------
    codes
        (n,) cluster of every cell.
    """
    n = len(codes)
    if n <= n_anchors:
        return np.arange(n)
    rng = np.random.default_rng([seed, 1])
    sizes = np.bincount(codes)
    # A cluster has as many as the root of its size: the rare ones are seen, too.
    weight = 1.0 / np.sqrt(sizes[codes])
    chosen = rng.choice(n, n_anchors, replace=False, p=weight / weight.sum(), shuffle=False)
    return np.sort(chosen)


def anchors_job(encoder: ShiftEncoder, expression: Expression, cells: Ints) -> Job[Anchors]:
    """Read the anchors' expression and encode it.

    Raises
    ------
    DataError
        If expression has another number of genes than the model, or is not finite.
    """
    columns, firsts, states = [], [], []
    for begin in range(0, len(cells), _ROWS):
        yield Progress("cells that answer", begin, len(cells))
        x = expression(cells[begin : begin + _ROWS]).detach().to(encoder.by_gene)
        if x.ndim != 2 or x.shape[1] != encoder.n_genes:
            raise DataError(
                f"expression is of shape {tuple(x.shape)} and the model knows "
                f"{encoder.n_genes} genes",
                "give the genes that it was trained on, in their order",
            )
        if not torch.isfinite(x).all():
            raise DataError("expression is not finite", "give log-normalised expression")
        first = encoder.first(x)
        firsts.append(first)
        states.append(encoder.state(first.clone()))
        columns.append(sparse.csr_array(x.numpy()))
    stacked = sparse.csc_array(sparse.vstack(columns, format="csr"))
    return Anchors(cells, stacked, torch.cat(firsts), torch.cat(states), encoder)
