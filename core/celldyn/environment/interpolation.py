"""Straight ways from one stage to another: what a simulated path is compared with.

Shapes: n and m cells of the stages, G features, T fractions of the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.devices import aside_job
from celldyn.environment.transport import MOST_CELLS, coupling, distances
from celldyn.errors import DataError
from celldyn.jobs import Job, run

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """Cells between two stages.

    Parameters
    ----------
    cells
        (T, p, G) at each fraction of the way.
    weights
        (p,) share of each; they sum to 1.
    """

    cells: Floats
    weights: Floats


def lerp(origin: ArrayLike, terminal: ArrayLike, fractions: ArrayLike) -> Floats:
    """Return (T, n, G): each cell on the straight line to the one in the same row.

    Parameters
    ----------
    origin, terminal
        (n, G) paired cells, such as `generate_pseudocells` gives.
    fractions
        (T,) of the way, in [0, 1].

    Raises
    ------
    DataError
        If cells are not paired, or a fraction is outside.
    """
    x, y = np.asarray(origin, np.float64), np.asarray(terminal, np.float64)
    if x.shape != y.shape or x.ndim != 2:
        raise DataError(
            f"cells of shapes {x.shape} and {y.shape} are not paired",
            "pair them first, as generate_pseudocells does",
        )
    share = _fractions(fractions)
    return (1 - share) * x + share * y


def displacement_interpolation(
    origin: ArrayLike,
    terminal: ArrayLike,
    fractions: ArrayLike,
    *,
    most: int = 2000,
    seed: int = 0,
) -> Between:
    """Return cells between two stages that need no pairs; the job of that name, drained."""
    return run(
        displacement_interpolation_job(origin, terminal, fractions, most=most, seed=seed),
        bar=False,
    )


def displacement_interpolation_job(
    origin: ArrayLike,
    terminal: ArrayLike,
    fractions: ArrayLike,
    *,
    most: int = 2000,
    seed: int = 0,
) -> Job[Between]:
    """Move cells along straight lines to where optimal transport sends them (McCann 1997).

    Parameters
    ----------
    origin, terminal
        (n, G) and (m, G) cells.
    fractions
        (T,) of the way, in [0, 1].
    most
        Cells that are drawn of a larger stage.
    seed
        Seed of that draw.

    Raises
    ------
    DataError
        If stages have other features or no cell, or a fraction is outside.
    """
    share = _fractions(fractions)
    rng = np.random.default_rng(seed)
    most = min(most, MOST_CELLS)
    x, y = (_drawn(np.asarray(each, np.float64), most, rng) for each in (origin, terminal))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not (len(x) and len(y)):
        raise DataError(
            f"there is no way from cells of shape {x.shape} to {y.shape}",
            "give cells of both stages with the same features",
        )
    rows, columns, weights = yield from aside_job(
        lambda: coupling(distances(x, y, squared=True)), "optimal transport"
    )
    return Between((1 - share) * x[rows] + share * y[columns], weights)


def _drawn(cells: Floats, most: int, rng: np.random.Generator) -> Floats:
    if len(cells) <= most:
        return cells
    return cells[np.sort(rng.choice(len(cells), most, replace=False))]


def _fractions(fractions: ArrayLike) -> Floats:
    share = np.atleast_1d(np.asarray(fractions, np.float64))
    if not bool(((share >= 0) & (share <= 1)).all()):
        raise DataError(
            "a fraction of the way is outside 0 to 1", "give 0 for the origin, 1 for the end"
        )
    return share[:, None, None]
