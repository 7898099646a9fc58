"""The reconstruction term and all its gradients in one pass.

The loss is linear in each cell's −log p with weights that are known beforehand: so `forward` makes
every gradient while the means are at hand, and `backward` only scales them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from celldyn.vae.encoder_input import encoder_input
from celldyn.vae.inputs import CountRows
from celldyn.vae.reconstruction_plain import Gradients, Parameters, plain

__all__ = ["encoder_input", "reconstruction"]

Activation: TypeAlias = Literal["softplus", "softmax"]


def reconstruction(
    logits: Tensor,
    log_library: Tensor,
    background: Tensor | None,
    background_rows: Tensor | None,
    scaling: Tensor | None,
    scaling_rows: Tensor | None,
    theta: Tensor,
    theta_rows: Tensor,
    counts: CountRows | Tensor,
    weights: Tensor,
    activation: Activation = "softplus",
) -> tuple[Tensor, Tensor]:
    """Return Σ_b w_b nll_b and nll_b = −Σ_g log GammaPoisson(x_bg; θ, θ/μ_bg).

        μ_bg = exp(log_library_b) (ρ_bg + background_eg) scaling_tg,  ρ = softplus(logits)

    Parameters
    ----------
    logits
        (B, G) of the decoder, float32, float64 or bfloat16; below −60 they count as −60.
    log_library
        (B,).
    background, scaling, theta
        (E, G) at least 0, (T, G) above 0, (D, G) above 0; the first two may be None.
    background_rows, scaling_rows, theta_rows
        (B,) int64: which of these rows each cell has.
    counts
        Rows of a sparse matrix, or (B, G).
    weights
        (B,); a cell of weight 0 costs nothing, and its nll_b is 0.
    activation
        What makes ρ of the logits: softplus, or softmax over the genes.

    Returns
    -------
    The total, from which gradients flow to logits, log_library, background, scaling and theta;
    and (B,) nll per cell, detached. Rows of `CountRows` in float32 on a CPU run compiled.
    """
    given = Parameters(
        logits, log_library, background, background_rows, scaling, scaling_rows, theta, theta_rows
    )
    total, per_cell = _Reconstruction.apply(*given, counts, weights, activation)  # type: ignore[no-untyped-call]
    return total, per_cell


class _Reconstruction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        *tensors, counts, weights, activation = given
        parameters = Parameters(*tensors)
        with torch.autocast(parameters.logits.device.type, enabled=False):
            per_cell, gradients = _evaluate(parameters, counts, weights, activation)
            total = (per_cell.double() * weights).sum().to(per_cell.dtype)
        ctx.gradients = gradients
        ctx.mark_non_differentiable(per_cell)
        return total, per_cell

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        made: Gradients = ctx.gradients
        logits, library, background, scaling, theta = (_scaled(g, grad) for g in made)
        return logits, library, background, None, scaling, None, theta, None, None, None, None


def _scaled(gradient: Tensor | None, by: Tensor) -> Tensor | None:
    if gradient is None or (by.device.type == "cpu" and by.item() == 1.0):
        return gradient
    return gradient * by.to(gradient.dtype)


def _evaluate(
    parameters: Parameters, counts: CountRows | Tensor, weights: Tensor, activation: Activation
) -> tuple[Tensor, Gradients]:
    if activation == "softplus" and isinstance(counts, CountRows) and _single(parameters):
        from celldyn.vae.reconstruction_compiled import compiled

        return compiled(parameters, counts, weights)
    return plain(parameters, counts, weights, activation)


def _single(parameters: Parameters) -> bool:
    """Whether all is on the CPU, the tables in float32 and the logits in that or bfloat16."""
    logits, *others = (part for part in parameters if part is not None)
    tables = (part for part in others if part.is_floating_point())
    return (
        logits.device.type == "cpu"
        and logits.dtype in (torch.float32, torch.bfloat16)
        and all(table.dtype == torch.float32 for table in tables)
    )
