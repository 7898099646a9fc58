"""Arrows of the learned field on an embedding, or on the tissue.

Shapes: n cells, d dimensions of the cell state, c axes of the embedding (2 or 3).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Job, Pace, Progress, run
from celldyn.landscape.graph import (
    Csr,
    Floats,
    Ints,
    Matrix,
    as_csr,
    neighbour_graph,
    rows_of,
)
from celldyn.landscape.local_maps import STRENGTHS, local_maps_job
from celldyn.landscape.places import (
    among,
    as_places,
    as_rows,
    has_place,
    neighbours_job,
    unit_arrows,
)

Projection: TypeAlias = Literal["field", "transitions"]

LEAST_EXPLAINED = 0.05
"""Share of the embedding's local change that z must explain for there to be an arrow."""
_ASKED = 4096
"""Cells whose arrows are added up at once."""


def project_velocity(
    z: ArrayLike,
    velocity: ArrayLike,
    embedding: ArrayLike,
    connectivities: Matrix | None = None,
    *,
    method: Projection = "field",
    transitions: Matrix | None = None,
    min_explained: float = LEAST_EXPLAINED,
) -> Floats:
    """Return what the velocity of each cell's state is on an embedding.

    "field": the velocity times the derivative of the embedding by the state, which is estimated
    around each cell by a ridge regression over its neighbours. Its strength is what predicts best
    by generalised cross-validation, averaged over the neighbours; where the state predicts next to
    nothing of the place, as in a tissue whose cells lie in no order, the arrow is 0.
    "transitions": see `project_transitions`, for which z and velocity are not used.

    Parameters
    ----------
    z
        (n, d) states.
    velocity
        (n, d) −∇V there, or any other velocity.
    embedding
        (n, c) places; a cell without one has no arrow.
    connectivities
        (n, n) graph of which it matters only which entries are above 0; by default the 30 to 100
        cells nearest on the embedding, which is right for coordinates of a tissue.
    method
        "field" or "transitions".
    transitions
        (n, n) chances, rows sum to 1; needed by "transitions" alone.
    min_explained
        Share of the local change of the embedding that z must explain.

    Returns
    -------
    (n, c), in units of the embedding per unit of time ("field").

    Raises
    ------
    DataError
        If arrays do not fit each other or are not finite, or the graph is none.
    ConfigError
        If the method is not known or lacks its transitions, or a share is not in [0, 1).
    """
    job = project_velocity_job(
        z, velocity, embedding, connectivities, method=method, transitions=transitions,
        min_explained=min_explained,
    )  # fmt: skip
    return run(job, bar=False)


def project_velocity_job(
    z: ArrayLike,
    velocity: ArrayLike,
    embedding: ArrayLike,
    connectivities: Matrix | None = None,
    *,
    method: Projection = "field",
    transitions: Matrix | None = None,
    min_explained: float = LEAST_EXPLAINED,
) -> Job[Floats]:
    """Project velocities as a job; see `project_velocity`."""
    if method not in get_args(Projection):
        raise ConfigError(
            f"method {method!r} is not known", f"use {', '.join(get_args(Projection))}"
        )
    if method == "transitions":
        if transitions is None:
            raise ConfigError(
                "arrows of transitions were asked for without transitions",
                "give them, or use method='field'",
            )
        return (yield from project_transitions_job(transitions, embedding, connectivities))
    if not 0 <= min_explained < 1:
        raise ConfigError(f"min_explained is {min_explained}", "give a share, 0 to below 1")
    states, moving = as_rows(z, "states"), as_rows(velocity, "velocities")
    places = as_places(embedding, len(states))
    if moving.shape != states.shape:
        raise DataError(
            f"velocities {moving.shape} and states {states.shape} do not fit each other",
            "give a velocity for each state",
        )
    if connectivities is not None:
        return (yield from _field_job(states, moving, places, connectivities, min_explained))
    order = _side_by_side(places)  # what lies side by side is then read from one page
    arrows = np.empty_like(places)
    sorted_job = _field_job(states[order], moving[order], places[order], None, min_explained)
    arrows[order] = yield from sorted_job
    return arrows


def _field_job(
    z: Floats, velocity: Floats, places: Floats, connectivities: Matrix | None, least: float
) -> Job[Floats]:
    """Map velocities to the embedding; the ridge is that of least error around each cell."""
    near = yield from neighbours_job(places, connectivities)
    there = has_place(places)
    maps = yield from local_maps_job(z, velocity, np.where(there[:, None], places, 0.0), near)
    arrows = np.zeros(places.shape)
    for first in range(0, len(places), _ASKED):
        rows = slice(first, first + _ASKED)
        around = near[rows]
        total: Any = around @ maps.error  # of one neighbourhood it is noise
        error = np.asarray(total) / np.maximum(np.diff(around.indptr), 1)[:, None]
        told = there[rows] & (error.min(axis=1) <= 1.0 - least)
        strength = np.where(told, STRENGTHS[error.argmin(axis=1)], np.inf)
        arrows[rows] = maps.mapped(rows, strength)
        yield Progress("arrows", first, len(places))
    return arrows


