"""The flow along walks by compiled code, with derivatives of its steps.

Shapes: W walks, d dimensions of the cell state, n times.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.landscape.potential import Potential


def can_sweep(potential: Potential, z0: Tensor) -> bool:
    """Whether there is compiled code for this potential: log cosh in float32 on a CPU."""
    return (
        potential.activation == "logcosh"
        and z0.device.type == "cpu"
        and all(part.dtype == torch.float32 for part in (z0, *potential.parameters()))
    )


def sweep(potential: Potential, z0: Tensor, n_times: int, substeps: int) -> Tensor:
    """Flow from z0, (W, d), over n_times even times from 0 to 1: (n_times, W, d).

    Gradients flow to z0 and to the potential, once.

    Parameters
    ----------
    substeps
        Steps of the 3/8 rule between two times.
    """
    layers = [part for layer in potential.layers for part in (layer.weight, layer.bias)]
    how = (n_times, substeps, potential.confinement)
    return cast("Tensor", _Sweep.apply(z0, potential.gamma, how, *layers))  # type: ignore[no-untyped-call]


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        z0: Tensor,
        gamma: Tensor,
        how: tuple[int, int, float],
        *layers: Tensor,
    ) -> Tensor:
        from celldyn.landscape.sweep_kernels import flow_down

        n_times, substeps, confinement = how
        n_steps = (n_times - 1) * substeps
        gate = torch.sigmoid(gamma.detach())
        ctx.given = (*_packed(layers), np.float32(gate.item()), np.float32(confinement))
        ctx.h, ctx.substeps = np.float32(1.0 / max(n_steps, 1)), substeps
        paths = np.empty((n_steps + 1, z0.shape[1], z0.shape[0]), np.float32)
        paths[0] = z0.detach().T.numpy()
        flow_down(*ctx.given, ctx.h, paths)
        ctx.paths, ctx.shapes = paths, [layer.shape for layer in layers]
        return torch.from_numpy(paths)[::substeps].transpose(1, 2).clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        from celldyn.landscape.sweep_kernels import flow_back

        _, weights, biases, gate, _ = ctx.given
        by_weights, by_biases = np.zeros_like(weights), np.zeros_like(biases)
        by_start = np.empty(ctx.paths.shape[1:], np.float32)
        by_paths = grad.transpose(1, 2).contiguous().numpy()
        by_gate = flow_back(
            *ctx.given, ctx.h, ctx.paths, ctx.substeps, by_paths, by_start, by_weights, by_biases
        )
        slopes = _unpacked(by_weights, by_biases, ctx.shapes)
        by_gamma = torch.tensor(by_gate * gate * (1 - gate), dtype=torch.float32)
        return torch.from_numpy(by_start).T, by_gamma, None, *slopes


def _packed(
    layers: tuple[Tensor, ...],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return widths, weights and biases of all layers, one after another."""
    weights = [layer.detach().reshape(-1) for layer in layers[::2]]
    widths = [layers[0].shape[1], *(len(bias) for bias in layers[1::2])]
    biases = torch.cat([bias.detach() for bias in layers[1::2]])
    return np.array(widths, np.int64), torch.cat(weights).numpy(), biases.numpy()


def _unpacked(
    weights: NDArray[np.float32], biases: NDArray[np.float32], shapes: list[torch.Size]
) -> list[Tensor]:
    """Return slopes of every layer's weights and biases."""
    slopes: list[Tensor] = []
    at = row = 0
    for shape in shapes[::2]:
        size = shape.numel()
        slopes += [
            torch.from_numpy(weights[at : at + size]).view(shape),
            torch.from_numpy(biases[row : row + shape[0]]),
        ]
        at, row = at + size, row + shape[0]
    return slopes


def compile_sweep() -> None:
    """Compile, or load what was compiled before, for `celldyn.devices.compile_job`."""
    z0 = torch.zeros(1, 1, requires_grad=True)
    with torch.random.fork_rng(devices=[]):  # weights that nobody looks at cost no random number
        potential = Potential(1, (1,))
    sweep(potential, z0, 2, 1).sum().backward()  # type: ignore[no-untyped-call]
