"""What moves the parameters: Adam, with a step of its own for what is per feature."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

from celldyn.errors import ConfigError
from celldyn.vae.config import TrainConfig
from celldyn.vae.module import VAEModule

FEATURE_LR_RATIO = 10.0
"""Per-feature parameters move so much faster than networks: Adam moves log θ by at most one
step at a time, and the networks' step would take thousands of them (specs/vae.md B.5.2)."""

FEATURE_EPS = 1e-8
"""Adam's ε there: gradients of single features are small, and a large ε would still them."""


def adam(module: VAEModule, config: TrainConfig) -> torch.optim.Adam:
    """Return the optimiser of all parameters that learn.

    Raises
    ------
    ConfigError
        If a step is given for a modality that is not there.
    """
    factors = dict.fromkeys(module.modalities, 1.0)
    if strangers := sorted(set(config.modality_lr_multiplier) - set(factors)):
        raise ConfigError(
            f"modality_lr_multiplier names {strangers[0]!r}, which is not a modality",
            f"use {', '.join(factors)}",
        )
    factors |= config.modality_lr_multiplier
    feature_lr = config.feature_lr or FEATURE_LR_RATIO * config.lr
    groups: list[dict[str, Any]] = []
    for m, name in enumerate(module.modalities):
        features, networks, shrunk = _sorted(module, m)
        factor = factors[name]
        groups.append(_networks(networks, factor * config.lr, config))
        if shrunk:
            by = 2 * (module.part(m).config.decoder_weight_l2 or 0.0) / max(module.n_obs, 1)
            decay = config.weight_decay + by
            groups.append({**_networks(shrunk, factor * config.lr, config), "weight_decay": decay})
        groups.append(
            {"params": features, "lr": factor * feature_lr, "eps": FEATURE_EPS, "weight_decay": 0}
        )
    if shared := list(module.mixing.parameters()):
        groups.append(_networks(shared, config.lr, config))
    for group in groups:
        group["params"] = [p for p in group["params"] if p.requires_grad]
    learning = [group for group in groups if group["params"]]
    kind = learning[0]["params"][0].device.type
    return torch.optim.Adam(learning, fused=kind in ("cpu", "cuda"))


Parameters: TypeAlias = list[torch.nn.Parameter]


def _sorted(module: VAEModule, m: int) -> tuple[Parameters, Parameters, Parameters]:
    """Return what is per feature, the networks, and of these what the optimiser is to shrink."""
    part = module.part(m)
    shrinks = module.decays_weights and part.config.decoder_weight_l2
    shrunk = part.decoder.weights() if shrinks else []
    apart = {id(parameter) for parameter in shrunk}
    features: Parameters = []
    networks: Parameters = []
    for path, parameter in part.named_parameters():
        is_feature = path.startswith(("features.", "library_weight"))
        if id(parameter) not in apart:
            (features if is_feature else networks).append(parameter)
    return features, networks, shrunk


def may_decay(module: VAEModule, config: TrainConfig) -> bool:
    """Whether the decoder's L2 may be left to the optimiser, whose decay has the same slope.

    Not where gradients are clipped, nor where weights are frozen, which is said by no decay.
    """
    scales = {module.part(m).config.global_scale for m in range(len(module.parts))}
    return scales == {"cells"} and config.gradient_clip is None and config.weight_decay > 0


def _networks(
    parameters: list[torch.nn.Parameter], lr: float, config: TrainConfig
) -> dict[str, Any]:
    return {"params": parameters, "lr": lr, "eps": config.eps, "weight_decay": config.weight_decay}


def wants_low_precision(config: TrainConfig, device: torch.device) -> bool:
    """Whether matrix products are to be in bfloat16 on this device."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in names)
