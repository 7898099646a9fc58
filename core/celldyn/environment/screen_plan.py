"""How a screen is done: many environments side by side, one change each.

Shapes: q genes, B environments at once, n cells, d dimensions, r groups of cells, F preprocessed
features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.clamping import Clamping
from celldyn.environment.clamps import Clamp
from celldyn.environment.costs import USABLE, free_bytes, memory_of
from celldyn.environment.preprocessing_map import LinearMap
from celldyn.environment.simulating import Simulator
from celldyn.environment.trajectories import EnvironmentState, Trajectory
from celldyn.jobs import Job
from celldyn.perturbation import Change

_ON_CPU = 2048
"""Cells of all environments together that a core is busy with; more gain nothing there."""
_AT_MOST = 512
"""Environments at once."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Names, (q, F) directions and preprocessed targets, (q, 1, 1) or (q, n, 1) on demand."""

    names: tuple[str, ...]
    basis: NDArray[np.float32]
    of: Callable[[slice], Tensor]


@dataclass(frozen=True, eq=False)
class ScreenPlan:
    """What is done to each gene, in which cells, from which state, and told for which groups."""

    simulator: Simulator
    each: LinearMap
    state: EnvironmentState
    modality: int
    change: Change
    clamping: Clamping
    time: float
    cells: NDArray[np.bool_] | None
    masks: list[tuple[str, NDArray[np.bool_]]]

    @property
    def at_once(self) -> int:
        """How many environments run side by side."""
        n = self.simulator.n_cells
        if self.simulator.device.type == "cpu":
            return int(np.clip(_ON_CPU // n, 1, _AT_MOST))
        one = memory_of(n, self.simulator.fitted.policy.dim).state_bytes
        free = USABLE * free_bytes(self.simulator.device)
        return int(np.clip(free // (2 * one), 1, _AT_MOST))

    def targets(self, names: tuple[str, ...]) -> Levels:
        """Return directions and targets of genes."""
        each, change = self.each, self.change
        basis = np.ascontiguousarray(each.columns(names).T, np.float32)
        if not change.factor:
            level = max(change.offset, 0.0) if each.log else change.offset
            fixed = each.preprocessed(names, level).astype(np.float32)
            return Levels(names, basis, lambda at: torch.from_numpy(fixed[at])[:, None, None])
        features = self.simulator.modalities[self.modality].cpu().numpy()

        def changed(at: slice) -> Tensor:
            some = names[at]
            raw = each.expression(features, some)
            after = raw * change.factor + change.offset
            after = np.maximum(after, 0.0) if each.log else after
            told = features @ each.columns(some)
            told = told + each.preprocessed(some, after) - each.preprocessed(some, raw)
            return torch.from_numpy(told.T[:, :, None].astype(np.float32))

        return Levels(names, basis, changed)

    def clamp(self, basis: NDArray[np.float32], target: Tensor) -> Clamp:
        """Return a clamp of one direction per environment."""
        return Clamp(
            features=("each",), modality=self.modality, kind=self.clamping,
            basis=torch.from_numpy(basis)[:, None, :], levels=lambda _time: target,
            cells=self.cells, began=self.state.time,
        )  # fmt: skip

    def run_job(self, n_environments: int, clamps: Sequence[Clamp]) -> Job[Trajectory]:
        """Move several environments for the time of the screen, every step a frame."""
        B = n_environments
        position, velocity = (
            x.expand(B, -1, -1).clone() for x in (self.state.position, self.state.velocity)
        )
        state = replace(self.state, position=position, velocity=velocity)
        delta = self.simulator.space.delta
        return self.simulator.run_job(
            state, time=self.time, skip_time=delta, clamps=clamps, stage="screening genes"
        )

    def measured(
        self, run: Trajectory, control: NDArray[np.float32] | None
    ) -> NDArray[np.float64]:
        """Return effect, length, shift and size, (B, 4, r)."""
        frames = run.positions if run.positions.ndim == 4 else run.positions[:, None]
        steps = [np.linalg.norm(b - a, axis=-1) for a, b in pairwise(frames)]
        length = np.sum(steps, axis=0)
        effect = np.linalg.norm(frames[-1] - frames[0], axis=-1)
        shift = effect if control is None else np.linalg.norm(frames[-1] - control, axis=-1)
        size = np.zeros_like(effect)
        for one in run.state.held:
            if one.clamp.basis.dim() == 3:
                weight, basis = one.weight.cpu().numpy(), one.clamp.basis.numpy()
                size = np.abs(weight[..., 0]) * np.linalg.norm(basis[:, 0], axis=-1)[:, None]
        per_cell = np.stack([effect, length, shift, size], axis=1).astype(np.float64)
        means = np.stack([mask / mask.sum() for _, mask in self.masks], axis=1)
        found: NDArray[np.float64] = per_cell @ means
        return found
