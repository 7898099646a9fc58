"""Where cells would go if targets were told by a linear code: the policy first learns to go there.

From nothing, positions tell nothing, so no way of moving is rewarded until, by chance, pinning
networks and policy find something in common. Here each training cell is given a place that is a
linear function of its targets; the policy learns by imitation to steer to such places from what
cells see, as a damped spring would, and the pinning networks learn to tell targets from them.
Reinforcement goes on from there. Shapes: N training cells, d dimensions, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from celldyn.environment.alignment import rigid_alignment
from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.optimiser import Adam
from celldyn.environment.scaling import RunningScale
from celldyn.environment.tissue import Tissue
from celldyn.jobs import Job, Pace, Progress

SPREAD = 3.0
"""Standard deviation of places along the dimension that varies most."""
STIFFNESS, DAMPING = 0.5, 1.5
"""Of the spring: a little over critical damping, 2 √0.5."""
SPEED, JITTER = 0.4, 0.2
"""Standard deviation of velocities, and of positions around places, that networks learn from."""
MOST_FORCE = 0.95
"""Within what tanh reaches."""
CELLS_A_STEP, LR = 512, 3e-3
RIDGE = 1e-2
"""Penalty of the regression that lays sections onto one another, over the mean variance."""
ROUNDS = 5
HELD, FEWEST_HELD, LOOKS = 0.12, 40, 50
"""Share of the cells that are not learned from, of how many cells on; steps between looks."""


def places(tissue: Tissue, dim: int) -> Tensor:
    """Return where each cell is to go, (N, d): principal components of targets that count alike.

    Coordinates of several partitions, each with a frame of its own, are first turned onto what a
    linear regression on features tells of them.
    """
    parts = []
    for target, is_spatial in zip(tissue.targets, tissue.spatial, strict=True):
        held = in_one_frame(tissue, target) if is_spatial else target
        centred = held - held.mean(0)
        parts.append(centred / centred.square().sum(1).mean().sqrt().clamp_min(1e-6))
    joined = torch.cat(parts, dim=1)
    if joined.shape[1] > dim:
        few = min(dim, len(joined) - 1)
        _, _, axes = torch.linalg.svd(joined.T @ joined)
        joined = joined @ axes[:few].T
    found = joined.new_zeros(len(joined), dim)
    found[:, : joined.shape[1]] = joined
    most = found.std(0).max().clamp_min(1e-6)
    return found * (SPREAD / most)


def in_one_frame(tissue: Tissue, target: Tensor) -> Tensor:
    """Return coordinates of all partitions in one frame, as far as features tell it."""
    parts = [tissue.partition == part for part in torch.unique(tissue.partition)]
    x = tissue.features - tissue.features.mean(0)
    penalty = RIDGE * len(x) * x.square().mean()
    gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    laid = target.clone()
    for part in parts:
        laid[part] -= laid[part].mean(0)
    if len(parts) == 1:
        return laid
    for _ in range(ROUNDS):
        told = x @ torch.linalg.solve(gram, x.T @ laid)
        for part in parts:
            R, t = rigid_alignment(target[part], told[part])
            laid[part] = target[part] @ R + t
    return laid


def spring(position: Tensor, velocity: Tensor, place: Tensor) -> Tensor:
    """Return the force of a damped spring to a place, (..., n, d)."""
    force = STIFFNESS * (place - position) - DAMPING * velocity
    return force.clamp(-MOST_FORCE, MOST_FORCE)


def warm_start_job(
    policy: Policy,
    pinning: Sequence[Pinning],
    tissue: Tissue,
    config: EnvironmentConfig,
    generator: torch.Generator,
) -> Job[dict[str, float]]:
    """Let networks learn by imitation before they learn by reward.

    Returns
    -------
    "imitation": mean squared error of forces, and "pinning_k" of targets, at the end.
    """
    goal = places(tissue, config.dim)
    _set_scales(policy, tissue, goal, config)
    found = {"imitation": (yield from _imitate_job(policy, tissue, goal, config, generator))}
    for k, network in enumerate(pinning):
        job = _tell_job(network, tissue.targets[k], goal, config, generator, tissue.spatial[k],
                        tissue)  # fmt: skip
        found[f"pinning_{k}"] = yield from job
    return found


def _set_scales(policy: Policy, tissue: Tissue, goal: Tensor, config: EnvironmentConfig) -> None:
    """Begin with the scales that cells on their way will have."""
    noise = goal.new_full((config.dim,), SPEED)
    mean = torch.cat([goal.mean(0), torch.zeros_like(noise), tissue.features.mean(0)])
    square = torch.cat([goal.square().mean(0) + 1.0, noise.square(), tissue.squares.mean(0)])
    beta = policy.config.standardization_beta
    scales: tuple[RunningScale, ...] = (policy.place_scale, policy.feature_scale)
    for scale in scales:
        scale.beta = 1.0
    policy.follow_inputs(mean, square)
    for scale in scales:
        scale.beta = beta


def _imitate_job(
    policy: Policy,
    tissue: Tissue,
    goal: Tensor,
    config: EnvironmentConfig,
    generator: torch.Generator,
) -> Job[float]:
    """Teach the policy the spring; keep what steered cells best that it did not learn from."""
    optimiser = Adam(policy, LR, betas=(0.9, 0.99), weight_decay=0.0)
    N, device, steps = tissue.n_cells, goal.device, config.warm_start_steps
    order = torch.randperm(N, generator=generator, device=device)
    n_held = round(HELD * N) if N >= FEWEST_HELD else 0
    held, learned = order[:n_held], order[n_held:]
    look = _moment(goal, held[None], config, generator) if n_held else None
    n = min(len(learned), CELLS_A_STEP, config.num_cells_max)
    best, kept, pace, error = float("inf"), None, Pace(), torch.zeros(())
    for k in range(steps):
        if pace.due():
            yield Progress("imitation", k, steps)
        optimiser.lr = LR * (1 - k / steps)
        drawn = [
            learned[torch.randperm(len(learned), generator=generator, device=device)[:n]]
            for _ in range(max(1, CELLS_A_STEP // n))
        ]
        optimiser.zero_grad()
        error = _error(policy, tissue, _moment(goal, torch.stack(drawn), config, generator))
        error.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if look is not None and (k + 1 == steps or not (k + 1) % LOOKS):
            with torch.no_grad():
                now = float(_error(policy, tissue, look))
            if now < best:
                best, kept = now, {name: v.clone() for name, v in policy.state_dict().items()}
    if kept is not None:
        policy.load_state_dict(kept)
        return best
    return float(error.detach())


class _Moment(NamedTuple):
    """Cells, (m, n), and where they are, how fast, and where they are to go, (m, n, d) each."""

    cells: Tensor
    position: Tensor
    velocity: Tensor
    place: Tensor


def _moment(
    goal: Tensor, cells: Tensor, config: EnvironmentConfig, generator: torch.Generator
) -> _Moment:
    """Put cells anywhere between the start and places of others.

    Not their own: the policy would read off where a cell is what it is to tell from features.
    """
    place, device = goal[cells], goal.device
    drawn = torch.randn(2, *place.shape, generator=generator, device=device)
    nearness = torch.rand(len(cells), 1, 1, generator=generator, device=device)
    others = goal[torch.randint(len(goal), cells.shape, generator=generator, device=device)]
    position = nearness * others + (1.5 - nearness) * drawn[0]
    velocity = (SPEED * drawn[1]).clamp(-config.vel_bound, config.vel_bound)
    return _Moment(cells, position, velocity, place)


def _error(policy: Policy, tissue: Tissue, at: _Moment) -> Tensor:
    """Return the mean squared error of forces."""
    mean, _ = policy(at.position, at.velocity, policy.embed(tissue.features[at.cells]))
    return torch.nn.functional.mse_loss(mean, spring(at.position, at.velocity, at.place))


def _tell_job(
    network: Pinning,
    target: Tensor,
    goal: Tensor,
    config: EnvironmentConfig,
    generator: torch.Generator,
    is_spatial: bool,  # noqa: FBT001
    tissue: Tissue,
) -> Job[float]:
    """Teach a pinning network to tell a target from near a cell's place."""
    held = in_one_frame(tissue, target) if is_spatial else target
    beta, network.input_scale.beta, network.output_scale.beta = (
        network.input_scale.beta, 1.0, 1.0,
    )  # fmt: skip
    mean = torch.cat([goal.mean(0), held.mean(0)])
    square = torch.cat([goal.square().mean(0) + JITTER**2, held.square().mean(0)])
    network.follow(mean, square)
    network.input_scale.beta = network.output_scale.beta = beta
    optimiser = Adam(network, LR, betas=(0.9, 0.99), weight_decay=0.0, clip_norm=None)
    pace, loss, steps = Pace(), torch.zeros(()), max(1, config.warm_start_steps // 2)
    for k in range(steps):
        if pace.due():
            yield Progress("positions tell data", k, steps)
        optimiser.lr = LR * (1 - k / steps)
        at = torch.randint(
            len(goal), (CELLS_A_STEP // 2,), generator=generator, device=goal.device
        )
        noise = torch.randn(len(at), goal.shape[1], generator=generator, device=goal.device)
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(network(goal[at] + JITTER * noise), held[at])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return float(loss.detach())
