"""How an embedding changes with the cell state, cell by cell: local linear maps z → e.

Shapes: n cells, d dimensions of the state, c axes of the embedding, s strengths of the ridge; b
cells of a block, k their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from celldyn.jobs import Job, Progress
from celldyn.landscape.graph import Csr, Floats, Ints

STRENGTHS = np.array([1e-7, 1e-3, 1e-2, 0.1, 0.5, 2.0, 10.0])
"""Of the ridge, in units of the mean variance of a neighbourhood along a direction of z."""
_VALUES = 1 << 19
"""Numbers of z that are gathered at once: some 20 ms."""
_WORST = 2.0
"""Error, over that of no map at all, above which it does not matter how bad a ridge is."""


@dataclass(frozen=True, slots=True)
class LocalMaps:
    """Ridge regressions of e on z around every cell, along the principal axes of its neighbours.

    Parameters
    ----------
    spread
        (n, d) sums of squares along the axes.
    along
        (n, d) the vector to be mapped, along the axes.
    shared
        (n, d, c) sums of products of z along the axes with e.
    error
        (n, s) error of prediction for each strength, over that of the mean alone (generalised
        cross-validation).
    """

    spread: Floats
    along: Floats
    shared: Floats
    error: Floats

    def mapped(self, rows: slice, strength: Floats) -> Floats:
        """Return vectors of some cells mapped by ridges of a strength each; inf gives 0."""
        spread = self.spread[rows]
        finite = np.isfinite(strength)[:, None]
        held = np.where(finite, strength[:, None], 0.0)
        ridge = spread + held * spread.mean(axis=1, keepdims=True)
        told = finite & (ridge > 0)
        part = np.divide(self.along[rows], ridge, out=np.zeros_like(ridge), where=told)
        return np.asarray(np.einsum("nd,ndc->nc", part, self.shared[rows]))


def local_maps_job(z: Floats, vectors: Floats, embedding: Floats, near: Csr) -> Job[LocalMaps]:
    """Fit the map around every cell.

    Parameters
    ----------
    z, vectors
        (n, d) states, and a vector at each.
    embedding
        (n, c).
    near
        (n, n) whose entries are the neighbours of each cell; a cell is its own neighbour.
    """
    n, d = z.shape
    c = embedding.shape[1]
    found = LocalMaps(
        np.empty((n, d)), np.empty((n, d)), np.empty((n, d, c)), np.empty((n, len(STRENGTHS)))
    )
    per_cell = np.diff(near.indptr)
    order = np.argsort(per_cell, kind="stable")  # alike in a block, so that little is padding
    first = 0
    while first < n:
        size = max(_VALUES // (max(int(per_cell[order[first]]), 1) * (d + c)), 1)
        cells = order[first : first + size]
        widest = max(int(per_cell[cells[-1]]), 1)
        cells = cells[: max(2 * _VALUES // (widest * (d + c)), 1)]
        _fit_block(found, cells, z, vectors, embedding, near)
        first += len(cells)
        yield Progress("maps to the embedding", first, n)
    return found


def _fit_block(
    found: LocalMaps, cells: Ints, z: Floats, vectors: Floats, embedding: Floats, near: Csr
) -> None:
    neighbour, there = _padded(near, cells)
    n_near = there.sum(axis=1)
    Z, E = (_centred(values[neighbour], there) for values in (z, embedding))
    spread, axes = np.linalg.eigh(Z.mT @ Z)
    spread = np.maximum(spread, 0.0)
    shared = axes.mT @ (Z.mT @ E)
    found.spread[cells], found.shared[cells] = spread, shared
    found.along[cells] = np.einsum("bde,bd->be", axes, vectors[cells])
    found.error[cells] = _errors(spread, shared, np.square(E).sum(axis=(1, 2)), n_near)


def _padded(near: Csr, cells: Ints) -> tuple[Ints, Floats]:
    """Return the neighbours of some cells, (b, k), and 1 where one is there, else 0."""
    begin, size = near.indptr[cells], np.diff(near.indptr)[cells]
    at = np.arange(max(int(size.max(initial=0)), 1))
    there = at < size[:, None]
    neighbour = near.indices[np.where(there, begin[:, None] + at, 0)]
    return neighbour.astype(np.int64), there.astype(np.float64)


def _centred(values: Floats, there: Floats) -> Floats:
    """Return values less their mean over the neighbours, (b, k, any), and 0 where none is."""
    share = there / np.maximum(there.sum(axis=1, keepdims=True), 1.0)
    mean = share[:, None] @ values
    values -= mean
    values *= there[:, :, None]
    return values


def _errors(spread: Floats, shared: Floats, total: Floats, n_near: Floats) -> Floats:
    """Return the cross-validated error of each strength over that of no map, (b, s).

    GCV = n RSS / (n − df)², df the trace of the smoother with its mean (Golub et al. 1979).
    """
    ridge = STRENGTHS[:, None] * spread.mean(axis=1)[:, None, None]  # (b, s, 1)
    whole = np.maximum(spread[:, None] + ridge, np.finfo(float).tiny)
    df = 1.0 + (spread[:, None] / whole).sum(axis=2)
    squared = np.square(shared).sum(axis=2)[:, None]
    left = total[:, None] - (squared / whole * (1.0 + ridge / whole)).sum(axis=2)
    free = np.maximum(n_near[:, None] - df, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        none = total / np.square(np.maximum(n_near - 1.0, 0.0))
        error = np.maximum(left, 0.0) / np.square(free) / none[:, None]
    return np.asarray(np.clip(np.nan_to_num(error, nan=_WORST, posinf=_WORST), 0.0, _WORST))
