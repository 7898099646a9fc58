"""How a way from one stage to another is simulated; see `stages`.

Shapes: p pseudocells, T frames, d dimensions. Source: seed 004, "Developmental stage recovery".
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.environment.biological_clock import BiologicalClock, biological_time
from celldyn.environment.costs import memory_of, require_memory
from celldyn.environment.manager_cells import features_job, tables_of, taken
from celldyn.environment.pseudocells import generate_pseudocells_job
from celldyn.environment.recording import frame_steps, frames_of
from celldyn.environment.simulating import Simulator
from celldyn.environment.stages import StageRecovery
from celldyn.environment.steady import SteadyTest
from celldyn.environment.trajectories import EnvironmentState, Trajectory
from celldyn.errors import DataError
from celldyn.jobs import Job, run, scaled

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.environment.fitted import FittedEnvironment

Floats = NDArray[np.float32]
STAGE_TIME = 32.0
"""Seconds from one stage to the other, as in the seed."""
_MOST_FRAMES = 400
_COVERED = 0.9
"""A way of which less was covered is told to be short."""


def recover_stages_job(
    fitted: FittedEnvironment,
    origin: Sequence[Any],
    terminal: Sequence[Any],
    *,
    start: float = 0.0,
    end: float = 1.0,
    time: float = STAGE_TIME,
    rest_time: float = 512.0,
    n_pcells: int | None = None,
    kmeans_modality: int = 0,
    ot_modality: int = 0,
    test: SteadyTest | None = None,
    seed: int = 42,
    device: torch.device | str = "cpu",
) -> Job[StageRecovery]:
    """Simulate the way from one stage to another.

    Cells of both stages become paired pseudocells. Those of the origin are simulated to rest; then
    they see what the terminal ones see, and go on for a time.

    Parameters
    ----------
    fitted
        A trained environment.
    origin, terminal
        A table per modality of each stage, or of those that cells see, in order; AnnData, arrays
        or sparse matrices.
    start, end
        Biological times of both stages.
    time
        Seconds from one to the other.
    rest_time
        Seconds, at most, in which cells come to rest at the origin.
    n_pcells, kmeans_modality, ot_modality, seed
        See `generate_pseudocells`; modalities are counted among those given. The seed is also
        that of the places where cells begin.
    test
        What counts as rest; None for the default.
    device
        Where it runs.

    Raises
    ------
    DataError, ConfigError, MissingKeyError
        If stages do not fit each other or the environment, or the run does not fit into memory.
    """
    stages = [tables_of(list(each), len(fitted.preprocessing.maps), fitted.inputs)
              for each in (origin, terminal)]  # fmt: skip
    places = [k for k, table in enumerate(stages[0]) if table is not None]
    if places != [k for k, table in enumerate(stages[1]) if table is not None]:
        raise DataError("both stages have other modalities", "give the same of both")
    given = [[_ordered(stage[k], fitted, k) for k in places] for stage in stages]
    steps, every = frame_steps(time, _skip(time, fitted.config.delta), fitted.config.delta)
    work = generate_pseudocells_job(
        given[0], given[1], kmeans_modality, ot_modality, n_pcells, seed
    )
    pairs = yield from scaled(work, 0.0, 1.0, units=0.2)
    pcells = [_tables(each, fitted, places) for each in pairs]
    require_memory(
        memory_of(len(pairs[0][0]), fitted.dim, n_frames=frames_of(steps, every), steps=steps),
        torch.device(device),
    )
    simulators = []
    for each in pcells:
        features = yield from scaled(
            features_job(fitted.preprocessing, each, fitted.inputs, preprocess=True), 0.2, 1.0,
            units=0.0,
        )  # fmt: skip
        simulators.append(Simulator(fitted, features, device=device))
    rested, way = yield from _way_job(simulators, (rest_time, time), test or SteadyTest(), seed)
    clock, notes = _clock(way, start, end)
    if not rested.report.reached:
        notes.append(f"At the origin: {rested.report}")
    return StageRecovery(
        fitted, way.times, way.positions, _speeds(way), clock,
        dict(zip(places, pairs[0], strict=True)), dict(zip(places, pairs[1], strict=True)),
        {k: (a, b) for k, a, b in zip(places, *given, strict=True) if k in fitted.targets},
        way.report,
        rested.report, tuple(notes),
    )  # fmt: skip


def recover_stages(
    fitted: FittedEnvironment,
    origin: Sequence[Any],
    terminal: Sequence[Any],
    **options: Any,  # noqa: ANN401
) -> StageRecovery:
    """Simulate the way from one stage to another; `recover_stages_job`, drained."""
    return run(recover_stages_job(fitted, origin, terminal, **options), bar=False)


def _way_job(
    simulators: Sequence[Simulator], times: tuple[float, float], test: SteadyTest, seed: int
) -> Job[tuple[Trajectory, Trajectory]]:
    first, second = simulators
    state: EnvironmentState = first.start(seed)
    work = first.run_job(state, time=times[0], skip_time=times[0], test=test, store=None,
                         stage="bringing the origin to rest")  # fmt: skip
    with closing(work):
        rested = yield from scaled(work, 0.2, 1.0, units=0.6)
    state = replace(rested.state, time=0.0, steady=True)
    skip = _skip(times[1], second.space.delta)
    work = second.run_job(state, time=times[1], skip_time=skip,
                          stage="going to the terminal stage")  # fmt: skip
    with closing(work):
        way = yield from scaled(work, 0.8, 1.0, units=0.2)
    return rested, way


def _skip(time: float, delta: float) -> float:
    """Return the seconds between frames: every step, where that is no more than some hundreds."""
    return max(delta, round(time / _MOST_FRAMES / delta) * delta)


def _speeds(way: Trajectory) -> Floats:
    """Return the mean |v| at every frame, (T,); at the first that of the step after it."""
    densities = way.densities[:, 0]
    at = np.clip(np.rint(way.times / way.times[-1] * len(densities)).astype(int) - 1, 0, None)
    found: Floats = densities[at]
    return found


def _clock(way: Trajectory, start: float, end: float) -> tuple[BiologicalClock | None, list[str]]:
    delta = way.times[-1] / len(way.densities)
    try:
        clock = biological_time(
            np.arange(1, len(way.densities) + 1) * delta, way.densities[:, 0], start=start, end=end
        )
    except DataError as error:
        return None, [f"Biological time is in proportion to seconds: {error}"]
    notes = []
    if clock.covered < _COVERED:
        notes.append(
            f"Cells covered {clock.covered:.0%} of the way in {way.times[-1]:g} s; a longer time "
            "brings them nearer to the terminal stage."
        )
    return clock, notes


def _ordered(table: AnnData, fitted: FittedEnvironment, modality: int) -> Any:  # noqa: ANN401
    """Return a table with its features in the order of the training, where they have names."""
    names = fitted.preprocessing.maps[modality].names
    if tuple(map(str, table.var_names)) == tuple(names):
        return table
    if set(names) <= set(map(str, table.var_names)):
        return taken(table, names=names)
    return table


def _tables(
    pcells: Sequence[Floats], fitted: FittedEnvironment, places: Sequence[int]
) -> list[AnnData | None]:
    import pandas as pd
    from anndata import AnnData

    maps = fitted.preprocessing.maps
    found: list[AnnData | None] = [None] * len(maps)
    for values, k in zip(pcells, places, strict=True):
        if values.shape[1] != len(maps[k].names):
            raise DataError(
                f"modality {k} of the stages has {values.shape[1]:,} features and the environment "
                f"was trained on {len(maps[k].names):,}",
                "give the features that it was trained on",
            )
        found[k] = AnnData(values, var=pd.DataFrame(index=list(maps[k].names)))
    return found
