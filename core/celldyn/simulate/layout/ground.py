"""Where cells may lie, how densely, and which of the sites on offer they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import ConfigError
from celldyn.simulate.layout.density import Density
from celldyn.simulate.streams import uniforms

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Forbidden = Callable[[Floats], Mask]
"""Maps (m, 2) positions in µm to (m,) where no cell may lie."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A canvas, the places on it that are taken already, and the wanted density.

    Parameters
    ----------
    canvas_um
        Width and height.
    keep_out
        Where no cell may lie; None is nowhere.
    density
        Wanted density up to a factor; None is the same everywhere.
    """

    canvas_um: tuple[float, float]
    keep_out: Forbidden | None = None
    density: Density | None = None

    @property
    def is_even(self) -> bool:
        """Whether every place of the canvas is as good as any other."""
        return self.keep_out is None and self.density is None

    def weights(self, xy: Floats) -> Floats:
        """Return the density at (m, 2) positions, 0 where no cell may lie."""
        weights = np.ones(len(xy)) if self.density is None else self.density.at(xy)
        if self.keep_out is not None:
            weights[self.keep_out(xy)] = 0.0
        return weights

    def allows(self, xy: Floats) -> Mask:
        """Return at which of (m, 2) positions a cell may lie."""
        if self.is_even:
            return np.ones(len(xy), dtype=bool)
        allowed: Mask = self.weights(xy) > 0
        return allowed


def no_room(n_cells: int, room: int, why: str) -> ConfigError:
    """Return the error of a canvas that cannot hold what is asked of it."""
    return ConfigError(
        f"there is room for {room} of {n_cells} cells {why}",
        "enlarge canvas_size, or ask for fewer cells, fewer structures or a smaller "
        "min_distance_um",
    )


def inclusion(weights: Floats, n_cells: int) -> Floats:
    """Return with which probability each site is taken: as weighted, and at most 1.

    Parameters
    ----------
    weights
        (m,) of at least 0, at least `n_cells` of them above it.
    n_cells
        What the probabilities sum to.
    """
    chance: Floats = weights * (n_cells / weights.sum())
    full = np.zeros(chance.size, dtype=bool)
    while (over := chance > 1.0).any():
        full |= over
        rest = np.where(full, 0.0, weights)
        left = n_cells - int(full.sum())
        chance = np.where(full, 1.0, rest * (left / rest.sum() if left else 0.0))
    return chance


def choose_sites(chance: Floats, n_cells: int, seed: int, stage: str) -> Mask:
    """Take exactly `n_cells` sites, each with its probability.

    Systematic sampling in random order: the probabilities hold exactly (Madow 1949).

    Returns
    -------
    (m,) whether a site is taken.
    """
    order = np.argsort(uniforms(seed, f"{stage}/taken", chance.size)[:, 0])
    steps = np.cumsum(chance[order])
    steps *= n_cells / steps[-1]
    start = uniforms(seed, f"{stage}/start", 1)[0, 0]
    passed = np.floor(steps + start)
    taken = np.zeros(chance.size, dtype=bool)
    taken[order] = np.diff(passed, prepend=0.0) > 0
    # Rounding may join two steps of a site that is certain; its neighbours in chance make up.
    short = n_cells - int(taken.sum())
    if short:
        flip = np.argsort(np.where(taken == (short > 0), -1.0, chance))[::-1][: abs(short)]
        taken[flip] = short > 0
    return taken
