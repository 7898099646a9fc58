"""The transformer that reads a cell's surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from celldyn.betas.varying.anchored import AnchoredNetwork
from celldyn.betas.varying.stacked import StackedLinear, draw, reset_all, stacked_mlp
from celldyn.errors import ConfigError

PATCHES = 4
"""Patches along a side of an image."""

WIDTH = 16
"""Length of a token."""

N_BLOCKS, N_HEADS = 4, 8
_EXPANSION = 4
_DROPOUT = 0.1


class CellularViT(AnchoredNetwork):
    """A vision transformer over 4 × 4 patches, read off its class token.

    Each patch of (D/4)² pixels becomes a token of length 16; a class token and a fixed sinusoidal
    table are added; four pre-norm blocks x + MSA(LN x), x + MLP(LN x) follow, with 8 heads of
    dimension 2 and no projection of their outputs. The betas are 1.5 · sigmoid(MLP(class token +
    MLP(features))) times the anchors. (Seed document; architecture of SpaceTravLR.)

    Parameters
    ----------
    n_modulators, anchors
        See `AnchoredNetwork`.
    spatial_dim
        D, pixels along a side of an image.
    n_clusters
        Number of features, which is that of cell types.
    in_channels
        Images of each cell.
    n_models, n_each
        See `AnchoredNetwork`.
    generator
        Where starting values are drawn from; what is dropped out is drawn from another that is
        seeded alike. torch's own by default.

    Raises
    ------
    ConfigError
        If the images cannot be divided into 4 × 4 patches.
    DataError
        If the anchors do not fit.
    """

    position: Tensor

    def __init__(
        self,
        n_modulators: int,
        anchors: ArrayLike | Tensor,
        spatial_dim: int,
        n_clusters: int,
        in_channels: int = 1,
        n_models: int = 1,
        *,
        n_each: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if spatial_dim % PATCHES:
            raise ConfigError(
                f"spatial_dim is {spatial_dim}, which {PATCHES} does not divide",
                "use a multiple of 4 with the transformer",
            )
        super().__init__(n_modulators, anchors, n_models, n_each)
        n_pixels = in_channels * (spatial_dim // PATCHES) ** 2
        self.embed = StackedLinear(n_models, n_pixels, WIDTH)
        self.start = _ClassToken(n_models)
        self.blocks = nn.ModuleList(_Block(n_models) for _ in range(N_BLOCKS))
        self.context = stacked_mlp(n_models, (n_clusters, WIDTH, 2 * WIDTH, WIDTH))
        sizes = (WIDTH, 2 * WIDTH, WIDTH)
        dropped = generator and torch.Generator().manual_seed(generator.initial_seed())
        self.head = _Head(n_models, sizes, [1 + p for p in self.n_each], dropped)
        self.register_buffer("position", _sinusoids(PATCHES**2 + 1, WIDTH), persistent=False)
        reset_all(self, n_models, generator)

    def see(self, maps: Tensor) -> Tensor:
        """Return the (n_models, batch, 16) class tokens after the last block."""
        batch, channels, side, _ = maps.shape
        patch = side // PATCHES
        tiles = maps.reshape(batch, channels, PATCHES, patch, PATCHES, patch)
        tokens = tiles.permute(0, 2, 4, 1, 3, 5).reshape(1, batch, PATCHES**2, -1)
        x = self.embed(tokens)
        first = self.start.token[:, None, None].expand(-1, batch, 1, -1)
        x = torch.cat((first, x), dim=2) + self.position
        for block in self.blocks:
            x = block(x)
        seen: Tensor = x[:, :, 0]
        return seen

    def scale(self, seen: Tensor, features: Tensor) -> Tensor:
        """Return the (n_models, batch, 1 + p) factors of the anchors."""
        factors: Tensor = 1.5 * torch.sigmoid(self.head(seen + self.context(features[None])))
        return factors


class _ClassToken(nn.Module):
    """The token that gathers what is read off the others."""

    def __init__(self, n_models: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(n_models, WIDTH))

    def reset(self, model: int, generator: torch.Generator | None) -> None:
        with torch.no_grad():
            self.token[model] = torch.rand(WIDTH, generator=generator)


class _Norm(nn.Module):
    """Layer norm of each model."""

    def __init__(self, n_models: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_models, WIDTH))
        self.bias = nn.Parameter(torch.zeros(n_models, WIDTH))

    def reset(self, model: int, generator: torch.Generator | None) -> None:
        del generator
        with torch.no_grad():
            self.weight[model], self.bias[model] = 1.0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x, (WIDTH,))
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])


class _Attention(nn.Module):
    """Eight heads, each with 2 × 2 query, key and value maps of its own slice of the token."""

    def __init__(self, n_models: int) -> None:
        super().__init__()
        size = WIDTH // N_HEADS
        self.weight = nn.Parameter(torch.zeros(n_models, 3, N_HEADS, size, size))
        self.bias = nn.Parameter(torch.zeros(n_models, 3, N_HEADS, size))

    def reset(self, model: int, generator: torch.Generator | None) -> None:
        size = WIDTH // N_HEADS
        draw(self.weight[model], size, generator)
        draw(self.bias[model], size, generator)

    def forward(self, x: Tensor) -> Tensor:
        n_models, batch, n_tokens, _ = x.shape
        slices = x.reshape(n_models, batch, n_tokens, N_HEADS, -1)
        maps = torch.einsum("mbthi,mkhoi->komhtb", slices, self.weight)
        maps = maps + self.bias.permute(1, 3, 0, 2)[..., None, None]
        attended = _attend(*maps)
        return attended.permute(1, 4, 3, 2, 0).reshape(x.shape)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return scaled dot-product attention; all are (size of a head, ..., tokens, batch).

    Heads of size 2 over 17 tokens are too small for matrix products; with the batch as last axis,
    sums of products are fast.
    """
    n_dims = len(query)
    query = query * n_dims**-0.5
    scores = sum(query[i].unsqueeze(-2) * key[i].unsqueeze(-3) for i in range(n_dims))
    assert isinstance(scores, Tensor)
    weights = torch.softmax(scores, dim=-2)
    return torch.stack([(weights * part.unsqueeze(-3)).sum(dim=-2) for part in value])


