"""Pinning networks learn to tell the targets from where cells are.

Shapes: m moments, n cells, d dimensions, F_k features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.memory import Memory
from celldyn.environment.networks import Pinning
from celldyn.environment.optimiser import Adam
from celldyn.environment.ppo import Share
from celldyn.environment.rewarding import laid_onto
from celldyn.environment.scaling import moments
from celldyn.environment.tissue import Tissue
from celldyn.jobs import Job, Pace, Progress

SNAPSHOTS = 4
"""Moments of a batch where coordinates are told: each is turned onto the truth as a whole."""


def snapshots(memory: Memory, config: EnvironmentConfig) -> Tensor:
    """Return the moments that teach, (m,) among T · B: late ones, or those at `eval_time`."""
    time, half = memory.time.flatten(), config.delta / 2
    if config.snapshots == "late":
        found = time >= config.eval_time - half
    else:
        found = (time - config.eval_time).abs() < half
    return torch.nonzero(found)[:, 0]


def pinning_job(
    networks: Sequence[Pinning],
    optimisers: Sequence[Adam],
    memory: Memory,
    tissue: Tissue,
    config: EnvironmentConfig,
    generator: torch.Generator,
    share: Share | None = None,
) -> Job[dict[str, float]]:
    """Train the networks on a stretch of time; without a snapshot they stay as they are.

    Parameters
    ----------
    share
        Makes a vector the mean over learners; one without a snapshot then follows the others.

    Returns
    -------
    "pinning_k" of every target: mean squared error in preprocessed units.
    """
    moments_ = snapshots(memory, config)
    if not len(moments_) and share is None:
        return {}
    found: dict[str, float] = {}
    pace = Pace()
    for k, (network, optimiser) in enumerate(zip(networks, optimisers, strict=True)):
        losses = []
        batch = _whole if tissue.spatial[k] else _rows
        for _ in range(config.pinning_epochs * config.pinning_batches):
            if pace.due():
                yield Progress("positions tell data")
            drawn = None
            if len(moments_):
                drawn = batch(
                    memory, moments_, tissue.targets[k], config.pinning_batch_size, generator
                )
            loss = _step(network, optimiser, drawn, config, share)
            if loss is not None:
                losses.append(loss)
        if losses:
            found[f"pinning_{k}"] = float(torch.stack(losses).mean())
    return found


def _step(
    network: Pinning,
    optimiser: Adam,
    drawn: tuple[Tensor, Tensor, Tensor | None] | None,
    config: EnvironmentConfig,
    share: Share | None,
) -> Tensor | None:
    """Go one step with what was drawn, or with what others drew; return the loss."""
    optimiser.zero_grad()
    loss, weight = None, 0.0
    seen = optimiser.gradient.new_zeros(2 * (network.dim + network.n_features))
    if drawn is not None:
        position, target, frame = drawn
        error = _error(network, position, target, frame, config)
        error.backward()  # type: ignore[no-untyped-call]
        both = moments(torch.cat([position, target], dim=-1), frame)
        if both is not None:
            seen, weight = torch.cat(both), 1.0
        loss = error.detach()
    if share is not None:
        share(optimiser.gradient, weight)
        share(seen, weight)
    if share is None or bool(seen.any()):
        optimiser.step()
        network.follow(*torch.chunk(seen, 2))
    return loss


def _error(
    network: Pinning,
    position: Tensor,
    target: Tensor,
    frame: Tensor | None,
    config: EnvironmentConfig,
) -> Tensor:
    told: Tensor = network(position)
    if frame is not None:
        with torch.no_grad():  # the turn is not learned through
            goal = laid_onto(target, told, frame, reflection=config.reflection)
        return ((told - goal).square() * frame[..., None]).sum() / (frame.sum() * target.shape[-1])
    return (told - target).square().mean()


def _rows(
    memory: Memory, moments: Tensor, target: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, None]:
    """Draw cells of any moments: positions (size, d) and targets (size, F_k)."""
    device = moments.device
    at = moments[torch.randint(len(moments), (size,), generator=generator, device=device)]
    chance = torch.rand(size, generator=generator, device=device)
    cell = (chance * memory.counts().flatten()[at]).long()
    episode = memory.episode.flatten()[at]
    cells = memory.cells_of(episode).gather(1, cell[:, None])[:, 0]
    return memory.flat("position")[at, cell], target[cells], None


def _whole(
    memory: Memory, moments: Tensor, target: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw whole moments: positions (s, n, d), targets (s, n, F_k), and which cells there are."""
    n = memory.position.shape[2]
    s = max(1, min(SNAPSHOTS, -(-size // n)))
    at = moments[torch.randint(len(moments), (s,), generator=generator, device=moments.device)]
    mask = memory.mask(at)
    if mask is None:
        mask = torch.ones(s, n, dtype=torch.bool, device=moments.device)
    return memory.flat("position")[at], target[memory.cells_at(at)], mask
