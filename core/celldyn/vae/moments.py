"""Initial values and priors that are read off the counts (specs/vae.md A.2, A.4, A.11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import run
from celldyn.vae.clusters import Clusters
from celldyn.vae.dispersion import dispersion_job
from celldyn.vae.inputs import CountMatrix, Groups

Floats = NDArray[np.float64]

_BLOCK = 4000
"""Cells read at once."""
_TOP_SHARE, _TOP_CELLS = 0.01, 500


def library_prior(totals: NDArray[np.floating], groups: Groups) -> tuple[Floats, Floats]:
    """Return mean and population variance of the cells' log totals, per group.

    Parameters
    ----------
    totals
        (n_obs,) counts of each cell; the log total of a cell without counts is 0.
    groups
        E groups.

    Returns
    -------
    (E,) mean and (E,) variance; 0 for a group without cells.
    """
    logs = np.log(np.maximum(np.asarray(totals, dtype=np.float64), 1.0))
    number = np.maximum(np.bincount(groups.codes, minlength=len(groups)), 1)
    mean = np.bincount(groups.codes, logs, len(groups)) / number
    away = (logs - mean[groups.codes]) ** 2
    variance = np.bincount(groups.codes, away, len(groups)) / number
    return mean, variance


def mean_expression(
    counts: CountMatrix, totals: NDArray[np.floating], *, top: bool = False
) -> Floats:
    """Return each feature's mean share of a cell's counts.

    Parameters
    ----------
    counts
        (n_obs, n_features), read in blocks of cells.
    totals
        (n_obs,) counts of each cell.
    top
        Whether the mean is over the cells in which the share is largest: 1 % of them, at most 500.

    Returns
    -------
    (n_features,) mean of x / max(total, 1).
    """
    n_obs, n_features = counts.shape
    size = np.maximum(np.asarray(totals, dtype=np.float64), 1.0)
    keep = max(min(int(_TOP_SHARE * n_obs), _TOP_CELLS), 1) if top else 0
    sums: Floats = np.zeros(n_features)
    largest: NDArray[np.float32] = np.zeros((keep, n_features), np.float32)
    for start in range(0, n_obs, _BLOCK):
        at = np.arange(start, min(start + _BLOCK, n_obs))
        rows = counts.rows(at)
        shares = rows.data / np.repeat(size[at], np.diff(rows.indptr))
        if not top:
            sums += np.bincount(rows.indices, shares, n_features)
            continue
        largest = _largest(largest, rows.indices, shares.astype(np.float32))
    return largest.mean(axis=0, dtype=np.float64) if top else sums / max(n_obs, 1)


def _largest(
    before: NDArray[np.float32], columns: NDArray[np.int32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the largest values of each column, among those before and new ones; no matrix."""
    keep, n_columns = before.shape
    column = np.concatenate([np.tile(np.arange(n_columns), keep), columns])
    value = np.concatenate([before.ravel(), values])
    order = np.lexsort((-value, column))
    column, value = column[order], value[order]
    rank = np.arange(len(column)) - np.searchsorted(column, column)
    chosen = rank < keep
    after = np.zeros_like(before)
    after[rank[chosen], column[chosen]] = value[chosen]
    return after


def moment_dispersion(
    counts: CountMatrix,
    totals: NDArray[np.floating],
    groups: Groups,
    *,
    clusters: Clusters | None = None,
    seed: int = 0,
) -> Floats:
    """Return θ of each gene in each group, (n_groups, n_features); see `dispersion_job`."""
    return run(dispersion_job(counts, totals, groups, clusters=clusters, seed=seed), bar=False)
