"""The likelihood of counts in torch: any device and precision; kernels are held to it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

GUARD = 1e-3
"""Added to means and inverse dispersions, as sclsd has it."""
SMALLEST, LARGEST = 1e-8, 1e8
"""The inverse dispersion is held between these."""


class Slopes(NamedTuple):
    """Of the weighted sum of log p by its parameters, each of its parameter's shape and dtype."""

    gates: Tensor | None
    logits: Tensor
    log_library: Tensor
    log_theta: Tensor


def plain(
    gates: Tensor | None,
    logits: Tensor,
    log_library: Tensor,
    log_theta: Tensor,
    counts: Tensor,
    at: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Slopes]:
    """Return Σ_r w_r log p_r and its slopes; see `log_likelihood`.

    Parameters
    ----------
    logits
        (m, G), or without separate gates (m, 2 G): the gates' and then the means'.
    """
    n_genes = log_theta.shape[0]
    joint = gates is None and logits.shape[1] == 2 * n_genes
    a, y = (logits[:, :n_genes], logits[:, n_genes:]) if joint else (gates, logits)
    dtype = torch.promote_types(y.dtype, torch.float32)
    x = counts[at].to(dtype)
    theta = log_theta.to(dtype).exp().clamp(SMALLEST, LARGEST)
    w = weight.to(dtype)[:, None]
    share = y.to(dtype).softmax(1)
    mu = log_library.to(dtype).exp()[:, None] * share
    m, t = mu + GUARD, theta + GUARD
    odds = torch.log1p(m / t)
    none = -theta * odds
    value = none + x * (torch.log(m / t) - odds)
    q, by_gates = torch.ones_like(value), None
    if a is not None:
        a, some = a.to(dtype), x > 0
        q = torch.where(some, q, torch.sigmoid(none - a))
        value = torch.where(some, value - softplus(a), softplus(none - a) - softplus(-a))
        by_gates = _weighed((1 - q) - torch.sigmoid(a), w)
    both = m + t
    slopes = _weighed(mu * (x * (t / both) / m - q * theta / both), w)
    by_theta = _weighed(theta * (q * (theta * (m / t) / both - odds) - x / both), w).sum(0)
    total = slopes.sum(1, keepdim=True)
    by_logits = slopes - torch.where(w != 0, share * total, 0.0)
    risen, rising = _rising(counts.to(dtype), at, weight.to(dtype), theta)
    if joint and by_gates is not None:
        by_logits, by_gates = torch.cat([by_gates, by_logits], 1), None
    return _weighed(value, w).sum() + risen, Slopes(
        None if by_gates is None else by_gates.to(logits.dtype),
        by_logits.to(logits.dtype),
        total[:, 0].to(log_library.dtype),
        (by_theta + rising).to(log_theta.dtype),
    )


def _weighed(values: Tensor, weight: Tensor) -> Tensor:
    """Return values times weights: 0 where that is 0, whatever the value."""
    return torch.where(weight != 0, weight * values, 0.0)


def _rising(counts: Tensor, at: Tensor, weight: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ w log Γ(θ + x)/(Γ(θ) x!), each cell looked at once, and its slopes by log θ."""
    w = weight.new_zeros(len(counts)).index_add_(0, at, weight)[:, None]
    risen = torch.lgamma(theta + counts) - torch.lgamma(theta) - torch.lgamma(counts + 1)
    digammas = torch.digamma(theta + counts) - torch.digamma(theta)
    return (w * risen).sum(), (w * torch.where(counts > 0, theta * digammas, 0.0)).sum(0)
