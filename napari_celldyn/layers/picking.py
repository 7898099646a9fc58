"""Which cell is here, which cells are in there: answers that never make the window wait."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


class CellIndex:
    """Finds cells by place.

    The tree that makes this fast is built in a thread on the first question; until it stands,
    the coordinates are searched directly, with the same answer.

    Parameters
    ----------
    xy
        (n_obs, 2) finite coordinates, x first.
    """

    def __init__(self, xy: NDArray[np.floating]) -> None:
        self._xy = np.ascontiguousarray(xy, np.float64).reshape(-1, 2)
        self._tree: cKDTree | None = None
        self._builder: Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether the tree stands."""
        return self._tree is not None

    def prepare(self, *, wait: bool = False) -> None:
        """Start to build the tree, unless that was done; `wait` until it stands."""
        if self._builder is None:
            self._builder = Thread(target=self._build, name="celldyn cell index", daemon=True)
            self._builder.start()
        if wait:
            self._builder.join()

    def pick(self, x: float, y: float, radius: float) -> int | None:
        """Return the position of the cell nearest to a point, or None if none is that near.

        Parameters
        ----------
        x, y
            The point.
        radius
            How far the cell's centre may be, in the unit of the coordinates.
        """
        if len(self._xy) == 0:
            return None
        self.prepare()
        if (tree := self._tree) is not None:
            _, cell = tree.query((x, y), distance_upper_bound=radius)
            return int(cell) if cell < len(self._xy) else None
        squared = self._squared_distances(x, y)
        cell = int(np.argmin(squared))
        return cell if squared[cell] < radius**2 else None

    def within_radius(self, x: float, y: float, radius: float) -> NDArray[np.intp]:
        """Return the positions of the cells at most `radius` from a point, ascending."""
        self.prepare()
        if (tree := self._tree) is not None:
            return np.sort(np.asarray(tree.query_ball_point((x, y), radius), np.intp))
        return np.flatnonzero(self._squared_distances(x, y) <= radius**2)

    def within_polygon(self, vertices: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of the cells inside a polygon, ascending.

        Parameters
        ----------
        vertices
            (n_vertices, 2), x first; closed by itself. Where it crosses itself, every loop
            counts as inside. Fewer than three vertices hold nothing.
        """
        import shapely

        corners = np.asarray(vertices, np.float64).reshape(-1, 2)
        if len(corners) < 3:
            return np.empty(0, np.intp)
        area = shapely.make_valid(shapely.Polygon(corners))
        shapely.prepare(area)
        left, bottom, right, top = area.bounds
        x, y = self._xy[:, 0], self._xy[:, 1]
        near = np.flatnonzero((x >= left) & (x <= right) & (y >= bottom) & (y <= top))
        return near[shapely.contains_xy(area, x[near], y[near])]

    def _build(self) -> None:
        from scipy.spatial import cKDTree

        self._tree = cKDTree(self._xy, balanced_tree=False)

    def _squared_distances(self, x: float, y: float) -> NDArray[np.float64]:
        return (self._xy[:, 0] - x) ** 2 + (self._xy[:, 1] - y) ** 2


def spacing(xy: NDArray[np.floating], *, sample: int = 20_000) -> float:
    """Return the usual distance from a cell to its nearest neighbour.

    Measured in a strip of the tissue about its middle, so that a million cells cost no more than
    a few thousand.

    Parameters
    ----------
    xy
        (n_obs, 2) coordinates.
    sample
        About how many cells the strip holds.

    Returns
    -------
    The median over the strip, in the unit of the coordinates; 1.0 where it cannot be told.
    """
    from scipy.spatial import cKDTree

    if len(xy) < 2:
        return 1.0
    strip = xy
    if len(xy) > sample:
        x = xy[:, 0]
        half = 0.5 * sample / len(xy)
        low, high = np.quantile(x, (0.5 - half, 0.5 + half))
        strip = xy[(x >= low) & (x <= high)]
    distances = cKDTree(strip).query(strip, k=2)[0][:, 1]
    apart = distances[(distances > 0) & np.isfinite(distances)]
    return float(np.median(apart)) if apart.size else 1.0
