"""How a size of memory is said."""

from __future__ import annotations


def in_words(n_bytes: float) -> str:
    """Say a size in GB or MB."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"
