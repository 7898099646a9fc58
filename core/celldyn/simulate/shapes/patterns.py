"""The regions of structures: blobs, rings, bands, vessels and crypts, about their centres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely import affinity

from celldyn.errors import DataError
from celldyn.simulate.shapes.outlines import Floats
from celldyn.simulate.specs.shapes import Pattern, PrototypeSpec, PrototypeSpecInstance
from celldyn.simulate.streams import normals

_CORNERS = 128
_LOBES = np.arange(2, 10)
"""Fourier harmonics of a ragged edge."""
_RAGGED = 0.35
"""sd of a blob's radius over its mean, at shape 1."""
_THINNEST = 0.05
"""Least thickness of a wall, and width of a band, over size."""
_BEND = 0.12
"""How far the middle of a band lies off the line between its ends, over its length."""
_CRYPT_WALL = 0.3
"""Thickness of a crypt's wall over the crypt's width."""
_RIM, _RIM_UM = 0.4, 3.0
"""Centres lie this share of a wall's thickness from its faces, or this far: nuclei need room."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where a structure lies.

    Parameters
    ----------
    outline
        Polygon of the structure without its lumen.
    lumen
        What stays empty; None where there is none.
    axis
        Line that its cells are radial or tangential about; None for the ellipse of the whole.
    rim
        How far from the faces of a wall the centres of its cells lie, µm.
    """

    outline: Any
    lumen: Any = None
    axis: Any = None
    rim: float = 0.0

    def moved(self, angle: float, x: float = 0.0, y: float = 0.0) -> Region:
        """Turn by degrees about the origin, then shift by µm."""

        def move(geometry: Any) -> Any:  # noqa: ANN401
            if geometry is None:
                return None
            return affinity.translate(affinity.rotate(geometry, angle, origin=(0, 0)), x, y)

        return Region(move(self.outline), move(self.lumen), move(self.axis), self.rim)

    @property
    def whole(self) -> Any:  # noqa: ANN401
        """Outline and lumen together: where nothing else lies."""
        return self.outline if self.lumen is None else shapely.union(self.outline, self.lumen)

    @property
    def wall_length(self) -> float:
        """Length of a wall, half-way between its faces, µm."""
        return 0.5 * float(self.outline.length)

    @property
    def room(self) -> Any:  # noqa: ANN401
        """Where the centres of cells may lie."""
        return self.outline.buffer(-self.rim) if self.rim else self.outline


def region(
    pattern: Pattern, size: float, elongation: float, shape: float, seed: int, stage: str
) -> Region:
    """Return the region of a structure about (0, 0), before it is turned.

    Parameters
    ----------
    pattern, size, elongation, shape
        As in `PrototypeSpec`, lengths in µm. Elongation keeps the area; a crypt opens towards
        negative y and is long in y, all others in x.
    seed, stage
        The random stream of a blob's ragged edge.
    """
    made = {"ring": _ring, "vessel": _vessel, "chain": _chain, "crypt": _crypt}
    if pattern == "cluster":
        base = _cluster(size, shape, seed, stage)
    elif pattern in made:
        base = made[pattern](size, max(shape, _THINNEST))
    else:
        raise DataError(f"pattern {pattern!r} is not known", f"use cluster, {', '.join(made)}")
    stretch = math.sqrt(elongation) ** (-1 if pattern == "crypt" else 1)

    def longer(geometry: Any) -> Any:  # noqa: ANN401
        if geometry is None or stretch == 1.0:
            return geometry
        return affinity.scale(geometry, stretch, 1.0 / stretch, origin=(0, 0))

    thinner = base.rim / math.sqrt(elongation)
    return Region(longer(base.outline), longer(base.lumen), longer(base.axis), thinner)


def spec_region(spec: PrototypeSpec, seed: int, stage: str) -> Region:
    """Return the region of a spec about (0, 0), before it is turned."""
    return region(spec.pattern, spec.size_um, spec.elongation, spec.shape, seed, stage)


def away_from_axis(placed: PrototypeSpecInstance, xy: Floats) -> Floats:
    """Return (n, 2) vectors from the middle of a structure's cells outwards.

    For blobs, rings and vessels these stand on the ellipses of the structure's elongation (on
    its circles about the centre at elongation 1); for bands and crypts they lead away from the
    nearest point of the midline, or of the lumen's.

    Parameters
    ----------
    placed
        The structure.
    xy
        (n, 2) µm on the canvas.
    """
    spec, turn = placed.spec, np.deg2rad(placed.spec.orientation + placed.orientation)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    local = (xy - [placed.x, placed.y]) @ rotation.T
    axis = spec_region(spec, 0, "axis").axis
    if axis is None:
        away = local / [spec.elongation, 1.0 / spec.elongation]
    else:
        points = shapely.points(local)
        nearest = shapely.line_interpolate_point(axis, shapely.line_locate_point(axis, points))
        away = local - shapely.get_coordinates(nearest)
    outwards: Floats = away @ rotation
    return outwards


def _cluster(size: float, shape: float, seed: int, stage: str) -> Region:
    angle = 2.0 * np.pi * np.arange(_CORNERS) / _CORNERS
    spread = _RAGGED * shape * np.sqrt(1.0 / _LOBES / np.sum(1.0 / _LOBES))
    draw = normals(seed, f"{stage}/edge", len(_LOBES), 2) * spread[:, None]
    phase = _LOBES[:, None] * angle
    radius = np.maximum(1.0 + draw[:, 0] @ np.cos(phase) + draw[:, 1] @ np.sin(phase), 0.2)
    # The area is that of a circle, bumps and all.
    radius *= size * np.sqrt(2.0 * np.pi / (radius @ np.roll(radius, 1)) / np.sin(angle[1]))
    return Region(shapely.Polygon(radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)))


def _disc(radius: float) -> Any:  # noqa: ANN401
    return shapely.Point(0, 0).buffer(radius, quad_segs=_CORNERS // 4)


def _ring(size: float, shape: float) -> Region:
    return Region(_disc(size) if shape >= 1.0 else _disc(size) - _disc(size * (1.0 - shape)))


def _vessel(size: float, shape: float) -> Region:
    wall = _ring(size, shape).outline
    if shape >= 1.0:
        return Region(wall)
    return Region(wall, _disc(size * (1.0 - shape)), rim=_rim(shape * size))


def _chain(size: float, shape: float) -> Region:
    x = np.linspace(-0.5, 0.5, _CORNERS // 2)
    midline = shapely.LineString(size * np.stack([x, _BEND * (4.0 * x**2 - 0.5)], axis=1))
    return Region(midline.buffer(0.5 * shape * size, cap_style="flat"), axis=midline)


def _crypt(size: float, shape: float) -> Region:
    half = 0.5 * shape * size
    wall = 2.0 * _CRYPT_WALL * half
    end = (0.0, 0.5 * size - half)
    axis = shapely.LineString([(0.0, -0.5 * size), end])

    def tube(radius: float) -> Any:  # noqa: ANN401
        round_end = shapely.Point(end).buffer(radius, quad_segs=_CORNERS // 4)
        return axis.buffer(radius, cap_style="flat").union(round_end)

    lumen = tube(half - wall)
    return Region(tube(half) - lumen, lumen, axis, _rim(wall))


def _rim(thickness: float) -> float:
    return min(_RIM * thickness, _RIM_UM)
