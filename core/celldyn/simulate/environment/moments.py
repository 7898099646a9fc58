"""A tissue at one moment, what may be done to it, and the moment after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.errors import DataError
from celldyn.jobs import Job
from celldyn.perturbation import Perturbation
from celldyn.simulate.dynamics import Walkers, evolve_job, raised_fates
from celldyn.simulate.environment.world import World
from celldyn.simulate.ligands import Kernel, averaging_job

Floats: TypeAlias = NDArray[np.float64]

_LATER = 1 << 40
"""Steps of noise that lie behind every cell: its past used fewer."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to a tissue at one moment.

    Parameters
    ----------
    perturbation
        Genes that are changed from now on: held, or for `released_at` units of time.
    displacement
        (n_cells, 2) µm by which cells are moved; None for none.
    removed
        (n_cells,) which cells are taken out, for good; None for none.
    """

    perturbation: Perturbation | None = None
    displacement: Floats | None = None
    removed: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A tissue at one time.

    Parameters
    ----------
    step
        How many steps have been taken.
    xy
        (n_cells, 2) positions in µm: the modality of space.
    alive
        (n_cells,) which cells are in the tissue.
    z
        (n_cells, n_dims) states; no columns without dynamics.
    expression
        (n_cells, n_genes) expected counts: the modality of expression; 0 in cells taken out.
    acting
        Perturbations and the steps at which they began.
    neighbours
        Per (reach, kernel), who hears whom at these positions.
    """

    step: int
    xy: Floats
    alive: NDArray[np.bool_]
    z: Floats
    expression: Floats
    acting: tuple[tuple[Perturbation, int], ...] = ()
    neighbours: dict[tuple[float, Kernel], sparse.csr_array] = field(default_factory=dict)


def first_moment_job(world: World, start: Literal["state", "root"] = "state") -> Job[Moment]:
    """Return the tissue at the beginning, every cell as the simulation left it or at the root."""
    xy = world.tissue.xy.copy()
    z = np.zeros((len(xy), 0)) if world.z is None else world.z.copy()
    if start == "root" and world.landscape is not None:
        z = np.broadcast_to(world.landscape.start, z.shape).copy()
    elif start not in ("state", "root"):
        raise DataError(f"cells cannot start at {start!r}", "start at 'state' or 'root'")
    alive = np.ones(len(xy), dtype=bool)
    neighbours = yield from _neighbours_job(world, xy, alive)
    expression = world.expression(z, alive, neighbours, [])
    return Moment(0, xy, alive, z, expression, (), neighbours)


def advance_job(
    world: World, moment: Moment, actions: Sequence[Action], dt: float, seed: int
) -> Job[Moment]:
    """Return the tissue one step later: a pure function of its arguments.

    Parameters
    ----------
    world
        What does not change.
    moment
        The tissue now.
    actions
        What is done to it now.
    dt
        Time of the step.
    seed
        Fixes the noise, together with the cell and the step.
    """
    for action in actions:
        _check(world, action)
    moment = yield from _acted_job(world, moment, actions)
    z, spec = moment.z, world.config.dynamics
    if spec is not None and world.landscape is not None:
        raised = raised_fates(spec, acting_now(moment, dt), world.cell_names)
        per_step = int(np.ceil(dt / world.sde_step - 1e-9))
        used = np.full(len(z), _LATER + moment.step * per_step, dtype=np.int64)
        walkers = Walkers(z, world.cell_ids, used, raised)
        # As many noises per step for all, so that control and perturbed never part.
        job = evolve_job(world.landscape, walkers, dt, spec.sigma, seed, dt=dt / per_step)
        z = np.where(moment.alive[:, None], (yield from job).z, z)
    later = replace(moment, step=moment.step + 1, z=z)
    acting = acting_now(later, dt)
    expression = world.expression(z, later.alive, later.neighbours, acting)
    return replace(later, expression=expression)


def _acted_job(world: World, moment: Moment, actions: Sequence[Action]) -> Job[Moment]:
    xy, alive, acting = moment.xy, moment.alive, list(moment.acting)
    for action in actions:
        if action.perturbation is not None:
            acting.append((action.perturbation, moment.step))
        if action.displacement is not None:
            xy = xy + np.asarray(action.displacement, dtype=np.float64)
        if action.removed is not None:
            alive = alive & ~np.asarray(action.removed)
    neighbours = moment.neighbours
    if not (np.array_equal(xy, moment.xy) and np.array_equal(alive, moment.alive)):
        neighbours = yield from _neighbours_job(world, xy, alive)
    return replace(moment, xy=xy, alive=alive, acting=tuple(acting), neighbours=neighbours)


def acting_now(moment: Moment, dt: float) -> list[Perturbation]:
    """Return the perturbations that act at a moment."""
    return [one for one, began in moment.acting if one.active((moment.step - began) * dt)]


def _neighbours_job(
    world: World, xy: Floats, alive: NDArray[np.bool_]
) -> Job[dict[tuple[float, Kernel], sparse.csr_array]]:
    """Return who hears whom, per reach and kernel of the targets; cells taken out do not."""
    rows = np.flatnonzero(alive)
    here = replace(world.tissue, xy=xy[rows], section=world.tissue.section[rows])
    neighbours: dict[tuple[float, Kernel], sparse.csr_array] = {}
    for reach, kernel in world.reaches:
        near = yield from averaging_job(here, reach, kernel)
        source = sparse.coo_array(near)
        place = rows[source.coords[0]], rows[source.coords[1]]
        neighbours[reach, kernel] = sparse.csr_array((source.data, place), shape=2 * (alive.size,))
    return neighbours


def _check(world: World, action: Action) -> None:
    n = len(world.tissue.xy)
    if action.perturbation is not None:
        action.perturbation.factor_and_offset(world.gene_names)
        action.perturbation.rows(world.cell_names)
    moved = action.displacement
    if moved is not None and (np.shape(moved) != (n, 2) or not np.isfinite(moved).all()):
        raise DataError(
            f"displacement {np.shape(moved)} does not fit {n} cells", "give finite (n_cells, 2) µm"
        )
    removed = action.removed
    if removed is not None and (np.shape(removed) != (n,) or np.asarray(removed).dtype != bool):
        raise DataError(f"removed does not fit {n} cells", "give a boolean mask of all cells")
