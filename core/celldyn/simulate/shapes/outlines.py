"""Outlines of nuclei and cells: radii on common rays from one centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError

Floats = NDArray[np.float64]
Radii = NDArray[np.float32]
Rows = ArrayLike | slice | None
Kind = Literal["nucleus", "cell"]

NESTING = 0.92
"""A nucleus takes at most this share of its cell's radius, on every ray."""

_BLOCK = 4096
"""Outlines that fit into a core's cache."""


def rays(n_rays: int) -> tuple[Floats, Floats]:
    """Return the cosines and sines of `n_rays` directions, the first along the x axis."""
    angle = 2.0 * np.pi * np.arange(n_rays) / n_rays
    return np.cos(angle), np.sin(angle)


def polygon_areas(radii: ArrayLike) -> Floats:
    """Return the exact areas of polygons whose corners lie at these radii on equal rays.

    Parameters
    ----------
    radii
        (n, n_rays) in µm.

    Returns
    -------
    (n,) in µm²: half the sine between two rays times the sum of neighbouring radii's products.
    """
    radius = np.asarray(radii)
    products = np.zeros(len(radius))
    for start in range(0, len(radius), _BLOCK):
        block = radius[start : start + _BLOCK].T.astype(np.float64)
        before = block[-1]
        for here in block:
            products[start : start + _BLOCK] += before * here
            before = here
    areas: Floats = 0.5 * np.sin(2.0 * np.pi / radius.shape[1]) * products
    return areas


@dataclass(frozen=True, slots=True)
class CellShapes:
    """Nuclei and cells of a tissue as star-shaped polygons about common centres.

    Parameters
    ----------
    centre
        (n, 2) in µm, on the canvas of the cell's section.
    nucleus
        (n, n_rays) radii in µm, on rays at angles 2 π k / n_rays from the x axis.
    cell
        (n, n_rays) radii on the same rays; a nucleus reaches at most 0.92 of its cell.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """

    centre: Floats
    nucleus: Radii
    cell: Radii

    def __post_init__(self) -> None:
        shape = self.nucleus.shape
        if shape != self.cell.shape or self.centre.shape != (*shape[:1], 2) or shape[1:] < (3,):
            raise DataError(
                f"outlines of shapes {self.centre.shape}, {shape} and {self.cell.shape} do not "
                "belong together",
                "give (n, 2) centres and twice (n, n_rays) radii, with at least 3 rays",
            )

    @property
    def n_cells(self) -> int:
        """Cells."""
        return len(self.centre)

    @property
    def n_rays(self) -> int:
        """Corners of each outline."""
        return int(self.cell.shape[1])

    def areas(self, kind: Kind) -> Floats:
        """Return the (n,) exact polygon areas in µm²."""
        return polygon_areas(self._radii(kind))

    def vertices(self, kind: Kind, rows: Rows = None) -> Floats:
        """Return the corners, (m, n_rays, 2) in µm, of all outlines or those of `rows`."""
        pick = _picked(rows)
        corners: Floats = np.stack(rays(self.n_rays), axis=-1) * self._radii(kind)[pick][
            :, :, None
        ].astype(np.float64)
        corners += self.centre[pick][:, None, :]
        return corners

    def polygons(self, kind: Kind, rows: Rows = None) -> NDArray[Any]:
        """Return the outlines as (m,) shapely polygons, of all cells or of `rows`."""
        import shapely

        return np.asarray(shapely.polygons(shapely.linearrings(self.vertices(kind, rows))))

    def radius_at(self, kind: Kind, rows: Rows, angle: ArrayLike) -> Floats:
        """Return how far an outline reaches in a direction.

        Parameters
        ----------
        kind
            "nucleus" or "cell".
        rows
            (m,) rows of the cells, repeated as needed; None is every cell.
        angle
            (m,) directions from the x axis, rad.

        Returns
        -------
        (m,) µm from the centre to the polygon's edge: exact, on the chord between two rays.
        """
        radius = self._radii(kind)[_picked(rows)]
        step = 2.0 * np.pi / self.n_rays
        turn = np.mod(np.asarray(angle, dtype=np.float64) / step, self.n_rays)
        first = np.minimum(turn.astype(np.intp), self.n_rays - 1)
        row = np.arange(len(radius))
        near = radius[row, first].astype(np.float64)
        far = radius[row, (first + 1) % self.n_rays].astype(np.float64)
        past = (turn - first) * step
        reach: Floats = (
            near * far * np.sin(step) / (near * np.sin(past) + far * np.sin(step - past))
        )
        return reach

    def contains(self, kind: Kind, rows: Rows, xy: ArrayLike) -> NDArray[np.bool_]:
        """Say which points, (m, 2) in µm, lie within the outlines of `rows`, one cell each."""
        step = np.asarray(xy, dtype=np.float64) - self.centre[_picked(rows)]
        reach = self.radius_at(kind, rows, np.arctan2(step[:, 1], step[:, 0]))
        return np.asarray(np.hypot(step[:, 0], step[:, 1]) <= reach)

    def take(self, rows: ArrayLike | slice) -> CellShapes:
        """Return the outlines of some cells."""
        pick = _picked(rows)
        return CellShapes(self.centre[pick], self.nucleus[pick], self.cell[pick])

    @staticmethod
    def concatenate(parts: Sequence[CellShapes]) -> CellShapes:
        """Join outlines of the same number of rays, one after the other.

        Raises
        ------
        DataError
            If there is none, or their numbers of rays differ.
        """
        if len({part.n_rays for part in parts}) != 1:
            raise DataError(
                f"outlines with {sorted({part.n_rays for part in parts})} rays cannot be joined",
                "join outlines of one number of rays",
            )
        return CellShapes(
            np.concatenate([part.centre for part in parts]),
            np.concatenate([part.nucleus for part in parts]),
            np.concatenate([part.cell for part in parts]),
        )

    def _radii(self, kind: Kind) -> Radii:
        if kind not in ("nucleus", "cell"):
            raise DataError(f"there is no outline {kind!r}", "ask for 'nucleus' or 'cell'")
        return self.nucleus if kind == "nucleus" else self.cell


def _picked(rows: Rows) -> Any:  # noqa: ANN401
    if rows is None:
        return slice(None)
    return rows if isinstance(rows, slice) else np.asarray(rows)
