"""Cells move for a while, and what they did is remembered.

Shapes: T steps, B environments, n cells, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from celldyn.environment.actions import draw
from celldyn.environment.memory import Memory
from celldyn.environment.networks import Embedded, Pinning, Policy
from celldyn.environment.world import World
from celldyn.jobs import Job, Pace, Progress


@torch.no_grad()
def rollout_job(
    world: World, policy: Policy, pinning: Sequence[Pinning], n_steps: int
) -> Job[Memory]:
    """Let all environments go on for T steps by chance around what the policy means.

    Parameters
    ----------
    world
        Is changed: it stands where it came to.
    n_steps
        T.

    Yields
    ------
    Progress in steps, every 50 ms.
    """
    B, n, d = world.position.shape
    memory = Memory.empty(n_steps, B, n, d, world.position.device)
    table = policy.embed(world.tissue.features)
    embedded = _begin(memory, world, table)
    sums: dict[str, Tensor] = {}
    pace = Pace()
    for t in range(n_steps):
        if pace.due():
            yield Progress("cells move", t, n_steps)
        mask = world.mask
        memory.time[t] = world.time
        memory.position[t], memory.velocity[t] = world.position, world.velocity
        mean, value = policy(world.position, world.velocity, embedded, mask)
        action, memory.log_prob[t] = draw(
            mean, policy.log_std, world.generator, discrete=policy.discrete
        )
        memory.action[t], memory.value[t] = action, policy.values(value)
        terms, over = world.advance(action, pinning)
        for name, term in terms.items():
            memory.reward[t] += term
            sums[name] = sums.get(name, 0.0) + (term if mask is None else term * mask).sum()
        last = t == n_steps - 1
        which = torch.arange(B, device=over.device) if last else torch.nonzero(over)[:, 0]
        memory.truncated[t] = over
        if len(which):
            _look_beyond(memory, t, world, policy, embedded, which)
        if bool(over.any()):
            world.begin(torch.nonzero(over)[:, 0])
            if not last:
                embedded = _begin(memory, world, table, embedded, over, t + 1)
        elif not last:
            memory.episode[t + 1] = memory.episode[t]
    steps = memory.n_cell_steps
    memory.terms = {name: float(total) / steps for name, total in sums.items()}
    return memory


def _begin(
    memory: Memory,
    world: World,
    table: Embedded,
    embedded: Embedded | None = None,
    which: Tensor | None = None,
    t: int = 0,
) -> Embedded:
    """Write down which cells the environments have from step t on, and look up embeddings."""
    if embedded is None or which is None:
        which = torch.ones(world.n_environments, dtype=torch.bool)
        embedded = table.of(world.episode.cells)
    elif t:
        memory.episode[t] = memory.episode[t - 1]
    for b in torch.nonzero(which)[:, 0].tolist():
        memory.episode[t, b] = len(memory.cells)
        memory.cells.append(world.episode.cells[b].clone())
        memory.sizes.append(int(world.episode.n_cells[b]))
        for held, whole in zip(embedded, table, strict=True):
            held[b] = whole[world.episode.cells[b]]
    return embedded


def _look_beyond(
    memory: Memory, t: int, world: World, policy: Policy, embedded: Embedded, which: Tensor
) -> None:
    """Write down what the states after a cut are worth."""
    mask = world.mask
    _, value = policy(
        world.position[which], world.velocity[which],
        Embedded(*(part[which] for part in embedded)), None if mask is None else mask[which],
    )  # fmt: skip
    memory.final_value[t, which] = policy.values(value)
