"""Outlines of cells and nuclei: fans of triangles whose texture draws the fill and a fine line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.data import Polygons, RadialPolygons
from celldyn.jobs import Job, Progress
from napari_celldyn.layers.view_mesh import Marks, Mesh
from napari_celldyn.layers.view_region import GridIndex, Region

MAX_OUTLINES = 20_000
"""More outlines than this in the window are a few pixels each: none is drawn."""

MAX_TRIANGLES = 120_000
"""What is rebuilt without being felt; many outlines have fewer corners each."""

LEAST_CORNERS = 6
STEPS = 1024
"""Width of the texture: shades between a rim and the depth of a cell."""

CHUNK = 20_000
"""Polygons that are looked at between two signs of life."""

BAND = 0.3
"""Width of the rim that is drawn where no fan can be, as a share of the polygon's mean radius."""

_FILLED, _LINE_ONLY = 0.25, 0.75


@dataclass(frozen=True, slots=True)
class Style:
    """How outlines look.

    Parameters
    ----------
    line, fill
        Opacity of the line and of what it encloses.
    line_pixels
        Width of the line at every zoom.
    """

    line: float = 0.95
    fill: float = 0.3
    line_pixels: float = 1.7


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Outlines with what drawing any part of them needs.

    Parameters
    ----------
    shapes
        The outlines.
    centre
        (n, 2) the middle of each: of its rays, else of its area.
    radius
        (n,) mean distance of its corners from there.
    index
        Finds those in view.
    is_star
        (n,) whether a fan about the middle fills it; None where all are.
    fill
        (k, 3, 2) triangles of those that are none, polygon by polygon.
    fill_start
        (n + 1,) where the triangles of each begin; None where all are stars.
    """

    shapes: Polygons | RadialPolygons
    centre: NDArray[np.floating]
    radius: NDArray[np.floating]
    index: GridIndex
    is_star: NDArray[np.bool_] | None = None
    fill: NDArray[np.float32] | None = None
    fill_start: NDArray[np.intp] | None = None


def prepare_job(shapes: Polygons | RadialPolygons) -> Job[Prepared]:
    """Find the middle of every outline and what is near what; progress counts outlines."""
    n = len(shapes)
    yield Progress("outlines", 0, n)
    if isinstance(shapes, RadialPolygons):
        radius = shapes.radii.mean(axis=1)
        yield Progress("outlines", n // 3, n)
        reach = shapes.radii.max(axis=1)
        yield Progress("outlines", n // 2, n)
        return Prepared(shapes, shapes.centre, radius, GridIndex(shapes.centre, reach))
    centre, radius, reach = np.empty((n, 2)), np.empty(n), np.empty(n)
    is_star, triangles, counts = np.ones(n, bool), [], np.zeros(n, np.intp)
    done = 0
    for part in shapes.chunks(CHUNK):
        rows = slice(done, done + len(part))
        centre[rows], radius[rows], reach[rows], is_star[rows] = _measured(part)
        done = rows.stop
        yield Progress("outlines", done, 2 * n)
    for at in np.array_split(np.flatnonzero(~is_star), max(1, int((~is_star).sum()) // 2000)):
        made, of = _triangulated(shapes.take(at))
        triangles.append(made)
        counts[at] += np.bincount(of, minlength=len(at))
        yield Progress("outlines", n, 2 * n, "concave ones")
    start = np.concatenate([[0], np.cumsum(counts)])
    fill = np.concatenate(triangles) if triangles else np.empty((0, 3, 2), np.float32)
    return Prepared(shapes, centre, radius, GridIndex(centre, reach), is_star, fill, start)


def _measured(part: Polygons) -> tuple[NDArray[np.floating], ...]:
    """Return the centroids, mean radii, reaches, and which are star-shaped from the centroid."""
    n_corners = part.n_corners
    whole = n_corners >= 3
    first = np.minimum(part.start[:-1], max(len(part.vertices) - 1, 0))
    if not len(part.vertices):
        nothing = np.zeros(len(part))
        return np.zeros((len(part), 2)), nothing, nothing, np.zeros(len(part), bool)
    origin = part.vertices[first].astype(float)
    ring = np.repeat(np.arange(len(part)), n_corners)
    corners = part.vertices - origin[ring]
    following = corners[_next(part.start, ring)]
    cross = corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]
    area = np.bincount(ring, cross, len(part))
    safe = np.where(np.abs(area) > 1e-12, area, 1.0)
    centre = np.column_stack([
        np.bincount(ring, (corners[:, k] + following[:, k]) * cross, len(part)) / (3 * safe)
        for k in (0, 1)
    ])  # fmt: skip
    a, b = corners - centre[ring], following - centre[ring]
    turn = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) * np.sign(area)[ring]
    away = np.hypot(a[:, 0], a[:, 1])
    reach = np.zeros(len(part))
    some = n_corners > 0
    reach[some] = np.maximum.reduceat(away, part.start[:-1][some])
    bent = np.bincount(ring, turn < -1e-9 * np.abs(area)[ring], len(part)) > 0
    mean = np.bincount(ring, away, len(part)) / np.maximum(n_corners, 1)
    return centre + origin, mean, reach, ~bent & whole & (np.abs(area) > 1e-12)


def _triangulated(part: Polygons) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return triangles that fill polygons, and of which; none where that cannot be done."""
    import shapely

    none = np.empty((0, 3, 2), np.float32), np.empty(0, np.intp)
    if not hasattr(shapely, "constrained_delaunay_triangles"):  # before shapely 2.1
        return none
    at = np.flatnonzero(part.n_corners >= 3)
    whole = part.take(at).to_shapely()
    valid = shapely.is_valid(whole)
    try:
        made = shapely.constrained_delaunay_triangles(whole[valid])
    except shapely.errors.ShapelyError:
        return none
    pieces, of = shapely.get_parts(made, return_index=True)
    corners = shapely.get_coordinates(pieces).reshape(-1, 4, 2)[:, :3]
    return corners.astype(np.float32), at[valid][of]


