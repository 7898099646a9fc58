"""The likelihood of counts that the decoder's output gives, and all its gradients, in one pass.

It is linear in each row's log p with weights that are known beforehand: so the gradients are made
while the means are at hand, and going back only scales them.

Shapes: m rows, G genes, u cells whose counts are looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from celldyn.landscape.count_likelihood_plain import Slopes, plain

__all__ = ["compile_kernels", "decoded_log_likelihood", "log_likelihood"]


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
            if _compiles(gates, logits, log_library, log_theta, given):
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
        slopes: Slopes | None = ctx.slopes
        if slopes is None:
            raise RuntimeError("gradients of the likelihood were given away already")
        # Scaled where they are, and given away: a copy is as large as all rows and genes.
        ctx.slopes = None
        if grad.device.type != "cpu" or grad.item() != 1.0:
            for slope in slopes:
                if slope is not None:
                    slope.mul_(grad.to(slope.dtype))
        return (*slopes, None)


def _compiles(
    gates: Tensor | None, logits: Tensor, log_library: Tensor, log_theta: Tensor, given: Rows
) -> bool:
    """Whether all is in float32 on a CPU."""
    parts = (gates, logits, log_library, log_theta, given.counts, given.weight)
    return all(
        part is None or (part.device.type == "cpu" and part.dtype == torch.float32)
        for part in parts
    )


def compile_kernels() -> None:
    """Compile, or load what was compiled before.

    The first time takes some seconds, in which whoever runs a job says so from another thread.
    """
    one = torch.ones(1, 1)
    for decoded in (torch.ones(1, 2, requires_grad=True), torch.ones(1, 1, requires_grad=True)):
        decoded_log_likelihood(one, decoded, one[0], one[0]).backward()  # type: ignore[no-untyped-call]
