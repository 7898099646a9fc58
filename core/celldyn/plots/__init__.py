"""Figures, one module per system; drawn without pyplot, so that any thread may draw them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "betas",
    "betas_maps",
    "betas_perturb",
    "environment",
    "environment_cells",
    "environment_effects",
    "environment_screen",
    "environment_stages",
    "landscape",
    "landscape_fates",
    "landscape_flow",
    "landscape_paths",
    "landscape_perturb",
    "landscape_surface",
    "simulate",
    "vae",
    "vae_latent",
    "vae_training",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in __all__:
        return import_module(f"celldyn.plots.{name}")
    raise AttributeError(f"module 'celldyn.plots' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
