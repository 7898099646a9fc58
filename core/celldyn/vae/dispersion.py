"""Inverse dispersions by moments, about means that clusters and batches give.

Within a cluster k and batch b the counts of a gene have mean μ_n = s_n r_kb and variance
μ_n + φ μ_n², φ = 1/θ. So Σ (x - μ)² - μ over Σ μ² estimates φ without bias once r² is estimated
without its own noise. Its standard error is known from the same law, and the distribution of φ
over genes is estimated by maximum likelihood (Kiefer & Wolfowitz 1956): a gene that says little of
itself goes to where the others are.
Source: method of moments of specs/vae.md A.11; the mean structure and the pooling are this
project's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.jobs import Job, Progress
from celldyn.vae.clusters import Clusters, cluster_job, sums_job
from celldyn.vae.inputs import CountMatrix, Groups, Ints

Floats = NDArray[np.float64]

GRID: Floats = np.geomspace(0.002, 30.0, 24)
"""φ from nearly Poisson to counts in very few cells."""
_SPREADS = (0.05, 0.3, 0.8, 2.0)
"""Log-scale sd, between groups, of a gene's φ."""
_ROUNDS, _MOST_GENES = 200, 5000
"""Of the distribution of φ: steps, and genes that it is estimated from."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over cells that φ follows from; those of several sets of cells add.

    Parameters
    ----------
    excess, power
        (n_features,) Σ (x - μ)² - μ and Σ μ²: their quotient estimates φ.
    noise
        (n_grid, n_features) variance of the former, were φ that of the grid.
    """

    excess: Floats
    power: Floats
    noise: Floats

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both sets of cells."""
        noise = self.noise + other.noise
        return Moments(self.excess + other.excess, self.power + other.power, noise)

    def __sub__(self, other: Moments) -> Moments:
        """Return the moments without a part of the cells."""
        noise = self.noise - other.noise
        return Moments(self.excess - other.excess, self.power - other.power, noise)

    def log_likelihood(self) -> Floats:
        """Return (n_grid, n_features) log density of the estimate; 0 where it says nothing."""
        known = (self.power > 0) & (self.noise > 0)
        power = np.where(self.power > 0, self.power, 1.0)
        variance = np.where(known, self.noise / power**2, 1.0)
        away = self.excess / power - GRID[:, None]
        density: Floats = np.where(known, -0.5 * (away**2 / variance + np.log(variance)), 0.0)
        return density


def moments_job(counts: sparse.csr_matrix, size: Floats, codes: Ints, n: int) -> Job[Moments]:
    """Return the moments of cells whose means are alike within each of n codes.

    Parameters
    ----------
    counts
        (n_cells, n_features).
    size
        (n_cells,) size factors.
    codes
        (n_cells,) from 0 to n - 1.
    """
    square = sparse.csr_matrix((counts.data**2, counts.indices, counts.indptr), counts.shape)
    first = yield from sums_job(counts, codes, n)
    second = yield from sums_job(square, codes, n)
    sized = yield from sums_job(counts, codes, n, size)
    cells = np.bincount(codes, minlength=n).astype(np.float64)
    s1, s2 = np.bincount(codes, size, n), np.bincount(codes, size**2, n)
    rate = first / np.maximum(s1, 1e-12)[:, None]
    residual = second - 2 * rate * sized + rate**2 * s2[:, None]
    several = cells > 1
    unbiased = np.where(several, cells / np.maximum(cells - 1, 1), 0.0)[:, None]
    excess = (unbiased * residual - several[:, None] * first).sum(axis=0)
    # The square of an estimated rate has its noise in it; products of different cells do not.
    pairs = np.where(several, s2 / np.maximum(s1**2 - s2, 1e-12), 0.0)[:, None]
    power = (pairs * (first**2 - second)).sum(axis=0)
    mean = rate * (s2 / np.maximum(s1, 1e-12))[:, None]
    noise = np.empty((len(GRID), counts.shape[1]))
    for j, phi in enumerate(GRID):
        yield Progress("dispersions", j, len(GRID))
        noise[j] = cells @ _variance(mean, phi)
    return Moments(excess, power, noise)


def _variance(mean: Floats, phi: float) -> Floats:
    """Return the variance of (x - μ)² - x, from the cumulants of the negative binomial."""
    second = mean * (1 + phi * mean)
    third = second * (1 + 2 * phi * mean)
    fourth = second * (1 + 6 * phi * second)
    variance: Floats = fourth + 2 * second**2 - 2 * third + second
    return variance


def dispersion_job(
    counts: CountMatrix,
    totals: NDArray[np.floating],
    groups: Groups,
    *,
    clusters: Clusters | None = None,
    seed: int = 0,
) -> Job[Floats]:
    """Estimate the inverse dispersion of every gene in every group.

    Parameters
    ----------
    counts
        (n_obs, n_features).
    totals
        (n_obs,) counts of each cell, which its mean is proportional to.
    groups
        Within what genes share their dispersion; it may differ little or much between them, which
        is estimated.
    clusters
        Made with these groups; None makes them.
    seed
        Of the clusters.

    Returns
    -------
    (n_groups, n_features) θ, the posterior's geometric mean, between 1/30 and 500.
    """
    if clusters is None:
        clusters = yield from cluster_job(counts, groups, seed=seed)
    size = np.maximum(np.asarray(totals, dtype=np.float64)[clusters.cells], 1.0)
    size /= size.mean()
    batch = groups.codes[clusters.cells]
    found: list[Moments] = []
    for d in range(len(groups)):
        yield Progress("dispersions", d, len(groups))
        own = np.flatnonzero(batch == d)
        counts_of = clusters.counts[own] if len(groups) > 1 else clusters.counts
        job = moments_job(counts_of, size[own], clusters.codes[own], clusters.n_clusters)
        found.append((yield from job))
    yield Progress("dispersions", len(groups), len(groups))
    return np.exp(-_pooled(found))


def _pooled(found: Sequence[Moments]) -> Floats:
    """Return (n_groups, n_features) posterior mean of log φ."""
    whole = sum(found[1:], found[0])
    evidence = whole.log_likelihood()
    prior = _distribution(evidence)[:, None]
    if len(found) == 1:
        return (np.log(GRID) @ _posterior(evidence, prior))[None]
    own = [moments.log_likelihood() for moments in found]
    others = [_posterior((whole - moments).log_likelihood(), prior) for moments in found]
    best, chosen = -np.inf, np.empty((0, 0))
    for spread in _SPREADS:
        between = [_kernel(spread) @ other for other in others]
        pairs = list(zip(own, between, strict=True))
        fit = sum(_marginal(*pair) for pair in pairs)
        if fit > best:
            best = fit
            chosen = np.stack([np.log(GRID) @ _posterior(*pair) for pair in pairs])
    return chosen


def _distribution(evidence: Floats) -> Floats:
    """Return the (n_grid,) distribution of φ over genes that makes the evidence most likely."""
    weight = np.full(len(GRID), 1 / len(GRID))
    evidence = evidence[:, :: -(-evidence.shape[1] // _MOST_GENES)]
    likelihood = np.exp(evidence - evidence.max(axis=0))
    for _ in range(_ROUNDS):
        weight = weight * (likelihood @ (1 / np.maximum(weight @ likelihood, 1e-300)))
        weight /= weight.sum()
    return np.asarray(weight + 1e-6)


def _posterior(evidence: Floats, prior: Floats) -> Floats:
    weight = np.exp(evidence - evidence.max(axis=0)) * prior
    posterior: Floats = weight / weight.sum(axis=0)
    return posterior


def _marginal(evidence: Floats, prior: Floats) -> float:
    top = evidence.max(axis=0)
    return float((top + np.log((np.exp(evidence - top) * prior).sum(axis=0))).sum())


def _kernel(spread: float) -> Floats:
    logs = np.log(GRID)
    kernel = np.exp(-0.5 * ((logs[:, None] - logs[None]) / spread) ** 2) + 1e-9
    normalised: Floats = kernel / kernel.sum(axis=0)
    return normalised
