"""Where the cells lie: random positions, no two closer than a hard core."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from celldyn.devices import aside_job
from celldyn.jobs import Job, Progress, run
from celldyn.simulate.layout.ground import Ground, choose_sites, inclusion, no_room
from celldyn.simulate.streams import hash_bits, stream_key, uniforms, unit_interval

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FILLING = 0.8
"""Share of the sites that are taken where there is room: gaps make the pattern irregular."""
_SWEEPS = 10
_STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
_COLOURS = ((0, 0), (0, 1), (1, 0), (1, 1))
_BLOCK = 1 << 15
"""Boxes that move at once: their numbers stay in the cache."""
_MOST_BOXES = 2_000_000


def n_sites(width_um: float, height_um: float, min_distance_um: float) -> int:
    """Return how many cells a canvas has room for at a hard core."""
    if min_distance_um == 0:
        return np.iinfo(np.int64).max
    return int(width_um // min_distance_um) * int(height_um // min_distance_um)


def positions(
    n_cells: int, canvas_um: tuple[float, float], min_distance_um: float, seed: int, stage: str
) -> Floats:
    """Return random positions with a guaranteed least distance; see `positions_job`."""
    return run(positions_job(n_cells, canvas_um, min_distance_um, seed, stage), bar=False)


def positions_job(
    n_cells: int,
    canvas_um: tuple[float, float],
    min_distance_um: float,
    seed: int,
    stage: str,
    *,
    ground: Ground | None = None,
) -> Job[Floats]:
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
    ground
        Where cells may lie and how densely; None is everywhere alike.

    Returns
    -------
    (n_cells, 2) x and y in µm, row by row through the tissue.

    Raises
    ------
    ConfigError
        If the ground has no room for that many.
    """
    ground = ground or Ground(canvas_um)
    divide = partial(_boxes, n_cells, ground, min_distance_um, seed, stage)
    boxes = yield from aside_job(divide, "positions")
    for sweep in range(_SWEEPS):
        key = stream_key(seed, f"{stage}/sweep/{sweep}")
        for colour in _COLOURS:
            for _ in boxes.move(colour, key, ground):
                yield Progress("positions", sweep, _SWEEPS)
    return boxes.positions()


