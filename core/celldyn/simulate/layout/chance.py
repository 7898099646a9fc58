"""Where the cells lie: complete spatial randomness, and clumps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, pdtrik

from celldyn.jobs import Job, Progress
from celldyn.simulate.layout.density import Density, even_density
from celldyn.simulate.layout.ground import Ground, no_room
from celldyn.simulate.streams import uniforms

Floats = NDArray[np.float64]

_BLOCK = 1 << 17
_LEAST_SHARE = 1e-4
"""Share of the proposals that must fall on allowed places before the search is given up."""
_REACH_SD = 4.0
"""Clumps farther from the canvas than this give it no cells."""
_MOST_CLUMPS_PER_CELL = 4


def random_job(n_cells: int, ground: Ground, seed: int, stage: str) -> Job[Floats]:
    """Place cells independently of each other; progress counts cells.

    Parameters
    ----------
    n_cells
        How many.
    ground
        Where cells may lie and how densely.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells, 2) x and y in µm, in bands through the tissue.

    Raises
    ------
    ConfigError
        If cells may hardly lie anywhere.
    """
    density = ground.density

    def propose(stage: str, n: int) -> Floats:
        if density is None:
            return uniforms(seed, stage, n, 2) * ground.canvas_um
        return density.sample(uniforms(seed, stage, n, 3))

    return (yield from _accepted_job(propose, n_cells, ground, stage))


def clustered_job(
    n_cells: int,
    ground: Ground,
    radius_um: float,
    cells_per_clump: float,
    seed: int,
    stage: str,
) -> Job[Floats]:
    """Place cells in clumps at random places, on and around the canvas; progress counts cells.

    The process of Thomas (1949), a Neyman-Scott process with normal clumps, given the number of
    cells on the canvas.

    Parameters
    ----------
    n_cells
        How many.
    ground
        Where cells may lie; its density is that of the clumps' centres.
    radius_um
        sd of a clump's cells about its centre, along each axis.
    cells_per_clump
        Mean cells of a clump.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells, 2) x and y in µm, in bands through the tissue.

    Raises
    ------
    ConfigError
        If cells may hardly lie anywhere.
    """
    centres = _clumps(n_cells, ground, radius_um, cells_per_clump, seed, stage)
    yield Progress("positions", 0, n_cells)
    # A cell of a clump lies on the canvas with this probability, per axis from `low` to `high`.
    low, high = ndtr(-centres / radius_um), ndtr((ground.canvas_um - centres) / radius_um)
    steps = np.cumsum(np.maximum((high - low).prod(axis=1), 1e-300))

    def propose(stage: str, n: int) -> Floats:
        chance = uniforms(seed, stage, n, 3)
        clump = np.searchsorted(steps, chance[:, 0] * steps[-1], side="right")
        clump = np.minimum(clump, steps.size - 1)
        level = low[clump] + chance[:, 1:] * (high - low)[clump]
        # Clipped, since the tails of the normal law lose a few digits.
        xy: Floats = np.clip(centres[clump] + radius_um * ndtri(level), 0, ground.canvas_um)
        return xy

    return (yield from _accepted_job(propose, n_cells, ground, stage))


def _clumps(
    n_cells: int, ground: Ground, radius_um: float, per_clump: float, seed: int, stage: str
) -> Floats:
    """Draw the centres of the clumps, as many as a Poisson law gives."""
    width, height = ground.canvas_um
    around: Density = (ground.density or even_density(ground.canvas_um)).padded(
        _REACH_SD * radius_um
    )
    share = around.weights.mean() * np.prod(around.size_um)
    share /= (ground.density.weights.mean() if ground.density else 1.0) * width * height
    mean = n_cells / per_clump * share
    number = float(np.ceil(pdtrik(uniforms(seed, f"{stage}/clumps", 1)[0, 0], mean)))
    # Clumps of less than a cell are complete randomness, however many there are.
    n_clumps = int(np.clip(np.nan_to_num(number), 1, max(_MOST_CLUMPS_PER_CELL * n_cells, 1)))
    return around.sample(uniforms(seed, f"{stage}/centre", n_clumps, 3))


def _accepted_job(
    propose: Callable[[str, int], Floats], n_cells: int, ground: Ground, stage: str
) -> Job[Floats]:
    """Propose blocks of positions until enough lie on allowed places."""
    kept: list[Floats] = []
    found = tried = block = 0
    while found < n_cells:
        yield Progress("positions", found, n_cells)
        wanted = n_cells - found
        n = min(max(int(wanted * 1.1 * (tried + 1) / (found + 1)), wanted, 64), _BLOCK)
        xy = propose(f"{stage}/block/{block}", n)
        xy = xy[ground.allows(xy)]
        kept.append(xy[:wanted])
        found, tried, block = found + len(kept[-1]), tried + n, block + 1
        if tried > 10_000 and len(kept[-1]) < wanted and found < _LEAST_SHARE * tried:
            raise no_room(
                n_cells, found, "outside the structures and where the density is above 0"
            )
    yield Progress("positions", found, n_cells)
    return _by_bands(np.concatenate(kept), ground.canvas_um)


def _by_bands(xy: Floats, canvas_um: tuple[float, float]) -> Floats:
    """Sort positions along bands of about one cell's height, as on the other processes."""
    n_bands = max(round(np.sqrt(len(xy) * canvas_um[1] / canvas_um[0])), 1)
    band = np.minimum(np.floor(xy[:, 1] * (n_bands / canvas_um[1])), n_bands - 1)
    return xy[np.argsort(band * (2.0 * canvas_um[0]) + xy[:, 0])]
