"""celldyn: what the cells of a tissue do next. Headless: knows no Qt and no napari.

Everything is imported when it is first used, so that `import celldyn` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from celldyn.errors import CelldynError
from celldyn.jobs import Job, Progress, run

if TYPE_CHECKING:
    from celldyn.data import read, write

__version__ = "0.1.0"
__all__ = [
    "CelldynError",
    "Job",
    "Progress",
    "__version__",
    "betas",
    "data",
    "environment",
    "landscape",
    "plots",
    "read",
    "run",
    "simulate",
    "vae",
    "write",
]

_ROOMS = frozenset(
    {
        "betas", "data", "devices", "environment", "keys", "landscape", "persist", "plots",
        "simulate", "vae",
    }
)  # fmt: skip
_FROM_DATA = frozenset({"read", "write"})


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _ROOMS:
        return import_module(f"celldyn.{name}")
    if name in _FROM_DATA:
        return getattr(import_module("celldyn.data"), name)
    raise AttributeError(f"module 'celldyn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
