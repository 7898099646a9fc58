"""A potential landscape of cell states: its walks, its flow, and the fates that cells come to.

Every name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celldyn.landscape.config import LSDConfig

_HOME = {
    "LSDConfig": "config",
}

__all__ = [
    "LSDConfig",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOME:
        return getattr(import_module(f"celldyn.landscape.{_HOME[name]}"), name)
    raise AttributeError(f"module 'celldyn.landscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
