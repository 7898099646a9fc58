"""A virtual cell environment as it is kept: networks, preprocessing, and how it was trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.networks import Pinning, Policy

if TYPE_CHECKING:
    from celldyn.environment.preprocessing import Preprocessing


@dataclass(frozen=True, eq=False)
class FittedEnvironment:
    """All that there is of an environment but its data.

    Parameters
    ----------
    config
        All parameters.
    policy
        What moves cells, in evaluation mode.
    pinning
        What tells each target from positions, in the order of `targets`.
    preprocessing
        What prepared the data, and undoes it.
    inputs, targets, spatial
        Modalities that cells see, that positions tell, and that are coordinates.
    train_mask
        (n,) which cells it was trained on; None where that is not known.
    obs_names
        (n,) names of the cells that it was trained beside.
    history
        Rewards and losses by update; see `Trainer.update_job`.
    updates, timesteps
        Updates and cell-steps so far.
    notes
        Sentences for a person.
    resume
        What training needs to go on as if it had never stopped; empty where it is not kept.
    """

    config: EnvironmentConfig
    policy: Policy
    pinning: tuple[Pinning, ...]
    preprocessing: Preprocessing
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    spatial: tuple[int, ...] = ()
    train_mask: NDArray[np.bool_] | None = None
    obs_names: tuple[str, ...] = ()
    history: list[dict[str, float]] = field(default_factory=list)
    updates: int = 0
    timesteps: int = 0
    notes: tuple[str, ...] = ()
    resume: dict[str, Tensor] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        """Dimensions of the space."""
        return self.policy.dim

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.policy.log_std.device

    def to(self, device: torch.device | str) -> FittedEnvironment:
        """Return the same with copies of its networks on a device."""
        from copy import deepcopy

        return replace(
            self, policy=deepcopy(self.policy).to(device),
            pinning=tuple(deepcopy(one).to(device) for one in self.pinning),
        )  # fmt: skip

    def __str__(self) -> str:
        last = f", reward {self.history[-1]['reward']:.2f}" if self.history else ""
        return (
            f"virtual cells in {self.dim} dimensions, {self.policy.n_features} features seen, "
            f"{len(self.targets)} modalities told, {self.timesteps:,} cell-steps{last}"
        )
