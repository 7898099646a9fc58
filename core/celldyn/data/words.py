"""Small pieces of the sentences that a user reads."""

from __future__ import annotations

from collections.abc import Iterable


def reason(error: BaseException) -> str:
    """Return the first line of an exception, short, for the brackets of a sentence."""
    lines = str(error).strip().splitlines()
    text = lines[0].rstrip(".") if lines else type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."


def counted(n: int, what: str) -> str:
    """Return "1 cell" or "1,200 cells"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def listed(names: Iterable[object], limit: int = 12) -> str:
    """Return names with commas between them, the first ones where there are many."""
    every = [str(name) for name in names]
    more = f" and {len(every) - limit:,} more" if len(every) > limit else ""
    return (", ".join(every[:limit]) or "none") + more
