"""The environment as PettingZoo's parallel API has it: every cell an agent, dictionaries by cell.

Dictionaries cost some microseconds per cell and step: meant for some hundred cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from pettingzoo.utils.env import ParallelEnv

from celldyn.data.words import counted
from celldyn.environment.world import World
from celldyn.errors import DataError


class CellsParallelEnv(ParallelEnv):  # type: ignore[misc]
    """One environment; agents have the names of their cells.

    Parameters
    ----------
    world
        Of one environment.
    pinning
        What tells each target from positions, for the reward.
    names
        Of all cells that may be drawn.

    Notes
    -----
    An observation is [x | v | features], (2 d + F,) float32; an action a force (d,), or a push 0,
    1 or 2 per dimension where space is discrete. An episode has no end of its own: all agents are
    truncated together. `infos` has the terms of an agent's reward.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "celldyn_environment_v0", "render_modes": []}
    render_mode = None

    def __init__(self, world: World, pinning: Sequence[Any], names: Sequence[str]) -> None:
        self._world, self._pinning, self._names = world, pinning, list(map(str, names))
        config, n_seen = world.config, world.tissue.features.shape[1]
        reach = np.full(2 * config.dim + n_seen, np.inf, np.float32)
        self._observation = gymnasium.spaces.Box(-reach, reach)
        if config.discrete:
            self._action: Any = gymnasium.spaces.MultiDiscrete([3] * config.dim)
        else:
            bound = np.inf if config.force_bound is None else config.force_bound
            self._action = gymnasium.spaces.Box(-bound, bound, (config.dim,), np.float32)
        self.possible_agents = list(self._names)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Any:  # noqa: ANN401
        """Return what a cell may see: the same for all."""
        return self._observation

    def action_space(self, agent: str) -> Any:  # noqa: ANN401
        """Return what a cell may do: the same for all."""
        return self._action

    def reset(
        self,
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, dict[str, float]]]:
        """Begin an episode with other cells; return what they see, and nothing else of them."""
        if seed is not None:
            self._world.generator.manual_seed(seed)
        self._world.begin(torch.zeros(1, dtype=torch.int64))
        n = int(self._world.episode.n_cells[0])
        self.agents = [self._names[k] for k in self._world.episode.cells[0, :n].tolist()]
        return self._seen(), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[
        dict[str, NDArray[np.float32]],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, float]],
    ]:
        """Let all cells act at once.

        Returns
        -------
        What they see, their rewards, whether they are terminated (never), whether the episode is
        over, and the terms of their rewards.

        Raises
        ------
        DataError
            If an agent has no action, or one that is not finite; nothing has moved then.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        action = self._actions(actions)
        terms, over = self._world.advance(action, self._pinning)
        agents, n = self.agents, len(self.agents)
        rows = {name: term[0, :n].tolist() for name, term in terms.items()}
        total = torch.stack(list(terms.values())).sum(0)[0, :n].tolist()
        infos = {
            agent: {name: values[i] for name, values in rows.items()}
            for i, agent in enumerate(agents)
        }
        seen, cut = self._seen(), bool(over[0])
        rewards = dict(zip(agents, total, strict=True))
        if cut:
            self.agents = []
        return seen, rewards, dict.fromkeys(agents, False), dict.fromkeys(agents, cut), infos

    def state(self) -> NDArray[np.float32]:
        """Return what all cells see, (n, 2 d + F)."""
        n = len(self.agents)
        world = self._world
        features = world.tissue.features[world.episode.cells[0, :n]]
        whole = torch.cat([world.position[0, :n], world.velocity[0, :n], features], dim=1)
        return np.asarray(whole.cpu().numpy(), np.float32)

    def _seen(self) -> dict[str, NDArray[np.float32]]:
        return dict(zip(self.agents, self.state(), strict=True))

    def _actions(self, actions: Mapping[str, Any]) -> torch.Tensor:
        """Return (1, n, d) actions; places without a cell push nowhere."""
        world = self._world
        missing = [agent for agent in self.agents if agent not in actions]
        if missing:
            raise DataError(
                f"{counted(len(missing), 'cell')} has no action, such as {missing[0]}",
                "give one of each agent",
            )
        dim = world.config.dim
        rows = [np.asarray(actions[agent], np.float32) for agent in self.agents]
        wrong = [a for a, row in zip(self.agents, rows, strict=True)
                 if row.shape != (dim,) or not np.isfinite(row).all()]  # fmt: skip
        if wrong:
            raise DataError(
                f"the action of {wrong[0]} is not {dim} finite numbers", "give one per dimension"
            )
        rest = 1.0 if world.config.discrete else 0.0
        whole = torch.full((1, world.n, dim), rest, device=world.position.device)
        whole[0, : len(rows)] = torch.from_numpy(np.stack(rows))
        return whole
