"""Where work runs: cpu, cuda or mps, and with how many threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from celldyn.errors import ConfigError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device of that name, or the best there is.

    Parameters
    ----------
    name
        "auto" (cuda, then mps, then cpu), "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    ConfigError
        If that device is not on this machine.
    """
    import torch

    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((kind for kind, there in usable.items() if there), "cpu")
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device {name!r} is not known", "use auto, cpu, cuda, cuda:N or mps")
    if not usable.get(kind, True):
        raise ConfigError(f"device {name!r} is not on this machine", "use auto or cpu")
    return torch.device(name)


def usable_threads() -> int:
    """Return how many cores this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(usable or 1, 1)


def spare_threads() -> int:
    """Return how many threads work may take while a window stays alive: cores − 1, at least 1."""
    return max(usable_threads() - 1, 1)
