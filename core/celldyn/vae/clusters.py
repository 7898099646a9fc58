"""Coarse clusters of cells, to tell what a cell's counts should be about: no one is shown them.

Log-normalised counts, centred within groups, each gene at variance 1 so that a few overdispersed
genes do not hide the rest; their principal components that rise above the noise; k-means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job, Progress
from celldyn.vae.inputs import CountMatrix, Groups, Ints

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

MOST_CELLS = 20_000
"""More cells than these do not make coarse clusters better."""
CELLS_PER_CLUSTER, FEWEST, MOST = 300, 4, 24

_BLOCK = 2000
"""Cells read at once."""
_DOMINATES = 0.005
"""A gene with more than this share of all counts is left out of the cells' sizes: where it is
overdispersed, it alone would decide how large a cell seems."""
_SEEN = 10
"""Genes found in fewer cells have no part in the clusters."""
_COMPONENTS, _SPARE, _PASSES = 30, 10, 3
_ABOVE_NOISE = 1.02
"""Singular values this far above the largest of noise are of structure."""
_STEPS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Some cells, their counts, and coarse clusters of them.

    Parameters
    ----------
    cells
        (n,) which cells of the data set, in rising order.
    counts
        (n, n_features) their counts.
    size
        (n,) size factors of mean 1, without the genes that dominate.
    scores
        (n, n_components) principal components above the noise.
    codes
        (n,) cluster of each.
    n_clusters
        How many.
    """

    cells: Ints
    counts: sparse.csr_matrix
    size: Floats
    scores: Floats32
    codes: Ints
    n_clusters: int

    def again_job(self, factor: float, seed: int) -> Job[tuple[Ints, int]]:
        """Return (codes, number) of another clustering, with `factor` as many clusters."""
        wanted = max(min(round(factor * self.n_clusters), len(self.cells) // 20), 1)
        job = kmeans_job(self.scores, wanted, np.random.default_rng([seed, wanted]))
        return (yield from job), wanted


def cluster_job(
    counts: CountMatrix, groups: Groups, *, seed: int = 0, most_cells: int = MOST_CELLS
) -> Job[Clusters]:
    """Cluster cells, alike in all groups.

    Parameters
    ----------
    counts
        (n_obs, n_features).
    groups
        Batches: their mean differences are taken out.
    seed
        Of the cells drawn, the components and the clusters.
    most_cells
        Of more cells this many are drawn.
    """
    rng = np.random.default_rng(seed)
    n_obs = counts.shape[0]
    cells = np.arange(n_obs)
    if n_obs > most_cells:
        cells = np.sort(rng.choice(n_obs, most_cells, replace=False))
    matrix = yield from _read_job(counts, cells.astype(np.int64))
    yield Progress("clusters", 0, 4)
    total = np.bincount(matrix.indices, matrix.data, matrix.shape[1])
    common = total <= _DOMINATES * total.sum()
    if total[common].sum() < 0.2 * total.sum():  # a small panel: every gene is a large share
        common[:] = True
    size = np.asarray(matrix @ common.astype(np.float64)).ravel()
    size = np.maximum(size / max(size.mean(), 1e-12), 1e-3)
    n_clusters = min(max(len(cells) // CELLS_PER_CLUSTER, FEWEST), MOST, max(len(cells) // 20, 1))
    scores = yield from _scores_job(matrix, size, groups.codes[cells], rng)
    codes = yield from kmeans_job(scores, n_clusters, rng)
    return Clusters(cells, matrix, size, scores, codes, n_clusters)


def sums_job(
    matrix: sparse.csr_matrix, codes: Ints, n: int, weights: Floats | None = None
) -> Job[Floats]:
    """Return (n, n_features) sums over the rows of each code, each row times its weight."""
    sums: Floats = np.zeros((n, matrix.shape[1]))
    for start in range(0, len(codes), _BLOCK):
        yield Progress("clusters", start, len(codes))
        block = slice(start, start + _BLOCK)
        own = codes[block]
        weight = np.ones(len(own)) if weights is None else weights[block]
        chosen = sparse.csr_matrix((weight, (own, np.arange(len(own)))), (n, len(own)))
        sums += (chosen @ matrix[block]).toarray()
    return sums


def kmeans_job(points: Floats32, k: int, rng: np.random.Generator) -> Job[Ints]:
    """Return (n,) clusters by Lloyd's algorithm from k-means++ (Arthur & Vassilvitskii 2007)."""
    n = len(points)
    if k <= 1 or points.shape[1] == 0:
        return np.zeros(n, np.int64)
    centres = yield from _seeds_job(points, k, rng)
    codes = np.zeros(n, np.int64)
    for step in range(_STEPS):
        yield Progress("clusters", step, _STEPS)
        before = codes
        codes = np.argmin((centres**2).sum(axis=1) - 2 * points @ centres.T, axis=1)
        if np.array_equal(before, codes):
            break
        number = np.bincount(codes, minlength=len(centres))
        sums = [np.bincount(codes, column, len(centres)) for column in points.T]
        filled = number > 0
        centres[filled] = (np.stack(sums, axis=1)[filled] / number[filled, None]).astype(
            np.float32
        )
    return codes.astype(np.int64)


def _seeds_job(points: Floats32, k: int, rng: np.random.Generator) -> Job[Floats32]:
    """Return the (k, n_components) centres that k-means begins at; fewer if points coincide."""
    square = (points**2).sum(axis=1)
    centres = points[[int(rng.integers(len(points)))]]
    nearest = np.full(len(points), np.inf)
    for _ in range(k - 1):
        yield Progress("clusters", 0, _STEPS)
        distance = square - 2 * points @ centres[-1] + (centres[-1] ** 2).sum()
        nearest = np.minimum(nearest, np.maximum(distance, 0))
        if nearest.sum() <= 0:
            break
        chosen = rng.choice(len(points), p=nearest / nearest.sum())
        centres = np.concatenate([centres, points[[chosen]]])
    return centres


def _read_job(counts: CountMatrix, cells: Ints) -> Job[sparse.csr_matrix]:
    parts = []
    for start in range(0, len(cells), _BLOCK):
        yield Progress("reading cells", start, len(cells))
        rows = counts.rows(cells[start : start + _BLOCK])
        parts.append(sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows.shape))
    matrix: sparse.csr_matrix = sparse.vstack(parts, format="csr")
    return matrix


class _Standardised:
    """Log-normalised counts: centred in groups, of variance 1, without what follows their size.

    Products with it are made in blocks of rows, so that it is never dense.
    """

    def __init__(self, logs: sparse.csr_matrix, codes: Ints, n_groups: int) -> None:
        self.logs, self.codes, self.n_groups = logs, codes, n_groups
        self.n_used = 0
        self.scale: Floats32 = np.zeros(logs.shape[1], np.float32)
        self.mean: Floats32 = np.zeros((n_groups, logs.shape[1]), np.float32)
        self.depth: Floats32 = np.zeros(len(codes), np.float32)

    @classmethod
    def of_job(cls, matrix: sparse.csr_matrix, size: Floats, codes: Ints) -> Job[_Standardised]:
        """Make it of counts, size factors and groups."""
        n, n_groups = len(codes), int(codes.max(initial=0)) + 1
        data = np.empty(matrix.nnz, np.float32)
        square = np.zeros(matrix.shape[1])
        for start in range(0, n, _BLOCK):
            yield Progress("clusters", 0, 4)
            last = min(start + _BLOCK, n)
            ends = matrix.indptr[start : last + 1]
            own = slice(ends[0], ends[-1])
            per_row = np.repeat(size[start:last], np.diff(ends)).astype(np.float32)
            data[own] = np.log1p(matrix.data[own] / per_row)
            square += np.bincount(matrix.indices[own], data[own] ** 2, matrix.shape[1])
        logs = sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)
        made = cls(logs, codes, n_groups)
        number = np.maximum(np.bincount(codes, minlength=n_groups), 1)
        mean = (yield from sums_job(logs, codes, n_groups)) / number[:, None]
        made._scale(mean, square / n - (number / n) @ mean**2)
        depth = np.log(size)
        depth -= (np.bincount(codes, depth, n_groups) / number)[codes]
        made.depth = (depth / max(np.linalg.norm(depth), 1e-12)).astype(np.float32)
        return made

    def _scale(self, mean: Floats, variance: Floats) -> None:
        seen = np.bincount(self.logs.indices, minlength=len(variance))
        used = (seen >= _SEEN) & (variance > 1e-9)
        scale = np.where(used, 1 / np.sqrt(np.where(used, variance, 1.0)), 0.0)
        self.scale, self.mean = scale.astype(np.float32), mean.astype(np.float32)
        self.n_used = int(used.sum())

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, len(self.codes), _BLOCK):
            yield slice(start, min(start + _BLOCK, len(self.codes)))

    def times_job(self, right: Floats32) -> Job[Floats32]:
        """Return it @ right."""
        scaled = self.scale[:, None] * right
        offset = self.mean @ scaled
        out = np.empty((len(self.codes), right.shape[1]), np.float32)
        for rows in self._blocks():
            yield Progress("clusters", 1, 4)
            out[rows] = self.logs[rows] @ scaled - offset[self.codes[rows]]
        return self._without_depth(out)

    def transposed_times_job(self, left: Floats32) -> Job[Floats32]:
        """Return its transpose @ left."""
        left = self._without_depth(left)
        out = np.zeros((len(self.scale), left.shape[1]), np.float32)
        sums = np.zeros((self.n_groups, left.shape[1]), np.float32)
        for rows in self._blocks():
            yield Progress("clusters", 2, 4)
            out += self.logs[rows].T @ left[rows]
            np.add.at(sums, self.codes[rows], left[rows])
        out -= self.mean.T @ sums
        out *= self.scale[:, None]
        return out

    def _without_depth(self, columns: Floats32) -> Floats32:
        without: Floats32 = columns - self.depth[:, None] * (self.depth @ columns)
        return without


def _scores_job(
    matrix: sparse.csr_matrix, size: Floats, codes: Ints, rng: np.random.Generator
) -> Job[Floats32]:
    """Return principal components above the noise, by random projections (Halko et al. 2011)."""
    table = yield from _Standardised.of_job(matrix, size, codes)
    width = min(_COMPONENTS + _SPARE, table.n_used, len(codes) - 1)
    if width < 2:
        return np.zeros((len(codes), 0), np.float32)
    basis = rng.standard_normal((matrix.shape[1], width)).astype(np.float32)
    for _ in range(_PASSES):
        left = np.linalg.qr((yield from table.times_job(basis)))[0]
        basis = np.linalg.qr((yield from table.transposed_times_job(left)))[0]
    left, strength, _ = np.linalg.svd((yield from table.times_job(basis)), full_matrices=False)
    # Largest singular value of independent noise of variance 1 (Marchenko & Pastur 1967).
    noise = np.sqrt(len(codes)) + np.sqrt(table.n_used)
    kept = min(int((strength > _ABOVE_NOISE * noise).sum()), _COMPONENTS)
    scores: Floats32 = (left * strength)[:, :kept]
    return scores
