"""How far walks come: as far as the whole tree, or short enough to tell its branches apart."""

from __future__ import annotations

import numpy as np

from celldyn.landscape.graph import Csr, Floats
from celldyn.landscape.walks import sample_walks

_WALKS, _LONGEST = 500, 60
"""Walks that are drawn to see how many steps an end is away, and the most steps."""
_EARLY, _NEAR = 0.1, 0.05
"""Share of the cells that is called early; how near the latest cell of a walk is its end."""
_PART, _LEAST = 4, 4


def steps_to_the_end(transition: Csr, pseudotime: Floats, seed: int = 0) -> float:
    """Return the median of steps that walks from early cells take until they are near their end.

    Parameters
    ----------
    transition
        (n, n) chances.
    pseudotime
        (n,) in any unit. Early are the first tenth of cells; near is a twentieth of the range.
    seed
        Of the walks that are drawn to see it.
    """
    time = np.asarray(pseudotime, dtype=np.float64)
    early = np.flatnonzero(time <= np.quantile(time, _EARLY))
    start = np.random.default_rng(seed).choice(early, _WALKS)
    along = time[sample_walks(transition, _WALKS, _LONGEST, seed, start)]
    near = along >= along.max(axis=1, keepdims=True) - _NEAR * np.ptp(time)
    return float(np.median(near.argmax(axis=1)))


def path_len_for(steps: float) -> int:
    """Return cells of a walk that goes a fourth of so many steps, 4 at least."""
    return max(_LEAST, round(steps / _PART))


def span_note(path_len: int, steps: float) -> tuple[str, ...]:
    """Return a sentence where walks run through the whole of the tree."""
    if path_len - 1 <= max(steps / 2, _LEAST):
        return ()
    return (
        f"walks of {path_len} cells reach an end, which is some {steps:.0f} steps from the first "
        f"cells, and tell branches apart less well than short ones; try a path_len of "
        f"{path_len_for(steps)}",
    )
