"""How far a change of expression moves a cell's state: encode(x changed) − encode(x).

Shapes: m cells, G genes, h units of the encoder's first layer, d dimensions of the state.

A change of one gene is a change of rank one of what comes out of the first layer, so that many
changes of many cells need no expression matrix each: h numbers per cell are kept, and one column
of weights per gene is added. Batch normalisation is part of the weights.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from celldyn.landscape.networks import Networks

_ROWS = 2048
"""Cells whose layers are held at once."""


class ShiftEncoder:
    """The mean of q(z|x) of a model in evaluation mode, taken apart behind its first layer.

    Parameters
    ----------
    networks
        Their parameters are read once, and copied.

    Attributes
    ----------
    by_gene
        (G, h) what one unit of a gene adds to the first layer.
    """

    def __init__(self, networks: Networks) -> None:
        encoder, z_dim = networks.x_encoder, networks.potential.z_dim
        weights, biases = [], []
        for linear, norm in zip(encoder.linear, encoder.norm, strict=True):
            weight, bias = _folded(cast("nn.Linear", linear), cast("nn.BatchNorm1d", norm))
            weights.append(weight)
            biases.append(bias)
        weights[-1], biases[-1] = weights[-1][:, :z_dim].contiguous(), biases[-1][:z_dim]
        self.by_gene, self._bias = weights[0], biases[0]
        self._later = list(zip(weights[1:], biases[1:], strict=True))

    @property
    def n_genes(self) -> int:
        """G."""
        return int(self.by_gene.shape[0])

    def first(self, x: Tensor) -> Tensor:
        """Return what comes out of the first layer, (m, h), of expression (m, G)."""
        return torch.addmm(self._bias, x.to(self.by_gene), self.by_gene)

    def state(self, first: Tensor) -> Tensor:
        """Return the state, (m, d), of what comes out of the first layer; that is overwritten."""
        at = first
        for weight, bias in self._later:
            at = torch.addmm(bias, _softplus_(at), weight)
        return at

    def shift(self, first: Tensor, state: Tensor, change: Tensor, genes: Tensor) -> Tensor:
        """Return how far cells are moved, (m, d).

        Parameters
        ----------
        first, state
            (m, h) and (m, d) of the cells as they are.
        change
            (m, k) what is added to the expression of k genes.
        genes
            (k,) their numbers.
        """
        return self.changed(first, change, self.by_gene[genes]).sub_(state)

    def changed(self, first: Tensor, change: Tensor, added: Tensor) -> Tensor:
        """Return states, (m, d), once `change` (m, k) times `added` (k, h) is added to `first`."""
        parts = [
            self.state(torch.addmm(first[rows], change[rows], added))
            for rows in _blocks(first.shape[0])
        ]
        return torch.cat(parts) if parts else first.new_zeros(0, self._later[-1][1].shape[0])


@torch.no_grad()
def _folded(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return weights, (n_in, n_out), and bias of a layer and the normalisation behind it."""
    mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    gain = norm.weight * torch.rsqrt(variance + norm.eps)
    return (linear.weight * gain[:, None]).T.contiguous(), (linear.bias - mean) * gain + norm.bias


def _blocks(n_rows: int) -> list[slice]:
    return [slice(begin, begin + _ROWS) for begin in range(0, n_rows, _ROWS)]


def _softplus_(a: Tensor) -> Tensor:
    """Return softplus of a, in a's place."""
    out: Tensor = torch.ops.aten.softplus.out(a, out=a)
    return out
