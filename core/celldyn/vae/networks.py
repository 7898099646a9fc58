"""Encoder and decoder: hidden layers that are told covariates.

Shapes: B cells, G genes, H hidden units, D latent dimensions, C categories over all keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VARIANCE_FLOOR = 1e-4
"""Added to the variances that the encoder gives."""

Mask = Callable[[str, Tensor], Tensor]
"""Drops out some values of a layer's input, by the layer's name."""


@dataclass(frozen=True, slots=True)
class Style:
    """How layers are made: see `ModelConfig`."""

    batch_norm: bool
    layer_norm: bool
    dropout: float
    dropout_on_input: bool
    inject_deeply: bool


class Told(nn.Module):
    """A linear layer that is told covariates: x Wᵀ + Σ_k E[code_k] + c Vᵀ + b.

    A one-hot column beside x adds a row of its weights to the output, so the row is looked up.

    Parameters
    ----------
    n_in, n_out
        Widths.
    n_categories
        C; 0 for none.
    n_continuous
        Columns of numbers beside x.
    """

    def __init__(
        self, n_in: int, n_out: int, n_categories: int = 0, n_continuous: int = 0
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(max(n_in + n_categories + n_continuous, 1))

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        self.weight, self.bias = uniform(n_out, n_in), uniform(n_out)
        self.categories = uniform(n_categories, n_out) if n_categories else None
        self.continuous = uniform(n_out, n_continuous) if n_continuous else None

    def forward(self, x: Tensor, codes: Tensor | None, continuous: Tensor | None = None) -> Tensor:
        """Return (B, n_out) of x (B, n_in), codes (B, n_keys) and continuous (B, n_continuous)."""
        out = F.linear(x, self.weight, self.bias)
        if self.categories is not None and codes is not None:
            out = out + F.embedding(codes, self.categories).sum(dim=1)
        if self.continuous is not None and continuous is not None:
            out = out + F.linear(continuous, self.continuous)
        return out


class After(nn.Module):
    """What follows a linear layer: normalisation, ReLU, and dropout where it stands there."""

    def __init__(self, width: int, style: Style, name: str) -> None:
        super().__init__()
        self.width, self.style, self.name = width, style, name
        self.norm = nn.BatchNorm1d(width, eps=1e-3, momentum=0.01) if style.batch_norm else None

    def forward(self, x: Tensor, mask: Mask | None) -> Tensor:
        """Return (B, width)."""
        if self.norm is not None:
            x = self.norm(x)
        if self.style.layer_norm:
            x = F.layer_norm(x, (self.width,))
        x = F.relu(x)
        if mask is not None and not self.style.dropout_on_input:
            x = mask(self.name, x)
        return x


class Layers(nn.Module):
    """Hidden layers after the first: (B, H) to (B, H)."""

    def __init__(self, width: int, n: int, n_categories: int, style: Style, name: str) -> None:
        super().__init__()
        told = n_categories if style.inject_deeply else 0
        self.linear = nn.ModuleList([Told(width, width, told) for _ in range(n)])
        self.names = [f"{name}/{k + 1}" for k in range(n)]
        self.after = nn.ModuleList([After(width, style, each) for each in self.names])
        self.style = style

    def forward(self, x: Tensor, codes: Tensor | None, mask: Mask | None) -> Tensor:
        """Return (B, H)."""
        for linear, after, name in zip(self.linear, self.after, self.names, strict=True):
            if mask is not None and self.style.dropout_on_input:
                x = mask(name, x)
            x = after(linear(x, codes), mask)
        return x


class Encoder(nn.Module):
    """Means and variances of z and of the log library size, from log1p counts.

    The first layers of both encoders see the same input: they are one matrix product.

    Parameters
    ----------
    n_in
        G.
    n_hidden, n_layers, n_latent
        Of the encoder of z; n_latent 0 leaves it out.
    library_hidden
        Of the library encoder; 0 leaves it out.
    n_categories, n_continuous
        Covariates that it is told.
    """

    def __init__(
        self,
        n_in: int,
        *,
        n_hidden: int,
        n_layers: int,
        n_latent: int,
        library_hidden: int,
        n_categories: int,
        n_continuous: int,
        style: Style,
        name: str,
    ) -> None:
        super().__init__()
        self.n_hidden = n_hidden if n_latent else 0
        self.n_latent, self.library_hidden = n_latent, library_hidden
        width = self.n_hidden + library_hidden
        self.first = Told(n_in, width, n_categories, n_continuous)
        if n_latent:
            self.after = After(n_hidden, style, f"{name}/0")
            self.rest = Layers(n_hidden, n_layers - 1, n_categories, style, name)
            self.head = nn.Linear(n_hidden, 2 * n_latent)
        if library_hidden:
            self.library_after = After(library_hidden, style, f"{name}/library")
            self.library_head = nn.Linear(library_hidden, 2)

    def forward(
        self, x: Tensor, codes: Tensor | None, continuous: Tensor | None, mask: Mask | None
    ) -> tuple[tuple[Tensor, Tensor] | None, tuple[Tensor, Tensor] | None]:
        """Return mean and variance of z, (B, D), and of the log library, (B,); None if left out.

        Parameters
        ----------
        x
            (B, G) log1p counts, dropout already on them where it stands on the input.
        """
        h = self.first(x, codes, continuous)
        z = library = None
        if self.n_latent:
            hidden = self.rest(self.after(h[:, : self.n_hidden], mask), codes, mask)
            z = _moments(self.head(hidden), self.n_latent)
        if self.library_hidden:
            out = self.library_head(self.library_after(h[:, self.n_hidden :], mask))
            mean, variance = _moments(out, 1)
            library = mean[:, 0], variance[:, 0]
        return z, library


def _moments(out: Tensor, n: int) -> tuple[Tensor, Tensor]:
    out = out.float() if out.dtype in (torch.bfloat16, torch.float16) else out
    return out[:, :n], torch.exp(out[:, n:]) + VARIANCE_FLOOR


class Decoder(nn.Module):
    """From the latent state to logits, whose softplus is native expression.

    Parameters
    ----------
    n_in
        D.
    n_out
        G.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_hidden: int,
        n_layers: int,
        n_categories: int,
        n_continuous: int,
        style: Style,
        name: str,
    ) -> None:
        super().__init__()
        self.first = Told(n_in, n_hidden, n_categories, n_continuous)
        self.after = After(n_hidden, style, f"{name}/0")
        self.rest = Layers(n_hidden, n_layers - 1, n_categories, style, name)
        self.out = nn.Linear(n_hidden, n_out)

    def forward(self, z: Tensor, codes: Tensor | None, continuous: Tensor | None) -> Tensor:
        """Return (B, G) logits of z (B, D)."""
        h = self.after(self.first(z, codes, continuous), None)
        logits: Tensor = self.out(self.rest(h, codes, None))
        return logits

    def weights(self) -> list[nn.Parameter]:
        """List all weights, those of covariates too, but no biases."""
        named = self.named_parameters()
        return [
            value for name, value in named if not name.endswith("bias") and ".norm." not in name
        ]

    def squared_norm(self) -> Tensor:
        """Return the sum of all squared weights, of covariates too, but biases."""
        flat = (weight.reshape(-1) for weight in self.weights())
        return torch.stack([torch.dot(weight, weight) for weight in flat]).sum()


def style_of(config: Any, side: str) -> Style:  # noqa: ANN401
    """Return how the layers of the "encoder" or the "decoder" are made; decoders drop nothing."""
    return Style(
        batch_norm=config.use_batch_norm in (side, "both"),
        layer_norm=config.use_layer_norm in (side, "both"),
        dropout=config.dropout_rate if side == "encoder" else 0.0,
        dropout_on_input=config.dropout_on_input,
        inject_deeply=config.deeply_inject_covariates,
    )
