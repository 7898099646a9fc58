"""Which column plays which part, with batch_key spread out and defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass, fields

from celldyn.errors import ConfigError
from celldyn.vae.config import KeysConfig

BATCH_OR_PURPOSE = (
    "batch_key cannot be combined with ambient_covariate_keys, dispersion_key, or "
    "library_size_key. Either use batch_key alone (backward compatible) or specify "
    "purpose-specific keys individually"
)
LEAK = (
    "encoder_covariate_keys is not at its default: what the encoder is told of batches may leak "
    "into the latent space"
)

ONE_GROUP = ""
"""Stands for a column in which all cells are alike (`KeysConfig.one_batch`)."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns that a model uses, after defaults.

    Parameters
    ----------
    ambient
        Ambient RNA.
    dispersion
        Inverse dispersion.
    library
        Prior of the library size.
    scaling
        Factors of genes.
    conditioning
        What the decoder is told.
    encoder
        What the encoder is told.
    batch
        The batch key where that was given; else None.
    continuous
        Numbers that encoder and decoder are told.
    size_factor
        Known library sizes; None where they are learned.
    """

    ambient: tuple[str, ...]
    dispersion: str
    library: str
    scaling: tuple[str, ...] = ()
    conditioning: tuple[str, ...] = ()
    encoder: tuple[str, ...] = ()
    batch: str | None = None
    continuous: tuple[str, ...] = ()
    size_factor: str | None = None

    def categorical(self) -> dict[str, str]:
        """Return each categorical key, and the parameter that names it: the first if several."""
        batch = "batch_key" if self.batch is not None else ""
        named = [(key, batch or PARAMETERS["ambient"]) for key in self.ambient]
        named += [(getattr(self, k), batch or PARAMETERS[k]) for k in ("dispersion", "library")]
        for part in ("conditioning", "scaling", "encoder"):
            named += [(key, PARAMETERS[part]) for key in getattr(self, part)]
        first: dict[str, str] = {}
        for key, parameter in named:
            first.setdefault(key, parameter)
        return first


PARAMETERS = {
    "ambient": "ambient_covariate_keys",
    "dispersion": "dispersion_key",
    "library": "library_size_key",
    "scaling": "feature_scaling_covariate_keys",
    "conditioning": "nn_conditioning_covariate_keys",
    "encoder": "encoder_covariate_keys",
    "batch": "batch_key",
    "continuous": "nn_continuous_covariate_keys",
    "size_factor": "size_factor_key",
}
"""Part of `Roles`, and the parameter that names its columns."""


def resolve(keys: KeysConfig) -> Roles:
    """Spread batch_key over what it stands for, and fill in what follows from other keys.

    Raises
    ------
    ConfigError
        If batch_key stands beside one_batch or a key of a single purpose, if one of
        ambient_covariate_keys, dispersion_key and library_size_key is missing without it, or if
        a list names a key twice.
    """
    _refuse_doubled(keys)
    if keys.one_batch and keys.batch_key is not None:
        raise ConfigError(
            f"one_batch says that all cells are one batch, and batch_key names {keys.batch_key!r}",
            "give one of them",
        )
    purposes = (keys.ambient_covariate_keys, keys.dispersion_key, keys.library_size_key)
    if keys.batch_key is not None:
        if any(purposes):
            raise ConfigError(BATCH_OR_PURPOSE)
        batch = keys.batch_key
        own: tuple[tuple[str, ...], str, str] = ((batch,), batch, batch)
    elif keys.one_batch:
        ambient = tuple(keys.ambient_covariate_keys) or (ONE_GROUP,)
        own = ambient, keys.dispersion_key or ONE_GROUP, keys.library_size_key or ONE_GROUP
    else:
        own = _purposes(keys)
    scaling = keys.feature_scaling_covariate_keys
    conditioning = tuple(keys.nn_conditioning_covariate_keys)
    return Roles(
        ambient=own[0],
        dispersion=own[1],
        library=own[2],
        scaling=conditioning if scaling is None else tuple(scaling),
        conditioning=conditioning,
        encoder=tuple(keys.encoder_covariate_keys),
        batch=keys.batch_key,
        continuous=tuple(keys.nn_continuous_covariate_keys),
        size_factor=keys.size_factor_key,
    )


def _purposes(keys: KeysConfig) -> tuple[tuple[str, ...], str, str]:
    if not keys.ambient_covariate_keys:
        raise ConfigError(
            "Either batch_key or ambient_covariate_keys must be provided",
            "name the columns of obs whose cells share ambient RNA, such as the well, or set "
            "one_batch",
        )
    if not keys.dispersion_key:
        raise ConfigError(
            "Either batch_key or dispersion_key must be provided",
            "name the column of obs within which genes vary alike, or set one_batch",
        )
    if not keys.library_size_key:
        raise ConfigError(
            "Either batch_key or library_size_key must be provided",
            "name the column of obs within which library sizes are alike, or set one_batch",
        )
    return tuple(keys.ambient_covariate_keys), keys.dispersion_key, keys.library_size_key


def _refuse_doubled(keys: KeysConfig) -> None:
    for name in PARAMETERS.values():
        listed = getattr(keys, name)
        if not isinstance(listed, list):
            continue
        for key in listed:
            if listed.count(key) > 1:
                raise ConfigError(f"{name} names {key!r} more than once", "name it once")


@dataclass(frozen=True, slots=True)
class Effect:
    """A technical effect, where it comes from, and what models it.

    Parameters
    ----------
    effect
        In the words of the bench.
    chromium, sci
        What its groups are in a 10x Chromium and in a sci-RNA-seq3 experiment.
    parameter
        The parameter that names its columns.
    shape
        Of the model's parameter, per modality.
    """

    effect: str
    chromium: str
    sci: str
    parameter: str
    shape: str


def effects_table() -> list[dict[str, str]]:
    """Return which key is for which technical effect, one row each.

    Source: seed 003, "Why decouple batch_key?" and "Purpose-driven covariate keys".
    """
    titles = dict(zip((field.name for field in fields(Effect)), _TITLES, strict=True))
    return [{title: getattr(row, name) for name, title in titles.items()} for row in _EFFECTS]


_TITLES = (
    "Technical effect", "10x Chromium source", "sci-RNA-seq3 source", "parameter", "shape",
)  # fmt: skip
_EFFECTS = (
    Effect(
        "Ambient RNA contamination",
        "GEM well",
        "Embryo (lysis batch)",
        "ambient_covariate_keys",
        "(n_features, sum of categories)",
    ),
    Effect(
        "Library size distribution",
        "GEM well",
        "PCR well (amplification batch)",
        "library_size_key",
        "(1, categories), mean and variance",
    ),
    Effect(
        "Overdispersion profile",
        "GEM well",
        "Embryo or experiment",
        "dispersion_key",
        "(n_features, categories)",
    ),
    Effect(
        "Multiplicative biases (RT, PCR)",
        "Protocol version",
        "Experiment batch",
        "nn_conditioning_covariate_keys",
        "one-hot into every layer of the decoder",
    ),
    Effect(
        "Per-feature scaling",
        "Experiment batch",
        "Experiment batch",
        "feature_scaling_covariate_keys",
        "(sum of categories, n_features), or (1, n_features)",
    ),
)
