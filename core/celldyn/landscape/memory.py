"""How much memory is free, and how it is said."""

from __future__ import annotations

import os
from pathlib import Path

_UNKNOWN = 4 * 2**30
"""Bytes taken to be free where the system does not say."""


def free_memory() -> int:
    """Return the bytes of memory that are free, or half of all where that is not known."""
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return _UNKNOWN


def in_words(n_bytes: float) -> str:
    """Say a size in GB or MB."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"
