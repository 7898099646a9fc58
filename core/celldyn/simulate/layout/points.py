"""Where the cells lie: random positions, no two closer than a hard core."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job, Progress, run
from celldyn.simulate.streams import uniforms

_FILLING = 0.8
"""Share of the sites that are taken where there is room: gaps make the pattern irregular."""
_SWEEPS = 10
_STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def n_sites(width_um: float, height_um: float, min_distance_um: float) -> int:
    """Return how many cells a canvas has room for at a hard core."""
    if min_distance_um == 0:
        return np.iinfo(np.int64).max
    return int(width_um // min_distance_um) * int(height_um // min_distance_um)


def positions(
    n_cells: int, canvas_um: tuple[float, float], min_distance_um: float, seed: int, stage: str
) -> NDArray[np.float64]:
    """Return random positions with a guaranteed least distance; see `positions_job`."""
    return run(positions_job(n_cells, canvas_um, min_distance_um, seed, stage), bar=False)


def positions_job(
    n_cells: int, canvas_um: tuple[float, float], min_distance_um: float, seed: int, stage: str
) -> Job[NDArray[np.float64]]:
    """Place cells at random, no two closer than a least distance; progress counts sweeps.

    Every cell has a box of its own at least as wide as the hard core, and moves in it at random
    for a few sweeps (Metropolis sampling of the hard-core process given one cell per box). Only
    cells of adjacent boxes can come too close, so that a sweep is four vectorised updates.

    Parameters
    ----------
    n_cells
        How many.
    canvas_um
        Width and height.
    min_distance_um
        Hard core; `n_sites` of them must fit.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells, 2) x and y in µm, row by row through the tissue.
    """
    columns, rows = _grid(n_cells, canvas_um, min_distance_um)
    side = np.array([canvas_um[0] / columns, canvas_um[1] / rows])
    rank = np.argsort(uniforms(seed, f"{stage}/taken", rows * columns)[:, 0], kind="stable")
    taken = np.zeros((rows, columns), dtype=bool)
    taken.ravel()[rank[:n_cells]] = True
    corner = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1) * side
    # A frame of absent cells, infinitely far away, spares the borders a case of their own.
    xy = np.full((rows + 2, columns + 2, 2), np.inf)
    xy[1:-1, 1:-1][taken] = (corner + 0.5 * side)[taken]
    for sweep in range(_SWEEPS):
        draw = uniforms(seed, f"{stage}/sweep/{sweep}", rows * columns, 2)
        proposed = corner + draw.reshape(rows, columns, 2) * side
        for colour in ((0, 0), (0, 1), (1, 0), (1, 1)):
            _move(xy, proposed, taken, colour, min_distance_um**2)
            yield Progress("positions", sweep, _SWEEPS)
    return xy[1:-1, 1:-1][taken]


def _grid(n_cells: int, canvas_um: tuple[float, float], core: float) -> tuple[int, int]:
    width, height = canvas_um
    side = math.sqrt(width * height / n_cells * _FILLING)
    while side > core:
        columns, rows = int(width // side), int(height // side)
        if columns * rows >= n_cells:
            return columns, rows
        side *= 0.98
    return int(width // core), int(height // core)


def _move(
    xy: NDArray[np.float64],
    proposed: NDArray[np.float64],
    taken: NDArray[np.bool_],
    colour: tuple[int, int],
    core2: float,
) -> None:
    """Move every second cell of every second row, where that keeps the distance."""
    rows, columns = taken.shape
    first_row, first_column = colour
    pick = np.s_[first_row::2, first_column::2]
    new = proposed[pick]
    free = taken[pick].copy()
    for dy, dx in _STEPS:
        beside = xy[
            1 + first_row + dy : 1 + rows + dy : 2, 1 + first_column + dx : 1 + columns + dx : 2
        ]
        free &= ((new - beside) ** 2).sum(axis=-1) >= core2
    inner = xy[1:-1, 1:-1]
    inner[pick][free] = new[free]
