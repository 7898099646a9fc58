"""Many environments side by side, each with cells and a clock of its own; they begin anew alone.

Shapes: N cells of the data, B environments of at most n cells, d dimensions, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.networks import Pinning
from celldyn.environment.rewarding import Moment, pinning_quality, rewards, target_variance
from celldyn.environment.stepping import moved, start
from celldyn.environment.tissue import Tissue
from celldyn.errors import DataError


@dataclass(slots=True, eq=False)
class Episode:
    """What stays the same in an environment until it begins anew: (B, ...) of all of them."""

    number: Tensor
    """(B,) of the episode, over all that ever were."""
    cells: Tensor
    """(B, n) numbers of cells; 0 where there is none."""
    n_cells: Tensor
    """(B,)."""
    end: Tensor
    """(B,) s."""
    variances: tuple[Tensor, ...]
    """(B,) of every target."""


class World:
    """B environments over a tissue.

    Parameters
    ----------
    tissue
        Cells to draw from.
    config
        Space, rewards, cells per episode.
    n_environments
        B.
    generator
        Of the tissue's device.

    Raises
    ------
    DataError
        If there are fewer than two cells in every partition.
    """

    def __init__(
        self,
        tissue: Tissue,
        config: EnvironmentConfig,
        n_environments: int,
        generator: torch.Generator,
    ) -> None:
        self.tissue, self.config, self.generator = tissue, config, generator
        self._partitions = [
            cells for part in torch.unique(tissue.partition)
            if len(cells := torch.nonzero(tissue.partition == part)[:, 0]) >= 2
        ]  # fmt: skip
        if not self._partitions:
            raise DataError(
                "no partition has two cells to train on", "name fewer columns in partition_cols"
            )
        largest = max(map(len, self._partitions))
        self.n = min(config.num_cells_max, largest)
        self.n_fewest = min(config.num_cells_min, self.n)
        self._full = min(self.n_fewest, *map(len, self._partitions)) == self.n
        B, device = n_environments, tissue.features.device
        shape = (B, self.n, config.dim)
        self.position, self.velocity = (
            torch.zeros(shape, device=device),
            torch.zeros(shape, device=device),
        )
        self.time = torch.zeros(B, device=device)
        self.n_episodes = 0
        empty = torch.zeros(B, dtype=torch.int64, device=device)
        self.episode = Episode(
            empty, torch.zeros(B, self.n, dtype=torch.int64, device=device), empty.clone(),
            torch.zeros(B, device=device),
            tuple(torch.zeros(B, device=device) for _ in tissue.targets),
        )  # fmt: skip
        self._targets = [
            torch.zeros(B, self.n, each.shape[-1], device=device) for each in tissue.targets
        ]
        self._quality: Tensor | None = None
        self.begin(torch.arange(B, device=device), at_once=True)

    @property
    def n_environments(self) -> int:
        """B."""
        return len(self.position)

    @property
    def mask(self) -> Tensor | None:
        """(B, n) bool, which cells are there; None where all are."""
        if self._full:
            return None
        return mask_of(self.episode.n_cells, self.n)

    def begin(self, which: Tensor, *, at_once: bool = False) -> None:
        """Begin environments anew, (b,) numbers.

        Parameters
        ----------
        at_once
            Whether they begin all together: then they end at different times, so that what is
            learned from one step comes from all parts of an episode.
        """
        for b in which.tolist():
            self._draw_cells(b)
        config, b = self.config, len(which)
        shape = (b, *self.position.shape[1:])
        place, speed = start(shape, config, self.generator, self.position.device)
        self.position[which], self.velocity[which] = place, speed
        self.time[which] = 0.0
        self.episode.end[which] = self._ends(b, at_once=at_once)
        self._quality = None
        self._look_up(which)

    def _look_up(self, which: Tensor) -> None:
        """Take the targets of the cells of some environments."""
        for held, target in zip(self._targets, self.tissue.targets, strict=True):
            held[which] = target[self.episode.cells[which]]
        self.episode.variances = tuple(target_variance(one, self.mask) for one in self._targets)

    def _draw_cells(self, b: int) -> None:
        device, g = self.position.device, self.generator
        one = torch.randint(len(self._partitions), (1,), generator=g, device=device)
        pool = self._partitions[int(one)]
        most = min(self.n, len(pool))
        fewest = min(self.n_fewest, most)
        n = int(torch.randint(fewest, max(most, fewest + 1), (1,), generator=g, device=device))
        if most == fewest:
            n = most
        chosen = pool[torch.randperm(len(pool), generator=g, device=device)[:n]]
        self.episode.cells[b] = 0
        self.episode.cells[b, :n] = chosen
        self.episode.n_cells[b] = n
        self.episode.number[b] = self.n_episodes
        self.n_episodes += 1

    def _ends(self, n: int, *, at_once: bool) -> Tensor:
        config = self.config
        chance = torch.rand(n, generator=self.generator, device=self.time.device)
        if at_once:
            return chance * config.max_time
        if not config.terminate_random:
            return torch.full_like(chance, config.max_time)
        return config.min_time + (chance * (config.max_time - config.min_time)).floor()

    # --- time ----------------------------------------------------------------------------------

    def targets(self) -> list[Tensor]:
        """Return what positions are to tell, (B, n, F_k) each, with noise where that is asked."""
        if not self.config.target_noise:
            return self._targets
        return [
            each + self.config.noise_std * torch.randn(
                each.shape, generator=self.generator, device=each.device
            )
            for each in self._targets
        ]  # fmt: skip

    def advance(
        self, action: Tensor, pinning: Sequence[Pinning]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Move all by one step; nothing begins anew yet.

        Parameters
        ----------
        action
            (B, n, d).
        pinning
            Networks that tell the targets.

        Returns
        -------
        Terms of the reward, (B, n) each; and which environments are over, (B,) bool.
        """
        config, mask = self.config, self.mask
        before = Moment(self.position, self.velocity)
        self.position, self.velocity, out = moved(*before, action, config)
        after = Moment(self.position, self.velocity)
        # Weights of 0 leave the networks out; the quality before is that after the last step.
        terms = rewards(before, after, action, [], ([], []), config, out_of_bounds=out)
        if config.reward_pinning or config.reward_distance:
            targets = self.targets()
        if config.reward_pinning:
            earlier = self._quality
            if earlier is None:
                earlier = self._quality_of(before.position, targets, pinning)
            self._quality = self._quality_of(after.position, targets, pinning)
            scale = config.reward_pinning * 0.5 / config.delta
            terms = {"pinning": scale * (earlier - self._quality), **terms}
        if config.reward_distance:
            terms |= rewards(before, after, action, targets, ([], []), _only_distance(config),
                             mask=mask)  # fmt: skip
        self.time += config.delta
        return terms, self._over(out)

    def forget_quality(self) -> None:
        """Tell the present quality anew at the next step: the networks that tell have changed."""
        self._quality = None

    def _quality_of(
        self, position: Tensor, targets: Sequence[Tensor], pinning: Sequence[Pinning]
    ) -> Tensor:
        return pinning_quality(
            [told(position) for told in pinning], targets, self.episode.variances,
            self.tissue.spatial, self.mask, reflection=self.config.reflection,
        )  # fmt: skip

    def _over(self, out: Tensor) -> Tensor:
        """Return which environments are over; each is only cut, as none has an end of its own."""
        config, eps = self.config, self.config.epsilon
        over = self.time + 1e-4 >= self.episode.end
        if config.terminate_max_time:
            over |= self.time + 1e-4 >= config.max_time
        mask = self.mask
        if config.terminate_bound:
            over |= (out if mask is None else out & mask).any(-1)
        if config.terminate_velocity:
            square = self.velocity.square().mean(-1)
            share = torch.ones_like(square) if mask is None else mask.to(square.dtype)
            mean = (square * share).sum(-1) / share.sum(-1)
            over |= (mean + eps <= config.vel_threshold) & (self.time >= config.min_time)
        return over

    # --- going on later ------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Return copies of what another world of the tissue needs to go on as this one."""
        episode = self.episode
        found = {
            "position": self.position, "velocity": self.velocity, "time": self.time,
            "number": episode.number, "cells": episode.cells, "n_cells": episode.n_cells,
            "end": episode.end, "n_episodes": torch.tensor(self.n_episodes),
        }  # fmt: skip
        return {name: value.clone() for name, value in found.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where another one was.

        Raises
        ------
        ValueError
            If that was of other environments, or of other cells.
        """
        cells = state["cells"]
        beyond = int(cells.min()) < 0 or int(cells.max()) >= self.tissue.n_cells
        if state["position"].shape != self.position.shape or beyond:
            raise ValueError("another world")
        self.position, self.velocity = state["position"].clone(), state["velocity"].clone()
        self.time, self.n_episodes = state["time"].clone(), int(state["n_episodes"])
        episode = self.episode
        episode.number, episode.cells = state["number"].clone(), cells.clone()
        episode.n_cells, episode.end = state["n_cells"].clone(), state["end"].clone()
        self._look_up(torch.arange(self.n_environments, device=self.time.device))
        self._quality = None


def mask_of(n_cells: Tensor, n: int) -> Tensor:
    """Return which of n places hold a cell, (..., n): the first ones."""
    return torch.arange(n, device=n_cells.device) < n_cells[..., None]


def _only_distance(config: EnvironmentConfig) -> EnvironmentConfig:
    found: EnvironmentConfig = config.replace(
        reward_pinning=0, penalty_velocity=0, penalty_action=0, penalty_bound=0, reward_origin=0
    )
    return found
