"""Where the cells of a section lie, by the point process that the config names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job, run
from celldyn.simulate.layout.chance import clustered_job, random_job
from celldyn.simulate.layout.density import DensityLike, make_density, read_density
from celldyn.simulate.layout.ground import Forbidden, Ground
from celldyn.simulate.layout.lattice import hexagonal_job
from celldyn.simulate.layout.points import n_sites, positions_job

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

Floats = NDArray[np.float64]


def room(config: SimulationConfig) -> int:
    """Return how many cells an empty section has room for."""
    if config.point_process in ("random", "clustered"):
        return np.iinfo(np.int64).max
    return n_sites(*config.canvas_um, config.min_distance_um)


def place(
    config: SimulationConfig,
    n_cells: int,
    section: int,
    *,
    keep_out: Forbidden | None = None,
    density: DensityLike | None = None,
) -> Floats:
    """Return the positions of the cells of a section; see `place_job`."""
    job = place_job(config, n_cells, section, keep_out=keep_out, density=density)
    return run(job, bar=False)


def place_job(
    config: SimulationConfig,
    n_cells: int,
    section: int,
    *,
    keep_out: Forbidden | None = None,
    density: DensityLike | None = None,
) -> Job[Floats]:
    """Place the cells of a section.

    Parameters
    ----------
    config
        Its `point_process`, `canvas_um`, `min_distance_um` and what else concerns the process.
    n_cells
        How many; all of them lie on the canvas and outside `keep_out`.
    section
        Which one; each has random numbers of its own.
    keep_out
        Maps (m, 2) positions in µm to (m,) where no cell may lie.
    density
        Wanted density up to a factor: a function of (m, 2) positions, or an array of (rows,
        columns) whose first row lies at y = 0; in place of `density_image`. Hard-core and
        hexagonal cells are never denser than `min_distance_um` allows.

    Returns
    -------
    (n_cells, 2) x and y in µm; rows next to each other lie near each other.

    Raises
    ------
    ConfigError
        If there is no room for that many.
    DataError, FileFormatError
        If the density cannot be used or read.
    """
    canvas, core, process = config.canvas_um, config.min_distance_um, config.point_process
    if density is None and config.density_image is not None:
        density = read_density(config.density_image)
    made = None if density is None else make_density(density, canvas)
    ground = Ground(canvas, keep_out, made)
    seed, stage = config.seed, f"layout/{section}/place"
    if n_cells == 0:
        return np.empty((0, 2))
    if process == "hexagonal":
        jitter = config.lattice_jitter
        return (yield from hexagonal_job(n_cells, ground, core, jitter, seed, stage))
    if process == "clustered":
        radius, size = config.clump_radius_um, config.cells_per_clump
        return (yield from clustered_job(n_cells, ground, radius, size, seed, stage))
    if process == "random" or (core == 0 and made is not None):
        # Without a core, nothing but the density is left of the hard-core process.
        return (yield from random_job(n_cells, ground, seed, stage))
    return (yield from positions_job(n_cells, canvas, core, seed, stage, ground=ground))
