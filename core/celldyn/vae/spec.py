"""What a module is made of, as plain numbers: enough to build it again from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from celldyn.errors import ConfigError
from celldyn.vae.config import ModelConfig
from celldyn.vae.inputs import Groups, VAEInputs

JOINT = "joint"
"""Name of the encoder that sees all modalities at once."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Categories over all keys of a purpose, and columns of numbers."""

    ambient: int
    scaling: int
    conditioning: int
    encoder: int
    dispersion: int
    library: int
    batch: int
    continuous: int


@dataclass(frozen=True, slots=True)
class ModalitySpec:
    """One modality: its name, its features, and its parameters with the preset filled in."""

    name: str
    n_features: int
    config: ModelConfig


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """Everything that fixes the shapes of a module.

    Parameters
    ----------
    modalities
        In the caller's order.
    sizes
        Of the covariates, the same for all.
    latent_mode, modality_weights
        See `ModelConfig`.
    learns_library
        False where size factors are given.
    """

    modalities: tuple[ModalitySpec, ...]
    sizes: Sizes
    latent_mode: str
    modality_weights: str
    learns_library: bool = True

    @classmethod
    def of(cls, inputs: VAEInputs, config: ModelConfig) -> ModuleSpec:
        """Return the spec of a data set and a config.

        Raises
        ------
        ConfigError
            If a weighted mean is asked of latent spaces of unequal sizes, or parameters are given
            for a modality that is not there.
        """
        names = [modality.name for modality in inputs.modalities]
        if strangers := sorted(set(config.per_modality) - set(names)):
            raise ConfigError(
                f"per_modality names {strangers[0]!r}, which is not a modality",
                f"use {', '.join(names)}",
            )
        parts = tuple(
            ModalitySpec(m.name, len(m.features), config.resolved(m.name, alone=len(names) == 1))
            for m in inputs.modalities
        )
        dims = {part.name: part.config.n_latent for part in parts}
        if config.latent_mode == "weighted_mean" and len(set(dims.values())) > 1:
            told = ", ".join(f"{name} has {n}" for name, n in dims.items())
            raise ConfigError(
                f"a weighted mean needs latent spaces of one size, and {told}",
                "give all modalities the same n_latent, or use concatenation",
            )
        return cls(
            parts,
            _sizes(inputs),
            config.latent_mode if len(parts) > 1 else "concatenation",
            config.modality_weights,
            inputs.size_factor is None,
        )

    @property
    def n_latent(self) -> int:
        """Dimensions that the decoders see."""
        dims = [part.config.n_latent for part in self.modalities]
        return dims[0] if self.latent_mode == "weighted_mean" else sum(dims)

    @property
    def slices(self) -> dict[str, tuple[int, int]]:
        """Which latent dimensions are whose: {modality: (start, stop)}; all where they share."""
        if self.latent_mode != "concatenation":
            return {part.name: (0, self.n_latent) for part in self.modalities}
        found, start = {}, 0
        for part in self.modalities:
            found[part.name] = (start, start + part.config.n_latent)
            start += part.config.n_latent
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        parts = [
            {"name": p.name, "n_features": p.n_features, "config": p.config.model_dump()}
            for p in self.modalities
        ]
        return {
            "modalities": parts,
            "sizes": asdict(self.sizes),
            "latent_mode": self.latent_mode,
            "modality_weights": self.modality_weights,
            "learns_library": self.learns_library,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModuleSpec:
        """Return what `to_json` gave; raises whatever is wrong with damaged values."""
        parts = tuple(
            ModalitySpec(str(p["name"]), int(p["n_features"]), ModelConfig(**p["config"]))
            for p in values["modalities"]
        )
        sizes = Sizes(**{key: int(value) for key, value in values["sizes"].items()})
        return cls(
            parts,
            sizes,
            str(values["latent_mode"]),
            str(values["modality_weights"]),
            bool(values["learns_library"]),
        )


def _sizes(inputs: VAEInputs) -> Sizes:
    def total(keys: tuple[Groups, ...]) -> int:
        return sum(len(groups) for groups in keys)

    return Sizes(
        ambient=total(inputs.ambient),
        scaling=total(inputs.scaling),
        conditioning=total(inputs.conditioning),
        encoder=total(inputs.encoder),
        dispersion=len(inputs.dispersion),
        library=len(inputs.library),
        batch=len(inputs.batch) if inputs.batch is not None else 1,
        continuous=0 if inputs.continuous is None else inputs.continuous.shape[1],
    )
