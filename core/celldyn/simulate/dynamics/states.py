"""The cells' states: each at its own time on its own path, with its fate and the odds of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.simulate.dynamics.committor import committor_job
from celldyn.simulate.dynamics.drivers import raised_fates
from celldyn.simulate.dynamics.expression import GeneProgram
from celldyn.simulate.dynamics.potentials import Floats, Potential, make_potential
from celldyn.simulate.dynamics.rollouts import rollouts_job
from celldyn.simulate.dynamics.sde import Walkers, evolve_job, fates_reached_job, time_step
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

if TYPE_CHECKING:
    from celldyn.perturbation import Perturbation
    from celldyn.simulate.specs import DynamicsSpec

_LEAST_SIGMA = 0.05
"""Below this noise the grid's own would tell, and runs take its place."""
_RUNS = 64
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Dynamics:
    """States of n cells, and all that is known about them.

    Parameters
    ----------
    spec, seed
        What they were made from.
    landscape
        The potential V.
    program
        How genes read the states.
    cell_ids
        (n,) integer identities.
    time
        (n,) true time since the root.
    z
        (n, n_dims) state.
    potential
        (n,) V(z).
    velocity
        (n, n_dims) -∇V(z): where a cell is heading, noise aside.
    fate
        (n,) position in `fate_names` of the fate that the cell's own path reaches.
    fates
        (n, n_fates) probability of each fate from z on.
    state
        (n,) position in `state_names` of the part of the valleys that z lies in.
    state_type
        (n,) position in `type_names`: 0 before the last fork, 1 + k on the way to fate k alone.
    raised
        (n_fates,) or (n, n_fates) heights by which fates were raised.
    perturbation, perturbed
        What was done to the cells, and (n,) to which; None and all False for a control.
    """

    spec: DynamicsSpec
    seed: int
    landscape: Potential
    program: GeneProgram
    cell_ids: NDArray[np.int64]
    time: Floats
    z: Floats
    potential: Floats
    velocity: Floats
    fate: NDArray[np.intp]
    fates: Floats
    state: NDArray[np.intp]
    state_type: NDArray[np.intp]
    raised: Floats
    perturbation: Perturbation | None
    perturbed: NDArray[np.bool_]

    @property
    def fate_names(self) -> list[str]:
        """Names of the fates."""
        return self.spec.fate_names

    @property
    def state_names(self) -> list[str]:
        """Names of the parts of the valleys, from the root on."""
        return self.landscape.state_names

    @property
    def type_names(self) -> list[str]:
        """Names of the cell types that the states make."""
        return self.spec.type_names

    @property
    def entropy(self) -> Floats:
        """(n,) entropy of the fate in nats, at most log n_fates."""
        entropy: Floats = np.abs(xlogy(self.fates, self.fates).sum(axis=1))
        return entropy


def dynamics_job(
    spec: DynamicsSpec,
    n_cells: int,
    *,
    seed: int,
    cell_ids: ArrayLike | None = None,
    xy: ArrayLike | None = None,
    canvas: tuple[float, float] | None = None,
    perturbation: Perturbation | None = None,
    obs: Any = None,  # noqa: ANN401
    threads: int | None = None,
) -> Job[Dynamics]:
    """Let every cell run from the root to its own true time, then on to its fate.

    Parameters
    ----------
    spec
        The equation, its noise, and the genes that read the states.
    n_cells
        How many cells.
    seed
        The simulation's seed. A cell's path depends on it and on the cell's identity alone.
    cell_ids
        (n_cells,) integer identities; by default 0, 1, 2, ...
    xy, canvas
        (n_cells, 2) positions and (width, height) of a section in µm, for times that follow an
        axis: from 0 at its start to `t_max` at its end.
    perturbation
        Held from the root on. Cells share their noise with the control's, so that factors of 1
        give the control to the last bit.
    obs
        What finds the perturbed cells; by default their number, which names do not fit.
    threads
        How many.

    Raises
    ------
    DataError
        If times need positions that are missing, lengths differ, or the perturbation is released.
    """
    ids = np.arange(n_cells) if cell_ids is None else np.asarray(cell_ids, dtype=np.int64)
    if ids.shape != (n_cells,):
        raise DataError(f"cell_ids {ids.shape} do not fit {n_cells} cells", "give one per cell")
    if perturbation is not None and perturbation.released_at is not None:
        raise DataError(
            "states of cells at different times know no common time of release",
            "hold the perturbation, or step a TissueEnvironment",
        )
    obs = n_cells if obs is None else obs
    time = _times(spec, ids, seed, xy, canvas)
    yield Progress("cell states", 0, None)
    landscape = make_potential(spec)
    raised = raised_fates(spec, perturbation, obs)
    start = Walkers.at_root(landscape, ids, raised)
    # The step is the control's whatever is raised: noise is shared step by step.
    dt = time_step(landscape, spec.sigma)
    now = yield from evolve_job(landscape, start, time, spec.sigma, seed, dt=dt, threads=threads)
    fate = yield from fates_reached_job(landscape, now, spec.sigma, seed, dt=dt, threads=threads)
    fates = yield from fate_odds_job(spec, landscape, now, seed, fate=fate, threads=threads)
    potential, velocity, state = yield from _landscape_job(landscape, now, threads)
    perturbed = np.zeros(n_cells, dtype=bool)
    if perturbation is not None:
        perturbed[perturbation.rows(obs)] = True
    return Dynamics(
        spec=spec,
        seed=seed,
        landscape=landscape,
        program=GeneProgram.of(landscape, spec, seed),
        cell_ids=ids,
        time=time,
        z=now.z,
        potential=potential,
        velocity=velocity,
        fate=fate,
        fates=fates,
        state=state,
        state_type=np.maximum(state - (len(landscape.state_names) - spec.n_fates) + 1, 0),
        raised=raised,
        perturbation=perturbation,
        perturbed=perturbed,
    )


