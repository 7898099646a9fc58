"""The likelihood of counts that the decoder's output gives, and all its gradients, in one pass.

It is linear in each row's log p with weights that are known beforehand: so the gradients are made
while the means are at hand, and going back only scales them.

Shapes: m rows, G genes, u cells whose counts are looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import BatchNorm1d

from celldyn.landscape.count_likelihood_plain import plain

__all__ = [
    "compile_kernels",
    "decoded_log_likelihood",
    "log_likelihood",
    "normalised_log_likelihood",
]


class Rows(NamedTuple):
    """What is no parameter: counts (u, G), which of them each row has (m,), and weights (m,)."""

    counts: Tensor
    at: Tensor
    weight: Tensor


def log_likelihood(
    counts: Tensor,
    gate_logits: Tensor | None,
    log_mu_logits: Tensor,
    log_library: Tensor,
    log_theta: Tensor,
    weight: Tensor | None = None,
    *,
    rows: Tensor | None = None,
) -> Tensor:
    """Return Σ_r w_r Σ_g log p(x_rg), zero-inflated negative binomial or without inflation.

        μ = softmax(log_mu_logits) over genes,  the NB's logits = log(l μ + 1e-3) − log(θ + 1e-3),
        p(0) = sig(a) + sig(−a) NB(0),  p(x) = sig(−a) NB(x)

    Parameters
    ----------
    counts
        (u, G) whole numbers as float32.
    gate_logits
        (m, G) a; None is no inflation.
    log_mu_logits
        (m, G), before the softmax.
    log_library
        (m,) log l.
    log_theta
        (G,) log of the inverse dispersion, which is held between 1e-8 and 1e8.
    weight
        (m,); None is 1. A row of weight 0 costs nothing. Constants are best put in here: with a
        gradient of 1 nothing is scaled on the way back.
    rows
        (m,) int64: which row of `counts` each row has; None is the rows in order. Many rows of
        one cell look up Γ once.

    Returns
    -------
    A scalar, from which gradients flow to both logits, the library and θ, once. Float32 on a CPU
    runs compiled; nothing of m × G is held but these gradients.

    Notes
    -----
    specs/landscape.md A4; equal to Pyro's `ZeroInflatedNegativeBinomial`.
    """
    n_rows = log_mu_logits.shape[0]
    found: Tensor = _Likelihood.apply(  # type: ignore[no-untyped-call]
        gate_logits, log_mu_logits, log_library, log_theta, _rows(counts, n_rows, weight, rows)
    )
    return found


def decoded_log_likelihood(
    counts: Tensor,
    decoded: Tensor,
    log_library: Tensor,
    log_theta: Tensor,
    weight: Tensor | None = None,
    *,
    rows: Tensor | None = None,
) -> Tensor:
    """Return `log_likelihood` of a decoder's output as it is: the gates' logits, then the means'.

    Parameters
    ----------
    decoded
        (m, 2 G), or (m, G) without gates.
    """
    found: Tensor = _Likelihood.apply(  # type: ignore[no-untyped-call]
        None, decoded, log_library, log_theta, _rows(counts, len(decoded), weight, rows)
    )
    return found


def normalised_log_likelihood(
    counts: Tensor,
    raw: Tensor,
    norm: BatchNorm1d,
    log_library: Tensor,
    log_theta: Tensor,
    weight: Tensor | None = None,
    *,
    rows: Tensor | None = None,
) -> Tensor:
    """Return `decoded_log_likelihood` of `norm(raw)`; in training nothing of that size is made.

    Parameters
    ----------
    raw
        (m, 2 G), or (m, G) without gates: what comes into the last normalisation.
    norm
        That; in training its running moments are brought up to date.
    """
    given = _rows(counts, len(raw), weight, rows)
    parts = (raw, log_library, log_theta, given.counts, given.weight, norm.weight, norm.bias)
    if not norm.training or not _compiles(*parts):
        asked = (None, norm(raw), log_library, log_theta, given)
        found: Tensor = _Likelihood.apply(*asked)  # type: ignore[no-untyped-call]
        return found
    total, mean, variance = _Normalised.apply(  # type: ignore[no-untyped-call]
        raw, norm.weight, norm.bias, log_library, log_theta, given, norm.eps
    )
    _bring_up_to_date(norm, mean, variance, len(raw))
    return cast("Tensor", total)


@torch.no_grad()
def _bring_up_to_date(norm: BatchNorm1d, mean: Tensor, variance: Tensor, n_rows: int) -> None:
    """Move running moments towards those of a batch, as PyTorch does."""
    if norm.running_mean is None or norm.running_var is None or norm.momentum is None:
        return
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (n_rows / max(n_rows - 1, 1)), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def _rows(counts: Tensor, n_rows: int, weight: Tensor | None, rows: Tensor | None) -> Rows:
    at = torch.arange(n_rows, device=counts.device) if rows is None else rows
    weight = counts.new_ones(n_rows) if weight is None else weight.detach()
    return Rows(counts, at, weight)


class _Likelihood(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        gates: Tensor | None,
        logits: Tensor,
        log_library: Tensor,
        log_theta: Tensor,
        given: Rows,
    ) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            parts = (gates, logits, log_library, log_theta, given.counts, given.weight)
            if _compiles(*parts):
                from celldyn.landscape.count_likelihood_compiled import compiled

                wanted = any(ctx.needs_input_grad)
                total, ctx.slopes = compiled(
                    gates, logits, log_library, log_theta, *given, wanted=wanted
                )
            else:
                total, ctx.slopes = plain(gates, logits, log_library, log_theta, *given)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return (*_given_away(ctx, grad), None)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        raw: Tensor,
        gain: Tensor,
        bias: Tensor,
        log_library: Tensor,
        log_theta: Tensor,
        given: Rows,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        from celldyn.landscape.count_likelihood_compiled import normalised

        found = normalised(raw, gain, bias, eps, log_library, log_theta, *given)
        ctx.slopes = found[3:]
        ctx.mark_non_differentiable(found.mean, found.variance)
        return found.total, found.mean, found.variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return (*_given_away(ctx, grad), None, None)


def _given_away(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    """Return slopes, scaled where they are: a copy is as large as all rows and genes."""
    slopes: tuple[Tensor | None, ...] | None = ctx.slopes
    if slopes is None:
        raise RuntimeError("gradients of the likelihood were given away already")
    ctx.slopes = None
    if grad.device.type != "cpu" or grad.item() != 1.0:
        for slope in slopes:
            if slope is not None:
                slope.mul_(grad.to(slope.dtype))
    return tuple(slopes)


def _compiles(*parts: Tensor | None) -> bool:
    """Whether all is in float32 on a CPU."""
    return all(
        part is None or (part.device.type == "cpu" and part.dtype == torch.float32)
        for part in parts
    )


def compile_kernels() -> None:
    """Compile, or load what was compiled before.

    The first time takes some seconds, in which whoever runs a job says so from another thread.
    """
    one, norm = torch.ones(1, 1), BatchNorm1d(1)
    for k in (2, 1):
        decoded = torch.ones(1, k, requires_grad=True)
        decoded_log_likelihood(one, decoded, one[0], one[0]).backward()  # type: ignore[no-untyped-call]
    normalised_log_likelihood(one, one.clone().requires_grad_(), norm, one[0], one[0])
