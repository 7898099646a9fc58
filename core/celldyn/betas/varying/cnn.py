"""The convolutional network that reads a cell's surroundings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from celldyn.betas.varying import activations
from celldyn.betas.varying.anchored import AnchoredNetwork
from celldyn.betas.varying.convolution import ConvolutionBlock
from celldyn.betas.varying.stacked import reset_all, stacked_mlp
from celldyn.errors import ConfigError

WIDTHS = (16, 32, 64)
"""Channels of the three blocks."""

FEWEST_PIXELS = 8
"""Halved three times, an image of this side has one pixel left."""


class CellularNicheNetwork(AnchoredNetwork):
    """Three blocks of convolution, the mean over what is left, and a head with the features.

    With h the mean over pixels of the last block and s = MLP(features), both of length 64, the
    betas are act(MLP(h + s)) times the anchors. (Seed document; architecture of SpaceTravLR.)

    Parameters
    ----------
    n_modulators, anchors
        See `AnchoredNetwork`.
    spatial_dim
        D, pixels along a side of an image.
    n_clusters
        Number of features, which is that of cell types.
    activation
        "sigmoid" (0 .. 1), "sigmoidx2" (0 .. 2), "identity", "tanh", "gelu" or "softplus".
    in_channels
        Images of each cell.
    n_models, n_each
        See `AnchoredNetwork`.
    generator
        Where starting values are drawn from; torch's own by default.

    Raises
    ------
    ConfigError
        If the images are smaller than 8 pixels or the activation is not known.
    DataError
        If the anchors do not fit.
    """

    def __init__(
        self,
        n_modulators: int,
        anchors: ArrayLike | Tensor,
        spatial_dim: int,
        n_clusters: int,
        activation: str = "sigmoid",
        in_channels: int = 1,
        n_models: int = 1,
        *,
        n_each: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if spatial_dim < FEWEST_PIXELS:
            raise ConfigError(
                f"spatial_dim is {spatial_dim}, too few pixels to be halved three times",
                f"use at least {FEWEST_PIXELS} with the cnn",
            )
        super().__init__(n_modulators, anchors, n_models, n_each)
        self.gate = activations.activation(activation)
        self.blocks = nn.ModuleList(
            ConvolutionBlock(n_models, n_in, n_out, shared=k == 0)
            for k, (n_in, n_out) in enumerate(zip((in_channels, *WIDTHS), WIDTHS, strict=False))
        )
        hidden = WIDTHS[-1]
        self.context = stacked_mlp(n_models, (n_clusters, 16, 32, hidden))
        self.head = stacked_mlp(n_models, (hidden, hidden), [1 + p for p in self.n_each])
        reset_all(self, n_models, generator)

    @property
    def convolutions(self) -> list[ConvolutionBlock]:
        """The blocks, in order."""
        return [block for block in self.blocks if isinstance(block, ConvolutionBlock)]

    def see(self, maps: Tensor) -> Tensor:
        """Return the (n_models, batch, 64) means over the pixels of the last block."""
        x = maps
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=(2, 3)).reshape(len(x), self.n_models, -1).transpose(0, 1)

    def scale(self, seen: Tensor, features: Tensor) -> Tensor:
        """Return the (n_models, batch, 1 + p) factors of the anchors."""
        factors: Tensor = self.gate(self.head(seen + self.context(features[None])))
        return factors
