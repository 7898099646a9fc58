"""The reconstruction term and all its gradients in one pass.

The loss is linear in each cell's −log p with weights that are known beforehand: so `forward` makes
every gradient while the means are at hand, and `backward` only scales them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from celldyn.vae.encoder_input import encoder_input
from celldyn.vae.inputs import CountRows, Csr
from celldyn.vae.reconstruction_plain import Gradients, Parameters, joined, plain

__all__ = ["compile_kernels", "encoder_input", "reconstruction", "reconstruction_and_native"]

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
    total, per_cell, _ = reconstruction_and_native(
        logits, log_library, background, background_rows, scaling, scaling_rows, theta,
        theta_rows, counts, weights, activation,
    )  # fmt: skip
    return total, per_cell


def reconstruction_and_native(
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
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `reconstruction` does, and each cell's native expression Σ_g ρ_bg, (B,).

    It is there already, and gradients flow from it to the logits; 0 for a cell of weight 0.
    """
    given = Parameters(
        logits, log_library, background, background_rows, scaling, scaling_rows, theta, theta_rows
    )
    found = _Reconstruction.apply(*given, counts, weights, activation)  # type: ignore[no-untyped-call]
    total, per_cell, native = found
    return total, per_cell, native


class _Reconstruction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        *tensors, counts, weights, activation = given
        parameters = Parameters(*tensors)
        ctx.compiled = activation == "softplus" and _compiles(parameters, counts)
        with torch.autocast(parameters.logits.device.type, enabled=False):
            if ctx.compiled:
                from celldyn.vae.reconstruction_compiled import compiled

                told, gradients = compiled(parameters, counts, weights)
            else:
                told, gradients = plain(parameters, counts, weights, activation)
            total = (told.per_cell.double() * weights).sum().to(told.per_cell.dtype)
        ctx.gradients, ctx.activation = gradients, activation
        ctx.save_for_backward(parameters.logits, weights)
        ctx.mark_non_differentiable(told.per_cell)
        ctx.set_materialize_grads(False)
        return total, told.per_cell, told.native

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        grad: Tensor | None,
        _: None,
        of_native: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        made: Gradients = ctx.gradients
        logits, weights = ctx.saved_tensors
        grad = made.log_library.new_zeros(()) if grad is None else grad
        library, background, scaling, theta = (_scaled(each, grad) for each in made[1:])
        if of_native is None:
            slopes = _scaled(made.logits, grad)
        else:
            of_native = torch.where(weights != 0, of_native, 0)
            slopes = _joined(ctx, logits, grad, of_native)
        return slopes, library, background, None, scaling, None, theta, None, None, None, None


def _joined(ctx: Any, logits: Tensor, grad: Tensor, of_native: Tensor) -> Tensor:  # noqa: ANN401
    slopes = ctx.gradients.logits
    if not ctx.compiled:
        return joined(logits, slopes, grad, of_native, ctx.activation)
    from celldyn.vae import reconstruction_compiled

    return reconstruction_compiled.joined(logits, slopes, grad, of_native)


def _scaled(gradient: Tensor | None, by: Tensor) -> Tensor | None:
    if gradient is None or (by.device.type == "cpu" and by.item() == 1.0):
        return gradient
    return gradient * by.to(gradient.dtype)


def _compiles(parameters: Parameters, counts: CountRows | Tensor) -> bool:
    """Whether it is rows on the CPU, the tables in float32 and the logits in that or bfloat16."""
    logits, *others = (part for part in parameters if part is not None)
    tables = (part for part in others if part.is_floating_point())
    return (
        isinstance(counts, CountRows)
        and logits.device.type == "cpu"
        and logits.dtype in (torch.float32, torch.bfloat16)
        and all(table.dtype == torch.float32 for table in tables)
    )


def compile_kernels(dtype: torch.dtype = torch.float32) -> None:
    """Compile, or load what was compiled before: for logits and input of this type.

    The first time takes some seconds, in which whoever runs a job says so from another thread.
    """
    one = torch.ones(1, 1)
    csr = Csr(np.arange(2), np.zeros(1, np.int32), np.ones(1, np.float32), 1)
    counts, row = CountRows(csr, np.zeros(1, np.int64)), torch.zeros(1, dtype=torch.int64)
    logits = one.to(dtype).requires_grad_()
    encoder_input(counts, dropout=0.5, seed=0, dtype=dtype)
    total, _, native = reconstruction_and_native(
        logits, one[0], one, row, one, row, one, row, counts, one[0]
    )
    torch.autograd.grad(total + native.sum(), logits)
