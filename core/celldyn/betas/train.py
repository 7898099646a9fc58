"""The job: one model per section and cluster, put together into betas of every cell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig, ModelConfig
from celldyn.betas.design import Design, design_job
from celldyn.betas.gram import Gram
from celldyn.betas.inputs import BetasInputs, Floats, Ints, check_skipped
from celldyn.betas.ledger import Ledger
from celldyn.betas.partial_pooling import Lent, lent_job, pool
from celldyn.betas.preparing import prepare
from celldyn.betas.results import BetasResult, ClusterFit, Status
from celldyn.betas.seed_model import (
    SeedFit,
    folds_of,
    parents_among,
    parts_job,
    penalties_of,
    seed_job,
)
from celldyn.betas.stored import write_result
from celldyn.betas.varying import vary_section_job
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied
from celldyn.devices import in_one_thread
from celldyn.jobs import Job, Progress, run, scaled

if TYPE_CHECKING:
    from anndata import AnnData

MIN_CELLS = 10
"""Clusters with fewer cells keep the intercept only."""

_SHARE_OF_SEED = 0.1
"""Share of a cluster's work that the linear model is, where betas are to vary, too."""


def fit(adata: AnnData, config: BetasConfig, *, bar: bool = True) -> BetasResult:
    """Fit the betas of one gene and write them on the AnnData.

    Parameters
    ----------
    adata
        The tissue; `obsm["betas_<gene>"]` and its description in `uns["celldyn"]` are written.
    config
        The parameters.
    bar
        Whether to draw a progress bar.
    """
    result = run(fit_job(prepare(adata, config), config), bar=bar)
    write_result(adata, result)
    return result


def fit_job(inputs: BetasInputs, config: BetasConfig) -> Job[BetasResult]:
    """Fit a model in every section and cluster.

    Parameters
    ----------
    inputs
        What `prepare` returned for this config.
    config
        The parameters.

    Yields
    ------
    Progress. When a cluster is done its `metrics` hold "r2/<section · cluster>", and
    "heldout/<section · cluster>" where blocks were held out.
    """
    result = yield from in_one_thread(_fit_job(inputs, config))
    return result


def _fit_job(inputs: BetasInputs, config: BetasConfig) -> Job[BetasResult]:
    check_skipped(config, inputs.clusters)
    started = time.perf_counter()
    ledger = Ledger.of(inputs, config)
    for section, name in enumerate(inputs.sections):
        yield Progress("design", ledger.done, ledger.total, name)
        job = _section_job(inputs, config, section)
        design, lent = yield from scaled(job, ledger.done, ledger.total, name)
        ledger.begin(section, design.dropped)
        yield from _clusters_job(ledger, design, lent)
    result = yield from ledger.result_job(started)
    return result


def clusters_of(inputs: BetasInputs, design: Design) -> Iterator[tuple[int, Ints]]:
    """Yield the code of each cluster of a section and its cells' positions in the section."""
    codes = inputs.cluster_codes[design.cells]
    for cluster in np.unique(codes):
        yield int(cluster), np.flatnonzero(codes == cluster)


def _section_job(
    inputs: BetasInputs, config: ModelConfig, section: int
) -> Job[tuple[Design, Lent | None]]:
    """Return the design of a section, and what all its clusters know together.

    The latter is None where the penalty is given, or not two clusters can be held out in part.
    """
    design = yield from scaled(design_job(inputs, config, section), 0, 2)
    if not config.chooses_penalty or not len(design.modulators):
        return design, None
    lent = yield from scaled(_lent_job(inputs, config, design), 1, 2)
    return design, lent


def _lent_job(inputs: BetasInputs, config: ModelConfig, design: Design) -> Job[Lent | None]:
    pooled: list[Gram] = []
    n_pooled, clusters = 0, list(clusters_of(inputs, design))
    for k, (cluster, cells) in enumerate(clusters):
        at = design.cells[cells]
        folds = folds_of(inputs.xy[at], config)
        if not folds or reason_not_to_fit(inputs.clusters[cluster], inputs.y[at], config):
            continue
        job = parts_job(design.rows(cells), inputs.y[at], folds)
        parts = yield from scaled(job, k, len(clusters) + 1)
        pooled, n_pooled = pool(pooled, parts), n_pooled + 1
    if n_pooled < 2:
        return None
    m = design.modulators
    weighing = lent_job(pooled, penalties_of(m.groups, config, m.parents))
    lent = yield from scaled(weighing, len(clusters), len(clusters) + 1)
    return lent


