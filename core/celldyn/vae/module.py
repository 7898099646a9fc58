"""The model: encoders, decoders and per-feature tables of all modalities, and the loss.

Shapes: B cells, G features of a modality, D latent dimensions.
Equations: specs/vae.md A.2, A.3, A.5, A.10 with its Decisions; seed 003.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from celldyn.vae.draws import Draws, Noise
from celldyn.vae.inputs import Batch
from celldyn.vae.mixing import Mixing
from celldyn.vae.modality import ModalityPart
from celldyn.vae.reconstruction import encoder_input, reconstruction_and_native
from celldyn.vae.spec import JOINT, ModuleSpec

Moments = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """What the encoders say of B cells.

    Parameters
    ----------
    z
        {modality, or "joint": (mean, variance)}, each (B, D_m).
    library
        Per modality mean and variance of the log library size, (B,); variance 0 where it is
        given.
    """

    z: dict[str, Moments]
    library: tuple[Moments, ...]


class VAEModule(nn.Module):
    """The whole model.

    Parameters
    ----------
    spec
        Its shapes and options.

    Attributes
    ----------
    n_obs
        Training cells; global terms are divided by it.
    generator
        Source of random numbers; None is torch's own.
    low_precision
        Whether matrix products are in bfloat16.
    decays_weights
        Whether the optimiser shrinks the decoder's weights, so that "decoder_l2" is told and not
        differentiated.
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__()
        self.spec, self.n_obs = spec, 0
        self.generator: torch.Generator | None = None
        self.low_precision = self.decays_weights = False
        self.parts = nn.ModuleList([ModalityPart(spec, k) for k in range(len(spec.modalities))])
        self.mixing = Mixing(spec)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names, in the caller's order."""
        return tuple(part.name for part in self.spec.modalities)

    def part(self, m: int) -> ModalityPart:
        """Return what belongs to one modality."""
        part = self.parts[m]
        assert isinstance(part, ModalityPart)
        return part

    def _products(self) -> AbstractContextManager[object]:
        if not self.low_precision:
            return nullcontext()
        kind = next(self.parameters()).device.type
        return torch.autocast(kind, dtype=torch.bfloat16)

    # --- inference ----------------------------------------------------------------------------

    def encode(self, batch: Batch, draws: Draws | None = None) -> Posterior:
        """Return q(z) and q(ℓ) of a minibatch, ℓ on the scale of the model."""
        draws = draws or Draws(None, self.generator, training=False)
        inputs = [self._input(batch, m, draws) for m in range(len(self.parts))]
        z: dict[str, Moments] = {}
        library: list[Moments] = []
        with self._products():
            for m, x in enumerate(inputs):
                part = self.part(m)
                own_z, own_library = part.encode(x, batch, draws)
                if own_z is not None:
                    z[part.name] = own_z
                library.append(part.library(own_library, batch, m, draws))
            if self.mixing.encoder is not None:
                z[JOINT] = self.mixing.encode(inputs, batch, draws)
        return Posterior(z, tuple(library))

    def _input(self, batch: Batch, m: int, draws: Draws) -> Tensor:
        part = self.part(m)
        config = part.config
        on_input = draws.training and config.dropout_on_input and config.dropout_rate > 0
        seed = draws.seed(f"dropout/{part.name}") if on_input else None
        dtype = torch.bfloat16 if self.low_precision else part.dtype
        rate = config.dropout_rate if on_input else 0.0
        return encoder_input(batch.counts[m], dropout=rate, seed=seed, dtype=dtype)

    def latent(self, posterior: Posterior, batch: Batch, draws: Draws | None = None) -> Tensor:
        """Return z (B, D) as the decoders see it: drawn, or without `draws` at its mean."""
        values = {
            name: mean
            if draws is None
            else mean + variance.sqrt() * draws.normal(f"z/{name}", mean)
            for name, (mean, variance) in posterior.z.items()
        }
        z: Tensor = self.mixing(values, batch.present)
        if self.spec.modalities[0].config.latent_distribution == "ln":
            z = torch.softmax(z, dim=-1)
        return z

    # --- generation ---------------------------------------------------------------------------

    def logits(self, m: int, z: Tensor, batch: Batch) -> Tensor:
        """Return the decoder's output for modality `m`, (B, G), before its activation."""
        with self._products():
            return self.part(m).decode(z, batch)

    def native(self, m: int, z: Tensor, batch: Batch) -> Tensor:
        """Return ρ, (B, G): native expression per unit of library."""
        logits = self.logits(m, z, batch).to(self.part(m).dtype)
        if self.part(m).config.scale_activation == "softmax":
            return torch.softmax(logits, dim=-1)
        return nn.functional.softplus(logits)

    def mean(
        self,
        m: int,
        z: Tensor,
        log_library: Tensor,
        batch: Batch,
        *,
        background: bool = True,
        scaling: bool = True,
    ) -> Tensor:
        """Return μ, (B, G) = e^ℓ (ρ + s) y of modality `m`, with or without s and y.

        Parameters
        ----------
        z
            (B, D).
        log_library
            (B,) ℓ on the scale of the model, as `encode` gives it.
        """
        mean, features = self.native(m, z, batch), self.part(m).features
        if background:
            table, rows = features.background(batch.ambient)
            mean = mean if table is None else mean + table[rows]
        if scaling:
            table, rows = features.scaling(batch.scaling)
            mean = mean if table is None else mean * table[rows]
        return torch.exp(log_library)[:, None] * mean

    # --- the loss -----------------------------------------------------------------------------

    def loss_terms(
        self, batch: Batch, *, noise: Noise | None = None, kl_weight: float = 1.0
    ) -> dict[str, Tensor]:
        """Return every term of the loss, in nats a cell.

        Parameters
        ----------
        batch
            A minibatch.
        noise
            Random numbers by name instead of drawn ones (`draws.Noise`).
        kl_weight
            Of the KL of z in "loss".

        Returns
        -------
        "reconstruction", "kl_z", "kl_library": means over the cells, summed over modalities, each
        also as "<term>/<modality>"; the global terms "dispersion_kl", "dispersion_hyperprior",
        "background_prior", "background_profile", "scaling_prior", "decoder_l2",
        "library_weight_kl" (divided by the number of training cells), and "background_hold",
        where the model has them; "elbo", the first three with the KL unweighted; and "loss".
        """
        draws = Draws(noise, self.generator, training=self.training)
        posterior = self.encode(batch, draws)
        z = self.latent(posterior, batch, draws)
        terms: dict[str, Tensor] = {}
        self._kl_terms(terms, posterior, batch)
        for m, name in enumerate(self.modalities):
            total, native = self._reconstruction(m, z, posterior, batch, draws)
            terms[f"reconstruction/{name}"] = total
            n = max(len(batch) // HOLD_SHARE, HOLD_CELLS)
            hold = self.part(m).features.hold_term(batch.ambient[:n], native[:n])
            if hold is not None:
                terms["background_hold"] = terms.get("background_hold", 0.0) + hold
        for kind in ("reconstruction", "kl_z", "kl_library"):
            terms[kind] = _sum(terms, kind)
        self._global_terms(terms, len(batch))
        terms["elbo"] = terms["reconstruction"] + terms["kl_z"] + terms["kl_library"]
        local = terms["reconstruction"] + kl_weight * terms["kl_z"] + terms["kl_library"]
        terms["loss"] = local + sum(terms[name] for name in GLOBAL_TERMS if name in terms)
        return terms

    def _reconstruction(
        self, m: int, z: Tensor, posterior: Posterior, batch: Batch, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Return the mean over all cells, and each cell's native expression, (B,)."""
        part = self.part(m)
        mean, variance = posterior.library[m]
        log_library = mean
        if part.learns_library:
            log_library = mean + variance.sqrt() * draws.normal(f"library/{part.name}", mean)
        background, background_rows = part.features.background(batch.ambient)
        scaling, scaling_rows = part.features.scaling(batch.scaling)
        theta, theta_rows = part.features.theta(batch.dispersion, draws, f"theta/{part.name}")
        total, _, native = reconstruction_and_native(
            self.logits(m, z, batch),
            log_library,
            background,
            background_rows,
            scaling,
            scaling_rows,
            theta,
            theta_rows,
            batch.counts[m],
            _mean_weights(batch, m, mean),
            activation=part.config.scale_activation,
        )
        return total, native

    def _kl_terms(self, terms: dict[str, Tensor], posterior: Posterior, batch: Batch) -> None:
        place = {name: m for m, name in enumerate(self.modalities)}
        for name, (mean, variance) in posterior.z.items():
            kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(dim=1)
            weights = 1 / len(batch) if name == JOINT else _mean_weights(batch, place[name], kl)
            terms[f"kl_z/{name}"] = (kl * weights).sum()
        for m, name in enumerate(self.modalities):
            part = self.part(m)
            if part.learns_library:
                kl = part.library_kl(posterior.library[m], batch)
                terms[f"kl_library/{name}"] = (kl * _mean_weights(batch, m, kl)).sum()

    def _global_terms(self, terms: dict[str, Tensor], n_batch: int) -> None:
        """Add what stands once for the data set, divided by its cells."""
        found: dict[str, list[Tensor]] = {}
        for m in range(len(self.parts)):
            part = self.part(m)
            scale = (
                n_batch if part.config.global_scale == "minibatch" else max(self.n_obs, n_batch)
            )
            for name, value in part.global_terms().items():
                if name == "decoder_l2" and self.decays_weights:
                    value = value.detach()
                found.setdefault(name, []).append(value / scale)
        terms.update({name: torch.stack(values).sum() for name, values in found.items()})


HOLD_SHARE, HOLD_CELLS = 4, 32
"""A fourth of a minibatch, but at least so many cells, tells the share of background."""

GLOBAL_TERMS = (
    "dispersion_kl",
    "dispersion_hyperprior",
    "background_prior",
    "background_profile",
    "background_hold",
    "scaling_prior",
    "decoder_l2",
    "library_weight_kl",
)
"""Terms that do not belong to single cells."""


def _mean_weights(batch: Batch, m: int, like: Tensor) -> Tensor:
    """Return (B,) weights of a mean over all cells that leaves out those without modality `m`."""
    present = batch.present[m]
    if present is None:
        return torch.full((len(batch),), 1 / len(batch), dtype=like.dtype, device=like.device)
    return present.to(like.dtype) / len(batch)


def _sum(terms: Mapping[str, Tensor], kind: str) -> Tensor:
    values = [value for name, value in terms.items() if name.startswith(f"{kind}/")]
    return torch.stack(values).sum() if values else torch.zeros(())
