"""What a constructor, `setup_anndata` and `train` are given, as configs; errors name what."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from celldyn.data.words import listed
from celldyn.errors import ConfigError
from celldyn.vae.config import KeysConfig, ModelConfig, TrainConfig

REMOVED = {
    "regularise_dispersion_prior": "dispersion_hyper_prior_mean, the mean of 1/√θ",
    "dispersion_hyper_prior_beta": "dispersion_hyper_prior_mean; the rate is alpha × mean",
}
"""Parameters of earlier versions, and what stands for them."""

SHARED = ("latent_mode", "modality_weights", "preset")
"""Parameters of the model that are the same for all modalities."""

PLAN = {
    "lr": "lr",
    "eps": "eps",
    "weight_decay": "weight_decay",
    "n_epochs_kl_warmup": "n_epochs_kl_warmup",
    "max_kl_weight": "max_kl_weight",
    "modality_lr_multiplier": "modality_lr_multiplier",
    "feature_lr": "feature_lr",
}
"""What `plan_kwargs` may hold, and the parameter that it is."""

TRAINER = {
    "check_val_every_n_epoch": "check_val_every_n_epoch",
    "early_stopping_patience": "early_stopping_patience",
    "gradient_clip_val": "gradient_clip",
    "gradient_clip": "gradient_clip",
    "precision": "precision",
    "memory_budget_gb": "memory_budget_gb",
    "checkpoint": "checkpoint",
    "checkpoint_every": "checkpoint_every",
    "seed": "seed",
}
"""Other keywords of `train`, and the parameter that each is."""


def keys_config(values: Mapping[str, Any]) -> KeysConfig:
    """Return the keys that `setup_anndata` or `setup_mudata` was given; None is not given.

    Raises
    ------
    TypeError
        If a boolean is given as text.
    ConfigError
        If a value is of a wrong kind.
    """
    given = {name: value for name, value in values.items() if value is not None}
    if given.get("encoder_covariate_keys") is False:
        del given["encoder_covariate_keys"]
    for name, value in given.items():
        if name.endswith("_keys"):
            given[name] = [value] if isinstance(value, str) else list(value)
    _refuse_text(KeysConfig, given)
    return KeysConfig(**given)


def model_config_of(values: Mapping[str, Any], modalities: Sequence[str]) -> ModelConfig:
    """Return the model that a constructor was asked for.

    Parameters
    ----------
    values
        By parameter; {modality: value} where it differs by modality.
    modalities
        Those of the data set.

    Raises
    ------
    TypeError
        If a parameter is unknown or was removed, or a boolean is given as text.
    ConfigError
        If a value is out of bounds, or a modality is unknown.
    """
    known = [name for name in ModelConfig.model_fields if name != "per_modality"]
    for name in values:
        _refuse_unknown(name, [*known, "per_modality"])
    common: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {
        name: dict(each) for name, each in dict(values.get("per_modality", {})).items()
    }
    for name, value in values.items():
        if name == "per_modality":
            continue
        if not isinstance(value, Mapping):
            common[name] = value
            continue
        if name in SHARED:
            raise ConfigError(f"{name} is the same for all modalities", "give one value")
        for modality, each in value.items():
            own.setdefault(str(modality), {})[name] = each
    if strangers := [name for name in own if name not in modalities]:
        raise ConfigError(
            f"a parameter is given for {strangers[0]!r}, which is not a modality",
            f"use {listed(modalities)}",
        )
    for each in (common, *own.values()):
        _refuse_text(ModelConfig, each)
        ModelConfig(**each)
    return ModelConfig(**common, per_modality=own)


def _refuse_unknown(name: str, known: Sequence[str]) -> None:
    if name in REMOVED:
        raise TypeError(f"{name} was removed; use {REMOVED[name]}.")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"It has {listed(known, 60)}."
        raise TypeError(f"{name!r} is no parameter of the model; {hint}")


def _refuse_text(config: type[ModelConfig] | type[KeysConfig], values: Mapping[str, Any]) -> None:
    """Refuse "False", which would count as true, for a boolean; 0 and 1 may stand for one."""
    for name, value in values.items():
        kind = config.model_fields[name].annotation
        takes_truth = kind is bool or bool in get_args(kind)
        if takes_truth and isinstance(value, str):
            raise TypeError(f"{name} is {value!r}, a text; give True or False.")


def train_config_of(values: Mapping[str, Any], extra: Mapping[str, Any]) -> TrainConfig:
    """Return how `train` was asked to train.

    Parameters
    ----------
    values
        Its named parameters.
    extra
        Its other keywords, those of a trainer.

    Raises
    ------
    TypeError
        If a keyword is not known here.
    ConfigError
        If a value is out of bounds.
    """
    given = {name: value for name, value in values.items() if value is not None}
    given.pop("load_sparse_tensor", None)  # counts are sparse in any case
    plan = dict(given.pop("plan_kwargs", {}))
    device = _device(given.pop("accelerator", "auto"), given.pop("devices", "auto"))
    chosen = {**given, "device": device}
    chosen |= _renamed(plan, PLAN, "plan_kwargs")
    chosen |= _renamed(extra, TRAINER, "train")
    return TrainConfig(**chosen)


def _renamed(given: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    if strangers := sorted(set(given) - set(names)):
        raise TypeError(
            f"{where} does not take {listed(strangers)}; it takes {listed(sorted(names), 20)}."
        )
    return {names[name]: value for name, value in given.items()}


def _device(accelerator: object, devices: object) -> str:
    """Return the device that lightning's two keywords name."""
    kind = {"gpu": "cuda"}.get(str(accelerator), str(accelerator))
    if isinstance(devices, Iterable) and not isinstance(devices, str):
        chosen = list(devices)
        if len(chosen) != 1:
            raise ConfigError(f"devices is {devices!r}", "name one device")
        return f"{kind}:{chosen[0]}" if kind == "cuda" else kind
    if str(devices) not in ("auto", "1", "-1"):
        raise ConfigError(f"devices is {devices!r}", "use 'auto', 1, or a list with one number")
    return kind