def surroundings(inputs: BetasInputs, config: ModelConfig, cells: Ints) -> Surroundings:
    """Return what is around the cells of one section, given by their positions."""
    return Surroundings(
        np.ascontiguousarray(inputs.xy[cells]),
        inputs.cluster_codes[cells],
        len(inputs.clusters),
        config.radius,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A cluster with its linear model, or why it has none; `at` are its cells in the data set."""

    cluster: int
    at: Ints
    data: Cluster | None
    reason: Status | None


def _clusters_job(ledger: Ledger, design: Design, lent: Lent | None) -> Job[None]:
    """Fit the clusters of a section: first their linear models, then what varies."""
    config = ledger.config
    clusters = list(clusters_of(ledger.inputs, design))
    linear = len(clusters) * (_SHARE_OF_SEED if config.num_epochs else 1.0)
    job = _linear_models_job(ledger, design, clusters, lent)
    fits = yield from scaled(job, ledger.done, ledger.total, units=linear)
    vary = [fit.data for fit in fits if fit.data is not None and may_vary(fit.data.seed, config)]
    varied: list[Varied] = []
    if vary:
        varying = vary_section_job(vary, config)
        rest = len(clusters) - linear
        varied = yield from scaled(varying, ledger.done + linear, ledger.total, units=rest)
    of_code = {data.code: one for data, one in zip(vary, varied, strict=True)}
    columns, end = np.arange(len(design.modulators)), ledger.done + len(clusters)
    for fit in fits:
        seed = None if fit.data is None else fit.data.seed
        label = ledger.label(fit.cluster)
        kept = ledger.add(fit.cluster, fit.at, columns, seed, of_code.get(fit.cluster), fit.reason)
        yield Progress("model", end, ledger.total, label, metrics_of(kept, label))


def may_vary(seed: SeedFit, config: ModelConfig) -> bool:
    """Whether betas are to vary in a cluster with this linear model."""
    return config.num_epochs > 0 and seed.r2 > config.score_threshold


def metrics_of(fit: ClusterFit, label: str) -> dict[str, float]:
    """Return the scores of a cluster as a job tells them."""
    scores = {f"r2/{label}": fit.r2, f"heldout/{label}": fit.heldout_r2}
    return {name: score for name, score in scores.items() if np.isfinite(score)}


def _linear_models_job(
    ledger: Ledger,
    design: Design,
    clusters: list[tuple[int, Ints]],
    lent: Lent | None,
) -> Job[list[_Fit]]:
    """Fit the linear model of each cluster of a section."""
    inputs, config = ledger.inputs, ledger.config
    around = surroundings(inputs, config, design.cells)
    fits = []
    for k, (cluster, cells) in enumerate(clusters):
        label = ledger.label(cluster)
        yield Progress("linear model", k, len(clusters), label)
        at = design.cells[cells]
        reason = reason_not_to_fit(inputs.clusters[cluster], inputs.y[at], config)
        columns = _columns(inputs, design, cluster)
        data: Cluster | None = None
        if reason is None and len(columns):
            job = _linear_job(ledger, design, around, cluster, cells, columns, lent)
            data = yield from scaled(job, k, len(clusters), label)
        fits.append(_Fit(cluster, at, data, reason))
    return fits


def _linear_job(
    ledger: Ledger,
    design: Design,
    around: Surroundings,
    cluster: int,
    cells: Ints,
    columns: Ints,
    lent: Lent | None,
) -> Job[Cluster]:
    """Fit the linear model of a cluster on the columns that it may have."""
    inputs, config = ledger.inputs, ledger.config
    at = design.cells[cells]
    X, groups, y, xy = design.rows(cells), design.modulators.groups, inputs.y[at], inputs.xy[at]
    folds = folds_of(xy, config)
    known = None if lent is None else lent.select(columns)
    parents = parents_among(design.modulators.parents, columns)
    seed = yield from seed_job(
        X[:, columns], y, groups[columns], folds, config, lent=known, parents=parents
    )
    seed = seed.over(columns, X.shape[1])
    label = ledger.label(cluster)
    return Cluster(X, y, groups, xy, cells, cluster, folds, seed, around, label)


def _columns(inputs: BetasInputs, design: Design, cluster: int) -> NDArray[np.intp]:
    """Return which columns of a design a cluster may have."""
    if inputs.allowed is None:
        return np.arange(len(design.modulators))
    place = {name: k for k, name in enumerate(inputs.modulators.names)}
    at = np.array([place[name] for name in design.modulators.names], np.intp)
    return np.flatnonzero(inputs.allowed[cluster, at])


def reason_not_to_fit(cluster: str, y: Floats, config: ModelConfig) -> Status | None:
    """Return why a cluster is not modelled; None if it is."""
    if cluster in config.skip_clusters:
        return "skipped"
    if len(y) < MIN_CELLS:
        return "intercept only: too few cells"
    if not np.ptp(y):
        return "intercept only: target is constant"
    return None
