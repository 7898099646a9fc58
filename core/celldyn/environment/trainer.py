"""Everything that a training holds: a world, networks, optimisers, and where chance stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.memory import Memory
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.optimiser import Adam
from celldyn.environment.pinning import pinning_job
from celldyn.environment.ppo import Share, update_job
from celldyn.environment.rewarding import speed
from celldyn.environment.rollout import rollout_job
from celldyn.environment.tissue import Tissue
from celldyn.environment.warm_start import warm_start_job
from celldyn.environment.world import World
from celldyn.errors import FileFormatError
from celldyn.jobs import Job

FEWEST_STEPS = 64
"""Steps of a stretch, at least, where `num_environments` is not given."""
MOST_ENVIRONMENTS = 256


class Trainer:
    """What is trained, one update at a time.

    Parameters
    ----------
    tissue
        Training cells, on a device.
    config
        All parameters.
    start
        Networks to go on with; they are copied. None starts anew.
    rank
        Which of several learners this is; each draws its own episodes.
    """

    def __init__(
        self,
        tissue: Tissue,
        config: EnvironmentConfig,
        start: FittedEnvironment | None = None,
        rank: int = 0,
    ) -> None:
        self.tissue, self.config, self.rank = tissue, config, rank
        device = tissue.features.device
        self.generator = torch.Generator(device).manual_seed(config.seed + 1000003 * rank)
        self.policy, self.pinning = _networks(tissue, config, start)
        self._set_optimisers()
        self.world = World(tissue, config, self._n_environments(), self.generator)
        mean = (self.world.n + self.world.n_fewest) / 2
        self.n_steps = max(1, round(config.update_timesteps / (self.world.n_environments * mean)))
        self.updates = 0 if start is None else start.updates
        self.timesteps = 0 if start is None else start.timesteps
        self.kl_beta = config.kl_beta
        self._begins = start is None

    def _set_optimisers(self) -> None:
        config = self.config
        self.optimiser = Adam(
            self.policy, config.lr, weight_decay=config.weight_decay, clip_norm=config.clip_norm
        )
        self.pinning_optimisers = [
            Adam(one, config.pinning_lr, weight_decay=config.weight_decay, clip_norm=None)
            for one in self.pinning
        ]

    def _n_environments(self) -> int:
        config = self.config
        if config.num_environments is not None:
            return config.num_environments
        n = min(config.num_cells_max, self.tissue.n_cells)
        mean = (n + min(config.num_cells_min, n)) / 2
        return min(max(1, round(config.update_timesteps / (FEWEST_STEPS * mean))),
                   MOST_ENVIRONMENTS)  # fmt: skip

    def update_job(self, share: Share | None = None) -> Job[dict[str, float]]:
        """Let cells move, and learn from it.

        Returns
        -------
        "reward" and "reward/<term>": mean of a cell over an episode of mean length; "loss/total",
        "loss/ppo", "loss/critic", "loss/entropy", "loss/kl", "loss/pinning_<k>" where there was a
        snapshot; "explained_variance", "return_mean", "return_std"; "speed": mean |v| per
        dimension at the end; "std" of forces; "timesteps" so far.
        """
        memory = yield from self.rollout_job()
        return (yield from self.learn_job(memory, share))

    def rollout_job(self) -> Job[Memory]:
        """Let cells move, and return what they did; networks that are new may imitate first."""
        if self._begins and not self.updates and self.config.warm_start_steps:
            # All learners draw the same here, so that they begin alike.
            generator = torch.Generator(self.generator.device).manual_seed(self.config.seed)
            yield from warm_start_job(
                self.policy, self.pinning, self.tissue, self.config, generator
            )
            self._set_optimisers()  # parameters had become parts of others' vectors
        return (yield from rollout_job(self.world, self.policy, self.pinning, self.n_steps))

    def learn_job(self, memory: Memory, share: Share | None = None) -> Job[dict[str, float]]:
        """Learn from what cells did; return as `update_job` does."""
        config = self.config
        done = self.timesteps / config.max_timesteps
        self.optimiser.lr = config.lr * (1 - (1 - config.lr_final) * min(done, 1.0))
        learned = yield from update_job(
            self.policy, self.optimiser, memory, self.tissue,
            config.replace(kl_beta=self.kl_beta), self.generator, share,
            critic_only=self.updates < config.critic_updates,
        )  # fmt: skip
        told = yield from pinning_job(
            self.pinning, self.pinning_optimisers, memory, self.tissue, config, self.generator,
            share,
        )  # fmt: skip
        self.updates += 1
        self.timesteps += memory.n_cell_steps
        self._adapt(learned["kl"])
        self.world.forget_quality()
        return self._metrics(memory.terms, learned, told)

    def _adapt(self, kl: float) -> None:
        """Let the weight of the divergence follow its aim, where it acts at all."""
        target = self.config.kl_target
        if kl > 1.5 * target:
            self.kl_beta *= 2
        elif kl < target / 1.5:
            self.kl_beta /= 2

    def _metrics(
        self, terms: Mapping[str, float], learned: Mapping[str, float], told: Mapping[str, float]
    ) -> dict[str, float]:
        config = self.config
        time = config.max_time
        if config.terminate_random:
            time = (config.min_time + config.max_time) / 2
        steps = time / config.delta
        losses = ("total", "ppo", "critic", "entropy", "kl")
        found = {"reward": steps * sum(terms.values())}
        found |= {f"reward/{name}": steps * value for name, value in terms.items()}
        found |= {f"loss/{name}": learned[name] for name in losses}
        found |= {f"loss/{name}": value for name, value in told.items()}
        found |= {name: value for name, value in learned.items() if name not in losses}
        with torch.no_grad():
            fast = speed(self.world.velocity, spherical=config.spherical)
            mask = self.world.mask
            found["speed"] = float(fast.mean() if mask is None else fast[mask].mean())
            found["std"] = float(self.policy.log_std.exp())
        return {**found, "timesteps": float(self.timesteps)}

    # --- going on later ------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Return copies of all but the networks: what a training needs to go on bit for bit."""
        found = {f"world.{name}": value for name, value in self.world.state().items()}
        found |= {f"optimiser.{name}": v for name, v in self.optimiser.state().items()}
        for k, one in enumerate(self.pinning_optimisers):
            found |= {f"pinning_optimiser.{k}.{name}": v for name, v in one.state().items()}
        found["generator"] = self.generator.get_state().clone()
        found["kl_beta"] = torch.tensor(self.kl_beta, dtype=torch.float64)
        return {name: value.cpu() for name, value in found.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there.

        Raises
        ------
        FileFormatError
            If it is of another training.
        """
        device = self.tissue.features.device

        def part(name: str) -> dict[str, Tensor]:
            n = len(name)
            return {key[n:]: v.to(device) for key, v in state.items() if key.startswith(name)}

        try:
            self.world.load_state(part("world."))
            self.optimiser.load_state(part("optimiser."))
            for k, one in enumerate(self.pinning_optimisers):
                one.load_state(part(f"pinning_optimiser.{k}."))
            self.generator.set_state(state["generator"].cpu().to(torch.uint8))
            self.kl_beta = float(state["kl_beta"])
        except (KeyError, RuntimeError, ValueError, IndexError) as error:
            raise FileFormatError(
                "the state to go on from is of another training",
                "give the data and parameters that it had, or start from its networks alone",
            ) from error


def _networks(
    tissue: Tissue, config: EnvironmentConfig, start: FittedEnvironment | None
) -> tuple[Policy, tuple[Pinning, ...]]:
    """Make networks, or copy those to go on with."""
    device = tissue.features.device
    if start is not None:
        kept = start.to(device)
        return kept.policy.train(), kept.pinning
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        policy = Policy(
            config.dim, tissue.features.shape[1], config.policy, discrete=config.discrete
        )
        pinning = tuple(
            Pinning(config.dim, each.shape[1], config.policy) for each in tissue.targets
        )
    return policy.to(device), tuple(one.to(device) for one in pinning)


def copied(module: nn.Module) -> Any:  # noqa: ANN401
    """Return a copy on the CPU, in evaluation mode, whose parameters are its own."""
    from copy import deepcopy

    made = deepcopy(module).cpu().eval()
    for parameter in made.parameters():
        parameter.data = parameter.data.clone()
        parameter.grad = None
    return made
