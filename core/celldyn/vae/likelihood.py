"""The Gamma-Poisson distribution of counts, exact from tiny to huge parameters.

log p is written as Loader's saddle-point expansion: with n = x + θ,

    log p(x) = θ φ(δ) + x φ(ε) + σ(n) − σ(x) − σ(θ) + ½ log(θ / (2π x n)),
    φ(t) = log(1 + t) − t,  1 + δ = n / (θ + μ),  1 + ε = n μ / (x (θ + μ)),

where σ is what Stirling's formula leaves of log Γ(z + 1). No two large terms cancel, as they do in
log Γ(x + θ) − log Γ(θ): float32 does down to the Poisson limit θ → ∞.

Source: C. Loader (2000), Fast and accurate computation of binomial probabilities; seed 003,
specs/vae.md A.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SMALLEST, LARGEST = 1e-30, 1e30
"""Means and inverse dispersions are held between these, which single precision can square root."""
_STIRLING = {torch.float64: 16.0, torch.float32: 5.0}
"""From here on Stirling's series is exact in that precision."""
_SERIES = 0.2
"""|t| below which φ(t) is summed, for log(1 + t) and t would cancel."""
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def gamma_poisson_log_prob(x: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
    """Return log GammaPoisson(x; concentration θ, rate θ/μ), the negative binomial.

    Parameters
    ----------
    x
        Counts, 0 or above.
    mu
        Means; below 1e-30 they count as 1e-30.
    theta
        Inverse dispersions, held between 1e-30 and 1e30; at the upper end the distribution is
        Poisson's. The three broadcast.

    Returns
    -------
    Of the broadcast shape, float64 where a parameter is and else float32; gradients flow to `mu`
    and `theta`.
    """
    dtype = torch.promote_types(torch.promote_types(mu.dtype, theta.dtype), torch.float32)
    parts = torch.broadcast_tensors(x.to(dtype), mu.to(dtype), theta.to(dtype))  # type: ignore[no-untyped-call]
    log_prob: Tensor = _LogProb.apply(*parts)  # type: ignore[no-untyped-call]
    return log_prob


class _LogProb(torch.autograd.Function):
    """log p with the slopes in closed form: `lgamma`'s own would cancel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mu: Tensor, theta: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x, mu, theta)
        return log_prob(x, bounded(mu), bounded(theta))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:  # noqa: ANN401
        x, mu, theta = ctx.saved_tensors
        by_mu, by_theta = slopes(x, bounded(mu), bounded(theta))
        return None, grad * by_mu, grad * by_theta


def bounded(parameter: Tensor) -> Tensor:
    """Hold a mean or an inverse dispersion where neither it nor its inverse overflows."""
    return parameter.clamp(SMALLEST, LARGEST)


def log_prob(x: Tensor, mu: Tensor, theta: Tensor) -> Tensor:
    """Return log p of equal shapes, given parameters within bounds."""
    ratio = (mu / theta).clamp(max=torch.finfo(mu.dtype).max)
    zero = -theta * torch.log1p(ratio)
    k = x.clamp(min=1.0)
    n, total = k + theta, theta + mu
    gap = k - mu
    other = _phi(-gap / k * (theta / total), n / total * (mu / k))
    value = theta * _phi(gap / total, n / total) + k * other
    value += stirling_rest(n) - stirling_rest(k) - stirling_rest(theta)
    value += 0.5 * torch.log(theta / n / k) - _HALF_LOG_2PI
    return torch.where(x > 0, value, zero)


def slopes(x: Tensor, mu: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return d log p / dμ and d log p / dθ of equal shapes, given parameters within bounds.

    d log p / dμ = (x/μ − 1) θ/(θ + μ)
    d log p / dθ = ω(x + θ) − ω(θ) + φ(δ),  ω(z) = ψ(z) − log z
    """
    total = theta + mu
    by_mu = (x / mu - 1) * (theta / total)
    curved = _phi((x - mu) / total, (x + theta) / total)
    digammas = digamma_rest(x + theta) - digamma_rest(theta)
    return by_mu, torch.where(x > 0, digammas, 0.0) + curved


def value_and_slopes(
    x: Tensor, mu: Tensor, theta: Tensor, *, apart: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log p and both slopes of equal shapes, given parameters within bounds.

    Parameters
    ----------
    x, mu, theta
        Of one shape.
    apart
        Whether counts above 0 are looked at by themselves. Γ is what takes long: worth it on a
        CPU, while a GPU would have to wait until it is known how many there are.
    """
    if not apart:
        return (log_prob(x, mu, theta), *slopes(x, mu, theta))
    total = theta + mu
    share = theta / total
    ratio = (mu / theta).clamp(max=torch.finfo(mu.dtype).max)
    found = (-theta * torch.log1p(ratio), -share, _phi(-mu / total, share))
    at = x.reshape(-1).nonzero()[:, 0]
    some = tuple(part.reshape(-1)[at] for part in (x, mu, theta))
    for all_of, few in zip(found, (log_prob(*some), *slopes(*some)), strict=True):
        all_of.view(-1)[at] = few
    return found


def _phi(t: Tensor, above: Tensor) -> Tensor:
    """Return log(1 + t) − t; `above` is 1 + t, exact where t is close to −1."""
    s = torch.where(t.abs() < _SERIES, t / (2 + t), 0.0)
    square = s * s
    odd = torch.full_like(square, 1 / 17)
    for k in (15, 13, 11, 9, 7, 5, 3):
        odd = odd * square + 1 / k
    series = s * (2 * square * odd - t)
    return torch.where(t.abs() < _SERIES, series, torch.log(above) - t)


def stirling_rest(z: Tensor) -> Tensor:
    """Return log Γ(z + 1) − (z + ½) log z + z − ½ log 2π."""
    from_here = _STIRLING[z.dtype]
    small = z.clamp(max=from_here)
    direct = torch.lgamma(small + 1) - (small + 0.5) * small.log() + small - _HALF_LOG_2PI
    w = 1 / z.clamp(min=from_here)
    v = w * w
    series = w * (1 / 12 - v * (1 / 360 - v * (1 / 1260 - v * (1 / 1680 - v / 1188))))
    return torch.where(z < from_here, direct, series)


def digamma_rest(z: Tensor) -> Tensor:
    """Return ψ(z) − log z."""
    from_here = _STIRLING[z.dtype]
    small = z.clamp(max=from_here)
    direct = torch.digamma(small) - small.log()
    w = 1 / z.clamp(min=from_here)
    v = w * w
    inner = 1 / 12 - v * (1 / 120 - v * (1 / 252 - v * (1 / 240 - v / 132)))
    return torch.where(z < from_here, direct, -w * (0.5 + w * inner))
