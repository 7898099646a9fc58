"""How much genes differ between batches, beyond their noise: the prior of their factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.vae.clusters import Clusters, sums_job
from celldyn.vae.inputs import Groups

Floats = NDArray[np.float64]

LEAST_SHAPE, MOST_SHAPE = 4.0, 1000.0
"""Factors that differ by a half between batches, and by 3 %."""
APART = 50.0
"""Batches whose genes differ by more than 14 % do not mix unless something follows them."""
_LEAST_EXPECTED = 30.0
"""Counts of a gene in a batch from which on its factor is told from noise."""
_FLOOR = 0.02
"""Added to a factor's noise variance, so that no few genes decide."""


def factor_shape_job(
    clusters: Clusters, groups: Groups, theta: NDArray[np.floating]
) -> Job[float]:
    """Return the shape α for which factors of genes in batches are as y ~ Gamma(α, α).

    Given what clusters a batch has cells of, gene g is expected to have m counts in it, and has x.
    The variance of x / m is 1 / α and noise: that of negative binomial counts of so many cells.
    What is left of it, over all genes and batches, is 1 / α by moments.

    Parameters
    ----------
    clusters
        Made with these groups.
    groups
        Batches.
    theta
        (n_features,) inverse dispersion.

    Returns
    -------
    α between 4 and 1000; 200, of the seed, where there is one batch or too few counts.
    """
    n, k = len(groups), clusters.n_clusters
    codes = groups.codes[clusters.cells]
    both = clusters.codes * n + codes
    size = np.bincount(both, clusters.size, k * n).reshape(k, n)
    rate = yield from sums_job(clusters.counts, clusters.codes, k)
    rate /= np.maximum(size.sum(axis=1), 1e-12)[:, None]
    found = yield from sums_job(clusters.counts, codes, n)
    expected = size.T @ rate
    # Batches may differ in depth: only what differs between genes is of interest.
    expected *= found.sum(axis=1, keepdims=True) / np.maximum(
        expected.sum(axis=1, keepdims=True), 1e-12
    )
    square = np.bincount(both, clusters.size**2, k * n).reshape(k, n).T @ rate**2
    told = expected >= _LEAST_EXPECTED
    if n < 2 or told.sum() < 2 * n:
        return SEED_SHAPE
    mean = np.where(told, expected, 1.0)
    noise = 1 / mean + square / np.maximum(theta, 1e-3) / mean**2
    weight = np.where(told, 1 / (noise + _FLOOR) ** 2, 0.0)
    # A batch is part of what it is compared with.
    apart = 1 - size.sum(axis=0)[:, None] / size.sum()
    excess = (found / mean - 1) ** 2 - apart * noise
    variance = (weight * excess).sum() / max((weight * apart).sum(), 1e-12)
    return float(np.clip(1 / max(variance, 1e-9), LEAST_SHAPE, MOST_SHAPE))


SEED_SHAPE = 200.0
"""Of the seed: factors of genes differ by 7 %."""


def apart(key: str, shape: float) -> list[str]:
    """Return a note where a key's groups differ so much that they will not mix."""
    if shape >= APART:
        return []
    return [
        f"Genes differ by about {100 / np.sqrt(shape):.0f} % between groups of {key!r}, and "
        "nothing that is learned follows it; name it in feature_scaling_covariate_keys, so that "
        "they mix."
    ]
