"""Training as a job: cells move, the policy learns, positions learn to tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np
import torch
from torch import Tensor

from celldyn.devices import choose_device, few_threads
from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.early_stopping import EarlyStopping
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.sharing import Crew, go_on
from celldyn.environment.tissue import Tissue
from celldyn.environment.trainer import Trainer, copied
from celldyn.errors import DataError, FileFormatError
from celldyn.jobs import Job, Progress, scaled

if TYPE_CHECKING:
    from celldyn.environment.gathering import TrainingData

Log = Callable[[Mapping[str, Any]], object]
Checkpoint = Callable[[FittedEnvironment], object]


def train_job(
    data: TrainingData,
    config: EnvironmentConfig | None = None,
    *,
    start: FittedEnvironment | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log | None = None,
    device: torch.device | str = "auto",
) -> Job[FittedEnvironment]:
    """Train an environment on data.

    Parameters
    ----------
    data
        From `gather_job`; only its training cells are moved.
    config
        Parameters; those of `start`, or the defaults, where it is None.
    start
        An environment to go on with: bit for bit as if it had never stopped where it holds what
        that needs (`resume`), else from its networks alone.
    checkpoint
        Is given the environment every `config.checkpoint_iterations` updates.
    log
        Is given events as mappings, of which "Event" is the name; see `EventLog`.
    device
        Where it runs.

    Yields
    ------
    Progress in cell-steps, with all metrics of `Trainer.update_job` after each update.

    Returns
    -------
    The environment, on the CPU. Closing the job keeps what checkpoints kept.

    Raises
    ------
    DataError
        If there are fewer than two training cells, or a loss is not finite.
    """
    if config is None:
        config = start.config if start is not None else EnvironmentConfig()
    place = choose_device(str(device))
    trainer = Trainer(tissue_of(data).to(place), config, start)
    if goes_on(start, data):
        go_on(trainer, start.resume, same=Crew.of(start.config).is_alone)
    with few_threads() if place.type == "cpu" else nullcontext():
        return (
            yield from course_job(
                trainer, data, config, start=start, checkpoint=checkpoint, log=log
            )
        )


def goes_on(start: FittedEnvironment | None, data: TrainingData) -> TypeGuard[FittedEnvironment]:
    """Whether a training goes on bit for bit.

    Raises
    ------
    FileFormatError
        If it would, on other cells.
    """
    if start is None or not start.resume:
        return False
    if start.obs_names != data.obs_names:
        raise FileFormatError(
            "the state to go on from is of a training on other cells",
            "give the data that it had, or start from its networks alone",
        )
    return True


class Learner(Protocol):
    """What a course of training needs: a `Trainer`, or several that look like one."""

    config: EnvironmentConfig
    rank: int
    updates: int
    timesteps: int

    @property
    def policy(self) -> Policy:
        """As it is now."""
        ...

    @property
    def pinning(self) -> tuple[Pinning, ...]:
        """As they are now."""
        ...

    def update_job(self) -> Job[dict[str, float]]:
        """See `Trainer.update_job`."""
        ...

    def state(self) -> dict[str, Tensor]:
        """See `Trainer.state`."""
        ...


def course_job(
    trainer: Learner,
    data: TrainingData,
    config: EnvironmentConfig,
    *,
    start: FittedEnvironment | None = None,
    checkpoint: Checkpoint | None = None,
    log: Log | None = None,
) -> Job[FittedEnvironment]:
    """Do one update after the other until there is nothing more to do; see `train_job`."""
    course = _Course(trainer, data, config, start)
    say = log or _silent
    say({"Event": "Begin Training", "Cells": int(data.train.sum()),
         "Parameters": config.model_dump(mode="json")})  # fmt: skip
    while not course.over:
        metrics = yield from course.update_job(say)
        told = f"update {trainer.updates}, reward {metrics['reward']:.3g}"
        yield Progress("training", trainer.timesteps, config.max_timesteps, told, metrics)
        if checkpoint is not None and trainer.updates % config.checkpoint_iterations == 0:
            checkpoint(course.fitted())
            say({"Event": "Save Checkpoint", "Policy Iteration": trainer.updates})
    say({"Event": "Finish Training", "Policy Iteration": trainer.updates})
    return course.fitted()


def tissue_of(data: TrainingData) -> Tissue:
    """Return the training cells of data.

    Raises
    ------
    DataError
        If there are fewer than two.
    """
    rows = torch.from_numpy(np.flatnonzero(data.train))
    if len(rows) < 2:
        raise DataError(f"there are {len(rows)} cells to train on", "hold fewer cells out")
    return Tissue(
        data.seen[rows],
        tuple(data.modalities[k][rows] for k in data.targets),
        tuple(k in data.spatial for k in data.targets),
        torch.from_numpy(data.partition)[rows],
    )


class _Course:
    """One training: what was said of each update, and when it is over."""

    def __init__(
        self,
        trainer: Learner,
        data: TrainingData,
        config: EnvironmentConfig,
        start: FittedEnvironment | None,
    ) -> None:
        self.trainer, self.data, self.config = trainer, data, config
        self.history = list(start.history) if start is not None else []
        self.stopping = EarlyStopping(
            config.early_stopping_average, config.early_stopping_delta,
            config.early_stopping_patience,
        )  # fmt: skip
        self.notes: tuple[str, ...] = data.notes
        for row in self.history:
            self.stopping.update(row["reward"])

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        stops = self.config.early_stopping and self.stopping.stops
        return stops or self.trainer.timesteps >= self.config.max_timesteps

    def update_job(self, say: Log) -> Job[dict[str, float]]:
        """Do one update, and say it."""
        trainer, started = self.trainer, time.perf_counter()
        steps = trainer.timesteps
        job = trainer.update_job()
        metrics = yield from scaled(job, steps, self.config.max_timesteps, "training", units=0.0)
        self.history.append(metrics)
        for event in events(metrics, trainer, steps, time.perf_counter() - started):
            say(event)
        if self.config.early_stopping and self.stopping.update(metrics["reward"]):
            self.notes = (*self.notes, f"training ended early: {self.stopping.sentence()}")
        return metrics

    def fitted(self) -> FittedEnvironment:
        """Return the environment as it is now, its own copy."""
        trainer, data = self.trainer, self.data
        return FittedEnvironment(
            self.config, copied(trainer.policy), tuple(map(copied, trainer.pinning)),
            data.preprocessing, data.inputs, data.targets, data.spatial, data.train.copy(),
            data.obs_names, list(self.history), trainer.updates, trainer.timesteps, self.notes,
            trainer.state(),
        )  # fmt: skip


def events(
    metrics: Mapping[str, float], trainer: Learner, steps_before: int, seconds: float
) -> list[dict[str, Any]]:
    """Return what is logged of an update, in the words of the reference's log."""

    def part(prefix: str) -> dict[str, float]:
        return {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix)}

    new = trainer.timesteps - steps_before
    scale = trainer.policy.return_scale
    return [
        {
            "Event": "Rollout", "Policy Iteration": trainer.updates, "Rank": trainer.rank,
            "Timesteps": trainer.timesteps, "Memories": new, "Reward": metrics["reward"],
            "Itemized Reward": part("reward/"), "Time": seconds,
        },
        {
            "Event": "Update", "Policy Iteration": trainer.updates, "New Memories": new,
            "Replay Memories": 0, "Total Memories": trainer.timesteps,
            "Iterations": trainer.config.update_iterations, "Losses": part("loss/"),
            "Statistics": {
                "Moving Return Mean": float(scale.mean), "Moving Return STD": float(scale.std),
                "Return Mean": metrics["return_mean"], "Return STD": metrics["return_std"],
                "Explained Variance": metrics["explained_variance"],
            },
        },
    ]  # fmt: skip


def _silent(event: Mapping[str, Any]) -> None:
    del event
