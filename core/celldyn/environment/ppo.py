"""Proximal policy optimisation from whole moments of many environments.

Shapes: m moments, n cells, d dimensions. Source: specs/environment.md B, Decision 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from celldyn.environment.actions import entropy, log_prob
from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.memory import Memory, batches
from celldyn.environment.networks import Embedded, Policy
from celldyn.environment.optimiser import Adam
from celldyn.environment.returns import generalised_advantage
from celldyn.environment.scaling import moments
from celldyn.environment.tissue import Tissue
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress

FEW_FEATURES = 64
"""Up to so many, features are embedded cell by cell; above, each cell of a batch once."""
KL_BEYOND = 1.5
Share: TypeAlias = Callable[[Tensor, float], None]
"""Makes a vector the mean over learners, in place, each weighing as much as it says."""


@dataclass(slots=True)
class Lessons:
    """What a stretch of time says: advantages and returns of its moments, (T · B, n) each."""

    advantage: Tensor
    returns: Tensor

    @classmethod
    def of(cls, memory: Memory, config: EnvironmentConfig) -> Lessons:
        """Return them."""
        cut = memory.truncated[..., None].expand_as(memory.value)
        found = generalised_advantage(
            memory.reward, memory.value, memory.final_value, cut, gamma=config.gamma,
            lam=config.gae_lambda, bootstrap=not config.no_bootstrap,
        )  # fmt: skip
        return cls(found.flatten(0, 1), (found + memory.value).flatten(0, 1))


def update_job(
    policy: Policy,
    optimiser: Adam,
    memory: Memory,
    tissue: Tissue,
    config: EnvironmentConfig,
    generator: torch.Generator,
    share: Share | None = None,
    *,
    critic_only: bool = False,
) -> Job[dict[str, float]]:
    """Learn from a stretch of time.

    Parameters
    ----------
    share
        Makes a vector the mean over learners, in place; None where there is one learner.
    critic_only
        Whether only the critic's own layer learns, and cells move as before.

    Returns
    -------
    Means of "total", "ppo", "critic", "entropy", "kl" over steps; "explained_variance" of returns,
    "return_mean", "return_std".

    Raises
    ------
    DataError
        If a loss is not finite; the policy then is as it was before this update.
    """
    lessons = Lessons.of(memory, config)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    remembered = optimiser.state()
    sums = torch.zeros(5, device=memory.position.device)
    n_steps, pace = 0, Pace()
    for k in range(config.update_iterations):
        for at in batches(memory, config.epoch_size, config.batch_size, generator):
            if pace.due():
                yield Progress("policy learns", k, config.update_iterations)
            parts = _step(
                policy, optimiser, memory, lessons, at, tissue, config, share, critic_only
            )
            sums += parts
            n_steps += 1
        means = sums / n_steps
        if share is not None:  # all learners go on, or none does
            share(means, 1.0)
        mean = means.tolist()
        beyond = config.kl_early_stop and mean[4] > KL_BEYOND * config.kl_target
        if not all(map(_finite, mean)) or beyond:
            policy.load_state_dict(before)
            optimiser.load_state(remembered)
            if not beyond:
                raise DataError(
                    "the policy's loss is not finite", "lower lr, or look at the data's scale"
                )
            break
    names = ("total", "ppo", "critic", "entropy", "kl")
    return {**dict(zip(names, mean, strict=True)), **_told(memory, lessons)}


def _finite(value: float) -> bool:
    return abs(value) < float("inf")


def _step(
    policy: Policy,
    optimiser: Adam,
    memory: Memory,
    lessons: Lessons,
    at: Tensor,
    tissue: Tissue,
    config: EnvironmentConfig,
    share: Share | None,
    critic_only: bool,  # noqa: FBT001
) -> Tensor:
    """Go one step of the optimiser; return the five parts of the loss."""
    mask, n = memory.mask(at), memory.position.shape[2]
    advantage = _standardised(lessons.advantage[at], mask)
    optimiser.zero_grad()
    sums = torch.zeros(5, device=at.device)
    whole = float(at.numel() * n if mask is None else mask.sum())
    size = max(1, config.minibatch_memories // n)
    for first in range(0, len(at), size):
        some = slice(first, first + size)
        parts = _losses(policy, memory, lessons, at[some], advantage[some],
                        None if mask is None else mask[some], tissue, config)  # fmt: skip
        parts = parts / whole
        if critic_only:
            _critic_alone(policy, parts[2])
        else:
            parts[0].backward()  # type: ignore[no-untyped-call]
        sums += parts.detach()
    if share is not None:
        share(optimiser.gradient, 1.0)
    optimiser.step()
    _follow(policy, memory, lessons, at, mask, tissue, share)
    return sums


def _critic_alone(policy: Policy, loss: Tensor) -> None:
    """Add the gradient of the critic's own layers, and of nothing below."""
    own = [*policy.critic.parameters(), *policy.critic_act.parameters()]
    for parameter, slope in zip(own, torch.autograd.grad(loss, own), strict=True):
        assert parameter.grad is not None
        parameter.grad += slope


