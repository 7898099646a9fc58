"""A decoder layer by layer: its hidden states, and how they move with the latent state.

Shapes: B cells, D latent dimensions, H hidden units, C categories over all keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from celldyn.vae.inputs import Batch
from celldyn.vae.modality import ModalityPart
from celldyn.vae.module import VAEModule
from celldyn.vae.networks import After, Decoder, Told

LAYER_NORM_EPS = 1e-5
"""torch's own."""

GATHER_FROM = 48
"""Latent dimensions from which it pays to leave out the hidden units that are 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Telling:
    """What a decoder is told of B cells beside z.

    Parameters
    ----------
    codes
        (B, n_keys) rows of the tables of categories; None without keys.
    shares
        (B or 1, C) instead of codes: how much of each category, so that none, or an average
        one, can be told.
    continuous
        (B, n_continuous); None without.
    """

    codes: Tensor | None
    shares: Tensor | None
    continuous: Tensor | None


def telling_of(module: VAEModule, m: int, batch: Batch) -> Telling:
    """Return what the decoder of modality `m` is told."""
    codes = batch.conditioning
    if module.part(m).config.use_batch_in_decoder:
        own = batch.batch[:, None] + module.spec.sizes.conditioning
        codes = torch.cat([codes, own], dim=1)
    return Telling(codes if codes.shape[1] else None, None, batch.continuous)


def hidden(decoder: Decoder, z: Tensor, telling: Telling) -> Tensor:
    """Return the last hidden layer, (B, H), of z (B, D)."""
    h = z
    for linear, after in _layers(decoder):
        h = after(_linear(linear, h, telling), None)
    return h


def native(part: ModalityPart, logits: Tensor) -> Tensor:
    """Return ρ of the decoder's output."""
    if part.config.scale_activation == "softmax":
        return torch.softmax(logits, dim=-1)
    return F.softplus(logits)


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """The last hidden layer and its derivatives.

    Parameters
    ----------
    hidden
        (B, H).
    rows
        (B, K) the hidden units that `jacobian` is of; None is all. Those left out are 0 and stay
        so.
    jacobian
        (B, K, D) ∂h/∂z.
    """

    hidden: Tensor
    rows: Tensor | None
    jacobian: Tensor


def moved(decoder: Decoder, z: Tensor, telling: Telling) -> Moved:
    """Return the last hidden layer, and ∂h/∂z in closed form.

    A linear layer multiplies the Jacobian A by W. Normalisation to ĥ with standard deviation s
    takes it to (A − mean A − ĥ mean(ĥ∘A)) / s, means over hidden units; ReLU keeps the rows that
    are above 0 (specs/vae.md A.10). Batch normalisation is linear out of training.
    """
    layers = list(_layers(decoder))
    x, jacobian, rows = z, torch.empty(0), None
    for k, (linear, after) in enumerate(layers):
        x = _linear(linear, x, telling)
        jacobian = linear.weight[None] if k == 0 else linear.weight @ jacobian
        sparse = k + 1 == len(layers) and z.shape[1] >= GATHER_FROM
        x, rows, jacobian = _after(after, x, jacobian, sparse=sparse)
    return Moved(x, rows, jacobian)


def _layers(decoder: Decoder) -> Iterator[tuple[Told, After]]:
    yield decoder.first, decoder.after
    for linear, after in zip(decoder.rest.linear, decoder.rest.after, strict=True):
        assert isinstance(linear, Told)
        assert isinstance(after, After)
        yield linear, after


def _linear(layer: Told, x: Tensor, telling: Telling) -> Tensor:
    if telling.shares is None or layer.categories is None:
        return layer(x, telling.codes, telling.continuous)  # type: ignore[no-any-return]
    told: Tensor = layer(x, None, telling.continuous)
    return told + telling.shares.to(x.dtype) @ layer.categories


def _after(
    after: After, x: Tensor, jacobian: Tensor, *, sparse: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return what follows a linear layer, (B, H), and the Jacobian behind it.

    Parameters
    ----------
    x
        (B, H).
    jacobian
        (B or 1, H, D) of x.
    sparse
        Whether to leave out units that are 0; then (B, K) rows are returned, too.
    """
    norm = after.norm
    if norm is not None:
        assert norm.running_var is not None
        jacobian = jacobian * (norm.weight / torch.sqrt(norm.running_var + norm.eps))[:, None]
        x = norm(x)
    mean = along = scale = None
    if after.style.layer_norm:
        centred = x - x.mean(dim=1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + LAYER_NORM_EPS)
        x = centred * scale
        mean, along = jacobian.mean(dim=1, keepdim=True), _along(x, jacobian)
    on, rows, chosen = x > 0, None, x
    if sparse:
        n_most = max(int(on.sum(dim=1).max()), 1)
        rows = torch.topk(on.to(torch.uint8), n_most, dim=1, sorted=False).indices
        on, chosen = on.gather(1, rows), x.gather(1, rows)
        jacobian = _rows_of(jacobian, rows)
    if mean is not None and along is not None and scale is not None:
        jacobian = (jacobian - mean - chosen[:, :, None] * along[:, None]) * (on * scale)[
            ..., None
        ]
    else:
        jacobian = jacobian * on[:, :, None]
    return F.relu(x), rows, jacobian


def _along(x: Tensor, jacobian: Tensor) -> Tensor:
    """Return (B, D) mean over hidden units of ĥ times the Jacobian."""
    if len(jacobian) == 1:
        return x @ jacobian[0] / x.shape[1]
    return torch.bmm(x[:, None], jacobian)[:, 0] / x.shape[1]


def _rows_of(jacobian: Tensor, rows: Tensor) -> Tensor:
    if len(jacobian) == 1:
        return jacobian[0][rows]
    return jacobian.gather(1, rows[:, :, None].expand(-1, -1, jacobian.shape[2]))
