"""States placed among the cells that are nearest to them, found step by step along a graph.

Shapes: n cells, d dimensions of the cell state, c axes of the embedding, m states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.landscape.graph import Csr, Ints, Matrix, neighbour_graph, rows_of
from celldyn.landscape.places import Mask, among, as_places, as_rows, has_place

Floats32 = NDArray[np.float32]
Follow = Callable[..., None]

N_NEIGHBORS = 15
"""Nearest states that stand for a graph where none is given."""
_ASKED = 1024
_AT_ONCE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """Cells with their states and places, and the graph along which the nearest is sought.

    Parameters
    ----------
    z
        (n, d) float32.
    places
        (n, c) float32; 0 for a cell without a place, which is nobody's neighbour.
    there
        (n,) whether a cell has a place.
    begin, near
        (n + 1,) and (n_edges,) neighbours of each cell, itself not among them.
    reach
        (n,) mean distance of a cell to its neighbours, in units of z.
    """

    z: Floats32
    places: Floats32
    there: Mask
    begin: Ints
    near: NDArray[np.int32]
    reach: Floats32

    def follow(
        self, paths: Floats32, cells: Ints, step: Follow
    ) -> Iterator[tuple[int, slice, Floats32, NDArray[np.int32]]]:
        """Place cells on their paths.

        Parameters
        ----------
        paths
            (n_times, m, d) of the cells, which begin at their own states.
        cells
            (m,) which they are.
        step
            `follow` here, or its compiled twin.

        Yields
        ------
        Time and cells by number, (any, c) places of those, (any,) nearest cells of those.
        """
        for first in range(0, len(cells), _AT_ONCE):
            part = slice(first, min(first + _AT_ONCE, len(cells)))
            at = cells[part].astype(np.int32)
            own = self.places[at]
            reach = np.maximum(self.reach[at], np.finfo(np.float32).tiny)
            missed = np.zeros_like(own)
            for now in range(len(paths)):
                states = np.ascontiguousarray(paths[now, part], dtype=np.float32)
                found = np.zeros_like(own)
                step(self.begin, self.near, self.z, self.places, states, at, found)
                if now == 0:
                    missed = own - found
                    yield now, part, own, at.copy()
                    continue
                away = np.linalg.norm(states - paths[0, part], axis=1)
                found += np.exp(-away / reach)[:, None] * missed
                yield now, part, found, at.copy()


def placing_job(z: Any, embedding: ArrayLike, connectivities: Matrix | None) -> Job[Placing]:  # noqa: ANN401
    """Prepare to place states.

    Raises
    ------
    DataError
        If arrays do not fit each other, or no cell has a place.
    """
    states = as_rows(z, "states").astype(np.float32)
    places = as_places(embedding, len(states))
    there = has_place(places)
    if not there.any():
        raise DataError("no cell has a place on the embedding", "compute the embedding first")
    if connectivities is None:
        graph = yield from _nearest_job(states, there)
    else:

        def work() -> Csr:
            return among(neighbour_graph(connectivities, len(states)), there)

        graph = yield from aside_job(work, "neighbours")
    yield Progress("neighbours", 1.0, 1.0)
    row, near = rows_of(graph), graph.indices.astype(np.int32)
    away = np.sqrt(np.square(states[row] - states[near]).sum(axis=1))
    reach = np.bincount(row, away, len(states)) / np.maximum(np.diff(graph.indptr), 1)
    held = np.where(there[:, None], places, 0.0).astype(np.float32)
    begin = graph.indptr.astype(np.int64)
    return Placing(states, held, there, begin, near, reach.astype(np.float32))


def _nearest_job(states: Floats32, there: Mask) -> Job[Csr]:
    """Return the graph of nearest states among the cells with a place."""
    from scipy.spatial import cKDTree

    cells = np.flatnonzero(there)
    k = min(N_NEIGHBORS, len(cells) - 1)
    tree = cKDTree(states[cells])
    near = np.empty((len(cells), k), dtype=np.int64)
    for first in range(0, len(cells), _ASKED):
        yield Progress("neighbours", first, len(cells))
        rows = slice(first, first + _ASKED)
        found: Any = tree.query(states[cells[rows]], k=np.arange(2, k + 2))
        near[rows] = cells[found[1]]
    row = np.repeat(cells, k)
    ones = np.ones(row.size)
    return sparse.csr_array((ones, (row, near.ravel())), shape=(len(there), len(there)))


def follow(
    begin: Ints,
    near: NDArray[np.int32],
    z: Floats32,
    places: Floats32,
    states: Floats32,
    at: NDArray[np.int32],
    found: Floats32,
) -> None:
    """Go on from cells to the nearest ones, neighbour by neighbour, and place states there.

    A state is placed at the mean of the cell and its neighbours, with weights (1 − r²)², r the
    distance over that of the farthest of them.

    Parameters
    ----------
    begin, near
        (n + 1,) int64 and (n_edges,) int32 neighbours.
    z, places
        (n, d) and (n, c) float32.
    states
        (m, d) float32.
    at
        (m,) int32 cells to begin at; it is written what they are now.
    found
        (m, c) float32 zeros, in which places are written.
    """
    moving = np.arange(len(states))
    while moving.size:
        of, who, away = _around(begin, near, z, states[moving], at[moving])
        best = np.lexsort((np.arange(of.size), away, of))
        first = np.searchsorted(of, np.arange(moving.size))
        nearest = who[best[first]]
        on = nearest != at[moving]
        at[moving[on]] = nearest[on]
        moving = moving[on]
    of, who, away = _around(begin, near, z, states, at)
    first = np.searchsorted(of, np.arange(len(states)))
    farthest = np.maximum.reduceat(away, first)[of]
    weight = np.square(1.0 - np.divide(away, farthest, out=np.zeros_like(away),
                                       where=farthest > 0))  # fmt: skip
    total = np.add.reduceat(weight, first)
    weight[first[total == 0]] = 1.0
    total[total == 0] = 1.0
    for axis in range(places.shape[1]):
        found[:, axis] = np.add.reduceat(weight * places[who, axis], first) / total


def _around(
    begin: Ints, near: NDArray[np.int32], z: Floats32, states: Floats32, at: NDArray[np.int32]
) -> tuple[Ints, NDArray[np.int32], Floats32]:
    """Return each state's cell and its neighbours: whose, which, and how far squared."""
    size = np.diff(begin)[at] + 1
    of = np.repeat(np.arange(len(at)), size)
    place = np.arange(of.size) - np.repeat(np.cumsum(size) - size, size)
    who = at[of].copy()
    others = place > 0
    who[others] = near[(begin[at][of] + place - 1)[others]]
    return of, who, np.square(states[of] - z[who]).sum(axis=1)
