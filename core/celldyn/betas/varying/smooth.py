"""Betas as smooth functions of place and neighbourhood, in closed form.

Gates on the coefficients of the linear models (`gates`), sums of waves over the tissue and of
neighbour counts (`basis`), are fitted to all cell types of a section at once, with ridge
penalties at their evidence maximum (`evidence`). What a place or a neighbourhood does to
regulation is taken to be much the same in all cell types, unless the data say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.evidence import N_UPDATES, Evidence, evidence_job
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.results import Tensors
from celldyn.betas.seed_model import r_squared
from celldyn.betas.varying.basis import Basis
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied, predicted
from celldyn.betas.varying.gates import N_GROUPS, Carriers, Layout, gated, together
from celldyn.jobs import Job, Progress, scaled

MOST_OWN = 10
"""Modulators that may have a gate of their own."""

MOST_COLUMNS = 500
"""Columns of the regression, which decide its cost: some 20 ms an update."""

_OWN_SHARE = 1e-3
_FOLD_UPDATES = 2
_CELLS_PER_WAVE = 8


def vary_job(cluster: Cluster, config: ModelConfig) -> Job[Varied]:
    """Let the betas of one cluster vary; see `vary_section_job`."""
    varied = yield from vary_section_job([cluster], config)
    return varied[0]


def vary_section_job(clusters: Sequence[Cluster], config: ModelConfig) -> Job[list[Varied]]:
    """Let the betas of a section's clusters follow place and neighbourhood together.

    With held-out blocks, a cluster keeps its smooth betas unless they predict its blocks worse
    than its linear model does, by more than a standard error over the blocks; else, and where
    cells are too few for blocks, it keeps the linear model's.

    Parameters
    ----------
    clusters
        Of one section, each with its linear model.
    config
        `max_basis` and `heldout_folds` are read.

    Yields
    ------
    Progress over the cross products, the field, and one field per fold.

    Returns
    -------
    One `Varied` per cluster, in their order.
    """
    plain = [_plain(cluster) for cluster in clusters]
    fit = [k for k, each in enumerate(clusters) if _may_vary(each, config)]
    if not fit:
        return plain
    n_folds = len(clusters[fit[0]].folds)
    total = 2 + n_folds
    carriers = yield from scaled(_carriers_job([clusters[k] for k in fit], config), 0, total)
    found = yield from scaled(_field_job(carriers, None, None), 1, total)
    worse = np.zeros((len(fit), n_folds, 2))
    for fold in range(n_folds):
        without = yield from scaled(_field_job(carriers, fold, found), 2 + fold, total)
        for k, each in enumerate(carriers):
            worse[k, fold] = _errors(each, each.layout.weights_of(without.weights, k), fold)
    for k, (place, each) in enumerate(zip(fit, carriers, strict=True)):
        ours, theirs = worse[k].T
        if not n_folds or _no_worse(ours, theirs):
            plain[place] = _varied(each, each.layout.weights_of(found.weights, k), ours)
    return plain


def apply_varied(
    state: Tensors,
    row: Floats,
    xy: Floats,
    cells: Ints,
    around: Surroundings,
    code: int,
    config: ModelConfig,
) -> Floats:
    """Return the betas of other cells; see `Varier`.

    Waves belong to the tissue that they were fitted on: a cell outside its box follows its
    neighbourhood alone.
    """
    del row, code, config
    values = Basis.from_state(state).at(xy, around.counts[cells])
    linear = np.asarray(state["linear"], np.float64)
    return gated(
        values,
        (float(linear[0]), linear[1:]),
        float(state["spread"][0]),
        np.asarray(state["own"], np.intp),
        np.asarray(state["weights"], np.float64),
    )


def _may_vary(cluster: Cluster, config: ModelConfig) -> bool:
    tested = bool(cluster.folds) or config.heldout_folds == 0
    return tested and bool(cluster.seed.coef.any()) and float(cluster.y.std()) > 0


def _plain(cluster: Cluster) -> Varied:
    row = np.concatenate(([cluster.seed.intercept], cluster.seed.coef))
    betas = np.tile(row, (len(cluster.y), 1))
    return Varied(betas, cluster.seed.r2, cluster.seed.heldout_r2)


def _carriers_job(clusters: list[Cluster], config: ModelConfig) -> Job[list[Carriers]]:
    """Lay out the columns and sum their cross products, cluster by cluster."""
    layout = _layout(clusters, config)
    carriers = []
    for k, cluster in enumerate(clusters):
        yield Progress("smooth field", k, len(clusters))
        carriers.append(Carriers.of(cluster, layout))
    return carriers


def _layout(clusters: list[Cluster], config: ModelConfig) -> Layout:
    """Choose the modulators with gates of their own, and as many waves as there is room for."""
    strength = np.zeros(clusters[0].X.shape[1])
    for each in clusters:
        strength += len(each.y) * np.abs(each.seed.coef) * each.X.std(axis=0) / each.y.std()
    order = np.argsort(-strength, kind="stable")[:MOST_OWN]
    own = np.sort(order[strength[order] > _OWN_SHARE * strength.max()])
    around = clusters[0].around
    n_cells, n_roles = sum(len(each.y) for each in clusters), 2 + len(own)
    n_niche = int((around.counts.std(axis=0) > 0).sum())
    # A wave costs a column in each shared gate, and 3 in 10 two more in each cluster's own.
    each_alone = 2 * len(clusters) if len(clusters) > 1 else 0
    room = MOST_COLUMNS - n_roles * (1 + n_niche) - each_alone * n_niche
    n_waves = int(room / (n_roles + 0.35 * each_alone))
    if n_waves < config.max_basis // 2:  # too many clusters for gates of their own
        each_alone = 0
        n_waves = int((MOST_COLUMNS - n_roles * (1 + n_niche)) / n_roles)
    n_waves = max(min(n_waves, config.max_basis, n_cells // _CELLS_PER_WAVE), 0)
    basis = Basis.over(around.xy, around.counts, n_waves)
    return Layout(basis, own, len(clusters) if each_alone else 0)


def _field_job(
    carriers: list[Carriers], fold: int | None, start: Evidence | None
) -> Job[Evidence]:
    """Fit the gates on all cells, or on all but a fold."""
    yield Progress("smooth field", 0, 2)
    moments = together(carriers, fold)
    yield Progress("smooth field", 1, 2)
    groups = carriers[0].layout.groups
    n_updates = N_UPDATES if start is None else _FOLD_UPDATES
    job = evidence_job(moments, groups, N_GROUPS, start=start, n_updates=n_updates)
    found = yield from scaled(job, 1, 2)
    return found


def _errors(each: Carriers, weights: Floats, fold: int) -> tuple[float, float]:
    """Return the squared errors on a fold of the smooth and of the linear model without it."""
    rows = each.cluster.folds[fold]
    X, y = each.cluster.X[rows], each.cluster.y[rows]
    intercept, coef = each.cluster.seed.fold_linear[fold]
    ours = y - predicted(each.betas(weights, fold, rows), X)
    theirs = y - intercept - X @ coef
    return float(ours @ ours), float(theirs @ theirs)


def _no_worse(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    worse = ours - theirs
    return bool(worse.mean() <= worse.std(ddof=1) / np.sqrt(len(worse)))


def _varied(each: Carriers, weights: Floats, errors: Floats) -> Varied:
    cluster = each.cluster
    betas = each.betas(weights, None)
    total = float(np.sum((cluster.y - cluster.y.mean()) ** 2))
    heldout = 1.0 - float(errors.sum()) / total if len(errors) else float("nan")
    state = {
        **each.layout.basis.state(),
        "own": each.layout.own.astype(np.int64),
        "weights": weights,
        "linear": np.concatenate(([cluster.seed.intercept], cluster.seed.coef)),
        "spread": np.array([each.spread]),
    }
    r2 = r_squared(cluster.y, predicted(betas, cluster.X))
    return Varied(betas, r2, heldout, (), state)
