"""How the latent spaces of modalities become the one that decoders see (specs/vae.md A.10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from celldyn.vae.draws import Draws
from celldyn.vae.inputs import Batch
from celldyn.vae.modality import mask_of
from celldyn.vae.networks import Encoder, style_of
from celldyn.vae.spec import JOINT, ModuleSpec

Moments = tuple[Tensor, Tensor]


class Mixing(nn.Module):
    """Side by side, a weighted mean, or one encoder of everything.

    A modality that a cell lacks says nothing of it: its part is 0, the mean of its prior, and a
    weighted mean leaves it out.

    Parameters
    ----------
    spec
        The whole model.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__()
        self.mode, self.weighting = spec.latent_mode, spec.modality_weights
        self.names = tuple(part.name for part in spec.modalities)
        n = len(self.names)
        self.encoder: Encoder | None = None
        if self.mode == "weighted_mean" and self.weighting == "universal":
            self.weights = nn.Parameter(torch.zeros(n))
        if self.mode == "weighted_mean" and self.weighting == "cell":
            self.weigh = nn.Linear(n * spec.n_latent, n)
        if self.mode == "single_encoder":
            configs = [part.config for part in spec.modalities]
            self.config = configs[0]
            self.encoder = Encoder(
                sum(part.n_features for part in spec.modalities),
                n_hidden=max(config.n_hidden for config in configs),
                n_layers=max(config.n_layers for config in configs),
                n_latent=spec.n_latent,
                library_hidden=0,
                n_categories=spec.sizes.encoder,
                n_continuous=spec.sizes.continuous,
                style=style_of(self.config, "encoder"),
                name=JOINT,
            )

    def encode(self, inputs: Sequence[Tensor], batch: Batch, draws: Draws) -> Moments:
        """Return moments of z from the inputs of all modalities, (B, ΣG)."""
        assert self.encoder is not None
        codes = batch.encoder if batch.encoder.shape[1] else None
        mask = mask_of(draws, self.config)
        z: Moments | None
        z, _ = self.encoder(torch.cat(list(inputs), dim=1), codes, batch.continuous, mask)
        assert z is not None
        return z

    def forward(self, values: Mapping[str, Tensor], present: Sequence[Tensor | None]) -> Tensor:
        """Return z (B, D) of the modalities' own, (B, D_m) each."""
        if self.mode == "single_encoder":
            return values[JOINT]
        parts = [values[name] for name in self.names]
        if len(parts) == 1:
            return parts[0]
        if self.mode == "concatenation":
            return torch.cat([_blank(z, p) for z, p in zip(parts, present, strict=True)], dim=1)
        weights = self._weights(parts, present)
        return (torch.stack(parts, dim=1) * weights[:, :, None]).sum(dim=1)

    def _weights(self, parts: Sequence[Tensor], present: Sequence[Tensor | None]) -> Tensor:
        """Return (B, M) weights that sum to 1 over the modalities a cell has."""
        n, like = len(parts[0]), parts[0]
        if self.weighting == "equal":
            logits = like.new_zeros(n, len(parts))
        elif self.weighting == "universal":
            logits = self.weights.expand(n, -1)
        else:
            blank = [_blank(z, p) for z, p in zip(parts, present, strict=True)]
            logits = self.weigh(torch.cat(blank, dim=1))
        here = [
            torch.ones(n, dtype=torch.bool, device=like.device) if p is None else p
            for p in present
        ]
        logits = logits.masked_fill(~torch.stack(here, dim=1), -1e9)
        return torch.softmax(logits, dim=1)


def _blank(z: Tensor, present: Tensor | None) -> Tensor:
    return z if present is None else z * present[:, None].to(z.dtype)