def _boxes(n_cells: int, ground: Ground, core: float, seed: int, stage: str) -> _Boxes:
    """Divide the canvas into boxes and put a cell into the middle of some."""
    if ground.is_even:
        columns, rows = _grid(n_cells, ground.canvas_um, core)
        if columns * rows < n_cells:
            raise no_room(n_cells, columns * rows, f"at min_distance_um = {core:g}")
        draw = uniforms(seed, f"{stage}/taken", rows * columns)[:, 0]
        taken = draw <= np.partition(draw, n_cells - 1)[n_cells - 1]
        return _Boxes(ground.canvas_um, taken.reshape(rows, columns), core)
    width, height = ground.canvas_um
    finest = max(core, math.sqrt(width * height / max(16 * n_cells, _MOST_BOXES)))
    side = math.sqrt(width * height / n_cells * _FILLING)
    while True:
        side = max(min(side, width, height), finest)
        columns, rows = max(int(width // side), 1), max(int(height // side), 1)
        weights = ground.weights(_corners(columns, rows, ground.canvas_um, 0.5))
        room = int((weights > 0).sum())
        fullest = weights.max() * n_cells / weights.sum() if room else np.inf
        if side == finest or fullest <= _FILLING:
            break
        side *= 0.7 if fullest > 2 * _FILLING else 0.9
    if room < n_cells:
        raise no_room(n_cells, room, f"at min_distance_um = {core:g} outside the structures")
    taken = choose_sites(inclusion(weights, n_cells), n_cells, seed, stage)
    return _Boxes(ground.canvas_um, taken.reshape(rows, columns), core)


def _grid(n_cells: int, canvas_um: tuple[float, float], core: float) -> tuple[int, int]:
    width, height = canvas_um
    side = math.sqrt(width * height / n_cells * _FILLING)
    while side > core:
        columns, rows = int(width // side), int(height // side)
        if columns * rows >= n_cells:
            return columns, rows
        side *= 0.98
    return int(width // core), int(height // core)


def _corners(columns: int, rows: int, canvas_um: tuple[float, float], shift: float) -> Floats:
    x, y = np.meshgrid(np.arange(columns) + shift, np.arange(rows) + shift)
    scale = np.array([canvas_um[0] / columns, canvas_um[1] / rows])
    corners: Floats = np.stack([x.ravel(), y.ravel()], axis=1) * scale
    return corners


class _Boxes:
    """Boxes with at most one cell each, those of one colour side by side in memory.

    `planes[a][b]` holds every second row from row a - 1 and every second column from column
    b - 1, with a frame of absent cells, infinitely far away, that spares the borders a case of
    their own. The neighbours of all cells of a plane are then slices of the other three.
    """

    def __init__(self, canvas_um: tuple[float, float], taken: Mask, core: float) -> None:
        self.rows, self.columns = taken.shape
        self.side = np.array([canvas_um[0] / self.columns, canvas_um[1] / self.rows])
        self.taken, self.core2 = taken, core**2
        shape = (self.rows + 3) // 2, (self.columns + 3) // 2
        self.planes = [[np.full((2, *shape), np.inf) for _ in range(2)] for _ in range(2)]
        for colour in _COLOURS:
            here, u, v = self._plane(colour)
            held = taken[colour[0] :: 2, colour[1] :: 2]
            row, column = np.nonzero(held)
            place = np.stack([colour[1] + 2 * column, colour[0] + 2 * row]) + 0.0
            inner = here[:, u : u + held.shape[0], v : v + held.shape[1]]
            inner[:, held] = place * self.side[:, None] + 0.5 * self.side[:, None]

    def _plane(self, colour: tuple[int, int]) -> tuple[Floats, int, int]:
        """Return the plane of a colour, and where in it the first box lies."""
        a, b = (colour[0] + 1) % 2, (colour[1] + 1) % 2
        return self.planes[a][b], (1 - a), (1 - b)

    def move(self, colour: tuple[int, int], key: np.uint64, ground: Ground) -> Iterator[None]:
        """Move every second cell of every second row, where that keeps the distance."""
        held = self.taken[colour[0] :: 2, colour[1] :: 2]
        step = max(_BLOCK // max(held.shape[1], 1), 1)
        for first in range(0, len(held), step):
            self._move_rows(colour, held[first : first + step], first, key, ground)
            yield

    def _move_rows(
        self, colour: tuple[int, int], held: Mask, first: int, key: np.uint64, ground: Ground
    ) -> None:
        here, u, v = self._plane(colour)
        u, (n, m) = u + first, held.shape
        row = (colour[0] + 2 * (first + np.arange(n)))[:, None]
        column = colour[1] + 2 * np.arange(m)
        draw = unit_interval(hash_bits(key, (row * self.columns + column)[..., None], [0, 1]))
        x = column * self.side[0] + draw[..., 0] * self.side[0]
        y = row * self.side[1] + draw[..., 1] * self.side[1]
        free = held.copy()
        a, b = (colour[0] + 1) % 2, (colour[1] + 1) % 2
        for dy, dx in _STEPS:
            beside = self.planes[(a + dy) % 2][(b + dx) % 2]
            top, left = u + (a + dy) // 2, v + (b + dx) // 2
            window = beside[:, top : top + n, left : left + m]
            free &= (x - window[0]) ** 2 + (y - window[1]) ** 2 >= self.core2
        if not ground.is_even:
            free[free] = ground.allows(np.stack([x[free], y[free]], axis=1))
        inner = here[:, u : u + n, v : v + m]
        inner[0][free], inner[1][free] = x[free], y[free]

    def positions(self) -> Floats:
        """Return the cells, row by row."""
        xy = np.empty((self.rows, self.columns, 2))
        for colour in _COLOURS:
            here, u, v = self._plane(colour)
            target = xy[colour[0] :: 2, colour[1] :: 2]
            n, m = target.shape[:2]
            target[:] = np.moveaxis(here[:, u : u + n, v : v + m], 0, -1)
        return xy[self.taken]