def fate_odds_job(
    spec: DynamicsSpec,
    landscape: Potential,
    walkers: Walkers,
    seed: int,
    *,
    fate: NDArray[np.intp] | None = None,
    threads: int | None = None,
) -> Job[Floats]:
    """Return the probability of each fate, (n, n_fates), by the way that the specification asks.

    Solved on a grid, or the shares of `n_rollouts` runs; of 64 where the noise is too small for
    the grid; without noise, 1 for the fate that is reached.
    """
    if not spec.sigma:
        if fate is None:
            fate = yield from fates_reached_job(landscape, walkers, 0.0, seed, threads=threads)
        return np.eye(spec.n_fates)[fate]
    n_rollouts = spec.n_rollouts or (0 if spec.sigma >= _LEAST_SIGMA else _RUNS)
    if not n_rollouts:
        job = committor_job(landscape, walkers.z, spec.sigma, walkers.raised)
    else:
        job = rollouts_job(landscape, walkers, spec.sigma, n_rollouts, seed, threads=threads)
    odds = yield from job
    return odds


def fate_shift_job(
    dynamics: Dynamics,
    perturbation: Perturbation,
    *,
    obs: Any = None,  # noqa: ANN401
    threads: int | None = None,
) -> Job[Floats]:
    """Return how a perturbation that begins now shifts the fates of cells as they are.

    Parameters
    ----------
    dynamics
        The control.
    perturbation
        Of driver genes; others shift nothing.
    obs
        What finds the perturbed cells; by default their number.
    threads
        How many.

    Returns
    -------
    (n, n_fates) probability under the perturbation less that of the control; rows sum to 0, and
    are exactly 0 in cells that are not perturbed and for factors of 1.
    """
    n, spec = len(dynamics.z), dynamics.spec
    raised = raised_fates(spec, perturbation, n if obs is None else obs)
    if np.array_equal(np.broadcast_to(raised, dynamics.fates.shape), _rows(dynamics.raised, n)):
        return np.zeros_like(dynamics.fates)
    steps = np.zeros(n, dtype=np.int64)
    walkers = Walkers(dynamics.z, dynamics.cell_ids, steps, raised)
    odds = yield from fate_odds_job(
        spec, dynamics.landscape, walkers, dynamics.seed, threads=threads
    )
    return odds - dynamics.fates


def _landscape_job(
    landscape: Potential, walkers: Walkers, threads: int | None
) -> Job[tuple[Floats, Floats, NDArray[np.intp]]]:
    """Return V, -∇V and the state at every cell, block by block."""
    n = len(walkers.z)

    def work(block: int) -> tuple[Floats, Floats, NDArray[np.intp]]:
        part = walkers.take(np.arange(block * _BLOCK, min((block + 1) * _BLOCK, n)))
        slope = landscape.gradient(part.z, part.raised)
        return landscape.value(part.z, part.raised), -slope, landscape.state_of(part.z)

    n_blocks = -(-n // _BLOCK)
    parts = yield from blocks_job(work, n_blocks, "landscape", threads=threads)
    if not parts:
        return np.zeros(0), walkers.z, np.zeros(0, dtype=np.intp)
    value, velocity, state = (np.concatenate(part) for part in zip(*parts, strict=True))
    return value, velocity, state


def _rows(raised: Floats, n: int) -> Floats:
    return np.broadcast_to(raised, (n, raised.shape[-1]))


def _times(
    spec: DynamicsSpec,
    ids: NDArray[np.int64],
    seed: int,
    xy: ArrayLike | None,
    canvas: tuple[float, float] | None,
) -> Floats:
    if spec.time_from == "uniform":
        bits = hash_bits(stream_key(seed, "dynamics/time"), ids, 0)
        return spec.t_max * unit_interval(bits)
    if xy is None or canvas is None:
        raise DataError(
            f"time_from = {spec.time_from!r} needs the cells' positions", "give xy and canvas"
        )
    axis = ("x", "y").index(spec.time_from)
    place = np.asarray(xy, dtype=np.float64)
    if place.shape != (ids.size, 2):
        raise DataError(f"xy {place.shape} does not fit {ids.size} cells", "give (n_cells, 2)")
    time: Floats = spec.t_max * np.clip(place[:, axis] / canvas[axis], 0.0, 1.0)
    return time
