"""What cells are rewarded for, term by term.

Shapes: n cells, d dimensions, F_k features of target k; leading axes, such as environments, are
free. Source: specs/environment.md A, Decision 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from celldyn.environment.alignment import rigid_alignment
from celldyn.environment.config import EnvironmentConfig

STEEPNESS = 10.0
"""How fast quality falls with the error: 1/(1 + 10 e)."""
PINNING, VELOCITY, ACTION, ORIGIN, DISTANCE = 0.5, 0.1, 1e-3, 0.1, 0.1
"""Units of the terms; those of differences are per second."""


class Moment(NamedTuple):
    """Where cells are, and how fast: (..., n, d) each."""

    position: Tensor
    velocity: Tensor


def rewards(
    before: Moment,
    after: Moment,
    action: Tensor,
    targets: Sequence[Tensor],
    predictions: tuple[Sequence[Tensor], Sequence[Tensor]],
    config: EnvironmentConfig,
    *,
    out_of_bounds: Tensor | None = None,
    mask: Tensor | None = None,
    spatial: Sequence[bool] = (),
) -> dict[str, Tensor]:
    """Return the terms of the reward of a step; their sum is the reward.

    Parameters
    ----------
    before, after
        Position and velocity before and after the step.
    action
        (..., n, d) as it was sampled.
    targets
        (..., n, F_k) of every target, preprocessed.
    predictions
        What the pinning networks told before and after: (..., n, F_k) each.
    config
        Weights, time step and the like.
    out_of_bounds
        (..., n) from `step`; None is nowhere.
    mask
        (..., n) bool, which cells are there; None is all.
    spatial
        Which targets are coordinates; empty is none.

    Returns
    -------
    "pinning", "velocity", "action", "bound", "origin", "distance", (..., n) each. Terms of weight
    0 are left out, unless all are.
    """
    flags = list(spatial) or [False] * len(targets)
    terms: dict[str, Tensor] = {}
    if config.reward_pinning and len(targets):
        variances = [target_variance(target, mask) for target in targets]
        q = [
            pinning_quality(told, targets, variances, flags, mask, reflection=config.reflection)
            for told in predictions
        ]
        terms["pinning"] = config.reward_pinning * (PINNING / config.delta) * (q[0] - q[1])
    if config.penalty_velocity:
        slower = speed(before.velocity, spherical=config.spherical) - speed(
            after.velocity, spherical=config.spherical
        )
        terms["velocity"] = config.penalty_velocity * (VELOCITY / config.delta) * slower
    if config.penalty_action:
        terms["action"] = (-ACTION * config.penalty_action) * effort(
            action, spherical=config.spherical
        )
    if config.penalty_bound:
        hit = before.position.new_zeros(before.position.shape[:-1])
        hit = hit if out_of_bounds is None else out_of_bounds.to(hit.dtype)
        terms["bound"] = -config.penalty_bound * hit
    if config.reward_origin:
        nearer = before.position.square().mean(-1) - after.position.square().mean(-1)
        terms["origin"] = config.reward_origin * (ORIGIN / config.delta) * nearer
    if config.reward_distance and len(targets):
        gap = [
            distance_gap(moment.position, targets, mask, config.epsilon)
            for moment in (before, after)
        ]
        terms["distance"] = config.reward_distance * (DISTANCE / config.delta) * (gap[0] - gap[1])
    return terms or {"pinning": before.position.new_zeros(before.position.shape[:-1])}


def speed(velocity: Tensor, *, spherical: bool = False) -> Tensor:
    """Return mean |v| over dimensions, or its length where space is spherical, (..., n)."""
    found: Tensor = velocity.norm(dim=-1) if spherical else velocity.abs().mean(-1)
    return found


def effort(action: Tensor, *, spherical: bool = False) -> Tensor:
    """Return the mean square of an action over dimensions, or its length, (..., n)."""
    found: Tensor = action.norm(dim=-1) if spherical else action.square().mean(-1)
    return found


def target_variance(target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return V_k: the variance across cells, averaged over features, (...)."""
    if mask is None:
        return target.var(dim=-2, unbiased=False).mean(-1)
    share = mask.to(target.dtype)[..., None]
    n = share.sum(-2, keepdim=True).clamp_min(1)
    centred = (target - (target * share).sum(-2, keepdim=True) / n) * share
    return (centred.square().sum(-2) / n[..., 0, :]).mean(-1)


def pinning_quality(
    predictions: Sequence[Tensor],
    targets: Sequence[Tensor],
    variances: Sequence[Tensor],
    spatial: Sequence[bool],
    mask: Tensor | None = None,
    *,
    reflection: bool = False,
) -> Tensor:
    """Return q = −(1/|T|) Σ_k 1/(1 + 10 e_k), (..., n), in (−1, 0); lower is better.

    e_k is a cell's mean squared error over features, over the target's variance. Coordinates are
    laid onto the targets by a rotation and a shift first.
    """
    total = targets[0].new_zeros(targets[0].shape[:-1])
    for told, target, variance, is_spatial in zip(
        predictions, targets, variances, spatial, strict=True
    ):
        if is_spatial:
            told = laid_onto(told, target, mask, reflection=reflection)
        error = (told - target).square().mean(-1) / variance.clamp_min(1e-12)[..., None]
        good = 1.0 / (1.0 + STEEPNESS * error)
        total = total + good
    return -total / len(targets)


def laid_onto(
    source: Tensor, target: Tensor, mask: Tensor | None = None, *, reflection: bool = False
) -> Tensor:
    """Return coordinates turned and shifted onto others, (..., n, F)."""
    R, t = rigid_alignment(source, target, reflection=reflection, mask=mask)
    laid: Tensor = source @ R + t
    return laid


def distance_gap(
    position: Tensor, targets: Sequence[Tensor], mask: Tensor | None, epsilon: float
) -> Tensor:
    """Return D: the mean log squared difference of distances in space and in targets, (..., n).

    All pairs of cells are looked at, of a block of cells at a time.
    """
    n = position.shape[-2]
    seen = position.new_ones(position.shape[:-1]) if mask is None else mask.to(position.dtype)
    block = max(1, min(n, 4_000_000 // max(n * (position.numel() // max(n, 1) or 1), 1)))
    parts = []
    for first in range(0, n, block):
        rows = slice(first, first + block)
        here = torch.cdist(position[..., rows, :], position)
        total = torch.zeros_like(here)
        for target in targets:
            there = torch.cdist(target[..., rows, :], target) / target.shape[-1] ** 0.5
            total += ((here - there).square() + epsilon).log()
        at = torch.arange(first, min(first + block, n), device=position.device)
        total[..., at - first, at] = 0.0
        parts.append((total * seen[..., None, :]).sum(-1) / len(targets))
    return torch.cat(parts, dim=-1) / seen.sum(-1, keepdim=True).clamp_min(1)
