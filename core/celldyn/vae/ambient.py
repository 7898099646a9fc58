"""The share of ambient RNA in each batch, from what clusters of cells do not express.

Ambient RNA has the proportions of all cells of a batch together, so a gene that a cluster does not
express is still found in it, at the background's share of its mean in the batch. The lowest such
ratio over clusters is an upper bound that noise pulls down and impure clusters push up
(specs/vae.md B.5 and Decision 13); `ambient_mixture` estimates their common lower edge instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.ambient_mixture import GRID, MOST_SHARE, Edge, Pairs, improve
from celldyn.vae.clusters import Clusters, cluster_job, sums_job
from celldyn.vae.dispersion import dispersion_job
from celldyn.vae.inputs import CountMatrix, Groups, Ints

Floats = NDArray[np.float64]

UNKNOWN_SHARE = 0.1
"""What is returned where the data cannot tell; its interval says so."""

_CLUSTERINGS = (0.7, 1.0, 1.4)
"""Over or under the usual number of clusters; the estimate is the mean over them."""
_RESAMPLES, _RESAMPLE_STEPS = 8, 8
_STEPS, _STILL = 60, 3e-4
_VALUES = 200_000
"""Pairs × batches × grid points that are looked at: more do not make it better."""
_LEAST_EXPOSURE, _FOLD, _SURE = 5.0, 1.8, 4.0
_FEWEST_GENES = 15
_DOUBTFUL = 0.5
_LEAST_SD = 0.01
"""Of the estimate: genes that are never quite off, and clusters that are never quite pure."""


@dataclass(frozen=True, slots=True, eq=False)
class AmbientEstimate:
    """What is known of the background of E groups before any model is trained.

    Parameters
    ----------
    share
        (E,) share of a group's counts that is background.
    low, high
        (E,) ends of its 95 % interval.
    profile
        (E, n_features) of the background, each summing to 1: the mean profile of the group.
    n_clusters
        Coarse clusters that were compared.
    n_pairs
        Pairs of cluster and gene that the shares rest on.
    notes
        Sentences for the user: where the data cannot tell.
    """

    share: Floats
    low: Floats
    high: Floats
    profile: Floats
    n_clusters: int
    n_pairs: int
    notes: tuple[str, ...] = ()


def estimate_ambient_job(
    counts: CountMatrix,
    groups: Groups,
    totals: NDArray[np.floating],
    *,
    seed: int = 0,
    clusters: Clusters | None = None,
    theta: Floats | None = None,
) -> Job[AmbientEstimate]:
    """Estimate the share of background in each group's counts.

    It is taken to be the same number of counts in all cells of a group, up to their library size,
    and in the proportions of the group's mean. A gene that every cell expresses somewhat looks
    like background; so the share is at most that of what truly all cells share.

    Parameters
    ----------
    counts
        (n_obs, n_features), raw.
    groups
        Wells, embryos, batches: where background is shared.
    totals
        (n_obs,) counts of each cell.
    seed
        Of the clusters and of the interval's resamples of genes.
    clusters
        Made with these groups; None makes them.
    theta
        (n_features,) inverse dispersion over all cells, by these clusters; None estimates it.

    Returns
    -------
    Shares with intervals; wide ones, and a note, where the clusters do not differ enough to tell.
    """
    if clusters is None:
        clusters = yield from cluster_job(counts, groups, seed=seed)
    codes = groups.codes[clusters.cells]
    profile = yield from _profiles_job(clusters, codes, len(groups))
    if theta is None:
        one = Groups.one(len(groups.codes))
        theta = (yield from dispersion_job(counts, totals, one, clusters=clusters))[0]
    runs: list[Floats] = []
    spread: list[Floats] = []
    n_pairs = 0
    rng = np.random.default_rng([seed, 7])
    for k, factor in enumerate(_CLUSTERINGS):
        yield Progress("ambient RNA", k, len(_CLUSTERINGS))
        own, n_own = clusters.codes, clusters.n_clusters
        if factor != 1:
            own, n_own = yield from clusters.again_job(factor, seed)
        pairs = yield from _pairs_job(clusters, own, n_own, codes, len(groups), theta)
        if len(np.unique(pairs.gene)) < _FEWEST_GENES:
            continue
        edge, resampled = yield from _edge_job(pairs, rng, k)
        n_pairs += len(pairs)
        runs.append(edge.share)
        spread.append(resampled)
    names = groups.names
    if not runs:
        return _unknown(profile, clusters.n_clusters, names)
    return _estimate(
        np.stack(runs), np.stack(spread), profile, clusters.n_clusters, n_pairs, names
    )


def _profiles_job(clusters: Clusters, codes: Ints, n: int) -> Job[Floats]:
    """Return each group's mean profile; where a group has few counts, with that of all in it."""
    sums = yield from sums_job(clusters.counts, codes, n)
    whole = sums.sum(axis=0) + 1e-3
    padded = sums + sums.shape[1] / 2 * whole / whole.sum()
    profile: Floats = padded / padded.sum(axis=1, keepdims=True)
    return profile


