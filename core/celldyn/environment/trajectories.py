"""Where virtual cells are, and where they have been.

Shapes: B environments, n cells, d dimensions, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.clamps import Held
from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.steady import SteadyReport


class Trained(Protocol):
    """What a simulator needs of a trained environment; a `FittedEnvironment` has it."""

    @property
    def config(self) -> EnvironmentConfig: ...  # noqa: D102
    @property
    def policy(self) -> Policy: ...  # noqa: D102
    @property
    def pinning(self) -> tuple[Pinning, ...]: ...  # noqa: D102
    @property
    def inputs(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def targets(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class EnvironmentState:
    """Where cells are, and what clamps changed of what they see.

    Parameters
    ----------
    position, velocity
        (B, n, d).
    time
        Seconds since the environment began.
    held
        What clamps changed so far.
    steady
        Whether cells were simulated to rest, or for the time that was given for it.
    """

    position: Tensor
    velocity: Tensor
    time: float = 0.0
    held: tuple[Held, ...] = ()
    steady: bool = False

    @property
    def n_cells(self) -> int:
        """Number of cells, n."""
        return self.position.shape[-2]

    @property
    def n_environments(self) -> int:
        """Number of environments, B."""
        return self.position.shape[0]

    def speed(self) -> float:
        """Mean over cells of |v|, of the fastest environment."""
        return float(self.velocity.norm(dim=-1).mean(-1).max())


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a job shows as it goes: time in s, and (n, d) of the first environment."""

    time: float
    position: NDArray[np.float32]
    velocity: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """What came of a run.

    Parameters
    ----------
    times
        (T,) seconds since it began, of the frames.
    positions
        (T, n, d), or (T, B, n, d) where there are several environments.
    velocities
        The same of velocities; None where they were not kept.
    speeds
        (steps, B) mean over cells of |v| after every step.
    densities
        (steps, B) mean over cells and dimensions of the absolute velocity: how fast biological
        time goes.
    report
        Whether cells came to rest.
    state
        Where they are at the end.
    seconds
        How long it took.
    """

    times: NDArray[np.float64]
    positions: NDArray[np.float32]
    velocities: NDArray[np.float32] | None
    speeds: NDArray[np.float32]
    densities: NDArray[np.float32]
    report: SteadyReport
    state: EnvironmentState = field(repr=False)
    seconds: float = 0.0
