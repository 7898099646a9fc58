"""Outlines and molecules as plain arrays: what SpatialData, Parquet and AnnData agree on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError

Floats = NDArray[np.floating]
Region = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y."""

N_CIRCLE = 24
"""Corners that a circle is drawn with."""


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Simple polygons of any number of corners, one after the other in one array.

    Parameters
    ----------
    vertices
        (n_vertices, 2) x and y; a polygon closes by itself, its first corner is not repeated.
    start
        (n + 1,) where each polygon begins in `vertices`; the last is n_vertices.
    ids
        (n,) what each polygon is called where it comes from; parts of one share a name.

    Raises
    ------
    DataError
        If the three do not fit each other.
    """

    vertices: Floats
    start: NDArray[np.intp]
    ids: NDArray[Any]

    def __post_init__(self) -> None:
        vertices, start = self.vertices, self.start
        fits = vertices.ndim == 2 and vertices.shape[1] == 2 and len(start) == len(self.ids) + 1
        if not fits or start[0] != 0 or start[-1] != len(vertices) or (np.diff(start) < 0).any():
            raise DataError(
                f"polygons of {vertices.shape} corners, {len(start)} starts and {len(self.ids)} "
                "names do not belong together",
                "give (n_vertices, 2) corners, n + 1 ascending starts and n names",
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_corners(self) -> NDArray[np.intp]:
        """(n,) corners of each polygon."""
        return np.diff(self.start)

    @classmethod
    def from_radii(
        cls, centre: ArrayLike, radii: ArrayLike, ids: ArrayLike | None = None
    ) -> Polygons:
        """Make star-shaped polygons from radii on equal rays.

        Parameters
        ----------
        centre
            (n, 2) x and y.
        radii
            (n, n_rays) in the same unit, on rays at angles 2πk / n_rays from the x axis.
        ids
            (n,) names; 0, 1, 2, ... if not given.
        """
        return RadialPolygons.of(centre, radii, ids).polygons()

    @classmethod
    def from_circles(
        cls, centre: ArrayLike, radius: ArrayLike, ids: ArrayLike | None = None
    ) -> Polygons:
        """Make regular polygons of 24 corners about (n, 2) centres with (n,) radii."""
        spread = np.broadcast_to(np.asarray(radius, float)[:, None], (np.size(radius), N_CIRCLE))
        return cls.from_radii(centre, spread, ids)

    @classmethod
    def from_shapely(cls, geometries: ArrayLike, ids: ArrayLike | None = None) -> Polygons:
        """Make polygons from shapely ones, without their holes; other geometries are left out.

        Parameters
        ----------
        geometries
            (n,) polygons and multipolygons. Each part of a multipolygon becomes one polygon, all
            under its name.
        ids
            (n,) names; 0, 1, 2, ... if not given.
        """
        import shapely

        held = np.asarray(geometries, dtype=object).ravel()
        names = np.arange(len(held)) if ids is None else np.asarray(ids)
        parts, of = shapely.get_parts(held, return_index=True)
        keep = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(
            parts
        )
        rings = shapely.get_exterior_ring(parts[keep])
        vertices, ring = shapely.get_coordinates(rings, return_index=True)
        last = np.append(ring[1:] != ring[:-1], True) if len(ring) else np.zeros(0, bool)
        n_corners = np.bincount(ring[~last], minlength=len(rings))
        start = np.concatenate([[0], np.cumsum(n_corners)]).astype(np.intp)
        return cls(vertices[~last], start, names[of[keep]])

    @staticmethod
    def concatenate(parts: Sequence[Polygons]) -> Polygons:
        """Join polygons one after the other; none make none."""
        if not parts:
            return Polygons(np.empty((0, 2)), np.zeros(1, np.intp), np.empty(0, np.intp))
        ends = np.cumsum([len(part.vertices) for part in parts])
        starts = [
            part.start[1:] + end - len(part.vertices)
            for part, end in zip(parts, ends, strict=True)
        ]
        return Polygons(
            np.concatenate([part.vertices for part in parts]),
            np.concatenate([np.zeros(1, np.intp), *starts]),
            np.concatenate([part.ids for part in parts]),
        )

    def chunks(self, size: int) -> Iterator[Polygons]:
        """Yield the polygons `size` at a time, without copying their corners."""
        for first in range(0, len(self), size):
            start = self.start[first : first + size + 1]
            vertices = self.vertices[start[0] : start[-1]]
            yield Polygons(vertices, start - start[0], self.ids[first : first + size])

    def take(self, rows: ArrayLike) -> Polygons:
        """Return some of the polygons, in the order of `rows`."""
        pick = np.asarray(rows)
        n_corners = self.n_corners[pick]
        start = np.concatenate([[0], np.cumsum(n_corners)]).astype(np.intp)
        at = np.arange(start[-1]) + np.repeat(self.start[:-1][pick] - start[:-1], n_corners)
        return Polygons(self.vertices[at], start, self.ids[pick])

    def moved(self, scale: float = 1.0, shift: ArrayLike = 0.0) -> Polygons:
        """Return the polygons scaled about the origin, then shifted by (2,), or (n, 2) each."""
        by = np.asarray(shift, float)
        if by.ndim == 2:
            by = np.repeat(by, self.n_corners, axis=0)
        return Polygons(self.vertices * scale + by, self.start, self.ids)

    def transformed(self, affine: Floats) -> Polygons:
        """Return the polygons under a (3, 3) affine map of x, y, 1."""
        return Polygons(self.vertices @ affine[:2, :2].T + affine[:2, 2], self.start, self.ids)

    def to_shapely(self) -> NDArray[Any]:
        """Return (n,) shapely polygons."""
        import shapely

        ring = np.repeat(np.arange(len(self)), self.n_corners)
        return np.asarray(shapely.polygons(shapely.linearrings(self.vertices, indices=ring)))


@dataclass(frozen=True, slots=True, eq=False)
class RadialPolygons:
    """Star-shaped polygons as radii on equal rays: a third of the memory of their corners.

    Parameters
    ----------
    centre
        (n, 2) x and y.
    radii
        (n, n_rays) in the same unit, on rays at angles 2πk / n_rays from the x axis.
    ids
        (n,) names.

    Raises
    ------
    DataError
        If they do not fit each other.
    """

    centre: Floats
    radii: Floats
    ids: NDArray[Any]

    def __post_init__(self) -> None:
        shape = self.radii.shape
        if len(shape) != 2 or shape[1] < 3 or self.centre.shape != (shape[0], 2):
            raise DataError(
                f"radii of the shape {shape} about centres of the shape {self.centre.shape} make "
                "no outlines",
                "give (n, 2) centres and (n, n_rays) radii, with at least 3 rays",
            )

    @classmethod
    def of(
        cls, centre: ArrayLike, radii: ArrayLike, ids: ArrayLike | None = None
    ) -> RadialPolygons:
        """Make them from what numpy takes; the names are 0, 1, 2, ... if not given."""
        held = np.asarray(radii)
        names = np.arange(len(held)) if ids is None else np.asarray(ids)
        return cls(np.asarray(centre), held, names)

    def __len__(self) -> int:
        return len(self.radii)

    def polygons(self) -> Polygons:
        """Return the corners themselves, float64 if the centres or the radii are, else float32."""
        n, n_rays = self.radii.shape
        angle = 2.0 * np.pi * np.arange(n_rays) / n_rays
        kind = np.result_type(self.centre, self.radii)
        corners = np.empty((n, n_rays, 2), kind)
        for axis, rays in enumerate((np.cos(angle), np.sin(angle))):
            np.multiply(self.radii, rays.astype(kind), out=corners[:, :, axis])
            corners[:, :, axis] += self.centre[:, axis, None]
        start = np.arange(n + 1, dtype=np.intp) * n_rays
        return Polygons(corners.reshape(-1, 2), start, self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class MoleculeTable:
    """Molecules, perhaps thinned: every one, or those of lowest priority number.

    Parameters
    ----------
    xy
        (n, 2) float32 x and y.
    gene
        (n,) position in `gene_names`; -1 for none.
    gene_names
        The genes that occur.
    total
        How many molecules there are of which these n are.
    priority
        (n,) uint32, evenly spread over all numbers and fixed for each molecule: those below a
        threshold are an even sample, the same whatever else is asked for.
    is_leaked
        (n,) whether it lies outside the cell it comes from; None where nobody says.
    cell_id
        (n,) the cell it comes from; None where nobody says.
    section
        (n,) the section it lies in, a name or a number; None where nobody says.
    """

    xy: NDArray[np.float32]
    gene: NDArray[np.int32]
    gene_names: tuple[str, ...]
    total: int
    priority: NDArray[np.uint32]
    is_leaked: NDArray[np.bool_] | None = None
    cell_id: NDArray[Any] | None = None
    section: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def words(self) -> str:
        """How many of how many, in words."""
        few = f"{len(self):,}"
        return f"showing {few} of {self.total:,}" if len(self) < self.total else f"showing {few}"

    def moved(self, scale: float = 1.0, shift: ArrayLike = 0.0) -> MoleculeTable:
        """Return them scaled about the origin, then shifted by (2,), or (n, 2) each."""
        return replace(self, xy=(self.xy * scale + np.asarray(shift)).astype(np.float32))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per molecule: x, y, feature_name and what else is known."""
        table: dict[str, Any] = {
            "x": self.xy[:, 0],
            "y": self.xy[:, 1],
            "feature_name": pd.Categorical.from_codes(
                self.gene, categories=pd.Index(self.gene_names)
            ),
        }
        for name in ("is_leaked", "cell_id", "section"):
            if (held := getattr(self, name)) is not None:
                table[name] = held
        return pd.DataFrame(table)
