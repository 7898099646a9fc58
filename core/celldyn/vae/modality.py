"""What belongs to one modality: encoder, decoder, library prior, per-feature tables."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from celldyn.vae.config import ModelConfig
from celldyn.vae.draws import Draws
from celldyn.vae.features import Features
from celldyn.vae.inputs import Batch, CountRows
from celldyn.vae.networks import Decoder, Encoder, Mask, style_of
from celldyn.vae.spec import ModuleSpec

Moments = tuple[Tensor, Tensor]

MOST_BACKGROUND = 0.95
"""Share of background in a cell's counts at most."""


class ModalityPart(nn.Module):
    """One modality of the model.

    Parameters
    ----------
    spec
        The whole model.
    m
        Which of its modalities.

    Attributes
    ----------
    library_mean, library_variance
        (n_library,) prior of ℓ on the scale of the model; the variance is weighted already.
    library_offset
        () what is added to ℓ to have the log of counts.
    native_part
        () log of the share of its counts that is native in an average group.
    library_weight_mean, library_weight_log_sd
        () q(w) = LogNormal of the observed total's weight; only with a residual encoder.
    """

    library_mean: Tensor
    library_variance: Tensor
    library_offset: Tensor
    native_part: Tensor

    def __init__(self, spec: ModuleSpec, m: int) -> None:
        super().__init__()
        own, sizes = spec.modalities[m], spec.sizes
        self.name, self.config = own.name, own.config
        self.learns_library = spec.learns_library
        self.residual = bool(self.config.residual_library_encoder) and self.learns_library
        config = self.config
        told = sizes.conditioning + (sizes.batch if config.use_batch_in_decoder else 0)
        self._batch_offset = sizes.conditioning
        self.encoder: Encoder | None = None
        n_latent = 0 if spec.latent_mode == "single_encoder" else config.n_latent
        library_hidden = config.library_n_hidden if self.learns_library else 0
        if n_latent or library_hidden:
            self.encoder = Encoder(
                own.n_features,
                n_hidden=config.n_hidden,
                n_layers=config.n_layers,
                n_latent=n_latent,
                library_hidden=library_hidden,
                n_categories=sizes.encoder,
                n_continuous=sizes.continuous,
                style=style_of(config, "encoder"),
                name=own.name,
            )
        self.decoder = Decoder(
            spec.n_latent,
            own.n_features,
            n_hidden=config.n_hidden,
            n_layers=config.n_layers,
            n_categories=told,
            n_continuous=sizes.continuous,
            style=style_of(config, "decoder"),
            name=own.name,
        )
        self.features = Features(own, sizes)
        self.register_buffer("library_mean", torch.zeros(sizes.library))
        self.register_buffer("library_variance", torch.ones(sizes.library))
        self.register_buffer("library_offset", torch.zeros(()))
        self.register_buffer("native_part", torch.zeros(()))
        if self.residual:
            self.library_weight_mean = nn.Parameter(torch.zeros(()))
            self.library_weight_log_sd = nn.Parameter(torch.full((), -2.0))

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.features.log_theta_mean.dtype

    @property
    def log_sensitivity(self) -> float:
        """Log library size of an average cell where library sizes are relative."""
        return math.log(self.config.library_log_means_centering_sensitivity or 1.0)

    # --- networks -----------------------------------------------------------------------------

    def encode(
        self, x: Tensor, batch: Batch, draws: Draws
    ) -> tuple[Moments | None, Moments | None]:
        """Return moments of z and of what the library encoder gives, from (B, G) inputs."""
        if self.encoder is None:
            return None, None
        codes = batch.encoder if batch.encoder.shape[1] else None
        found: tuple[Moments | None, Moments | None]
        found = self.encoder(x, codes, batch.continuous, mask_of(draws, self.config))
        return found

    def decode(self, z: Tensor, batch: Batch) -> Tensor:
        """Return (B, G) logits."""
        codes = batch.conditioning
        if self.config.use_batch_in_decoder:
            codes = torch.cat([codes, batch.batch[:, None] + self._batch_offset], dim=1)
        logits: Tensor = self.decoder(z, codes if codes.shape[1] else None, batch.continuous)
        return logits

    # --- library size -------------------------------------------------------------------------

    def library(self, encoded: Moments | None, batch: Batch, m: int, draws: Draws) -> Moments:
        """Return mean and variance, (B,), of q(ℓ): encoded, about the observed total, or given."""
        if encoded is None:
            given = batch.log_size_factor
            assert given is not None
            return given, torch.zeros_like(given)
        mean, variance = encoded
        if not self.residual:
            return mean, variance
        known = batch.log_totals
        observed = log_totals(batch.counts[m]) if known is None else known[m]
        above = observed.to(mean) - self.library_offset - self.log_sensitivity
        above = above + self._native_part(batch)
        weight = self._library_weight(draws)
        return self.log_sensitivity + weight * above + mean, variance

    def _native_part(self, batch: Batch) -> Tensor:
        """Return (B,) log of the share of a total that is native, over that of an average group.

        A decoder that is not told the group gives the same native expression to all groups, so of
        two cells with the same total the one with more background is the smaller one; the encoder
        does not know which that is. 0 where no share is held.
        """
        held = self.features.held_log_share
        if not self.config.hold_background or not batch.ambient.shape[1]:
            return torch.zeros_like(self.library_offset)
        shares = torch.where(held < 0, torch.exp(held), torch.zeros_like(held))
        whole = shares[batch.ambient].sum(dim=1).clamp(max=MOST_BACKGROUND)
        return torch.log1p(-whole) - self.native_part

    def _library_weight(self, draws: Draws) -> Tensor:
        """Return w: drawn in training, else its mean."""
        mean, log_sd = self.library_weight_mean, self.library_weight_log_sd
        if not draws.training:
            return torch.exp(mean + torch.exp(2 * log_sd) / 2)
        noise = draws.normal(f"library_weight/{self.name}", mean)
        return torch.exp(mean + torch.exp(log_sd) * noise)

    def library_kl(self, posterior: Moments, batch: Batch) -> Tensor:
        """Return (B,) KL[q(ℓ) ‖ p(ℓ)]."""
        mean, variance = posterior
        prior_mean = self.library_mean[batch.library]
        prior_variance = self.library_variance[batch.library]
        ratio = variance / prior_variance
        return 0.5 * (ratio + (mean - prior_mean).square() / prior_variance - 1 - ratio.log())

    # --- global terms -------------------------------------------------------------------------

    def global_terms(self) -> dict[str, Tensor]:
        """Return the terms that stand once for the data set, in nats, not yet divided."""
        terms = self.features.global_terms()
        if self.config.decoder_weight_l2:
            terms["decoder_l2"] = self.config.decoder_weight_l2 * self.decoder.squared_norm()
        if self.residual:
            terms["library_weight_kl"] = self._library_weight_kl()
        return terms

    def _library_weight_kl(self) -> Tensor:
        """Return KL[LogNormal(m, σ) ‖ Exp(rate)]."""
        mean, log_sd = self.library_weight_mean, self.library_weight_log_sd
        rate = self.config.library_obs_w_prior_rate
        expected = torch.exp(mean + torch.exp(2 * log_sd) / 2)
        entropy = 0.5 + 0.5 * math.log(2 * math.pi) + log_sd + mean
        return -entropy - math.log(rate) + rate * expected


def mask_of(draws: Draws, config: ModelConfig) -> Mask | None:
    """Return what drops hidden values out; None where nothing is dropped."""
    if not draws.training or not config.dropout_rate:
        return None
    return lambda name, x: draws.masked(name, x, config.dropout_rate)


def log_totals(counts: CountRows | Tensor) -> Tensor:
    """Return (B,) logs of the sums of counts, at least 0."""
    if isinstance(counts, Tensor):
        return torch.log(counts.sum(dim=1).clamp(min=1))
    csr = counts.csr
    summed = np.concatenate([[0.0], np.cumsum(csr.data, dtype=np.float64)])
    totals = summed[csr.indptr[counts.at + 1]] - summed[csr.indptr[counts.at]]
    return torch.from_numpy(np.log(np.maximum(totals, 1)))
