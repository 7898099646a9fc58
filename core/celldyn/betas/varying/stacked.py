"""Layers of several networks at once: each parameter has a leading axis of models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

SLOPE = 0.1
"""Slope below 0 that a PReLU starts with."""


class StackedLinear(nn.Module):
    """A linear layer of each model.

    Parameters
    ----------
    n_models, n_in
        Models, and inputs of each.
    n_out
        Outputs: one number, or one for each model; past its own a model's outputs are 0.
    """

    def __init__(self, n_models: int, n_in: int, n_out: int | Sequence[int]) -> None:
        super().__init__()
        self.n_out = [n_out] * n_models if isinstance(n_out, int) else list(n_out)
        self.weight = nn.Parameter(torch.zeros(n_models, max(self.n_out), n_in))
        self.bias = nn.Parameter(torch.zeros(n_models, max(self.n_out)))

    def reset(self, model: int, generator: torch.Generator | None) -> None:
        """Start a model as PyTorch starts a linear layer."""
        size, n_in = self.n_out[model], self.weight.shape[-1]
        draw(self.weight[model, :size], n_in, generator)
        draw(self.bias[model, :size], n_in, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n_models, ..., n_out) of x, (n_models or 1, ..., n_in)."""
        n_models, n_out, n_in = self.weight.shape
        rows = x.expand(n_models, *x.shape[1:]).reshape(n_models, -1, n_in)
        y = torch.baddbmm(self.bias[:, None], rows, self.weight.mT)
        return y.reshape(n_models, *x.shape[1:-1], n_out)


class StackedPReLU(nn.Module):
    """x above 0 and a · x below, with one slope a for each model."""

    def __init__(self, n_models: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((n_models,), SLOPE))

    def reset(self, model: int, generator: torch.Generator | None) -> None:
        """Start a model."""
        del generator
        with torch.no_grad():
            self.weight[model] = SLOPE

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (n_models, ...)."""
        slope = self.weight.reshape(-1, *(1 for _ in x.shape[1:]))
        return torch.where(x > 0, x, slope * x)


def stacked_mlp(
    n_models: int, sizes: Sequence[int], last: Sequence[int] | None = None
) -> nn.Sequential:
    """Return linear layers of these sizes, PReLU between them; `last` is outputs of each model."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [StackedLinear(n_models, n_in, n_out), StackedPReLU(n_models)]
    if last is not None:
        layers += [StackedLinear(n_models, sizes[-1], last)]
    return nn.Sequential(*(layers if last is not None else layers[:-1]))


def reset_all(network: nn.Module, n_models: int, generator: torch.Generator | None) -> None:
    """Start every model of a network from the same draws, whatever the others' sizes."""
    generator = generator or torch.default_generator
    state = generator.get_state()
    for model in range(n_models):
        generator.set_state(state)
        for layer in network.modules():
            reset = getattr(layer, "reset", None)
            if reset is not None and layer is not network:
                reset(model, generator)


def draw(parameter: Tensor, fan_in: int, generator: torch.Generator | None) -> None:
    """Fill with U(−1/√fan_in, 1/√fan_in)."""
    bound = 1.0 / math.sqrt(fan_in)
    with torch.no_grad():
        parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))