class _Block(nn.Module):
    def __init__(self, n_models: int) -> None:
        super().__init__()
        self.norm1, self.attention = _Norm(n_models), _Attention(n_models)
        self.norm2 = _Norm(n_models)
        self.grow = StackedLinear(n_models, WIDTH, _EXPANSION * WIDTH)
        self.shrink = StackedLinear(n_models, _EXPANSION * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        grown: Tensor = F.gelu(self.grow(self.norm2(x)))
        out: Tensor = x + self.shrink(grown)
        return out


class _Head(nn.Module):
    """Linear layers with GELU and dropout between them; the same is dropped in all models."""

    def __init__(
        self,
        n_models: int,
        sizes: Sequence[int],
        last: Sequence[int],
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.layers = nn.ModuleList(
            StackedLinear(n_models, n_in, n_out) for n_in, n_out in pairwise(sizes)
        )
        self.last = StackedLinear(n_models, sizes[-1], last)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self._drop(F.gelu(layer(x)))
        out: Tensor = self.last(x)
        return out

    def _drop(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.rand(x.shape[1:], generator=self.generator) >= _DROPOUT
        return x * (kept.to(x) / (1 - _DROPOUT))


def _sinusoids(n_tokens: int, width: int) -> Tensor:
    """Return sin(i / 10000^(j/width)) of token i at even j, and at odd j its cosine at j − 1."""
    place = torch.arange(n_tokens, dtype=torch.float64)[:, None]
    j = torch.arange(width)
    angle = place / 10000.0 ** ((j - j % 2).to(torch.float64) / width)
    return torch.where(j % 2 == 0, angle.sin(), angle.cos()).to(torch.float32)
