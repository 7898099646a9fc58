"""Where the cells lie: a hexagonal lattice whose sites are jittered."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from celldyn.devices import aside_job
from celldyn.jobs import Job, Progress
from celldyn.simulate.layout.ground import Ground, choose_sites, inclusion, no_room
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_DENSER = (1.002, 4.0)
"""Least and greatest step by which the lattice gets finer until all cells find a site."""
_MOST_PER_CELL = 64
_HALVINGS = 6
# Half of the sites that a jittered site can come too close to: (rows, columns) away, for even
# and odd rows, which lie half a column further right.
_PAIRS = (
    ((0, 1), (0, 2), (1, -2), (1, -1), (1, 0), (1, 1), (2, -1), (2, 0), (2, 1)),
    ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (1, 2), (2, -1), (2, 0), (2, 1)),
)


class _Lattice(NamedTuple):
    rows: int
    columns: int
    step: Floats
    """Distance of columns and of rows in µm."""

    @property
    def nearest(self) -> float:
        """Least distance of two sites in µm."""
        if self.rows == 1:
            return float(self.step[0])
        across = math.hypot(self.step[0] / 2, self.step[1])
        return float(min(self.step[0], across)) if self.columns > 1 else across

    def sites(self) -> Floats:
        """Return (rows * columns, 2) positions, row by row."""
        row, column = np.indices((self.rows, self.columns))
        x = column + np.where(row % 2, 0.75, 0.25)
        sites: Floats = np.stack([x, row + 0.5], axis=-1).reshape(-1, 2) * self.step
        return sites


def hexagonal_job(
    n_cells: int,
    ground: Ground,
    min_distance_um: float,
    jitter: float,
    seed: int,
    stage: str,
) -> Job[Floats]:
    """Place cells on a jittered hexagonal lattice; progress counts corrections.

    A cell whose jitter brings it off the canvas, to a forbidden place or too close to another
    goes half the way, and half again, until it keeps its distance.

    Parameters
    ----------
    n_cells
        How many.
    ground
        Where cells may lie and how densely; sites are left empty where it is thinner.
    min_distance_um
        No two cells are closer.
    jitter
        sd of a cell's shift along each axis, over the distance of the sites.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells, 2) x and y in µm, row by row through the tissue.

    Raises
    ------
    ConfigError
        If the ground has no room for that many.
    """
    lattice, taken = yield from _taken_job(n_cells, ground, min_distance_um, seed, stage)

    def jittered() -> Floats:
        bits = hash_bits(
            stream_key(seed, f"{stage}/jitter"), np.flatnonzero(taken)[:, None], [0, 1]
        )
        shift: Floats = ndtri(unit_interval(bits)) * (jitter * lattice.nearest)
        if min_distance_um > 0:
            # Beyond half the sites' distance, others than the near sites would matter.
            length = np.maximum(np.hypot(*shift.T), 1e-300)
            shift *= np.minimum(1.0, 0.5 * lattice.nearest / length)[:, None]
        return shift

    shift = yield from aside_job(jittered, "positions")
    sites = lattice.sites()[taken]
    tries = 0
    wrong = np.ones(n_cells, dtype=bool)
    while wrong.any():
        yield Progress("positions", min(tries, _HALVINGS), _HALVINGS)
        xy = sites + shift
        # What was right stays so: only what moved can leave the ground.
        moved = np.flatnonzero(wrong)
        wrong[moved] = ((xy[moved] < 0) | (xy[moved] > ground.canvas_um)).any(axis=1)
        if not ground.is_even:
            wrong[moved] |= ~ground.allows(xy[moved])
        if min_distance_um > 0:
            check = partial(_crowded, xy, taken.reshape(lattice.rows, -1), min_distance_um)
            wrong |= yield from aside_job(check, "positions")
        wrong &= shift.any(axis=1)
        shift[wrong] *= 0.5 if tries < _HALVINGS else 0.0
        tries += 1
    return xy


def _taken_job(
    n_cells: int, ground: Ground, core: float, seed: int, stage: str
) -> Job[tuple[_Lattice, Mask]]:
    """Choose the coarsest lattice with enough sites, and the sites that hold a cell."""
    n_sites, most = n_cells, _most_sites(n_cells, ground.canvas_um, core)
    while True:
        lattice = _lattice(n_sites, ground.canvas_um, core)
        weights = yield from aside_job(partial(ground.weights, lattice.sites()), "positions")
        room = int((weights > 0).sum())
        fullest = weights.max() * n_cells / weights.sum() if room else np.inf
        if n_sites >= most or (room >= n_cells and fullest <= 1 + 1e-9):
            break
        finer = np.clip(fullest, *_DENSER)
        n_sites = min(max(n_sites + 1, int(n_sites * finer)), most)
    if room < n_cells or lattice.nearest < core:
        width, height = ground.canvas_um
        densest = 2 * width * height / (math.sqrt(3) * core**2) if core > 0 else np.inf
        room = int(min(room, n_cells - 1, densest))
        raise no_room(n_cells, room, f"at min_distance_um = {core:g} outside the structures")

    def choose() -> Mask:
        return choose_sites(inclusion(weights, n_cells), n_cells, seed, stage)

    return lattice, (yield from aside_job(choose, "positions"))


def _most_sites(n_cells: int, canvas_um: tuple[float, float], core: float) -> int:
    """Return how many sites keep the core, at most some per cell."""
    most = _MOST_PER_CELL * n_cells + 1000
    if core > 0:
        most = min(most, int(2 * canvas_um[0] * canvas_um[1] / (math.sqrt(3) * core**2)))
        while most > n_cells and _lattice(most, canvas_um, core).nearest < core:
            most = max(int(most * 0.995), n_cells)
    return max(most, n_cells)


def _lattice(n_sites: int, canvas_um: tuple[float, float], core: float) -> _Lattice:
    """Return the lattice of at least `n_sites` whose sites are farthest apart."""
    width, height = canvas_um
    side = math.sqrt(2 * width * height / (math.sqrt(3) * n_sites))
    about = round(height / (side * math.sqrt(3) / 2))
    rows = {max(about + k, 1) for k in (-2, -1, 0, 1, 2)}
    if core > 0:
        # A square grid at the core is the last that fits where the canvas is all but full.
        rows.add(max(int(height // core), 1))
    options = []
    for r in sorted(rows):
        columns = -(-n_sites // r)
        options.append(_Lattice(r, columns, np.array([width / columns, height / r])))
    return max(options, key=lambda option: option.nearest)


def _crowded(xy: Floats, taken: Mask, core: float) -> Mask:
    """Return which cells lie closer than `core` to another."""
    rows, columns = taken.shape
    # Empty sites compare as far away, and a frame of them spares the borders.
    grid = np.full((2, rows + 2, columns + 4), np.nan)
    inner = grid[:, :rows, 2 : 2 + columns]
    inner[:, taken] = xy.T
    close = np.zeros(grid.shape[1:], dtype=bool)
    for parity in (0, 1):
        n = len(range(parity, rows, 2))
        here = (slice(parity, parity + 2 * n, 2), slice(2, 2 + columns))
        x, y = grid[0][here], grid[1][here]
        for dy, dx in _PAIRS[parity]:
            first = parity + dy
            there = (slice(first, first + 2 * n, 2), slice(2 + dx, 2 + dx + columns))
            near = (x - grid[0][there]) ** 2 + (y - grid[1][there]) ** 2 < core**2
            close[here] |= near
            close[there] |= near
    crowded: Mask = close[:rows, 2 : 2 + columns][taken]
    return crowded
