"""Lumens of vessels and crypts stay empty: the cells around them end at their edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from celldyn.simulate.shapes.outlines import Floats, rays
from celldyn.simulate.shapes.structures import structures

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_LEAST_UM = 1e-3
"""A centre on the very edge of a lumen keeps this much."""


@dataclass(frozen=True, slots=True)
class Lumens:
    """The lumens of a section.

    Parameters
    ----------
    polygons
        One per lumen, prepared.
    tree
        Finds those near a cell.
    """

    polygons: list[Any]
    tree: shapely.STRtree

    @classmethod
    def of(cls, config: SimulationConfig, section: int) -> Lumens | None:
        """Return the lumens of a simulated section; None where it has none."""
        polygons = [each.lumen for each in structures(config, section) if each.lumen is not None]
        polygons = [polygon for polygon in polygons if not polygon.is_empty]
        if not polygons:
            return None
        shapely.prepare(polygons)
        return cls(polygons, shapely.STRtree(polygons))

    def clip(self, centre: Floats, radius: Floats) -> None:
        """Shorten, in place, the rays that reach into a lumen.

        Shortening single rays of a star-shaped outline keeps it within what it was, so cells
        still do not overlap.

        Parameters
        ----------
        centre
            (m, 2) in µm; cells that lie within a lumen are left as they are.
        radius
            (n_rays, m) in µm.
        """
        low, high = self._bounds()
        reach = radius.max(axis=0)
        near = np.flatnonzero(
            np.all((centre + reach[:, None] >= low) & (centre - reach[:, None] <= high), axis=1)
        )
        points = shapely.points(centre[near])
        found, lumen = self.tree.query(points, predicate="dwithin", distance=reach[near])
        for k in np.unique(lumen):
            self._clip_at(self.polygons[k], near[found[lumen == k]], centre, radius)

    def _bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        bounds = shapely.total_bounds(self.polygons)
        return bounds[:2], bounds[2:]

    @staticmethod
    def _clip_at(lumen: Any, rows: NDArray[np.intp], centre: Floats, radius: Floats) -> None:  # noqa: ANN401
        rows = rows[~shapely.contains_xy(lumen, centre[rows])]
        direction = np.stack(rays(len(radius)), axis=-1)[:, None, :]
        ends = centre[rows] + radius[:, rows, None] * direction
        starts = np.broadcast_to(centre[rows], ends.shape)
        segments = np.asarray(shapely.linestrings(np.stack([starts, ends], axis=2)))
        ray, column = np.nonzero(shapely.intersects(lumen, segments))
        met = shapely.intersection(segments[ray, column], lumen)
        far = shapely.distance(shapely.points(centre[rows[column]]), met)
        radius[ray, rows[column]] = np.maximum(far, _LEAST_UM)
