"""A virtual cell environment: cells are agents that learn to move so that positions tell data.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.environment.config import EnvironmentConfig

_HOME = {
    "EnvironmentConfig": "config",
}

__all__ = [
    "EnvironmentConfig",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.environment.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.environment' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
