"""Paths of dz = -∇V dt + sigma dW by the Euler-Maruyama scheme, every cell with its own noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from celldyn.errors import DataError
from celldyn.jobs import Job, run
from celldyn.simulate.dynamics.potentials import Floats, Potential
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import Bits, mix_in_place, spread, stream_key, unit_interval

STAGE = "dynamics/noise"
_STEP = 0.2
"""A step in time, over that which the steepest curvature allows at most to half."""
_WORK = 3_000_000
"""Cell-steps times dimensions and fates of a block: some 0.2 s."""
_MOST, _FEWEST = 2048, 64
_PATIENCE = 80.0
"""Time after which a cell that reached no fate is given the nearest, times the depth."""


def time_step(potential: Potential, sigma: float) -> float:
    """Return the longest step in time for which the scheme is stable and fine enough.

    It is a fifth of the inverse of the largest curvature, or less where that would let the noise
    of one step cross a quarter of a fate's core.
    """
    by_curvature = _STEP / potential.curvature
    if not sigma:
        return by_curvature
    return min(by_curvature, (0.25 * potential.core_radius / sigma) ** 2)


@dataclass(frozen=True, slots=True)
class Walkers:
    """Cells on their way: where each is, how far along its own noise it is, and what it feels.

    Parameters
    ----------
    z
        (n, n_dims) states.
    cell_ids
        (n,) integer identities, which fix the noise.
    steps
        (n,) steps of noise that each has used up.
    raised
        (n_fates,) or (n, n_fates) heights by which fates are raised; None for none.
    """

    z: Floats
    cell_ids: NDArray[np.int64]
    steps: NDArray[np.int64]
    raised: Floats | None = None

    @classmethod
    def at_root(
        cls, potential: Potential, cell_ids: ArrayLike, raised: ArrayLike | None = None
    ) -> Walkers:
        """Return cells at the root that have used no noise."""
        ids = np.asarray(cell_ids, dtype=np.int64)
        z = np.broadcast_to(potential.start, (ids.size, potential.n_dims)).copy()
        heights = None if raised is None else np.asarray(raised, dtype=np.float64)
        return cls(z, ids, np.zeros(ids.size, dtype=np.int64), heights)

    def __post_init__(self) -> None:
        n = len(self.z)
        if self.cell_ids.shape != (n,) or self.steps.shape != (n,):
            raise DataError(
                f"cell_ids {self.cell_ids.shape} or steps {self.steps.shape} do not fit {n} cells",
                "give one of each per cell",
            )
        if self.raised is not None and self.raised.ndim == 2 and len(self.raised) != n:
            raise DataError(f"raised has {len(self.raised)} rows for {n} cells", "give one each")

    def take(self, rows: NDArray[np.intp]) -> Walkers:
        """Return some of the cells."""
        raised = self.raised
        if raised is not None and raised.ndim == 2:
            raised = raised[rows]
        return Walkers(self.z[rows], self.cell_ids[rows], self.steps[rows], raised)


def evolve(
    potential: Potential, walkers: Walkers, duration: ArrayLike, sigma: float, seed: int
) -> Walkers:
    """Return cells after a time; see `evolve_job`."""
    return run(evolve_job(potential, walkers, duration, sigma, seed), bar=False)


def evolve_job(
    potential: Potential,
    walkers: Walkers,
    duration: ArrayLike,
    sigma: float,
    seed: int,
    *,
    dt: float | None = None,
    threads: int | None = None,
) -> Job[Walkers]:
    """Let cells follow the equation, each for its own time.

    Parameters
    ----------
    potential
        V.
    walkers
        Where they start.
    duration
        (n,) times of at least 0, or one for all; the last step is cut short to end there.
    sigma
        Noise.
    seed
        The simulation's seed: the noise of a step depends on it, the cell and the step alone.
    dt
        Step in time; by default `time_step`.
    threads
        How many.

    Returns
    -------
    The cells at the end.

    Raises
    ------
    DataError
        If a duration is negative or there is not one per cell.
    """
    n, step = len(walkers.z), dt or time_step(potential, sigma)
    times = np.broadcast_to(np.asarray(duration, dtype=np.float64), (n,))
    if n and not (np.isfinite(times).all() and times.min() >= 0):
        raise DataError("a duration is negative or not finite", "give times of at least 0")
    n_steps = np.ceil(times / step - 1e-9).astype(np.int64)
    # Cells with as many steps lie in one block, so that a block is as wide at its end.
    order = np.argsort(-n_steps, kind="stable")
    blocks = _blocks(n_steps[order], potential)

    def work(block: int) -> Floats:
        rows = order[blocks[block]]
        part = walkers.take(rows)
        return _evolve_block(potential, part, times[rows], n_steps[rows], sigma, seed, step)

    ends = yield from blocks_job(work, len(blocks), "cell states", threads=threads)
    z = np.empty_like(walkers.z)
    if ends:
        z[order] = np.concatenate(ends, axis=1).T
    return Walkers(z, walkers.cell_ids, walkers.steps + n_steps, walkers.raised)


def fates_reached_job(
    potential: Potential,
    walkers: Walkers,
    sigma: float,
    seed: int,
    *,
    dt: float | None = None,
    threads: int | None = None,
) -> Job[NDArray[np.intp]]:
    """Let cells go on until each has reached a fate.

    Returns
    -------
    (n,) fates by position. A cell that has reached none after a time of 80 / depth, as one
    without noise on a ridge, is given the nearest.
    """
    n = len(walkers.z)
    blocks = _blocks(np.full(n, 600), potential)
    step = dt or time_step(potential, sigma)

    def work(block: int) -> NDArray[np.intp]:
        part = walkers.take(np.arange(n)[blocks[block]])
        return _fates_block(potential, part, sigma, seed, step)

    found = yield from blocks_job(work, len(blocks), "fates", threads=threads)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.intp)


def arrived(potential: Potential, core: Floats) -> NDArray[np.intp]:
    """Return the fate that each state (n_core, n) has reached; -1 for none."""
    gap = (core[None] - potential.core_terminals[:, :, None]) ** 2
    near = gap.sum(axis=1) < potential.core_radius**2
    return np.where(near.any(axis=0), near.argmax(axis=0), -1)


def nearest_fate(potential: Potential, core: Floats) -> NDArray[np.intp]:
    """Return the fate whose terminal is nearest to each state (n_core, n)."""
    gap = (core[None] - potential.core_terminals[:, :, None]) ** 2
    nearest: NDArray[np.intp] = gap.sum(axis=1).argmin(axis=0)
    return nearest


def longest_steps(potential: Potential, dt: float) -> int:
    """Return the number of steps after which nobody is waited for."""
    return int(np.ceil(_PATIENCE / potential.depth / dt))


def _evolve_block(
    potential: Potential,
    walkers: Walkers,
    times: Floats,
    n_steps: NDArray[np.int64],
    sigma: float,
    seed: int,
    dt: float,
) -> Floats:
    """Return the last states, (n_dims, n), of cells that are sorted by falling `n_steps`."""
    z = np.ascontiguousarray(walkers.z.T)
    heights = potential.heights(walkers.raised)
    cells = spread(walkers.cell_ids.astype(np.uint64), stream_key(seed, STAGE))
    first = walkers.steps
    last = times - (n_steps - 1) * dt
    for k in range(int(n_steps[0]) if n_steps.size else 0):
        m = int(np.searchsorted(-n_steps, -k))
        length = np.where(n_steps[:m] == k + 1, last[:m], dt)
        here = z[:, :m]
        move = potential.row_gradient(here, heights[:, :m]) * -length
        if sigma:
            move += sigma * np.sqrt(length) * _normals(cells[:m], first[:m] + k, len(z))
        here += move
    return z


def _fates_block(
    potential: Potential, walkers: Walkers, sigma: float, seed: int, dt: float
) -> NDArray[np.intp]:
    z = np.ascontiguousarray(walkers.z.T)
    heights = potential.heights(walkers.raised)
    cells = spread(walkers.cell_ids.astype(np.uint64), stream_key(seed, STAGE))
    steps = walkers.steps.copy()
    fate = np.full(z.shape[1], -1, dtype=np.intp)
    waiting = np.arange(z.shape[1])
    for k in range(longest_steps(potential, dt)):
        fate[waiting] = arrived(potential, z[: potential.n_core])
        left = np.flatnonzero(fate[waiting] < 0)
        if not left.size:
            return fate
        if left.size < waiting.size:
            z, waiting = np.take(z, left, axis=1), waiting[left]
            cells, steps = cells[left], steps[left]
            heights = heights[:, left] if heights.shape[1] > 1 else heights
        z += potential.row_gradient(z, heights) * -dt
        if sigma:
            z += sigma * np.sqrt(dt) * _normals(cells, steps + k, len(z))
    fate[waiting] = nearest_fate(potential, z[: potential.n_core])
    return fate


def _normals(cells: Bits, steps: NDArray[np.int64], n_dims: int) -> Floats:
    """Return standard normal numbers, (n_dims, n), of one step of each cell."""
    counters = steps.astype(np.uint64) * np.uint64(n_dims)
    dims = np.arange(n_dims, dtype=np.uint64)[:, None]
    bits = spread(counters + dims)
    bits += cells
    mix_in_place(bits, np.empty_like(bits))
    values: Floats = ndtri(unit_interval(bits))
    return values


def _blocks(n_steps: NDArray[np.int64], potential: Potential) -> list[slice]:
    """Cut cells, sorted by falling number of steps, into blocks of like work."""
    per_step = potential.n_dims + len(potential.landmarks) / 2
    blocks, start = [], 0
    while start < n_steps.size:
        room = _WORK / (per_step * max(int(n_steps[start]), 1))
        size = int(np.clip(room, _FEWEST, _MOST))
        blocks.append(slice(start, start + size))
        start += size
    return blocks
