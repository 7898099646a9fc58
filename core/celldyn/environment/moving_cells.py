"""Steps of one run: clamps, what the policy does, and how fast cells are.

Shapes: B environments, n cells, d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.clamp_run import ClampRun
from celldyn.environment.clamps import Clamp
from celldyn.environment.config import SpaceConfig
from celldyn.environment.networks import Embedded, Pinning
from celldyn.environment.steady import SteadyReport, SteadyTest
from celldyn.environment.stepping import moved
from celldyn.environment.trajectories import EnvironmentState, Frame, Trained
from celldyn.errors import DataError
from celldyn.jobs import Progress

_SPEEDS_AT_ONCE = 16
"""Steps between two looks at what a graphics card has done: each look waits for it."""


class CellRun:
    """Cells of one run, and how far it is."""

    def __init__(
        self,
        fitted: Trained,
        space: SpaceConfig,
        modalities: Mapping[int, Tensor],
        pinning: Mapping[int, Pinning],
        base: Embedded,
        state: EnvironmentState,
        clamps: Sequence[Clamp],
        test: SteadyTest | None,
        steps: int,
        apart: Sequence[Tensor] = (),
    ) -> None:
        self._space, self._policy, self._begin = space, fitted.policy, state
        self.position, self.velocity = state.position, state.velocity
        self._clamps = ClampRun(
            fitted.policy, fitted.inputs, modalities, pinning, clamps, state.held, space.delta
        )  # fmt: skip
        self._base, self._test = base, test
        self._n_environments, self._apart = state.n_environments, apart
        self._embedded = self._now()
        self._done, self.at_rest = 0, False
        self._looked = 0
        self._look_every = 1 if state.position.device.type == "cpu" else _SPEEDS_AT_ONCE
        self._course = torch.zeros(steps, state.n_environments, 2, device=state.position.device)
        self._steps = steps

    def _now(self) -> list[Embedded]:
        """Return what cells see, embedded: of all, or of each group that is kept apart."""
        embedded = self._clamps.embedded(self._base)
        if embedded.self_part.dim() == 2:
            embedded = embedded.repeat(self._n_environments)
        if len(self._apart) < 2:
            return [embedded]
        return [Embedded(*(part[:, cells] for part in embedded)) for cells in self._apart]

    def _actions(self) -> Tensor:
        if len(self._apart) < 2:
            return self._policy.mean_action(self.position, self.velocity, self._embedded[0])
        action = torch.empty_like(self.position)
        for cells, embedded in zip(self._apart, self._embedded, strict=True):
            here, fast = self.position[:, cells], self.velocity[:, cells]
            action[:, cells] = self._policy.mean_action(here, fast, embedded)
        return action

    @torch.no_grad()
    def step(self) -> None:
        """Move cells by one step."""
        time = self._begin.time + self._done * self._space.delta
        if self._clamps.advance(time):
            self._embedded = self._now()
        action = self._actions()
        if self._clamps.pushes:
            action = self._clamps.pushed(self.position, self.velocity, action, time)
        self.position, self.velocity, _ = moved(self.position, self.velocity, action, self._space)
        course = self._course[self._done]
        course[:, 0] = torch.linalg.vector_norm(self.velocity, dim=-1).mean(-1)
        course[:, 1] = self.velocity.abs().mean((-2, -1))
        self._done += 1
        if self._done - self._looked >= self._look_every or self._done == self._steps:
            self._look()

    def _look(self) -> None:
        """Look at the speeds of the steps since the last look."""
        speeds = self._course[self._looked : self._done, :, 0].amax(dim=1).tolist()
        self._looked = self._done
        for speed in speeds:
            if not np.isfinite(speed):
                raise DataError(
                    f"cells went where no number is, at {self._done * self._space.delta:g} s",
                    "look at the policy, at what cells see, or at the factor of a push",
                )
            if self._test is not None and self._test.update(speed):
                self.at_rest = True

    @property
    def _speed(self) -> float:
        if not self._done:
            return self._begin.speed()
        return float(self._course[self._done - 1, :, 0].max())

    def progress(self, stage: str, done: int, *, preview: bool) -> Progress:
        """Say where the run is."""
        speed, delta = self._speed, self._space.delta
        frame = None
        if preview:
            frame = Frame(
                self._begin.time + done * delta, _numbers(self.position), _numbers(self.velocity)
            )
        return Progress(
            stage, done * delta, self._steps * delta,
            f"{self._begin.time + done * delta:.1f} s, mean speed {speed:.3g}", {"speed": speed},
            frame,
        )  # fmt: skip

    def course(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (steps, B) speeds and densities of the steps that were made."""
        whole = self._course[: self._done].cpu().numpy()
        return whole[..., 0].copy(), whole[..., 1].copy()

    def report(self) -> SteadyReport:
        """Say how the run ended."""
        test = self._test or SteadyTest()
        return test.report(
            reached=self.at_rest, time=round(self._done * self._space.delta, 9),
            speed=self._speed, steps=self._done,
        )  # fmt: skip

    def state(self) -> EnvironmentState:
        """Return where cells are."""
        return replace(
            self._begin, position=self.position, velocity=self.velocity,
            time=self._begin.time + self._done * self._space.delta, held=self._clamps.held(),
        )  # fmt: skip


def _numbers(x: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = x[0].cpu().numpy().copy()
    return found
