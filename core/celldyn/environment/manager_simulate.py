"""The part of a manager that moves cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.devices import few_threads
from celldyn.environment.clamps import Clamp
from celldyn.environment.costs import Cost, memory_of, require_memory
from celldyn.environment.manager_features import FeaturesMixin, Impute, Told
from celldyn.environment.recording import Store, checked_store, frame_steps, frames_of
from celldyn.environment.steady import PATIENCE, TOLERANCE, SteadyReport, SteadyTest
from celldyn.environment.trajectories import EnvironmentState, Frame, Trajectory
from celldyn.errors import NotFittedError
from celldyn.jobs import Job, Progress, run, scaled

_TRIED_S = 0.1
"""Seconds that steps are measured for, where time is to be predicted."""


class SimulateMixin(FeaturesMixin):
    """Cells on their way; see `BasicManager`."""

    _trajectory: Trajectory | None = None

    @property
    def trajectory(self) -> Trajectory:
        """The last run: frames of positions, speeds, and whether cells came to rest.

        Raises
        ------
        NotFittedError
            Before the first.
        """
        if self._trajectory is None:
            raise NotFittedError("nothing was simulated yet", "call simulate()")
        return self._trajectory

    @property
    def report(self) -> SteadyReport:
        """Whether cells came to rest in the last run, and when."""
        return self.trajectory.report

    def simulate(
        self,
        time: float = 512.0,
        skip_time: float = 10.0,
        store_states: Store = "cpu",
        progress_bar: bool = True,  # noqa: FBT001, FBT002
        impute: Impute = True,  # noqa: FBT002
        impute_kwargs: Mapping[str, Any] | None = None,
        include_vel: bool = False,  # noqa: FBT001, FBT002
        *,
        stop_when_steady: bool | None = None,
        tolerance: float = TOLERANCE,
        patience: int = PATIENCE,
    ) -> tuple[NDArray[np.float64], Told]:
        """Move cells, to a steady state if they are not in one; `simulate_job`, drained."""
        job = self.simulate_job(
            time, skip_time, store_states, impute, impute_kwargs, include_vel,
            stop_when_steady=stop_when_steady, tolerance=tolerance, patience=patience,
        )  # fmt: skip
        return run(job, bar=progress_bar)

    def simulate_job(
        self,
        time: float = 512.0,
        skip_time: float = 10.0,
        store_states: Store = "cpu",
        impute: Impute = True,  # noqa: FBT002
        impute_kwargs: Mapping[str, Any] | None = None,
        include_vel: bool = False,  # noqa: FBT001, FBT002
        *,
        stop_when_steady: bool | None = None,
        tolerance: float = TOLERANCE,
        patience: int = PATIENCE,
        steady: bool = True,
    ) -> Job[tuple[NDArray[np.float64], Told]]:
        """Move cells, with the perturbations that hold.

        `report` says afterwards whether they came to rest. A run that is refused or stopped leaves
        cells where they were.

        Parameters
        ----------
        time
            Seconds of the environment, at most.
        skip_time
            Seconds between frames; the start and the end are always frames.
        store_states
            "cpu", a .npy file that positions are streamed to, or None: only the last frame.
        impute
            Whether frames are told as modalities: True, a number, or False for positions.
        impute_kwargs
            Further arguments of `environment_to_features`.
        include_vel
            With impute=False: positions, then velocities.
        stop_when_steady
            Whether the run ends when cells are at rest; None: if they are not in a steady state
            yet. A run from a steady state, such as one to another stage, lasts its whole time.
        tolerance, patience
            Cells are at rest when their mean speed was under the tolerance for so many steps.
        steady
            Whether this counts as a steady state afterwards.

        Returns
        -------
        times, (T,), and states: a list of (T, n, G) per modality that is told, one such array, or
        positions (T, n, d).

        Raises
        ------
        NotFittedError
            Before `reset_env`.
        ConfigError
            If a time or an option is none.
        DataError
            If the run does not fit into memory, or cells go where no number is.
        """
        self._check_impute(impute, include_vel=include_vel)
        state, stop, clamps = self.state, stop_when_steady, tuple(self._clamps)
        stop = not state.steady if stop is None else stop
        require_memory(self.cost(time, skip_time, impute, store_states, include_vel), self.device)
        test = SteadyTest(tolerance, patience)
        work = self.simulator.run_job(
            state, time=time, skip_time=skip_time, clamps=clamps,
            test=test if stop else None, store=store_states, with_velocities=include_vel,
        )  # fmt: skip
        with few_threads(), closing(work):
            trajectory = yield from scaled(work, 0.0, 1.0, units=1.0 if impute is False else 0.9)
            told = yield from self._frames_job(trajectory, impute, impute_kwargs or {})
        self._take(trajectory, clamps, steady=steady)
        return trajectory.times, told

    def _take(self, trajectory: Trajectory, clamps: Sequence[Clamp], *, steady: bool) -> None:
        """Take where a run ended; what was taken off meanwhile leaves nothing behind."""
        gone = [c for c in clamps if not any(c.same(one) for one in self._clamps)]
        held = tuple(
            one for one in trajectory.state.held if not any(one.clamp.same(c) for c in gone)
        )
        self._trajectory = trajectory
        self._state = replace(trajectory.state, held=held, steady=steady)

    def _frames_job(
        self, trajectory: Trajectory, impute: Impute, options: Mapping[str, Any]
    ) -> Job[Told]:
        positions = trajectory.positions
        if impute is not False:
            return (yield from scaled(self._told_job(positions, impute, options), 0.9, 1.0,
                                      units=0.1))  # fmt: skip
        if trajectory.velocities is None:
            return positions
        return np.concatenate([positions, trajectory.velocities], axis=-1)

    def play_job(
        self, skip_time: float = 0.1, time: float | None = None, *, steady: bool = False
    ) -> Job[Trajectory]:
        """Move cells for as long as the job is driven, or for a time.

        Every frame is a state: whoever stops the job finds cells where the last frame showed them.

        Parameters
        ----------
        skip_time
            Seconds of the environment between frames.
        time
            Seconds in all; None: until the job is closed.
        steady
            Whether cells then are in what counts as a steady state.

        Yields
        ------
        Progress in seconds, with a `Frame` as preview at every frame.
        """
        done = 0.0
        yield _shown(self.state, done, time)
        with few_threads():
            while True:
                lasts = skip_time if time is None else min(skip_time, time - done)
                clamps = tuple(self._clamps)
                work = self.simulator.run_job(
                    self.state, time=lasts, skip_time=lasts, clamps=clamps
                )
                trajectory = yield from _quiet(work, done, time)
                self._take(trajectory, clamps, steady=steady)
                done += trajectory.report.time
                yield _shown(self.state, done, time)
                if time is not None and done >= time - 0.5 * self.space.delta:
                    return trajectory

    def advance(self, steps: int = 1) -> None:
        """Move cells by some steps, with the perturbations that hold."""
        run(self.play_job(steps * self.space.delta, steps * self.space.delta), bar=False)

    def cost(
        self,
        time: float = 512.0,
        skip_time: float = 10.0,
        impute: Impute = True,  # noqa: FBT002
        store_states: Store = "cpu",
        include_vel: bool = False,  # noqa: FBT001, FBT002
        *,
        measured: bool = False,
        n_environments: int = 1,
    ) -> Cost:
        """Return what a run takes before it begins: memory, steps, and time if it is measured.

        Parameters
        ----------
        time, skip_time, impute, store_states, include_vel
            As for `simulate`.
        measured
            Whether some steps are made to measure their time.
        n_environments
            How many run at once.
        """
        steps, every = frame_steps(time, skip_time, self.space.delta)
        told = () if impute is False else self.fitted.targets if impute is True else (int(impute),)
        maps, policy = self.fitted.preprocessing.maps, self.fitted.config.policy
        few = policy.full_up_to if policy.vision == "auto" else policy.vision_size
        full = policy.vision == "full" or self.n_cells <= few
        cost = memory_of(
            self.n_cells, self.fitted.dim, n_environments=n_environments,
            n_frames=1 if store_states is None else frames_of(steps, every),
            n_told=sum(maps[k].n_raw for k in told),
            frames_in_memory=checked_store(store_states) is None, with_velocities=include_vel,
            n_seen=None if full else policy.vision_size, steps=steps,
        )  # fmt: skip
        return replace(cost, step_seconds=self._step_seconds()) if measured else cost

    def _step_seconds(self) -> float:
        """Measure a step: one to warm up, then as many as take a moment."""
        delta = self.space.delta
        first = self._try(delta)
        if self.device.type != "cpu":
            first = self._try(delta)
        n = int(np.clip(_TRIED_S / max(first, 1e-6), 1, 50))
        return self._try(n * delta) / n

    def _try(self, time: float) -> float:
        state = self._state or self.simulator.start(self.seed)
        work = self.simulator.run_job(
            state, time=time, skip_time=time, clamps=self._clamps, store=None
        )
        with few_threads():
            return run(work, bar=False).seconds


def _quiet(work: Job[Trajectory], done: float, total: float | None) -> Job[Trajectory]:
    """Drive a run, saying only how far it is."""
    with closing(work):
        while True:
            try:
                step = next(work)
            except StopIteration as end:
                trajectory: Trajectory = end.value
                return trajectory
            if step.done:
                yield replace(step, done=done + step.done, total=total, preview=None)


def _shown(state: EnvironmentState, done: float, total: float | None) -> Progress:
    speed = state.speed()
    frame = Frame(
        state.time, state.position[0].cpu().numpy().copy(), state.velocity[0].cpu().numpy().copy()
    )
    message = f"{state.time:.1f} s, mean speed {speed:.3g}"
    return Progress("moving cells", done, total, message, {"speed": speed}, frame)
