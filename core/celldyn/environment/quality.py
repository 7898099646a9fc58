"""How well a trained environment tells its targets, with simple methods beside it, in one call.

Shapes: n cells, H_k prepared features of a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.environment.baselines import USUAL
from celldyn.environment.gathering import TrainingData, gather_job
from celldyn.environment.quality_results import NAME, Quality
from celldyn.environment.score_tables import imputation_report_job
from celldyn.environment.simulating import Simulator
from celldyn.environment.steady import SteadyReport, SteadyTest
from celldyn.environment.telling import tell_job
from celldyn.jobs import Job, run, scaled

if TYPE_CHECKING:
    import torch

    from celldyn.environment.fitted import FittedEnvironment
    from celldyn.environment.trajectories import Trajectory


def quality_of(fitted: FittedEnvironment, data: Any, **options: Any) -> Quality:  # noqa: ANN401
    """Return how well an environment tells its targets; `quality_job`, drained."""
    return run(quality_job(fitted, data, **options), bar=False)


def quality_job(
    fitted: FittedEnvironment,
    data: Any,  # noqa: ANN401
    *,
    places: ArrayLike | None = None,
    report: SteadyReport | None = None,
    time: float | None = None,
    test: SteadyTest | None = None,
    labels: ArrayLike | None = None,
    methods: Sequence[str] = USUAL,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Job[Quality]:
    """Let cells come to rest, and score what their places tell beside simple methods.

    All cells move together, as those of one partition do in use; held-out cells are seen by
    others, but lend no target to anything: baselines and alignments are of training cells.

    Parameters
    ----------
    fitted
        The environment.
    data
        What it was trained on: from `gather_job`; or tables as that takes them, of which training
        cells are those that the environment names.
    places, report
        (n, d) where cells are at rest, and whether they are; None lets them move.
    time
        Longest time that cells have, in seconds; None for the longest episode of the training.
    test
        What counts as rest; None for the usual.
    labels
        (n,) labels of cells for the accuracy of labels; None leaves it out.
    methods
        Baselines; see `IMPUTERS`.
    seed
        Seed of where cells begin, and of baselines that draw.
    device
        Where it runs.

    Raises
    ------
    DataError
        If the data are not those that the environment knows.
    """
    if not isinstance(data, TrainingData):
        data = yield from _gathered_job(fitted, data)
    there = fitted if str(fitted.device) == str(device) else fitted.to(device)
    if places is None:
        seconds = fitted.config.max_time if time is None else time
        work = _resting_job(there, data, seconds, test or SteadyTest(), seed)
        places, report = yield from scaled(work, 0.0, 1.0, units=0.8)
    told = []
    for k in fitted.targets:
        features = yield from tell_job(there, places, k, inverse=False, device=device)
        told.append(features)
    tables = yield from scaled(
        imputation_report_job(
            data, told, name=NAME, labels=labels, methods=methods, seed=seed,
            reflection=fitted.config.reflection,
        ),
        0.8, 1.0, units=0.2,
    )  # fmt: skip
    held = not bool(data.train.all())
    n_scored = int((~data.train).sum()) if held else data.n
    return Quality(tables, report, n_scored, held)


def _resting_job(
    fitted: FittedEnvironment, data: TrainingData, seconds: float, test: SteadyTest, seed: int
) -> Job[tuple[NDArray[np.float32], SteadyReport]]:
    """Return where cells come to rest, (n, d), and whether they did."""
    simulator = Simulator(
        fitted, data.modalities, device=fitted.device,
        partition=data.partition if data.partition_names else None,
    )  # fmt: skip
    work = simulator.run_job(
        simulator.start(seed), time=seconds, skip_time=seconds, test=test, store=None
    )
    with closing(work):
        course: Trajectory = yield from work
    return course.state.position[0].cpu().numpy(), course.report


def _gathered_job(fitted: FittedEnvironment, tables: Any) -> Job[TrainingData]:  # noqa: ANN401
    """Prepare tables as the environment does, with its own training cells."""
    config = fitted.config.data.replace(train_mask=None, train_split=1.0, train_partitions=False)
    data = yield from gather_job(tables, config, preprocessing=fitted.preprocessing)
    data = replace(
        data, inputs=fitted.inputs, targets=fitted.targets, spatial=tuple(fitted.spatial)
    )
    if fitted.train_mask is None or len(fitted.obs_names) != len(fitted.train_mask):
        return data
    return replace(data, train=_training_cells(fitted, data.obs_names))


def _training_cells(fitted: FittedEnvironment, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which of these cells an environment was trained on: those of its names."""
    at = pd.Index(fitted.obs_names).get_indexer(pd.Index(names))
    known = np.asarray(fitted.train_mask, np.bool_)
    return np.asarray(np.where(at >= 0, known[at], np.False_), np.bool_)
