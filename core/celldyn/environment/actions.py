"""What is drawn around what a policy means: normal forces, or pushes of a kind.

Shapes: n cells, d dimensions; leading axes are free.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def draw(
    mean: Tensor, log_std: Tensor, generator: torch.Generator | None, *, discrete: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw actions, (..., n, d), and return them with their log chances, (..., n).

    Parameters
    ----------
    mean
        (..., n, d) means of forces; (..., n, d, 3) logits of pushes where `discrete`.
    log_std
        Scalar log standard deviation of forces.
    """
    if discrete:
        uniform = torch.rand(mean.shape, generator=generator, device=mean.device)
        # The largest of logits with Gumbel noise has their chances.
        action = (mean - (-uniform.clamp_min(1e-20).log()).log()).argmax(-1).to(mean.dtype)
        return action, log_prob(mean, log_std, action, discrete=True)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    action = torch.addcmul(mean, noise, log_std.exp())
    constant = mean.shape[-1] * (log_std + 0.5 * math.log(2 * math.pi))
    return action, -0.5 * noise.square().sum(-1) - constant


def log_prob(mean: Tensor, log_std: Tensor, action: Tensor, *, discrete: bool = False) -> Tensor:
    """Return log chances of actions, summed over dimensions, (..., n)."""
    if discrete:
        logs = mean.log_softmax(-1)
        return logs.gather(-1, action.long()[..., None])[..., 0].sum(-1)
    apart = (action - mean) * (-log_std).exp()
    constant = mean.shape[-1] * (log_std + 0.5 * math.log(2 * math.pi))
    return -0.5 * apart.square().sum(-1) - constant


def entropy(mean: Tensor, log_std: Tensor, *, discrete: bool = False) -> Tensor:
    """Return entropies of actions, summed over dimensions: (..., n), or a scalar of forces."""
    if discrete:
        logs = mean.log_softmax(-1)
        return -(logs.exp() * logs).sum((-1, -2))
    return mean.shape[-1] * (log_std + 0.5 * math.log(2 * math.pi * math.e))
