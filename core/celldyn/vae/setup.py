"""Setting a data set up: its keys checked, with their categories, modalities and features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celldyn.data.genes import matrix_of
from celldyn.data.words import listed
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.vae.config import KeysConfig
from celldyn.vae.covariates import CellTable, groups_of, numbers_of, size_factors_of
from celldyn.vae.roles import LEAK, ONE_GROUP, PARAMETERS, Roles, effects_table, resolve
from celldyn.vae.setup_record import ModalitySetup, Setup, setup_of, store_setup

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "ModalitySetup",
    "Setup",
    "describe_anndata",
    "describe_mudata",
    "effects_table",
    "setup_anndata",
    "setup_mudata",
    "setup_of",
]

RNA = "rna"
"""What the matrix of an AnnData is called."""


def setup_anndata(adata: AnnData, keys: KeysConfig) -> Setup:
    """Check what the keys name, and write it on the AnnData; no counts are read.

    Parameters
    ----------
    adata
        (n_obs, n_vars), in memory or backed.
    keys
        Which column is for which technical effect.

    Raises
    ------
    ConfigError
        If batch_key stands beside a key of a single purpose, or neither is given.
    MissingKeyError
        If a column or the layer is not there.
    DataError
        If there are no cells or genes, or a column cannot serve.
    """
    setup = describe_anndata(adata, keys)
    store_setup(adata, setup)
    _warn(setup)
    return setup


def setup_mudata(
    mdata: Any,  # noqa: ANN401
    modalities: Sequence[str] | Mapping[str, str] | None = None,
    keys: KeysConfig | None = None,
    layers: Mapping[str, str | None] | str | None = None,
) -> Setup:
    """Check what the keys name, and write it on the MuData; no counts are read.

    Parameters
    ----------
    mdata
        A MuData: `.obs` with a row for each cell of any modality, and `.mod`, a mapping to
        AnnData. A column is looked for in its own obs, then in those of the modalities.
    modalities
        Which, in the order of the latent space: their keys, or {name: key}; None takes all as
        they stand in `.mod`.
    keys
        Which column is for which technical effect.
    layers
        The layer of raw counts: of each modality by its name, or one for all; None is X, or the
        layer that `keys` names.

    Raises
    ------
    ConfigError, MissingKeyError, DataError
        As `setup_anndata`.
    """
    setup = describe_mudata(mdata, modalities, keys or KeysConfig(), layers)
    store_setup(mdata, setup)
    _warn(setup)
    return setup


def _warn(setup: Setup) -> None:
    if setup.given.encoder_covariate_keys:
        warnings.warn(LEAK, UserWarning, stacklevel=3)


def describe_anndata(adata: AnnData, keys: KeysConfig) -> Setup:
    """Check an AnnData as `setup_anndata` does, and write nothing."""
    keys = _only_keys(keys)
    roles = resolve(keys)
    matrix_of(adata, keys.layer)
    features = _features(adata, "the data set")
    return _describe(
        CellTable.of_anndata(adata), keys, roles, (ModalitySetup(RNA, "", keys.layer, features),)
    )


def describe_mudata(
    mdata: Any,  # noqa: ANN401
    modalities: Sequence[str] | Mapping[str, str] | None,
    keys: KeysConfig,
    layers: Mapping[str, str | None] | str | None = None,
) -> Setup:
    """Check a MuData as `setup_mudata` does, and write nothing."""
    keys = _only_keys(keys)
    roles = resolve(keys)
    chosen = _modalities(mdata, modalities)
    by_name = layers if isinstance(layers, Mapping) else dict.fromkeys(chosen, layers)
    for name in by_name:
        if name not in chosen:
            raise ConfigError(
                f"layers names the modality {name!r}", f"the modalities are {listed(chosen)}"
            )
    described = []
    for name, key in chosen.items():
        layer = by_name.get(name) or keys.layer
        _layer_of(mdata.mod[key], layer, name)
        described.append(ModalitySetup(name, key, layer, _features(mdata.mod[key], name)))
    table = CellTable.of_mudata(mdata, list(chosen.values()))
    return _describe(table, keys, roles, tuple(described))


def _layer_of(adata: AnnData, layer: str | None, name: str) -> None:
    try:
        matrix_of(adata, layer)
    except MissingKeyError as error:
        raise MissingKeyError(f"modality {name!r}: {error.problem}", error.remedy) from error


def _only_keys(keys: KeysConfig) -> KeysConfig:
    return KeysConfig(**{name: getattr(keys, name) for name in KeysConfig.model_fields})


def _modalities(
    mdata: Any,  # noqa: ANN401
    modalities: Sequence[str] | Mapping[str, str] | None,
) -> dict[str, str]:
    """Return name and key of each modality, in the caller's order."""
    there = list(mdata.mod)
    if isinstance(modalities, str):
        modalities = [modalities]
    chosen = modalities if isinstance(modalities, Mapping) else {k: k for k in modalities or there}
    if not chosen:
        raise DataError("the data set has no modalities", "check how it was made")
    for key in chosen.values():
        if key not in there:
            raise MissingKeyError(f"there is no modality {key!r}", f"there are {listed(there)}")
    if len(set(chosen.values())) < len(chosen):
        raise ConfigError("modalities names one of them more than once", "name each once")
    return dict(chosen)


