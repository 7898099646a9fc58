"""The environment as TorchRL has it: tensors of B environments by n cells, on any device.

The group is "cells"; a mask says which places hold one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from celldyn.environment.world import World, mask_of
from celldyn.errors import DataError

GROUP = "cells"


class CellsEnv(EnvBase):  # type: ignore[misc]
    """B environments side by side.

    Parameters
    ----------
    world
        The environments.
    pinning
        What tells each target from positions, for the reward.

    Notes
    -----
    Keys, of shapes (B, n, ·): ("cells", "observation") is [x | v | features], ("cells", "mask")
    which places hold a cell, ("cells", "action"), ("cells", "reward"). An episode is never
    terminated, only truncated; environments that are done begin anew when they are reset, each
    by itself.
    """

    batch_locked = True

    def __init__(self, world: World, pinning: Sequence[Any]) -> None:
        self._world, self._pinning = world, pinning
        device = world.position.device
        super().__init__(device=device, batch_size=torch.Size([world.n_environments]))
        B, n, d = world.position.shape
        n_seen = 2 * d + world.tissue.features.shape[1]
        shape, kind = torch.Size([B]), {"device": device}
        self.observation_spec = Composite(
            {GROUP: Composite({
                "observation": Unbounded((B, n, n_seen), **kind),
                "mask": Binary(n, shape=(B, n), dtype=torch.bool, **kind),
            }, shape=(B, n), **kind)},
            shape=shape, **kind,
        )  # fmt: skip
        self.action_spec = self._in_group(self._actions(), "action")
        self.reward_spec = self._in_group(Unbounded((B, n, 1), **kind), "reward")
        flag = Categorical(2, shape=(B, 1), dtype=torch.bool, **kind)
        self.done_spec = Composite(
            {name: flag.clone() for name in ("done", "terminated", "truncated")},
            shape=shape, **kind,
        )  # fmt: skip

    def _in_group(self, spec: Any, name: str) -> Any:  # noqa: ANN401
        B, n, _ = self._world.position.shape
        group = Composite({name: spec}, shape=(B, n), device=self.device)
        return Composite({GROUP: group}, shape=(B,), device=self.device)

    def _actions(self) -> Any:  # noqa: ANN401
        config, device = self._world.config, self._world.position.device
        shape = self._world.position.shape
        if config.discrete:
            return Categorical(3, shape=shape, dtype=torch.int64, device=device)
        if config.force_bound is None:
            return Unbounded(shape, device=device)
        return Bounded(-config.force_bound, config.force_bound, shape, device=device)

    def _seen(self) -> TensorDict:
        world = self._world
        there = mask_of(world.episode.n_cells, world.n)
        features = world.tissue.features[world.episode.cells]
        whole = torch.cat([world.position, world.velocity, features], dim=-1)
        whole = whole.masked_fill(~there[..., None], 0.0)
        return TensorDict(
            {"observation": whole, "mask": there}, batch_size=there.shape, device=self.device
        )

    def _flags(self, over: torch.Tensor) -> dict[str, torch.Tensor]:
        cut = over[:, None]
        return {"done": cut, "truncated": cut.clone(), "terminated": torch.zeros_like(cut)}

    def _reset(self, tensordict: TensorDictBase | None = None, **_: Any) -> TensorDict:  # noqa: ANN401
        world = self._world
        which = torch.ones(world.n_environments, dtype=torch.bool, device=self.device)
        if tensordict is not None and "_reset" in tensordict.keys():  # noqa: SIM118
            which = tensordict.get("_reset").reshape(-1)
        world.begin(torch.nonzero(which)[:, 0])
        return TensorDict(
            {GROUP: self._seen(), **self._flags(torch.zeros_like(which))},
            batch_size=self.batch_size, device=self.device,
        )  # fmt: skip

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        world = self._world
        action = tensordict.get((GROUP, "action")).to(world.position.dtype)
        if not bool(torch.isfinite(action).all()):
            raise DataError("an action is not finite", "look at the policy")
        terms, over = world.advance(action, self._pinning)
        reward = torch.stack(list(terms.values())).sum(0)
        there = mask_of(world.episode.n_cells, world.n)
        cells = self._seen()
        cells["reward"] = reward.masked_fill(~there, 0.0)[..., None]
        return TensorDict(
            {GROUP: cells, **self._flags(over)}, batch_size=self.batch_size, device=self.device
        )

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._world.generator.manual_seed(seed)
