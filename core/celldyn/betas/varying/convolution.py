"""One block of a network that sees: convolution, batch norm, PReLU, max-pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from celldyn.betas.varying.stacked import SLOPE, draw

EPS = 1e-5
"""Added to the variance by batch norm."""

MOMENTUM = 0.1
"""Weight of a batch in the running mean and variance."""


class ConvolutionBlock(nn.Module):
    """3 × 3 convolution with weight norm, batch norm, PReLU and 2 × 2 max-pooling, per model.

    Parameters
    ----------
    n_models
        Models; their channels stand side by side.
    n_in, n_out
        Channels of each.
    shared
        Whether all models see the same images, which then have n_in channels in all.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_models: int, n_in: int, n_out: int, *, shared: bool = False) -> None:
        super().__init__()
        self.n_models, self.n_in, self.n_out, self.shared = n_models, n_in, n_out, shared
        self.direction = nn.Parameter(torch.zeros(n_models, n_out, n_in, 3, 3))
        self.length = nn.Parameter(torch.zeros(n_models, n_out))
        self.bias = nn.Parameter(torch.zeros(n_models, n_out))
        self.gamma = nn.Parameter(torch.ones(n_models, n_out))
        self.beta = nn.Parameter(torch.zeros(n_models, n_out))
        self.slope = nn.Parameter(torch.full((n_models,), SLOPE))
        self.momentum = MOMENTUM
        self.register_buffer("running_mean", torch.zeros(n_models, n_out))
        self.register_buffer("running_var", torch.ones(n_models, n_out))

    def reset(self, model: int, generator: torch.Generator | None) -> None:
        """Start a model as PyTorch starts these layers."""
        fan_in = 9 * self.n_in
        draw(self.direction[model], fan_in, generator)
        draw(self.bias[model], fan_in, generator)
        with torch.no_grad():
            self.length[model] = self.direction[model].flatten(1).norm(dim=1)
            self.gamma[model], self.beta[model], self.slope[model] = 1.0, 0.0, SLOPE
            self.running_mean[model], self.running_var[model] = 0.0, 1.0

    def kernel(self) -> Tensor:
        """Return the (n_models, n_out, n_in, 3, 3) kernels g v / ‖v‖."""
        norm = self.direction.flatten(2).norm(dim=2)
        kernel: Tensor = self.direction * (self.length / norm)[..., None, None, None]
        return kernel

    @torch.no_grad()
    def absorb(self, mean: Tensor, var: Tensor, n: int) -> None:
        """Let the mean and variance of a batch's n outputs into the running ones."""
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (n / max(n - 1, 1)), self.momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, n_models · n_out, rows // 2, columns // 2).

        `x` is (batch, n_models · n_in, rows, columns), or (batch, n_in, ...) if shared.
        """
        groups = 1 if self.shared else self.n_models
        y = F.conv2d(x, self.kernel().flatten(0, 1), self.bias.flatten(), padding=1, groups=groups)
        y = F.batch_norm(
            y,
            self.running_mean.view(-1),
            self.running_var.view(-1),
            self.gamma.flatten(),
            self.beta.flatten(),
            training=self.training,
            momentum=self.momentum,
            eps=EPS,
        )
        y = F.prelu(y, self.slope.repeat_interleave(self.n_out))
        pooled: Tensor = F.max_pool2d(y, 2)
        return pooled
