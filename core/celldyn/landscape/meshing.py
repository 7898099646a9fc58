"""Triangles over the part of a grid where there is something, with a smooth edge.

Shapes: nx and ny nodes, m vertices, k triangles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.landscape.graph import Floats, Ints

_CORNERS = (((0, 0), (1, 0), (1, 1)), ((0, 0), (1, 1), (0, 1)))
"""The two triangles of a box, counter-clockwise, cut along the diagonal from its first corner."""


def clipped_mesh(
    axes: tuple[Floats, Floats], grid: Floats, level: Floats
) -> tuple[Floats, Floats, Ints]:
    """Return the mesh of the grid where the level is 0 or more, cut along level 0.

    Parameters
    ----------
    axes
        (nx,), (ny,) coordinates of the nodes.
    grid
        (nx, ny) values.
    level
        (nx, ny) below 0 where there is nothing.

    Returns
    -------
    (m, 2) places of the vertices, (m,) their values, (k, 3) triangles; each vertex once.
    """
    nodes = np.arange(level.size).reshape(level.shape)
    nx, ny = level.shape
    triangles = np.concatenate([
        np.stack([nodes[i : nx - 1 + i, j : ny - 1 + j].ravel() for i, j in corners], axis=1)
        for corners in _CORNERS
    ])  # fmt: skip
    pairs = _cut(triangles, level.ravel() >= 0)
    vertex, faces = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
    a, b = vertex.T
    f = level.ravel()
    between = np.divide(f[a], f[a] - f[b], out=np.zeros(len(a)), where=a != b)
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    at = places[a] + between[:, None] * (places[b] - places[a])
    values = grid.ravel()
    return at, values[a] + between * (values[b] - values[a]), faces.reshape(-1, 3)


def _cut(triangles: Ints, inside: NDArray[np.bool_]) -> Ints:
    """Return triangles, (k, 3, 2), whose vertices are nodes or cuts between two nodes.

    A node stands as a pair of itself twice; a cut as the node inside, then the one outside.
    """
    n_inside = inside[triangles].sum(axis=1)
    whole = triangles[n_inside == 3]
    parts = [np.stack([whole, whole], axis=-1)]
    for n, lone_inside in ((1, True), (2, False)):
        some = triangles[n_inside == n]
        lone = (inside[some] == lone_inside).argmax(axis=1)
        turn = (lone[:, None] + np.arange(3)) % 3  # the lone one first, the sense kept
        a, b, c = np.take_along_axis(some, turn, axis=1).T
        if lone_inside:
            parts.append(_triangle((a, a), (a, b), (a, c)))
        else:
            parts.append(_triangle((b, a), (b, b), (c, c)))
            parts.append(_triangle((b, a), (c, c), (c, a)))
    return np.concatenate(parts)


def _triangle(*corners: tuple[Ints, Ints]) -> Ints:
    return np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
