"""The mesh of a relief as it is drawn: its outline smooth, and as thick as a slab of stone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from napari_celldyn.layers.landscape_relief import Relief

ROUNDS = 12
"""How often a point of the outline moves to the middle of its neighbours: a grid has steps."""

THICKNESS = 0.02
"""Of the slab, in sides of the embedding."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Vertices on the canvas, (m, 3) x, y and z; faces, (k, 3); V at the vertices, (m,)."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.intp]
    values: NDArray[np.float32]


def ground(relief: Relief) -> Ground:
    """Return the mesh of a relief: its upper side, then the walls along its outline."""
    surface = relief.surface
    plane = np.array(np.asarray(surface.vertices, float)[:, :2])
    faces = np.asarray(surface.faces, np.intp).reshape(-1, 3)
    rim = outline(faces)
    plane = smoothed(plane, rim)
    top = relief.points(plane)
    values = np.asarray(surface.potential_at(plane), np.float32) if len(plane) else np.empty(0)
    # Corners of their own, so that the light on the upper side does not run over the edge.
    upper, lower = top[rim.ravel()], top[rim.ravel()]
    lower = lower - (0.0, 0.0, THICKNESS * relief.place.side)
    first = len(top) + 2 * np.arange(len(rim))
    below = first + 2 * len(rim)
    walls = np.concatenate(
        [
            np.stack([first + 1, first, below], axis=1),
            np.stack([first + 1, below, below + 1], axis=1),
        ]
    )
    at_rim = values[rim.ravel()]
    return Ground(
        np.concatenate([top, upper, lower]),
        np.concatenate([faces, walls]),
        np.concatenate([values, at_rim, at_rim]).astype(np.float32),
    )


def outline(faces: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the edges that are of one face only, (e, 2), each in the order of its face."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, where, count = np.unique(
        np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return np.asarray(edges[count[where.ravel()] == 1])


def smoothed(plane: NDArray[np.float64], rim: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the vertices with those of the outline moved together, (m, 2)."""
    if not len(rim):
        return plane
    at, ends = np.unique(rim, return_inverse=True)
    ends = ends.reshape(rim.shape)
    both = np.concatenate([ends, ends[:, ::-1]])
    near = sparse.csr_array((np.ones(len(both)), both.T), shape=(len(at), len(at)))
    share = sparse.diags_array(1.0 / np.maximum(near.sum(axis=1), 1.0)) @ near
    moved = plane[at]
    for _ in range(ROUNDS):
        moved = 0.5 * (moved + share @ moved)
    found = plane.copy()
    found[at] = moved
    return found
