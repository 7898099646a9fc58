"""Fates of cells on a landscape: by its flow, by many runs with noise, or as sclsd gives them.

Shapes: n cells that vote, m cells whose fates are asked for, d dimensions of the cell state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, run, scaled
from celldyn.landscape.absorption import committor_job
from celldyn.landscape.crowd import Crowd, nearest_cells_job
from celldyn.landscape.fate_table import UNDECIDED, CellFates, fates_of_chances, fates_of_votes
from celldyn.landscape.fates import convergence
from celldyn.landscape.fating_inputs import NO_CLUSTERS, Asked, Way
from celldyn.landscape.flow_inputs import as_states
from celldyn.landscape.flowing import flow_job
from celldyn.landscape.graph import Ints, Matrix
from celldyn.landscape.potential import Landscape
from celldyn.landscape.voters import Terminal, Voters, voters_of_clusters, voters_of_minima

_UNITS = 12.0
"""Units of the whole job: 1 for the flow, 1 for votes, the rest for noise or paths."""
_TOLD = 0.05
"""Share of ends off the data from which on that is said."""


def cell_fates(
    potential: Landscape,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike | None,
    **how: Any,  # noqa: ANN401
) -> CellFates:
    """Find what cells come to; parameters are those of `cell_fates_job`."""
    return run(cell_fates_job(potential, z_cells, labels, **how), bar=False)


def cell_fates_job(
    potential: Landscape,
    z_cells: Tensor | ArrayLike,
    labels: ArrayLike | None,
    *,
    z_start: Tensor | ArrayLike | None = None,
    z_scale: Tensor | ArrayLike | None = None,
    time_range: float = 15.0,
    dt: float = 0.5,
    method: Way = "vote",
    k: int = 15,
    n_runs: int = 0,
    sigma: float | None = None,
    seed: int = 0,
    terminal: Terminal = None,
    radius: float = 0.25,
    transition: Matrix | None = None,
    return_paths: bool = False,
    threads: int = 1,
) -> Job[CellFates]:
    """Find what cells come to.

    Parameters
    ----------
    potential
        What they flow down.
    z_cells
        (n, d) states of the cells that vote.
    labels
        (n,) cluster of each; None only where terminal states are found.
    z_start
        (m, d) states whose fates are asked for; by default those of the n cells.
    z_scale
        (m, d) standard deviation of where noisy runs begin: how well the encoder knows a cell.
    time_range
        How long cells flow; training takes a whole walk for 1.
    dt
        Longest step of noisy runs, and time from one point of `paths` to the next.
    method
        "vote": the k cells nearest to an end vote. "nearest": the nearest alone. "reference": as
        sclsd's `get_cell_fates`, the nearest alone at int(time_range / dt) points of time.
        "committor": chances of a walk by `transition` to come to each terminal cluster first.
    k
        How many vote.
    n_runs
        Runs dz = −∇V dt + σ dW of each cell; 0 for the flow alone.
    sigma
        σ of noisy runs, in units of z per √time; see `sigma_of_walks_job`.
    seed
        Of the noise: the same seed has the same noise for as many cells, so that two landscapes or
        two starts can be compared run by run.
    terminal
        Names of terminal clusters: other ends are `UNDECIDED`. "found": minima that the cells' own
        flows gather in. None: every cluster is a fate, as in sclsd.
    radius
        How near ends of one minimum are, where minima are found.
    transition
        (n, n) chances of steps, for "committor".
    return_paths
        Whether the cell nearest to the flow is kept for every point of time.
    threads
        How many search for near cells.

    Returns
    -------
    Fates of the m cells. With noise every run is one vote: it ends nearest to one cell (of 4,096
    at random, where there are more), and says what most of the k cells nearest to that one say.
    Without noise the k cells nearest to the end of the flow each have a vote. Nothing of the size
    of runs times cells is held.

    Raises
    ------
    ConfigError
        If a parameter is out of bounds or missing for what is asked.
    DataError
        If shapes do not fit, something is not finite, a cell has no label, or no minima are found.
    """
    asked = Asked(time_range, dt, method, k, n_runs, sigma, seed, threads)
    asked.check(labels=labels is None, terminal=terminal, transition=transition is None)
    cells = as_states(potential, z_cells).detach()
    start = cells if z_start is None else as_states(potential, z_start).detach()
    if start.shape[1] != cells.shape[1]:
        raise DataError(
            f"z_start has {start.shape[1]} dimensions", f"give {cells.shape[1]}, as cells have"
        )
    if method == "committor" and labels is not None and not isinstance(terminal, str | None):
        with torch.no_grad():
            V = potential(cells)
        return (yield from _solved_job(cells, V, labels, terminal, transition))
    times = asked.times
    # A landscape that does not know its curvature needs times between to be checked at.
    whole = return_paths or not hasattr(potential, "hessian_max_eigenvalue")
    kept = times if whole or len(times) == 1 else [times[0], times[-1]]
    paths = yield from scaled(flow_job(potential, start, kept), 0, _UNITS)
    end, nearest = paths[-1].clone(), None
    if return_paths:
        nearest = yield from scaled(nearest_cells_job(cells, paths), 1, _UNITS, units=_UNITS / 4)
    del paths
    own_end = end
    if terminal == "found" and z_start is not None:
        own_end = (
            yield from scaled(flow_job(potential, cells, kept[:: len(kept) - 1]), 3, _UNITS)
        )[-1]
    voters = _voters(terminal, cells, own_end, labels, radius)
    scale = None if z_scale is None else _like(z_scale, start)
    known = 0.0 if scale is None else float(scale.square().sum(dim=1).mean().sqrt())
    crowd = Crowd(cells, voters, asked.near, threads, known)
    noise = asked.noise
    if noise is None:
        votes, off = yield from scaled(crowd.votes_job(end), _UNITS - 1, _UNITS)
    else:
        votes, off = yield from scaled(
            crowd.noisy_votes_job(potential, start, scale, end, noise),
            _UNITS / 2, _UNITS, units=_UNITS / 2,
        )  # fmt: skip
    rest = convergence(potential, end)
    notes = (f"after a time of {times[-1]:g}, {rest}", *voters.notes, *_warned(off, n_runs))
    return replace(
        fates_of_votes(*_named(voters.names, votes), notes=notes), converged=rest.share,
        z_end=end.double().cpu().numpy(), paths=nearest,
        times=np.array(times) if return_paths else None,
    )  # fmt: skip


def _voters(
    terminal: Terminal, cells: Tensor, own_end: Tensor, labels: ArrayLike | None, radius: float
) -> Voters:
    if terminal == "found":
        ends, at = (part.double().cpu().numpy() for part in (own_end, cells))
        return voters_of_minima(ends, at, labels, radius)
    if labels is None:
        raise ConfigError("there are no clusters", NO_CLUSTERS)
    return voters_of_clusters(labels, cells.shape[0], terminal)


def _named(names: tuple[str, ...], votes: Ints) -> tuple[tuple[str, ...], Ints]:
    """Leave out a column of undecided runs where there are none."""
    if names[-1] == UNDECIDED and len(names) > 1 and not votes[:, -1].any():
        return names[:-1], votes[:, :-1]
    return names, votes


def _warned(off: float, n_runs: int) -> tuple[str, ...]:
    if off < _TOLD:
        return ()
    return (
        f"{off:.0%} of the {'runs' if n_runs else 'flows'} end far from every cell: there the "
        "landscape was not learned",
    )


def _like(z_scale: Tensor | ArrayLike, start: Tensor) -> Tensor:
    """Return standard deviations of the start, (m, d)."""
    scale = torch.as_tensor(z_scale).detach().to(dtype=start.dtype, device=start.device)
    if scale.shape != start.shape or not torch.isfinite(scale).all() or (scale < 0).any():
        raise DataError(
            f"z_scale is of shape {tuple(scale.shape)}, or not finite, or below 0",
            f"give a standard deviation for each of {tuple(start.shape)}",
        )
    return scale


def _solved_job(
    cells: Tensor,
    V: Tensor,
    labels: ArrayLike,
    terminal: Sequence[str],
    transition: Matrix,
) -> Job[CellFates]:
    """Solve for the chances of a walk to come to the low half of each terminal cluster first."""
    voters = voters_of_clusters(labels, cells.shape[0], terminal)
    height = V.double().cpu().numpy()
    sets = {}
    for code, name in enumerate(voters.names[:-1]):
        own = np.flatnonzero(voters.codes == code)
        sets[name] = own[height[own] <= np.median(height[own])]
    names, chances = yield from committor_job(transition, sets)
    missing = 1.0 - np.nan_to_num(chances).sum(axis=1, keepdims=True)
    filled = np.hstack([np.nan_to_num(chances), np.clip(missing, 0.0, 1.0)])
    filled /= filled.sum(axis=1, keepdims=True)
    if (missing > 1e-6).any():
        return fates_of_chances(
            (*names, UNDECIDED),
            filled,
            notes=(f"{int((missing > 0.5).sum())} cells reach no terminal cluster",),
        )
    return fates_of_chances(names, filled[:, :-1] / filled[:, :-1].sum(axis=1, keepdims=True))
