"""The networks of the landscape: from expression to the cell state, on to B, and back.

Shapes: m rows (cells), G genes, d dimensions of the cell state z, b of the differentiation
state B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from celldyn.landscape.config import LSDConfig
from celldyn.landscape.potential import Potential

THETA_START = 100.0
"""Inverse dispersion of every gene before anything is known of it."""

PRIOR_SCALE_B = 10.0
"""Standard deviation of p(B) about the RNN's output."""
GUARD = 1e-3
"""Added to means and inverse dispersions of counts before logarithms are taken."""

_LEAST_SCALE = 1e-4
"""A standard deviation is never smaller: softplus alone comes to 0 in float32."""


def positive(raw: Tensor) -> Tensor:
    """Return what a network says, as a standard deviation."""
    return F.softplus(raw) + _LEAST_SCALE


class CountedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of rows that stand for several alike.

    A batch of walks comes to the same cell many times. Each cell is computed once; with how many
    times it was met as its weight, mean and variance are those of all rows.
    """

    def forward(self, input: Tensor, times: Tensor | None = None) -> Tensor:
        """Normalise (m, k) values.

        Parameters
        ----------
        input
            (m, k).
        times
            (m,) how many rows each stands for; None is one each. In evaluation mode it does not
            matter.
        """
        if not self.training or times is None:
            return super().forward(input)
        n_rows = times.sum()
        share = times / n_rows
        mean = share @ input
        centred = input - mean
        variance = share @ centred.square()
        with torch.no_grad():
            momentum = cast("float", self.momentum)
            cast("Tensor", self.running_mean).lerp_(mean, momentum)
            unbiased = variance * (n_rows / (n_rows - 1))
            cast("Tensor", self.running_var).lerp_(unbiased, momentum)
            cast("Tensor", self.num_batches_tracked).add_(1)
        return torch.addcmul(self.bias, centred, torch.rsqrt(variance + self.eps) * self.weight)


class NormalisedMLP(nn.Module):
    """Linear, batch normalisation, softplus; the last layer without softplus."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.norm = nn.ModuleList(CountedBatchNorm(b) for b in widths[1:])

    def forward(self, x: Tensor, times: Tensor | None = None) -> Tensor:
        """Return (m, widths[-1]) of (m, widths[0]); see `CountedBatchNorm` for `times`."""
        return cast("Tensor", self.last_norm(self.raw(x, times), times))

    @property
    def last_norm(self) -> CountedBatchNorm:
        """The last normalisation."""
        return cast("CountedBatchNorm", self.norm[-1])

    def raw(self, x: Tensor, times: Tensor | None = None) -> Tensor:
        """Return what comes into the last normalisation."""
        h = x
        for k, linear in enumerate(self.linear):
            h = linear(F.softplus(self.norm[k - 1](h, times)) if k else h)
        return h


class MLP(nn.Module):
    """Linear, softplus; the last layer without softplus."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., widths[-1]) of (..., widths[0])."""
        h = x
        for k, linear in enumerate(self.linear):
            h = F.softplus(h) if k else h
            h = linear(h)
        return h