def _losses(
    policy: Policy,
    memory: Memory,
    lessons: Lessons,
    at: Tensor,
    advantage: Tensor,
    mask: Tensor | None,
    tissue: Tissue,
    config: EnvironmentConfig,
) -> Tensor:
    """Return sums over cells of total, clipped gain, critic, entropy and KL, (5,)."""
    position, velocity = memory.flat("position")[at], memory.flat("velocity")[at]
    embedded = embed_cells(policy, tissue.features, memory.cells_at(at))
    mean, value = policy(position, velocity, embedded, mask)
    new = log_prob(mean, policy.log_std, memory.flat("action")[at], discrete=policy.discrete)
    log_ratio = new - memory.flat("log_prob")[at]
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
    gain = torch.minimum(ratio * advantage, clipped * advantage)
    scale = policy.return_scale
    goal = (lessons.returns[at] - scale.mean) / scale.std
    critic = smooth_l1_loss(value, goal, reduction="none")
    spread = entropy(mean, policy.log_std, discrete=policy.discrete).expand_as(gain)
    apart = (ratio - 1) - log_ratio
    parts = torch.stack([-gain, critic, spread, apart])
    if mask is not None:
        parts = parts * mask
    ppo, critic_, spread_, apart_ = parts.flatten(1).sum(1)
    total = (ppo + config.critic_weight * critic_ - config.entropy_weight * spread_
             + config.kl_beta * apart_)  # fmt: skip
    return torch.stack([total, ppo, critic_, spread_, apart_])


def embed_cells(policy: Policy, features: Tensor, cells: Tensor) -> Embedded:
    """Embed cells, (m, n) numbers: each once where that is much work."""
    if features.shape[1] <= FEW_FEATURES:
        return policy.embed(features[cells])
    unique, place = torch.unique(cells, return_inverse=True)
    return policy.embed(features[unique]).of(place)


def _standardised(advantage: Tensor, mask: Tensor | None) -> Tensor:
    kept = advantage.flatten() if mask is None else advantage[mask]
    if len(kept) < 2:
        return advantage - kept.mean()
    return (advantage - kept.mean()) / (kept.std() + 1e-8)


@torch.no_grad()
def _follow(
    policy: Policy,
    memory: Memory,
    lessons: Lessons,
    at: Tensor,
    mask: Tensor | None,
    tissue: Tissue,
    share: Share | None,
) -> None:
    """Let scales follow what was seen, without places that hold no cell."""
    cells, kept = memory.cells_at(at), slice(None) if mask is None else mask
    seen = torch.cat(
        [
            memory.flat("position")[at][kept].flatten(0, -2),
            memory.flat("velocity")[at][kept].flatten(0, -2),
            lessons.returns[at][kept].flatten()[:, None],
        ],
        dim=1,
    )
    found, of_features = moments(seen), tissue.moments(cells[kept])
    assert found is not None  # a moment has cells
    mean, square = (
        torch.cat([a[:-1], b, a[-1:]]) for a, b in zip(found, of_features, strict=True)
    )
    if share is not None:
        both = torch.cat([mean, square])
        share(both, 1.0)
        mean, square = torch.chunk(both, 2)
    policy.follow_inputs(mean[:-1], square[:-1])
    policy.follow_returns(mean[-1:], square[-1:])


def _told(memory: Memory, lessons: Lessons) -> dict[str, float]:
    """Return how well values told returns."""
    mask = memory.mask()
    returns, value = lessons.returns, memory.flat("value")
    if mask is not None:
        returns, value = returns[mask], value[mask]
    spread = returns.var()
    explained = 1 - (returns - value).var() / spread.clamp_min(1e-12)
    return {
        "explained_variance": float(explained),
        "return_mean": float(returns.mean()),
        "return_std": float(spread.sqrt()),
    }
