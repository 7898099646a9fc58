"""Betas that a neural network varies inside a cluster, by what is around each cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from celldyn.betas.config import ModelConfig
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.results import Tensors
from celldyn.betas.seed_model import r_squared
from celldyn.betas.varying.building import network_from
from celldyn.betas.varying.cluster import Cluster, Surroundings, Varied, predicted
from celldyn.betas.varying.course import course_job
from celldyn.betas.varying.evaluation import betas_by_parts
from celldyn.betas.varying.learning import Lessons
from celldyn.betas.varying.surroundings_maps import source_job
from celldyn.betas.varying.trials import Trial, training_job, trial_job
from celldyn.devices import choose_device
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress, run, scaled

__all__ = ["apply_varied", "network_from", "vary_job", "vary_stack_job"]

MIN_CELLS = 4
"""Clusters with fewer cells keep the linear model."""


def vary_job(cluster: Cluster, config: ModelConfig) -> Job[Varied]:
    """Train the network that the config names on a cluster.

    Parameters
    ----------
    cluster
        Its cells and their linear model.
    config
        `vision_model`, `activation`, the maps, and all of the training are read.

    Yields
    ------
    Progress, inside an epoch too; after each epoch its `metrics` hold "loss/<label>", the mean
    squared error of the last batch, and with early stopping "held-out loss/<label>".

    Returns
    -------
    Betas of the network in evaluation mode. The held-out R² is over the cells of the first
    `network_folds` blocks, each predicted by a network that was trained without it on the linear
    model that was; with early stopping it is that of the best epoch, so a little too high.
    """
    found = yield from vary_stack_job([cluster], config)
    return found[0]


def vary_stack_job(clusters: Sequence[Cluster], config: ModelConfig) -> Job[list[Varied]]:
    """Train networks of several genes on the same cells at once; see `vary_job`.

    Images are made once for all genes, and on a GPU the networks are one stack. Each learns what
    it learns alone.

    Parameters
    ----------
    clusters
        One for each gene: the same cells and blocks, with its own design, target and model.
    config
        As in `vary_job`.

    Raises
    ------
    DataError
        If the clusters are not of the same cells.
    """
    first = clusters[0]
    if any(not np.array_equal(cluster.cells, first.cells) for cluster in clusters):
        raise DataError("the genes of a stack have different cells", "train them one by one")
    if config.num_epochs == 0 or len(first.y) < MIN_CELLS:
        return [_unvaried(cluster) for cluster in clusters]
    folds = list(range(min(config.network_folds, len(first.folds))))
    total = len(folds) + 1
    course = yield from scaled(course_job(clusters, config), 0, total)
    trials: list[Trial] = []
    for fold in folds:
        trial = yield from scaled(trial_job(course, fold), fold, total)
        trials.append(trial)
    epochs = np.full(len(clusters), config.num_epochs)
    if trials and config.early_stopping:
        epochs = np.maximum(np.rint(np.mean([t.epochs for t in trials], axis=0)), 1).astype(int)
    trained = yield from scaled(training_job(course, epochs), len(folds), total)
    found: list[Varied] = []
    for g, cluster in enumerate(clusters):
        state = {**trained.states[g], "low": first.around.low, "high": first.around.high}
        values = yield from _betas_job(state, course.lessons, course.config, len(first.y))
        r2 = r_squared(cluster.y, predicted(values, cluster.X))
        heldout = _heldout_r2(trials, g, cluster.y)
        found.append(Varied(values, r2, heldout, trained.losses[g], state))
    return found


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

    Counts of neighbours are scaled as in the tissue that was trained on. A distance map shows
    where a cell is in the bounding box of its own tissue.

    Raises
    ------
    DataError
        If the tissue has another number of cell types than the one that was trained on.
    """
    del row, xy
    if len(state["low"]) != around.n_types:
        raise DataError(
            f"the network knows {len(state['low'])} cell types, the data set has {around.n_types}",
            "give it the same types",
        )
    source = run(source_job(around, cells, code, config), bar=False)
    features = around.scaled(state["low"], state["high"])[cells]
    device = choose_device(config.device)
    lessons = Lessons(source, config.spatial_dim, torch.from_numpy(features).to(device), [], [])
    return run(_betas_job(state, lessons, config, len(cells)), bar=False)


def _unvaried(cluster: Cluster) -> Varied:
    seed = cluster.seed
    row = np.concatenate(([seed.intercept], seed.coef))
    return Varied(np.tile(row, (len(cluster.y), 1)), seed.r2, seed.heldout_r2)


def _betas_job(state: Tensors, lessons: Lessons, config: ModelConfig, n_cells: int) -> Job[Floats]:
    """Return the (n_cells, 1 + p) betas of all cells of the lessons."""
    network = network_from(state, config).to(lessons.features.device)
    values = np.empty((n_cells, network.anchors.shape[1]))
    pace = Pace()
    for part, betas in betas_by_parts(network, lessons, np.arange(n_cells)):
        values[part] = betas[0].cpu().numpy()
        if pace.due():
            yield Progress("betas of each cell", part.stop, n_cells)
    return values


def _heldout_r2(trials: list[Trial], gene: int, y: Floats) -> float:
    if not trials:
        return float("nan")
    cells = np.concatenate([trial.cells for trial in trials])
    found = np.concatenate([trial.predicted[gene] for trial in trials])
    return r_squared(y[cells], found)
