"""Networks are trained: with a block of cells held out, and at last on all of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.results import Tensors
from celldyn.betas.varying.building import state_of
from celldyn.betas.varying.course import Course
from celldyn.betas.varying.learning import Learner
from celldyn.jobs import Job, Pace, Progress

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Trial:
    """How networks predicted cells that they had not seen.

    Parameters
    ----------
    cells
        (n_cells,) those cells, by their positions in the cluster.
    predicted
        (n_genes, n_cells) expression, after the best epoch.
    epochs
        (n_genes,) the best epoch: the last, or with early stopping that of the smallest error.
    """

    cells: Ints
    predicted: Floats
    epochs: Ints
    _errors: Floats = field(init=False)
    _seen: int = 0

    def __post_init__(self) -> None:
        self._errors = np.full(len(self.epochs), np.inf)

    def take(self, epoch: int, y: Floats, predicted: Floats) -> float:
        """Note what is predicted after an epoch; return the mean squared error of all genes."""
        errors = np.mean((predicted - y) ** 2, axis=1)
        better = errors < self._errors
        self._errors[better], self.epochs[better] = errors[better], epoch
        self.predicted[better] = predicted[better]
        self._seen = epoch
        return float(errors.mean())

    def hopeless(self, genes: list[int], patience: int) -> bool:
        """Whether no network of these genes has improved for so many epochs."""
        return bool((self._seen - self.epochs[genes] >= patience).all())


def trial_job(course: Course, fold: int) -> Job[Trial]:
    """Train without one of the held-out blocks, and predict it.

    With early stopping it is predicted after each epoch, until the networks improve no more.
    """
    config, clusters = course.config, course.clusters
    held = clusters[0].folds[fold]
    kept = np.setdiff1d(np.arange(len(clusters[0].y)), held)
    y = np.stack([cluster.y[held] for cluster in clusters])
    trial = Trial(held, np.zeros_like(y), np.zeros(len(clusters), np.intp))
    learner = course.begin([cluster.seed.fold_linear[fold] for cluster in clusters], kept)
    pace, said = Pace(), f"{course.label}: held-out block {fold + 1}"
    try:
        for epoch in range(1, config.num_epochs + 1):
            yield from _epoch_job(course, learner, epoch, pace, said, {})
            if not config.early_stopping and epoch < config.num_epochs:
                continue
            step = Progress("network", epoch, config.num_epochs, said)
            yield from _paced(learner.settle(), pace, step)
            found = yield from _paced(course.predictions(learner.networks, held), pace, step)
            error = trial.take(epoch, y, found)
            yield replace(step, metrics={f"held-out loss/{course.label}": error})
            for k, genes in enumerate(course.models):
                learner.resting[k] = trial.hopeless(genes, config.patience)
            if all(learner.resting):
                break
        return trial
    finally:
        learner.clear()


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Networks of all cells: the tensors and the losses, one per batch, of each gene."""

    states: list[Tensors]
    losses: list[tuple[float, ...]]


def training_job(course: Course, epochs: Ints) -> Job[Trained]:
    """Train on all cells, each gene for so many epochs."""
    clusters, label = course.clusters, course.label
    linear = [(cluster.seed.intercept, cluster.seed.coef) for cluster in clusters]
    learner = course.begin(linear, np.arange(len(clusters[0].y)))
    states: list[Tensors] = [{} for _ in clusters]
    losses: list[tuple[float, ...]] = [() for _ in clusters]
    pace = Pace()
    metrics: dict[str, float] = {}
    try:
        for epoch in range(1, int(epochs.max()) + 1):
            yield from _epoch_job(course, learner, epoch, pace, label, metrics)
            metrics = {f"loss/{label}": learner.last_loss()}
            if (epochs == epoch).any():
                step = Progress("network", epoch, course.config.num_epochs, label)
                yield from _paced(learner.settle(), pace, step)
            for k, genes in enumerate(course.models):
                for model, g in enumerate(genes):
                    if epochs[g] == epoch:
                        states[g] = state_of(learner.networks[k], model)
                        so_far = torch.stack(learner.losses[k])[:, model]
                        losses[g] = tuple(so_far.tolist())
                learner.resting[k] = bool((epochs[genes] <= epoch).all())
        return Trained(states, losses)
    finally:
        learner.clear()


def _epoch_job(
    course: Course,
    learner: Learner,
    epoch: int,
    pace: Pace,
    said: str,
    metrics: dict[str, float],
) -> Job[None]:
    total = course.config.num_epochs
    yield Progress("network", epoch - 1, total, said, metrics)
    for share in learner.epoch():
        if pace.due():
            yield Progress("network", epoch - 1 + share, total, said)


def _paced(work: Generator[Any, None, T], pace: Pace, step: Progress) -> Job[T]:
    """Do some work, repeating a report while it lasts."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if pace.due():
            yield step
