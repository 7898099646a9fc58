"""The job: one model per section and cluster, put together into betas of every cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import BetasConfig, ModelConfig
from celldyn.betas.design import Design, design_job
from celldyn.betas.inputs import BetasInputs, Floats, Ints, check_skipped
from celldyn.betas.ledger import Ledger
from celldyn.betas.preparing import prepare
from celldyn.betas.results import BetasResult, Status
from celldyn.betas.seed_model import SeedFit, folds_of, seed_job
from celldyn.betas.stored import write_result
from celldyn.betas.varying import varier
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied
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
    check_skipped(config, inputs.clusters)
    started = time.perf_counter()
    ledger = Ledger.of(inputs, config)
    for section, name in enumerate(inputs.sections):
        yield Progress("design", ledger.done, ledger.total, name)
        job = design_job(inputs, config, section)
        design = yield from scaled(job, ledger.done, ledger.total, name)
        ledger.begin(section, design.dropped)
        around = surroundings(inputs, config, design.cells)
        codes = inputs.cluster_codes[design.cells]
        for cluster in np.unique(codes):
            cells = np.flatnonzero(codes == cluster)
            yield from _one_cluster(ledger, design, around, int(cluster), cells)
    result = yield from ledger.result_job(started)
    return result


def surroundings(inputs: BetasInputs, config: ModelConfig, cells: Ints) -> Surroundings:
    """Return what is around the cells of one section, given by their positions."""
    return Surroundings(
        np.ascontiguousarray(inputs.xy[cells]),
        inputs.cluster_codes[cells],
        len(inputs.clusters),
        config.radius,
    )


def _one_cluster(
    ledger: Ledger, design: Design, around: Surroundings, cluster: int, cells: Ints
) -> Job[None]:
    """Fit the cells of one cluster, given by their positions in the section."""
    inputs, config = ledger.inputs, ledger.config
    label = ledger.label(cluster)
    yield Progress("linear model", ledger.done, ledger.total, label)
    at = design.cells[cells]
    y = inputs.y[at]
    reason = reason_not_to_fit(inputs.clusters[cluster], y, config)
    columns = _columns(inputs, design, cluster)
    seed: SeedFit | None = None
    varied: Varied | None = None
    if reason is None and len(columns):
        job = _model_job(design, around, cluster, cells, columns, ledger)
        seed, varied = yield from scaled(job, ledger.done, ledger.total, label)
    fitted = ledger.add(cluster, at, columns, seed, varied, reason)
    metrics = {} if fitted.status == "skipped" else {f"r2/{label}": fitted.r2}
    if np.isfinite(fitted.heldout_r2):
        metrics[f"heldout/{label}"] = fitted.heldout_r2
    yield Progress("linear model", ledger.done, ledger.total, label, metrics)


def _model_job(
    design: Design,
    around: Surroundings,
    cluster: int,
    cells: Ints,
    columns: NDArray[np.intp],
    ledger: Ledger,
) -> Job[tuple[SeedFit, Varied | None]]:
    """Fit the linear model, and let its betas vary if that is asked for and it fits."""
    inputs, config = ledger.inputs, ledger.config
    at = design.cells[cells]
    X, groups = design.rows(cells)[:, columns], design.modulators.groups[columns]
    y, xy = inputs.y[at], inputs.xy[at]
    folds = folds_of(xy, config)
    share = _SHARE_OF_SEED if config.num_epochs else 1.0
    seed = yield from scaled(scaled(seed_job(X, y, groups, folds, config), 0, 1), 0, share)
    if not config.num_epochs or seed.r2 <= config.score_threshold:
        return seed, None
    label = ledger.label(cluster)
    data = Cluster(X, y, groups, xy, cells, cluster, folds, seed, around, label)
    job = varier(config.vision_model).vary_job(data, config)
    varied = yield from scaled(job, share, 1, label)
    return seed, varied


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