def _features(adata: AnnData, where: str) -> tuple[str, ...]:
    if adata.n_vars == 0:
        raise DataError(f"{where} has no features", "check the filters that were applied to it")
    if not adata.var_names.is_unique:
        twice = adata.var_names[adata.var_names.duplicated()][0]
        raise DataError(
            f"{where} has the feature {str(twice)!r} more than once",
            "call var_names_make_unique() on it",
        )
    return tuple(map(str, adata.var_names))


def _describe(
    table: CellTable, keys: KeysConfig, roles: Roles, modalities: tuple[ModalitySetup, ...]
) -> Setup:
    if not len(table.cells):
        raise DataError("the data set has no cells", "check the filters that were applied to it")
    categories: dict[str, tuple[str, ...]] = {}
    for key, role in roles.categorical().items():
        categories[key] = groups_of(table, key, role).names
    for key in roles.continuous:
        numbers_of(table, key, PARAMETERS["continuous"])
    if roles.size_factor is not None:
        size_factors_of(table, roles.size_factor)
    used, notes = _without_constant(roles, keys, categories)
    if keys.encoder_covariate_keys:
        notes = (*notes, f"{LEAK}.")
    return Setup(keys, used, categories, modalities, notes)


def _without_constant(
    roles: Roles, keys: KeysConfig, categories: Mapping[str, tuple[str, ...]]
) -> tuple[Roles, tuple[str, ...]]:
    """Leave out the decoder's and encoder's keys with one category, and say which keys have."""
    several = {key for key, names in categories.items() if len(names) > 1}
    scaling = roles.scaling
    if keys.feature_scaling_covariate_keys is None:
        scaling = tuple(key for key in scaling if key in several)
    notes = []
    for key, role in roles.categorical().items():
        if key in several:
            continue
        if key == ONE_GROUP:
            notes.append("Where no key is named, all cells are one group.")
            continue
        effects = []
        if key in (*roles.ambient, *scaling, roles.dispersion, roles.library):
            effects.append("all cells are one group")
        if key in (*roles.conditioning, *roles.encoder):
            effects.append("decoder and encoder are not told it")
        notes.append(f"{role}: obs[{key!r}] has one category, so {' and '.join(effects)}.")
    used = replace(
        roles,
        conditioning=tuple(key for key in roles.conditioning if key in several),
        encoder=tuple(key for key in roles.encoder if key in several),
        scaling=scaling,
    )
    return used, tuple(notes)