class Networks(nn.Module):
    """All that is learned.

    Parameters
    ----------
    n_genes
        G.
    cfg
        Sizes, likelihood and kind of library size are read from `cfg.model`.

    Attributes
    ----------
    x_encoder
        q(z|x): log-normalised expression to mean and standard deviation of z.
    z_encoder
        q(B|z).
    B_decoder
        p(z|B).
    z_decoder
        p(x|z): gate logits, where there are any, and shares of expression before softmax.
    xl_encoder
        q(library|x), where library sizes are inferred; else None.
    prior_rnn, h_0
        The mean of p(B) along a walk, and the hidden state that walks begin with.
    potential
        V(z).
    log_theta
        (G,) log of the inverse dispersion of every gene.
    library_loc, library_scale
        Mean and standard deviation of the prior of log library size.

    Notes
    -----
    specs: sclsd 0.3.0's networks, whose z_encoder and xl_encoder have sizes of their own here.
    """

    library_loc: Tensor
    library_scale: Tensor

    def __init__(self, n_genes: int, cfg: LSDConfig) -> None:
        super().__init__()
        model, dims = cfg.model, cfg.model.layer_dims
        d, b = model.z_dim, model.B_dim
        self.n_genes, self.likelihood, self.library = n_genes, model.likelihood, model.library
        self.x_encoder = NormalisedMLP([n_genes, *dims.x_encoder, 2 * d])
        self.z_encoder = MLP([d, *dims.z_encoder, 2 * b])
        self.B_decoder = MLP([b, *dims.B_decoder, 2 * d])
        n_out = n_genes * (2 if model.likelihood == "zinb" else 1)
        self.z_decoder = NormalisedMLP([d, *dims.z_decoder, n_out])
        self.xl_encoder = (
            None if model.library == "observed" else NormalisedMLP([n_genes, *dims.xl_encoder, 2])
        )
        self.prior_rnn = nn.RNN(n_genes, b, 2, nonlinearity="relu", batch_first=True)
        self.h_0 = nn.Parameter(torch.zeros(2, 1, b))
        self.potential = Potential(
            d, dims.potential, dims.potential_af, confinement=model.confinement
        )
        self.log_theta = nn.Parameter(torch.full((n_genes,), math.log(THETA_START)))
        self.register_buffer("library_loc", torch.zeros(()))
        self.register_buffer("library_scale", torch.ones(()))

    def encode(self, x: Tensor, times: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of z, (m, d) each, of expression (m, G)."""
        loc, raw = self.x_encoder(x, times).chunk(2, dim=-1)
        return loc, positive(raw)

    def encode_B(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of B, (..., b) each, of states (..., d)."""
        loc, raw = self.z_encoder(z).chunk(2, dim=-1)
        return loc, positive(raw)

    def decode_B(self, B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of z, (..., d) each, of B (..., b)."""
        loc, raw = self.B_decoder(B).chunk(2, dim=-1)
        return loc, positive(raw)

    def decode_logits(self, z: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return gate logits, or None, and shares of expression before softmax, (m, G)."""
        out = self.z_decoder(z)
        if self.likelihood == "nb":
            return None, out
        gate, share = out.chunk(2, dim=-1)
        return gate, share

    def decode(self, z: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return gate logits, or None, and log shares of expression, (m, G).

        Shares of a row sum to 1.
        """
        gate, share = self.decode_logits(z)
        return gate, torch.log_softmax(share, dim=-1)

    def encode_library(
        self, x: Tensor, log_library: Tensor, times: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of log library size, (m,) each.

        Where it is inferred the network says how far it is from the observed; as sclsd has it,
        the network says all of it.
        """
        assert self.xl_encoder is not None
        loc, raw = self.xl_encoder(x, times).unbind(dim=-1)
        return (loc + log_library if self.library == "inferred" else loc), positive(raw)

    @torch.no_grad()
    def start_from(
        self,
        mean: Tensor,
        inverse_dispersion: Tensor,
        log_library: tuple[float, float],
        spread: Tensor | None = None,
    ) -> None:
        """Begin where the data is: each gene with its own mean and dispersion, few gates.

        Parameters
        ----------
        mean
            (G,) share of a gene in all counts.
        inverse_dispersion
            (G,) by moments.
        log_library
            Location and scale of the prior of log library size.
        spread
            (G,) how far each gene varies on the log scale: what varies is seen from the first
            step on. None is the same for all.
        """
        last = self.z_decoder.last_norm
        G = self.n_genes
        last.bias[-G:] = torch.log(mean + 1e-3 / G).to(last.bias)
        last.weight[-G:] = _SHARE_GAIN if spread is None else spread.to(last.weight)
        if self.likelihood == "zinb":
            last.bias[:G] = _GATE_START
            last.weight[:G] = _SHARE_GAIN
        self.log_theta.copy_(torch.log(inverse_dispersion).to(self.log_theta))
        self.library_loc.fill_(log_library[0])
        self.library_scale.fill_(log_library[1])


_SHARE_GAIN = 0.3
"""How far, on the log scale, expression varies about its mean before anything is learned."""
_GATE_START = -4.0
"""Logit of the chance that a count is a dropout, before anything is learned."""
