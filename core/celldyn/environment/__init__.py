"""A virtual cell environment: cells are agents that learn to move so that positions tell data.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.environment.alignment import rigid_alignment
    from celldyn.environment.config import EnvironmentConfig
    from celldyn.environment.gathering import (
        TrainingData,
        gather,
        gather_job,
        modalities_of,
        read_adatas,
    )
    from celldyn.environment.modality_parts import as_modality
    from celldyn.environment.preprocessing import Preprocessing
    from celldyn.environment.preprocessing_map import LinearMap

_HOME = {
    "EnvironmentConfig": "config",
    "LinearMap": "preprocessing_map",
    "Preprocessing": "preprocessing",
    "TrainingData": "gathering",
    "as_modality": "modality_parts",
    "gather": "gathering",
    "gather_job": "gathering",
    "modalities_of": "gathering",
    "read_adatas": "gathering",
    "rigid_alignment": "alignment",
}

__all__ = [
    "EnvironmentConfig",
    "LinearMap",
    "Preprocessing",
    "TrainingData",
    "as_modality",
    "gather",
    "gather_job",
    "modalities_of",
    "read_adatas",
    "rigid_alignment",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.environment.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.environment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