def _side_by_side(places: Floats) -> Ints:
    """Return an order in which near cells follow each other, those without a place last."""
    from scipy.spatial import cKDTree

    there = has_place(places)
    cells = np.flatnonzero(there)
    if not cells.size:
        return np.arange(len(places))
    return np.concatenate([cells[cKDTree(places[cells]).indices], np.flatnonzero(~there)])


def project_transitions(
    transitions: Matrix, embedding: ArrayLike, connectivities: Matrix | None = None
) -> Floats:
    """Return v_i = Σ_j P_ij u_ij − mean_j u_ij over the neighbours j of i.

    u_ij = (e_j − e_i) / |e_j − e_i|, 0 where both are at one place. What is taken off is where a
    cell would go that takes every neighbour alike: cells at an edge of the embedding have all of
    them on one side.

    Parameters
    ----------
    transitions
        (n, n) chances P; rows sum to 1.
    embedding
        (n, c) places; a cell without one has no arrow, and is nobody's neighbour.
    connectivities
        (n, n) whose entries above 0 are the neighbours; by default those of P.

    Returns
    -------
    (n, c), without a unit: lengths are below 2.

    Raises
    ------
    DataError
        If shapes do not fit, or the matrices are none.

    Notes
    -----
    What sclsd 0.3.0 draws by way of CellRank's ConnectivityKernel, before scVelo's scaling.
    """
    return run(project_transitions_job(transitions, embedding, connectivities), bar=False)


def project_transitions_job(
    transitions: Matrix, embedding: ArrayLike, connectivities: Matrix | None = None
) -> Job[Floats]:
    """Project transitions as a job; see `project_transitions`."""
    places = as_places(embedding, None)
    P = as_csr(transitions, "the transition matrix", len(places))
    graph = P if connectivities is None else neighbour_graph(connectivities, len(places))
    there = has_place(places)
    arrows = np.zeros(places.shape)
    for matrix, sign, alike in ((P, 1.0, False), (graph, -1.0, True)):
        kept = among(matrix, there)
        per_cell = np.diff(kept.indptr)
        pace = Pace()
        for first in range(0, len(places), _ASKED):
            rows = slice(first, first + _ASKED)
            part = kept[rows]
            u = _directions(places, part, first)
            weight = 1.0 / np.repeat(np.maximum(per_cell[rows], 1), per_cell[rows])
            u *= (weight if alike else part.data)[:, None]
            row = rows_of(part)
            for axis in range(places.shape[1]):
                arrows[rows, axis] += sign * np.bincount(row, u[:, axis], part.shape[0])
            if pace.due():
                done = (first / len(places) + alike) / 2
                yield Progress("arrows of transitions", done, 1.0)
    return arrows


def _directions(places: Floats, part: Csr, first: int) -> Floats:
    """Return the direction from the cell of each entry's row to that of its column, (nnz, c)."""
    away = places[part.indices] - places[first + rows_of(part)]
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(np.divide(away, length, out=np.zeros_like(away), where=length > 0))


def arrow_confidence(
    arrows: ArrayLike, embedding: ArrayLike, connectivities: Matrix | None = None
) -> Floats:
    """Return how well arrows agree around each cell: 1 where all are parallel, 0 where none are.

    It is the mean cosine of the angle between the arrows of any two cells of the neighbourhood, a
    cell's own among them; below 0 it is taken as 0. Arrows that have nothing in common have a mean
    cosine of 0, however few they are; a cell without an arrow agrees with none.

    Parameters
    ----------
    arrows, embedding
        (n, c) arrows and places.
    connectivities
        (n, n) graph; by default the 30 to 100 cells nearest on the embedding.

    Returns
    -------
    (n,) in [0, 1].

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    places = as_places(embedding, None)
    directions = unit_arrows(arrows, places)
    near = run(neighbours_job(places, connectivities), bar=False)
    count = np.diff(near.indptr).astype(np.float64)
    total: Any = near @ directions
    squared = np.square(total).sum(axis=1)
    return mean_cosine(squared, count)


def mean_cosine(squared: Floats, count: Floats) -> Floats:
    """Return the mean cosine between any two of `count` unit arrows whose sum is squared: ≥ 0.

    |Σ u|² is the sum of the cosines of all pairs, `count` of which are of an arrow with itself.
    """
    pairs = count * (count - 1.0)
    cosine = np.divide(squared - count, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    return np.asarray(np.clip(cosine, 0.0, 1.0))
