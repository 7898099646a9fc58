"""Cells: how far each reaches on its rays before it meets a neighbour."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celldyn.errors import DataError
from celldyn.simulate.shapes.outlines import Floats, rays

_NEIGHBOURS = 11
"""Neighbours that are looked at first; cells that need more are looked at again."""
_EXPANSION = 0.9
"""Farthest reach over the mean spacing of cells: a lone cell has 2.5 times the mean area."""
_LEAST_SHARE = 0.25
"""However large its neighbour, a cell keeps this share of the way to it."""
_LEAST_BORDER_UM = 1e-6
"""A centre on the very edge of the canvas counts as this far inside."""


def get_expansion_radius(density_per_um2: float) -> float:
    """Return how far a cell reaches where no neighbour is in its way.

    Parameters
    ----------
    density_per_um2
        Cells per µm².

    Returns
    -------
    µm: 0.9 times the mean spacing 1 / √density, so that in an even tissue all cells touch.

    Raises
    ------
    DataError
        If the density is not above 0.
    """
    if not density_per_um2 > 0:
        raise DataError(f"the density is {density_per_um2:g} cells per µm²", "it must be above 0")
    return _EXPANSION / math.sqrt(density_per_um2)


@dataclass(frozen=True, slots=True)
class Tessellation:
    """The Voronoi or power diagram of one section's cells, cut off at a farthest reach.

    Each pair of neighbours is parted by a straight line, and a cell's outline is inscribed in
    the convex region that its lines leave, so that no two cells overlap.

    Parameters
    ----------
    tree
        Of the (n, 2) centres in µm.
    n_rays
        Corners of an outline.
    cap_um
        Farthest reach.
    gap_um
        Least distance between two cells.
    weight
        (n,) squared radii of the nuclei in µm², which shift the line away from the larger one
        (power diagram); None parts all half-way (Voronoi diagram).
    canvas_um
        Width and height that no outline leaves; None for no border.
    """

    tree: cKDTree[None]
    n_rays: int
    cap_um: float
    gap_um: float = 0.0
    weight: Floats | None = None
    canvas_um: tuple[float, float] | None = None
    _heaviest: float = field(init=False)

    def __post_init__(self) -> None:
        heaviest = 0.0 if self.weight is None else float(self.weight.max())
        object.__setattr__(self, "_heaviest", heaviest)

    def radii(self, rows: NDArray[np.intp]) -> Floats:
        """Return (n_rays, m) radii in µm of the cells `rows`, each the same whoever is asked for.

        Raises
        ------
        DataError
            If two cells lie at the same place.
        """
        k, n = _NEIGHBOURS, self.tree.n
        inverse = np.empty((self.n_rays, len(rows)))
        todo = np.arange(len(rows))
        while todo.size:
            part, open_ = self._inverse(rows[todo], min(k, n))
            inverse[:, todo] = part
            todo = todo[open_] if k < n else todo[:0]
            k *= 2
        return np.divide(1.0, inverse, out=inverse)

    def _inverse(self, rows: NDArray[np.intp], k: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return 1 / radius by the k nearest, and where a farther neighbour could still matter."""
        xy = self.tree.data[rows]
        distance, neighbour = self.tree.query(
            xy, k=np.arange(1, k + 1), distance_upper_bound=float(self._reach(self.cap_um, None))
        )
        distance, neighbour = (
            np.ascontiguousarray(np.transpose(found)) for found in (distance, neighbour)
        )
        inverse = np.full((self.n_rays, len(rows)), 1.0 / self.cap_um)
        last = distance[-1].copy()
        self._meet_border(inverse, xy)
        self._meet_neighbours(inverse, rows, distance, neighbour)
        return inverse, last < self._reach(1.0 / inverse.min(axis=0), rows)

    def _reach(self, radius: Any, rows: NDArray[np.intp] | None) -> Any:  # noqa: ANN401
        """Return the distance beyond which no neighbour can clip a cell of this radius.

        A line to a neighbour at distance d lies at d / 2 + (w_i - w_j) / (2 d) - gap / 2 or
        further, which is beyond the radius r for all d > q + √(q² + w_max - w_i), q = r + gap / 2.
        """
        half = radius + 0.5 * self.gap_um
        if self.weight is None:
            return 2.0 * half
        own = self.weight.min() if rows is None else self.weight[rows]
        return half + np.sqrt(half**2 + (self._heaviest - own))

    def _meet_neighbours(
        self,
        inverse: Floats,
        rows: NDArray[np.intp],
        distance: Floats,
        neighbour: NDArray[np.intp],
    ) -> None:
        """Cut at the lines to (k, m) neighbours: the largest of the inverse radii holds.

        A cell's distance to itself is overwritten.
        """
        xy = self.tree.data
        absent = ~np.isfinite(distance)
        other = np.where(absent, rows, neighbour)
        myself = (other == rows) & ~absent
        if np.any((distance == 0.0) & ~myself):
            x, y = xy[rows[np.flatnonzero(((distance == 0.0) & ~myself).any(axis=0))[0]]]
            raise DataError(
                f"two cells lie at the same place ({x:g}, {y:g}) µm", "move one of them"
            )
        distance[myself] = np.inf
        line = self._line(rows, other, distance)
        line *= distance
        towards = [(xy[other, axis] - xy[rows, axis]) / line for axis in (0, 1)]
        cosine, sine = rays(self.n_rays)
        along, across = np.empty_like(inverse), np.empty_like(inverse)
        for ex, ey in zip(*towards, strict=True):
            np.multiply(cosine[:, None], ex, out=along)
            np.multiply(sine[:, None], ey, out=across)
            along += across
            np.maximum(inverse, along, out=inverse)

    def _line(self, rows: NDArray[np.intp], other: NDArray[np.intp], distance: Floats) -> Floats:
        """Return how far from a centre the line to each neighbour lies, (k, m) µm."""
        line = 0.5 * distance
        if self.weight is not None:
            line += (self.weight[rows] - self.weight[other]) / (2.0 * distance)
            np.clip(line, _LEAST_SHARE * distance, (1.0 - _LEAST_SHARE) * distance, out=line)
        if self.gap_um > 0:
            line -= np.minimum(0.5 * self.gap_um, 0.5 * line)
        return line

    def _meet_border(self, inverse: Floats, xy: Floats) -> None:
        if self.canvas_um is None:
            return
        for axis, wave in enumerate(rays(self.n_rays)):
            far = self.canvas_um[axis] - xy[:, axis]
            for way, side in ((-1.0, xy[:, axis]), (1.0, far)):
                near = np.flatnonzero(side < self.cap_um)
                limit = way * wave[:, None] / np.maximum(side[near], _LEAST_BORDER_UM)
                inverse[:, near] = np.maximum(inverse[:, near], limit)