def _pairs_job(
    clusters: Clusters, own: Ints, n_own: int, codes: Ints, n: int, theta: Floats
) -> Job[Pairs]:
    """Return the pairs of cluster and gene that could tell the background's share."""
    cells = np.bincount(own * n + codes, minlength=n_own * n).reshape(n_own, n).astype(np.float64)
    together = yield from sums_job(clusters.counts, own, n_own)
    mean = yield from sums_job(clusters.counts, codes, n)
    mean /= np.maximum(cells.sum(axis=0), 1)[:, None]
    cluster, gene = _chosen(together, cells @ mean, cells.sum(axis=1)[:, None] * theta, n)
    genes, at = np.unique(gene, return_inverse=True)
    yield Progress("ambient RNA")
    sums = yield from sums_job(clusters.counts[:, genes], own * n + codes, n_own * n)
    counts = sums.reshape(n_own, n, -1)[cluster, :, at]
    exposure = cells[cluster] * mean[:, gene].T
    size = np.maximum(cells[cluster], 1e-3) * theta[gene][:, None]
    return Pairs(counts, np.maximum(exposure, 1e-9), size, gene)


def _chosen(together: Floats, expected: Floats, size: Floats, n_groups: int) -> tuple[Ints, Ints]:
    """Return cluster and gene of pairs that could be off; all (n_clusters, n_features)."""
    ratio = together / np.maximum(expected, 1e-12)
    noise = np.sqrt(expected + expected**2 / np.maximum(size, 1e-12))
    # Only genes that some cluster expresses far above the mean can be off in others.
    marks = (ratio > _FOLD) & (together > expected + _SURE * noise)
    usable = marks.any(axis=0) & (expected >= _LEAST_EXPOSURE) & (ratio < 1)
    cluster, gene = np.nonzero(usable)
    most = max(_VALUES // (n_groups * len(GRID)), 200)
    if len(gene) > most:
        told = expected[cluster, gene] / (1 + expected[cluster, gene] / size[cluster, gene])
        kept = np.sort(np.argsort(-told, kind="stable")[:most])
        cluster, gene = cluster[kept], gene[kept]
    return cluster, gene


def _edge_job(pairs: Pairs, rng: np.random.Generator, at: int) -> Job[tuple[Edge, Floats]]:
    """Return the estimate of one clustering, and (n_resamples, B) shares from resampled genes."""
    pace, edge = Pace(), Edge.start(pairs)
    for _ in range(_STEPS):
        moved = improve(edge, pairs)
        if moved < _STILL:
            break
        if pace.due():
            yield Progress("ambient RNA", at, len(_CLUSTERINGS))
    shares = []
    for _ in range(_RESAMPLES):
        # A gene's pairs come together: what makes one of them unusual may make all.
        drawn = rng.standard_exponential(int(pairs.gene.max()) + 1)[pairs.gene]
        again = edge.copy()
        for _ in range(_RESAMPLE_STEPS):
            improve(again, pairs, drawn)
            if pace.due():
                yield Progress("ambient RNA", at, len(_CLUSTERINGS))
        shares.append(again.share)
    return edge, np.stack(shares)


def _estimate(
    runs: Floats,
    spread: Floats,
    profile: Floats,
    n_clusters: int,
    n_pairs: int,
    names: tuple[str, ...],
) -> AmbientEstimate:
    """Return the mean over clusterings, with the spread within and between them."""
    share = runs.mean(axis=0)
    within = ((spread - runs[:, None]) ** 2).mean(axis=(0, 1))
    between = runs.var(axis=0, ddof=1) if len(runs) > 1 else 0.0
    sd = np.sqrt(within + between + _LEAST_SD**2)
    low, high = np.maximum(share - 1.96 * sd, 0.0), np.minimum(share + 1.96 * sd, MOST_SHARE)
    doubtful = share > _DOUBTFUL
    low = np.where(doubtful, 0.0, low)
    share = np.where(doubtful, UNKNOWN_SHARE, share)
    notes: tuple[str, ...] = ()
    if doubtful.any():
        told = ", ".join(np.array(names)[doubtful][:5])
        notes = (
            f"What all clusters of {told} express is most of their counts, so how much of it is "
            "ambient cannot be told.",
        )
    return AmbientEstimate(share, low, high, profile, n_clusters, n_pairs, notes)


def _unknown(profile: Floats, n_clusters: int, names: tuple[str, ...]) -> AmbientEstimate:
    ones = np.ones(len(names))
    note = (
        "Too few genes differ between clusters of cells to tell how much of the counts is ambient."
    )
    return AmbientEstimate(
        UNKNOWN_SHARE * ones, 0 * ones, MOST_SHARE * ones, profile, n_clusters, 0, (note,)
    )
