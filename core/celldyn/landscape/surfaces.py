"""The landscape as a surface: heights of the potential over a plane, and what lies on it.

Shapes: n points, m vertices, k triangles; nx and ny nodes of the grid that the mesh is cut from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import DataError
from celldyn.landscape.graph import Floats, Ints


@dataclass(frozen=True, slots=True)
class PotentialSurface:
    """A mesh of V over a plane, where there are cells.

    Parameters
    ----------
    vertices
        (m, 3) the plane's two axes, then the height: `scale` times V.
    faces
        (k, 3) vertices of each triangle, counter-clockwise as seen from above.
    values
        (m,) V at the vertices.
    axes
        (nx,) and (ny,) coordinates of the grid's nodes, evenly spaced.
    grid
        (nx, ny) V at the nodes; where there are no cells, that of the nearest node where there
        are.
    scale
        Height of one unit of V, in the plane's units.
    kind
        "decoded": V of the state that a place decodes to; "smoothed": V of the cells near it.
    """

    vertices: Floats
    faces: Ints
    values: Floats
    axes: tuple[Floats, Floats]
    grid: Floats
    scale: float = 1.0
    kind: str = "decoded"

    def potential_at(self, points: ArrayLike) -> Floats:
        """Return V on the surface, (n,), at points (n, 2); beyond its edge that at the edge."""
        at = np.asarray(points, np.float64)
        if at.ndim != 2 or at.shape[1] != 2:
            raise DataError(
                f"points of shape {at.shape} have no place on a surface", "give two axes each"
            )
        low, share = [], []
        for axis, x in zip(self.axes, at.T, strict=True):
            place = np.clip((x - axis[0]) / (axis[1] - axis[0]), 0.0, len(axis) - 1)
            place = np.nan_to_num(place)
            low.append(np.minimum(place.astype(np.int64), len(axis) - 2))
            share.append(place - low[-1])
        (i, j), (u, v) = low, share
        V = self.grid
        # As the two triangles of the box have it, not bilinear: points then lie in the mesh.
        first = V[i, j] + u * (V[i + 1, j] - V[i, j]) + v * (V[i + 1, j + 1] - V[i + 1, j])
        second = V[i, j] + v * (V[i, j + 1] - V[i, j]) + u * (V[i + 1, j + 1] - V[i, j + 1])
        return np.asarray(np.where(u >= v, first, second))

    def heights(self, points: ArrayLike) -> Floats:
        """Return the height of the surface, (n,), at points (n, 2) of the plane."""
        return self.scale * self.potential_at(points)

    def lift(self, points: ArrayLike, *, above: float = 0.0) -> Floats:
        """Return points of the plane, (n, 2), on the surface, (n, 3), or `above` it."""
        at = np.asarray(points, np.float64)
        return np.column_stack([at, self.heights(at) + above])
