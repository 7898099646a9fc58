"""Several learners of one policy: what each does, how they agree, and who plays episodes for whom.

Shapes: L learners, R ≥ L runners; runner r < L is learner r itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.memory import Memory
from celldyn.environment.trainer import Trainer
from celldyn.errors import ConfigError

_SIDE_BY_SIDE = ("position", "velocity", "action", "log_prob", "value", "reward", "final_value",
                 "truncated", "time")  # fmt: skip
_RANK = "rank."
_LEARNED = ("optimiser.", "pinning_optimiser.", "kl_beta")
"""What learners have in common of a state to go on from."""


@dataclass(frozen=True, slots=True)
class Crew:
    """How many processes train, and with what.

    Parameters
    ----------
    n_learners, n_runners
        L and R.
    n_gpus
        GPUs that learners share evenly; 0 for none.
    """

    n_learners: int
    n_runners: int
    n_gpus: int = 0

    @classmethod
    def of(cls, config: EnvironmentConfig, device: str = "auto") -> Crew:
        """Return the crew that a config asks for: one process unless more are named.

        Raises
        ------
        ConfigError
            If runners cannot be dealt out to learners, or there are too few cell-steps.
        """
        n_gpus = 0 if device.startswith("cpu") else (config.num_gpus or 0)
        n_learners = config.num_learners or max(n_gpus, 1)
        n_runners = config.num_runners or n_learners
        if n_runners % n_learners:
            raise ConfigError(
                f"num_runners is {n_runners} and num_learners {n_learners}",
                "give as many runners or a multiple: every learner plays episodes, and has the "
                "same number of runners beside it",
            )
        fewest = min(config.batch_size, config.epoch_size) // n_learners
        if fewest < 1 or config.update_timesteps < n_runners:
            raise ConfigError(
                f"{n_learners} learners and {n_runners} runners share too few cell-steps",
                "raise batch_size, epoch_size and update_timesteps",
            )
        return cls(n_learners, n_runners, n_gpus)

    @property
    def is_alone(self) -> bool:
        """Whether one process does it all."""
        return self.n_runners == 1

    def share_of(self, config: EnvironmentConfig) -> EnvironmentConfig:
        """Return the parameters of each process: cell-steps are divided among them."""
        together = config.num_environments
        share: EnvironmentConfig = config.replace(
            update_timesteps=max(1, config.update_timesteps // self.n_runners),
            num_environments=None if together is None else -(-together // self.n_runners),
            epoch_size=max(1, config.epoch_size // self.n_learners),
            batch_size=max(1, config.batch_size // self.n_learners),
        )
        return share

    def runners_of(self, nodes: Sequence[str] | None = None) -> list[list[int]]:
        """Return which further runners play for each learner.

        Parameters
        ----------
        nodes
            (R,) where each process is: then runners play for learners of their own machine, as
            far as these have not enough of them. None deals them out in turn.
        """
        found: list[list[int]] = [[] for _ in range(self.n_learners)]
        most = self.n_runners // self.n_learners - 1
        for r in range(self.n_learners, self.n_runners):
            free = [k for k, held in enumerate(found) if len(held) < most]
            near = free if nodes is None else [k for k in free if nodes[k] == nodes[r]] or free
            found[min(near, key=lambda k: (len(found[k]), k))].append(r)
        return found


def go_on(trainer: Trainer, resume: Mapping[str, Tensor], *, same: bool) -> None:
    """Let a process go on from where a training of one or several processes was.

    Parameters
    ----------
    trainer
        Of this process.
    resume
        What the environment kept: the state of the first process, and of others after "rank.k.".
    same
        Whether there were as many processes. Otherwise only what learners have in common is
        taken, and episodes begin anew.

    Raises
    ------
    FileFormatError
        If it is of another training.
    """
    first = {name: value for name, value in resume.items() if not name.startswith(_RANK)}
    if not same:
        learned = {name: value for name, value in first.items() if name.startswith(_LEARNED)}
        trainer.load_state({**trainer.state(), **learned})
        return
    prefix = f"{_RANK}{trainer.rank}."
    own = {n.removeprefix(prefix): v for n, v in resume.items() if n.startswith(prefix)}
    trainer.load_state(own if trainer.rank else first)


def kept(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the states of all processes as one; see `go_on`."""
    found = dict(states[0])
    for rank, state in enumerate(states[1:], 1):
        found |= {f"{_RANK}{rank}.{name}": value for name, value in state.items()}
    return found


def together(memories: Sequence[Memory]) -> Memory:
    """Return what several runners did as one stretch of time, their environments side by side."""
    if len(memories) == 1:
        return memories[0]
    first = memories[0]
    device = first.position.device
    offset, episodes = 0, []
    for memory in memories:
        episodes.append(memory.episode.to(device) + offset)
        offset += len(memory.cells)
    parts: dict[str, Any] = {
        name: torch.cat([getattr(one, name).to(device) for one in memories], 1)
        for name in _SIDE_BY_SIDE
    }
    made = Memory(
        **parts,
        episode=torch.cat(episodes, 1),
        cells=[cells.to(device) for one in memories for cells in one.cells],
        sizes=[size for one in memories for size in one.sizes],
    )
    steps = [one.n_cell_steps for one in memories]
    for name in first.terms:
        sums = sum(k * one.terms[name] for k, one in zip(steps, memories, strict=True))
        made.terms[name] = sums / sum(steps)
    return made


def on_cpu(memory: Memory) -> Memory:
    """Return a stretch of time on the CPU, to be sent to another process."""
    moved = {name: getattr(memory, name).cpu() for name in (*_SIDE_BY_SIDE, "episode")}
    return replace(memory, **moved, cells=[cells.cpu() for cells in memory.cells], table=None)


def share_among(vector: Tensor, weight: float) -> None:
    """Make a vector the mean over all learners of this process's group, each of its weight.

    Parameters
    ----------
    vector
        Changed in place; it is the same for all afterwards. Zeros where no learner has a weight.
    weight
        Of this learner.
    """
    import torch.distributed as dist

    both = torch.cat([vector.detach() * weight, vector.new_tensor([weight])])
    dist.all_reduce(both)
    total = both[-1]
    vector.data.copy_(torch.where(total > 0, both[:-1] / total.clamp_min(1e-12), 0.0))


@torch.no_grad()
def agree(trainer: Trainer) -> None:
    """Give all learners the networks of the first: other processors round otherwise."""
    held = [
        value
        for network in (trainer.policy, *trainer.pinning)
        for value in network.state_dict().values()
    ]
    vector = torch.cat([value.reshape(-1) for value in held])
    share_among(vector, 0.0 if trainer.rank else 1.0)
    for value, part in zip(
        held, torch.split(vector, [value.numel() for value in held]), strict=True
    ):
        value.copy_(part.view(value.shape))
