"""Changes of fates: their mean, its interval, and how it stands to a null.

Shapes: m cells, R runs, f fates, q perturbations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.landscape.graph import Floats

_LEVEL = (0.025, 0.975)
_VALUES = 1 << 22
"""Means of draws that are held at once."""


def cell_weights(n_cells: int, n_draws: int, seed: int) -> NDArray[np.float32]:
    """Return how often each cell is in each draw of as many, as shares; (n_draws, n_cells)."""
    rng = np.random.default_rng([seed, 4])
    even = np.full(n_cells, 1.0 / n_cells)
    return np.asarray(rng.multinomial(n_cells, even, n_draws) / n_cells, dtype=np.float32)


def interval(change: NDArray[np.float32], weights: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Return 95 % intervals of the mean change, (q, f) each.

    Parameters
    ----------
    change
        (q, m, f) of every cell, mean over its runs: perturbed less control, on the same noise.
        Drawing cells draws their noise along, so that the interval is of both.
    weights
        (n_draws, m) from `cell_weights`.
    """
    q, m, f = change.shape
    low, high = np.empty((q, f)), np.empty((q, f))
    at_once = max(1, _VALUES // (len(weights) * f))
    for first in range(0, q, at_once):
        some = change[first : first + at_once]
        means = weights @ some.transpose(1, 0, 2).reshape(m, -1)
        (
            low.reshape(-1)[first * f : (first + len(some)) * f],
            high.reshape(-1)[first * f : (first + len(some)) * f],
        ) = np.quantile(means, _LEVEL, axis=0)
    return low, high


def moved(effect: Floats) -> Floats:
    """Return the share of cells that come to another fate, (...,), of mean changes (..., f).

    Half the sum of absolute changes: what is gained is lost elsewhere.
    """
    return np.asarray(0.5 * np.abs(effect).sum(axis=-1))


def direction(effect: Floats) -> Floats:
    """Return what part of the change each fate has, (..., f), −1 to 1; 0 where nothing moves.

    1 is a fate that gains all that others lose.
    """
    whole = moved(effect)[..., None]
    return np.divide(effect, whole, out=np.zeros_like(effect), where=whole > 1e-9)
