"""Cells on their way, shown where they are on an embedding: frames of a film, and single paths.

A state on the way is no cell. It is placed among the cells that are nearest to it, by weights
that fall with distance. A cell is at its own place to begin with: what its neighbours miss that
by is added, and fades as the cell leaves.

Shapes: n cells, d dimensions of the cell state, c axes of the embedding (2 or 3), m points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celldyn.devices import compile_job
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Pace, Progress, run, scaled
from celldyn.landscape.flow_inputs import as_times
from celldyn.landscape.flowing import flow_job
from celldyn.landscape.graph import Floats, Matrix
from celldyn.landscape.places import as_places, as_rows, has_place
from celldyn.landscape.placing import N_NEIGHBORS, Floats32, placing_job
from celldyn.landscape.potential import Landscape

_EARLY = 3
"""Power of the share of a film at which its time is that of the flow."""
_CORNERS = 1.0
"""Points over which a path's corners are rounded."""
_BLOCK = 16_384
"""Cells that flow at once; their paths are held, the places alone are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Places of moving cells over time.

    Parameters
    ----------
    times
        (n_times,).
    places
        (n_times, n, c) float32; NaN for a cell without a place. The first are the cells' own.
    cells
        (n_times, n) int32, the cell whose state each is near; that of a graph's search, so that
        there may be one nearer still.
    """

    times: Floats
    places: Floats32
    cells: NDArray[np.int32]


def frame_times(limit: float, n_times: int = 41) -> Floats:
    """Return times from 0 to a limit that are closer together early, when cells move fast.

    Parameters
    ----------
    limit
        The last of them, such as a high percentile of `flow_time`.
    n_times
        How many.

    Raises
    ------
    ConfigError
        If the limit is not above 0, or there are fewer than 2.
    """
    if not 0 < limit < np.inf or n_times < 2:
        raise ConfigError(
            f"{n_times} times up to {limit} were asked for", "give 2 or more, up to above 0"
        )
    return np.asarray(limit * np.linspace(0.0, 1.0, n_times) ** _EARLY)


def flow_frames(
    potential: Landscape,
    z: Tensor | ArrayLike,
    embedding: ArrayLike,
    times: ArrayLike,
    connectivities: Matrix | None = None,
    *,
    sigma: float = 0.0,
    seed: int | None = None,
) -> Frames:
    """Return where cells are on an embedding as they flow downhill.

    Parameters
    ----------
    potential
        What they flow down.
    z
        (n, d) states of the cells.
    embedding
        (n, c) places; cells without one are not followed.
    times
        (n_times,) increasing; at the first, cells are where they are.
    connectivities
        (n, n) graph along which nearest cells are sought; by default that of 15 nearest states,
        which takes long for many cells.
    sigma, seed
        Noise; see `flow`.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    ConfigError
        As `flow` does.
    """
    job = flow_frames_job(potential, z, embedding, times, connectivities, sigma=sigma, seed=seed)
    return run(job, bar=False)


def flow_frames_job(
    potential: Landscape,
    z: Tensor | ArrayLike,
    embedding: ArrayLike,
    times: ArrayLike,
    connectivities: Matrix | None = None,
    *,
    sigma: float = 0.0,
    seed: int | None = None,
) -> Job[Frames]:
    """Follow cells as a job; see `flow_frames`."""
    from celldyn.landscape.moving_kernels import compile_kernel, follow

    at = as_times(times)
    placing = yield from placing_job(z, embedding, connectivities)
    yield from compile_job([compile_kernel])
    n = len(placing.z)
    places = np.full((len(at), n, placing.places.shape[1]), np.nan, dtype=np.float32)
    cells = np.tile(np.arange(n, dtype=np.int32), (len(at), 1))
    moving, pace = np.flatnonzero(placing.there), Pace()
    for k, first in enumerate(range(0, moving.size, _BLOCK)):
        some = moving[first : first + _BLOCK]
        own_seed = None if seed is None else seed + k
        ahead = flow_job(potential, placing.z[some], at, sigma=sigma, seed=own_seed)
        paths = yield from scaled(ahead, first, moving.size, units=some.size / 2)
        on_cpu = paths.float().cpu().numpy()
        for now, part, where, which in placing.follow(on_cpu, some, follow):
            places[now, some[part]], cells[now, some[part]] = where, which
            if pace.due():
                done = first + (some.size + part.start) / 2
                yield Progress("places on the way", done, moving.size)
    return Frames(np.array(at), places, cells)


def path_on(
    points: ArrayLike,
    z: ArrayLike,
    embedding: ArrayLike,
    *,
    k: int = N_NEIGHBORS,
) -> Floats:
    """Return where states are on an embedding: a path of least action, a walk, any others.

    Parameters
    ----------
    points
        (m, d) states in the order of the path (`ActionPath.points`); where it begins or ends at a
        cell, it does so at that cell's place.
    z, embedding
        (n, d) and (n, c) states and places of the cells; those without a place are left out.
    k
        Cells between which a state is placed.

    Returns
    -------
    (m, c). On the tissue, where cells of one state may be far from each other, neighbouring points
    can be, too.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    ConfigError
        If k is below 1.
    """
    from scipy.spatial import cKDTree

    if k < 1:
        raise ConfigError(f"k is {k}", "give 1 or more")
    way, states = as_rows(points, "points"), as_rows(z, "states")
    places = as_places(embedding, len(states))
    there = has_place(places)
    if way.shape[1] != states.shape[1] or not there.any():
        raise DataError(
            f"points {way.shape} and states {states.shape} do not fit each other, or no cell has "
            "a place",
            "give both in the same dimensions",
        )
    states, places = states[there], places[there]
    found: Any = cKDTree(states).query(way, k=np.arange(1, min(k, len(states)) + 1))
    distance, near = found
    weight = _weights(np.square(distance))
    at = _smooth(np.einsum("mk,mkc->mc", weight, places[near]))
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))])
    reach = float(np.median(distance[:, -1])) or 1.0
    for end in (0, -1):
        if distance[end, 0] <= 1e-4 * max(distance[end, -1], 1e-12):
            missed = places[near[end, 0]] - at[end]
            fade = np.exp(-np.abs(along - along[end]) / reach)
            if len(way) > 1:
                fade[-1 - end] = 0.0  # the other end has a place of its own
            at = at + fade[:, None] * missed
    return np.asarray(at)


def _smooth(way: Floats) -> Floats:
    """Return a path without the corners that it has where other cells become the nearest."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(way, _CORNERS, axis=0, mode="nearest"))


def _weights(squared: Floats) -> Floats:
    """Return weights that fall to 0 at the farthest of each row and sum to 1."""
    farthest = squared.max(axis=1, keepdims=True)
    share = np.divide(squared, farthest, out=np.zeros_like(squared), where=farthest > 0)
    weight = np.square(1.0 - share)
    total = weight.sum(axis=1, keepdims=True)
    weight[:, :1] += total == 0  # one cell, or all as far
    return np.asarray(weight / np.where(total > 0, total, 1.0))
