"""Cells on their way: a trained policy moves them until they rest, or for a time.

Shapes: B environments, n cells, d dimensions, F_k preprocessed features of modality k. Only means
of actions are taken: no critic, no rewards, no chance (specs/environment.md D6 f).
"""

from __future__ import annotations

import time as clock
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.clamp_run import check_clamps
from celldyn.environment.clamps import Clamp
from celldyn.environment.config import SpaceConfig
from celldyn.environment.moving_cells import CellRun
from celldyn.environment.networks import Embedded
from celldyn.environment.recording import Recorder, Store, frame_steps, frames_of
from celldyn.environment.steady import SteadyTest
from celldyn.environment.stepping import start
from celldyn.environment.trajectories import EnvironmentState, Trained, Trajectory
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace


class Simulator:
    """A trained policy over the cells of one data set.

    What cells are is embedded once; what clamps change of it is added, at the cost of the number
    of features that are held.

    Parameters
    ----------
    fitted
        The trained environment.
    modalities
        (n, F_k) preprocessed features of every modality; None for those that are not there, which
        can only be such that cells do not see.
    space
        The space, if not that of the training.
    device
        Where it runs.
    partition
        (n,) numbers: cells of different ones never meet; None: all may.

    Raises
    ------
    DataError
        If what cells see is missing, of another size, or not finite.
    """

    def __init__(
        self,
        fitted: Trained,
        modalities: Sequence[Tensor | None],
        *,
        space: SpaceConfig | None = None,
        device: torch.device | str = "cpu",
        partition: NDArray[np.int64] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.fitted = fitted
        self.space = fitted.config.space if space is None else space
        self.modalities = {
            k: each.to(self.device, torch.float32)
            for k, each in enumerate(modalities)
            if each is not None
        }
        self._check()
        self.pinning = dict(zip(fitted.targets, fitted.pinning, strict=True))
        self.n_cells = len(self.modalities[fitted.inputs[0]])
        self._embedded: Embedded | None = None
        self.partition = partition
        codes = () if partition is None else np.unique(partition)
        self._apart = [
            torch.from_numpy(np.flatnonzero(partition == code)).to(self.device) for code in codes
        ]

    def _check(self) -> None:
        missing = [k for k in self.fitted.inputs if k not in self.modalities]
        if missing:
            raise DataError(
                f"modality {missing[0]} is not given, and cells see it", "give it, too"
            )
        seen = [self.modalities[k] for k in self.fitted.inputs]
        n_features, expected = sum(each.shape[1] for each in seen), self.fitted.policy.n_features
        if n_features != expected:
            raise DataError(
                f"cells have {n_features:,} features and the policy was trained on {expected:,}",
                "give the modalities that it was trained on",
            )
        if len({len(each) for each in self.modalities.values()}) > 1:
            raise DataError("modalities have different numbers of cells", "give the same cells")
        if not len(seen[0]):
            raise DataError("there are no cells", "give at least one")
        if not all(bool(torch.isfinite(each).all()) for each in seen):
            raise DataError("what cells see is not finite", "look for NaN in the modalities")

    @property
    def embedded(self) -> Embedded:
        """What cells see, embedded: (n, h) each."""
        if self._embedded is None:
            seen = torch.cat([self.modalities[k] for k in self.fitted.inputs], dim=1)
            with torch.no_grad():
                self._embedded = self.fitted.policy.embed(seen)
        return self._embedded

    def start(self, seed: int = 0, n_environments: int = 1) -> EnvironmentState:
        """Return states drawn at random, as episodes of the training begin.

        The first of several environments is the one that is drawn alone with the same seed.
        """
        shape = (self.n_cells, self.fitted.policy.dim)
        drawn = []
        for k in range(n_environments):
            # Drawn on the CPU, so that every device begins with the same.
            generator = torch.Generator().manual_seed((seed + 1_000_003 * k) % 2**63)
            drawn.append(start(shape, self.space, generator))
        position, velocity = (
            torch.stack(each).to(self.device) for each in zip(*drawn, strict=True)
        )
        return EnvironmentState(position, velocity)

    def run_job(
        self,
        state: EnvironmentState,
        *,
        time: float,
        skip_time: float,
        clamps: Sequence[Clamp] = (),
        test: SteadyTest | None = None,
        store: Store = "cpu",
        with_velocities: bool = False,
        stage: str = "moving cells",
    ) -> Job[Trajectory]:
        """Move cells.

        Parameters
        ----------
        state
            Where they begin; it stays as it is.
        time
            Seconds.
        skip_time
            Seconds between frames; the first and the last are always kept.
        clamps
            What is held.
        test
            Ends the run where cells are at rest; None: it lasts its whole time.
        store
            Where frames go.
        with_velocities
            Whether velocities are kept, too (in memory).
        stage
            What the job says that it does.

        Yields
        ------
        Progress in seconds of the environment, with a `Frame` as preview where one is kept.

        Raises
        ------
        DataError
            If a clamp cannot act, or cells go where no number is.
        """
        check_clamps(clamps, self.fitted.inputs, self.fitted.targets)
        steps, every = frame_steps(time, skip_time, self.space.delta)
        run = CellRun(
            self.fitted, self.space, self.modalities, self.pinning, self.embedded, state, clamps,
            test, steps, self._apart,
        )  # fmt: skip
        most, shape = frames_of(steps, every), _squeezed(state.position).shape
        positions = Recorder(most, tuple(shape), store)
        velocities = Recorder(most, tuple(shape), "cpu") if with_velocities else None
        times: list[float] = []
        finished = False
        try:
            pace, began = Pace(), clock.perf_counter()
            for k in range(steps + 1):
                ended = k == steps or run.at_rest
                kept = k % every == 0 or ended
                if kept:
                    times.append(k * self.space.delta)
                    positions.take(run.position)
                    if velocities is not None:
                        velocities.take(run.velocity)
                if ended:
                    break
                if kept or pace.due():
                    yield run.progress(stage, k, preview=kept)
                run.step()
            trajectory = Trajectory(
                np.array(times if store is not None else times[-1:]), positions.frames(),
                None if velocities is None else velocities.frames(), *run.course(), run.report(),
                run.state(), clock.perf_counter() - began,
            )  # fmt: skip
            finished = True
            return trajectory
        finally:
            if not finished:
                positions.close()


def _squeezed(x: Tensor) -> Tensor:
    return x[0] if x.shape[0] == 1 else x