class OutlineMarks(Marks):
    """Outlines as marks.

    Parameters
    ----------
    held
        What `prepare_job` returned.
    style
        How they look.
    """

    def __init__(self, held: Prepared, style: Style | None = None) -> None:
        self.held, self.index = held, held.index
        self.style = style or Style()
        self._depth = float(np.quantile(held.radius, 0.99)) * 1.5 if len(held.radius) else 1.0
        self._depth = max(self._depth, 1e-9)

    def choose(self, region: Region) -> tuple[NDArray[np.integer], int]:
        """Return the outlines that reach into a region; none if they are too many."""
        if not self.affords(region):
            return np.empty(0, np.intp), self.index.count(region)
        rows = self.index.rows(region)
        return rows, len(rows)

    def affords(self, region: Region) -> bool:
        """Whether all outlines of a region can be drawn without being felt."""
        return self.index.holds_at_most(MAX_OUTLINES, region)

    def texture(self, pixels_per_unit: float) -> NDArray[np.uint8]:
        """Return opacity over depth below the rim: above with the line alone, below filled."""
        style = self.style
        pixels = (1 - (np.arange(STEPS) + 0.5) / STEPS) * self._depth * pixels_per_unit
        soft = 0.7  # pixels over which an edge fades, so that it is smooth
        rise = np.clip(pixels / soft, 0, 1)
        inside = np.clip((pixels - style.line_pixels) / soft, 0, 1)
        picture = np.full((2, STEPS, 4), 255, np.uint8)
        picture[0, :, 3] = 255 * style.line * rise * (1 - inside)
        picture[1, :, 3] = 255 * (style.line * rise * (1 - inside) + style.fill * inside)
        return picture

    def mesh(self, rows: NDArray[np.integer], pixels_per_unit: float) -> Mesh:
        """Return fans, and rims with their own filling where a fan would fold over itself."""
        held = self.held
        if isinstance(held.shapes, RadialPolygons):
            return self._fans(rows, *_strided_rays(held.shapes, rows))
        stars = rows if held.is_star is None else rows[held.is_star[rows]]
        some = held.shapes.take(stars)
        parts = [self._fans(stars, *_strided(some.vertices, some.start))]
        if len(stars) < len(rows):
            parts += self._rims(np.setdiff1d(rows, stars))
        return _joined(parts)

    def _fans(
        self, rows: NDArray[np.integer], corners: NDArray[np.floating], start: NDArray[np.intp]
    ) -> Mesh:
        n = len(corners)
        ring = np.repeat(np.arange(len(rows)), np.diff(start))
        faces = np.empty((n, 3), np.uint32)
        faces[:, 0], faces[:, 1], faces[:, 2] = n + ring, np.arange(n), _next(start, ring)
        xy = np.concatenate([corners, self.held.centre[rows]]).astype(np.float32)
        texcoords = np.full((len(xy), 2), _FILLED, np.float32)
        texcoords[:n, 0] = 1.0
        texcoords[n:, 0] = self._u(self.held.radius[rows])
        return Mesh(xy, faces, np.concatenate([rows[ring], rows]), texcoords)

    def _rims(self, rows: NDArray[np.integer]) -> list[Mesh]:
        held = self.held
        if isinstance(held.shapes, RadialPolygons) or held.fill is None or held.fill_start is None:
            return []
        some = held.shapes.take(rows)
        n, ring = len(some.vertices), np.repeat(np.arange(len(rows)), some.n_corners)
        width = BAND * held.radius[rows]
        inner = some.vertices + width[ring, None] * _inward(some, ring)
        a, b = np.arange(n), _next(some.start, ring)
        band = np.concatenate([np.column_stack([a, b, a + n]), np.column_stack([b, b + n, a + n])])
        places = np.full((2 * n, 2), _LINE_ONLY, np.float32)
        places[:n, 0], places[n:, 0] = 1.0, self._u(width)[ring]
        xy = np.concatenate([some.vertices, inner]).astype(np.float32)
        rim = Mesh(xy, band.astype(np.uint32), np.tile(rows[ring], 2), places)
        counts = held.fill_start[rows + 1] - held.fill_start[rows]
        end = np.cumsum(counts)
        at = np.arange(int(counts.sum())) + np.repeat(held.fill_start[rows] - end + counts, counts)
        corners = held.fill[at].reshape(-1, 2)
        deep = np.zeros((len(corners), 2), np.float32)
        deep[:, 1] = _FILLED
        faces = np.arange(len(corners), dtype=np.uint32).reshape(-1, 3)
        return [Mesh(corners, faces, np.repeat(rows, 3 * counts), deep), rim]

    def _u(self, depth: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.clip(1.0 - depth / self._depth, 0.0, 1.0)


def _next(start: NDArray[np.intp], ring: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the corner after each; after the last of a polygon comes its first."""
    following = np.arange(1, len(ring) + 1)
    last = start[1:][np.diff(start) > 0] - 1
    following[last] = start[:-1][np.diff(start) > 0]
    return following


def _inward(some: Polygons, ring: NDArray[np.intp]) -> NDArray[np.floating]:
    """Return the unit vector at every corner that halves its angle and points inside."""
    here = some.vertices.astype(float)
    following = _next(some.start, ring)
    edge = here[following] - here
    edge /= np.maximum(np.hypot(edge[:, 0], edge[:, 1]), 1e-12)[:, None]
    before = np.empty_like(edge)
    before[following] = edge
    cross = here[:, 0] * here[following, 1] - here[:, 1] * here[following, 0]
    turn = np.sign(np.bincount(ring, cross, len(some)))[ring]
    both = edge + before
    normal = np.column_stack([-both[:, 1], both[:, 0]]) * turn[:, None]
    return normal / np.maximum(np.hypot(normal[:, 0], normal[:, 1]), 1e-12)[:, None]


def _strided_rays(
    shapes: RadialPolygons, rows: NDArray[np.integer]
) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    """Return the corners of some outlines, every k-th where they are many."""
    n_rays = shapes.radii.shape[1]
    step = _stride(len(rows) * n_rays, n_rays)
    rays = np.arange(0, n_rays, step)
    angle = (2.0 * np.pi / n_rays * rays).astype(np.float32)
    radii = shapes.radii[rows][:, rays]
    around = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    corners = radii[:, :, None] * around + shapes.centre[rows][:, None, :]
    return corners.reshape(-1, 2), np.arange(len(rows) + 1) * len(rays)


def _strided(
    vertices: NDArray[np.floating], start: NDArray[np.intp]
) -> tuple[NDArray[np.floating], NDArray[np.intp]]:
    n_corners = np.diff(start)
    step = _stride(len(vertices), int(n_corners.min(initial=LEAST_CORNERS)))
    step = max(step, -(-len(vertices) // MAX_TRIANGLES))
    if step == 1:
        return vertices, start
    steps = np.maximum(np.minimum(step, n_corners // LEAST_CORNERS), 1)
    within = np.arange(len(vertices)) - np.repeat(start[:-1], n_corners)
    keep = within % np.repeat(steps, n_corners) == 0
    ring = np.repeat(np.arange(len(n_corners)), n_corners)[keep]
    kept = np.bincount(ring, minlength=len(n_corners))
    return vertices[keep], np.concatenate([[0], np.cumsum(kept)])


def _stride(n_corners: int, n_least: int) -> int:
    """Return of how many corners one is drawn: what is needed, leaving every outline its shape."""
    needed = -(-n_corners // MAX_TRIANGLES)
    return max(1, min(needed, n_least // LEAST_CORNERS))


def _joined(parts: list[Mesh]) -> Mesh:
    if len(parts) == 1:
        return parts[0]
    offset = np.cumsum([0, *(len(part.xy) for part in parts[:-1])])
    return Mesh(
        np.concatenate([part.xy for part in parts]),
        np.concatenate([p.faces + np.uint32(o) for p, o in zip(parts, offset, strict=True)]),
        np.concatenate([part.owner for part in parts]),
        np.concatenate([part.texcoords for part in parts]),
    )
