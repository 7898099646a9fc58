"""The lower edge of what clusters express, which is what the background adds to all of them.

In batch b and cluster k, gene g has the rate r = (1 - f_b) h_kg + f_b over the gene's mean in the
batch: f_b is the background's share, h its native expression over the batch's mean. h is at least
0, the same in all batches, and taken to have a density over pairs (k, g) that falls from 0 on: a
mixture of uniform distributions that begin at 0, whose weights are estimated (Grenander 1956;
Stephens 2017). Were f_b set too low, the density would have to rise from an empty edge; set too
high, counts below it would be impossible. Counts of N cells are negative binomial of size N θ_g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

GRID: Floats = np.concatenate([[0.0], np.geomspace(0.008, 1.5, 15)])
"""Native expression over the batch's mean, from none to more than it."""
MOST_SHARE = 0.95
_BEGIN = 0.25
"""Quantile of the pairs' rates at which the share begins."""
_WEIGHT_STEPS = 20
"""Steps of the weights for one of the shares: they crawl more, and cost less."""
_RELAXATION = 1.5
"""Steps of the share are this much longer than those of the EM algorithm, which crawls."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Counts of pairs of a cluster and a gene, in each of B batches.

    Parameters
    ----------
    counts
        (n_pairs, B).
    exposure
        (n_pairs, B) counts that there would be, were all of them background.
    size
        (n_pairs, B) inverse dispersion of their sum: cells times θ.
    gene
        (n_pairs,) which gene.
    """

    counts: Floats
    exposure: Floats
    size: Floats
    gene: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.gene)


@dataclass(slots=True, eq=False)
class Edge:
    """Where the estimate stands.

    Parameters
    ----------
    share
        (B,) f.
    weight
        (n_grid,) of the uniform distributions from 0 to each point of the grid.
    """

    share: Floats
    weight: Floats

    @classmethod
    def start(cls, pairs: Pairs) -> Edge:
        """Return where to begin: above the edge, for from below the algorithm may not reach it."""
        ratio = pairs.counts.sum(axis=1) / pairs.exposure.sum(axis=1)
        above = float(np.clip(np.quantile(ratio, _BEGIN), 0.01, MOST_SHARE))
        share = np.full(pairs.counts.shape[1], above)
        return cls(share, np.full(len(GRID), 1 / len(GRID)))

    def copy(self) -> Edge:
        """Return it apart from what happens to this one."""
        return Edge(self.share.copy(), self.weight.copy())


def _uniforms() -> Floats:
    """Return (n_grid, n_grid): row j is the uniform distribution from 0 to GRID[j] on the grid."""
    table = np.zeros((len(GRID), len(GRID)))
    table[0, 0] = 1.0
    for j in range(1, len(GRID)):
        half = np.diff(GRID[: j + 1]) / 2 / GRID[j]
        table[j, :j] += half
        table[j, 1 : j + 1] += half
    return table


UNIFORMS = _uniforms()


def improve(edge: Edge, pairs: Pairs, importance: Floats | None = None) -> float:
    """Take one step of the EM algorithm in place; return how far a share moved at most.

    Parameters
    ----------
    edge
        The estimate.
    pairs
        The data.
    importance
        (n_pairs,) how often each pair counts; once without.
    """
    rate = (1 - edge.share)[:, None] * GRID + edge.share[:, None]
    mean = pairs.exposure[:, :, None] * rate
    x, size = pairs.counts[:, :, None], pairs.size[:, :, None]
    fit = (x * np.log(np.maximum(mean, 1e-300)) - (x + size) * np.log(mean + size)).sum(axis=1)
    likelihood = np.exp(fit - fit.max(axis=1, keepdims=True))
    by_width = likelihood @ UNIFORMS.T
    once = np.ones(len(pairs)) if importance is None else importance
    for _ in range(_WEIGHT_STEPS):
        scale = once / np.maximum(by_width @ edge.weight, 1e-300)
        edge.weight = edge.weight * (scale @ by_width)
        edge.weight /= edge.weight.sum()
    scale = once / np.maximum(by_width @ edge.weight, 1e-300)
    posterior = likelihood * (edge.weight @ UNIFORMS) * scale[:, None]
    # One scoring step of each share: slope and expected curvature of the log likelihood in it.
    mean_slope = pairs.exposure[:, :, None] * (1 - GRID)
    spread = mean * (1 + mean / size)
    slope = np.einsum("pbj,pj->b", mean_slope * (x - mean) / spread, posterior)
    curvature = np.einsum("pbj,pj->b", mean_slope**2 / spread, posterior)
    step = _RELAXATION * slope / np.maximum(curvature, 1e-12)
    before = edge.share
    # From nearly nothing the slope may be steep: no step more than halves or trebles a share.
    edge.share = np.clip(before + step, before / 2, 3 * before + 1e-3)
    edge.share = np.clip(edge.share, 1e-5, MOST_SHARE)
    return float(np.abs(edge.share - before).max())
