"""Structures of cells about (0, 0): blobs, rings, bands, vessels and crypts."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError
from celldyn.simulate.shapes.outlines import Floats
from celldyn.simulate.shapes.packing import pack
from celldyn.simulate.shapes.patterns import Region, region
from celldyn.simulate.specs.shapes import Pattern

_EVEN = 0.65
"""Distance of cells along a wall over their mean distance; chance alone can reach 0.75."""


def place_cluster(
    n: int,
    size: float,
    elongation: float = 1.0,
    orientation: float = 0.0,
    shape: float = 0.3,
    *,
    min_distance: float = 8.0,
    seed: int = 0,
    stage: str = "cluster",
) -> Floats:
    """Place cells in an elliptical blob with a ragged edge, about (0, 0).

    Parameters
    ----------
    n
        How many.
    size
        Radius of a circle of the blob's area, µm.
    elongation
        Long axis over short axis, at the same area.
    orientation
        Angle of the long axis from the x axis, degrees.
    shape
        Raggedness, 0 to 1.
    min_distance
        No two cells are closer, µm.
    seed, stage
        The random stream.

    Returns
    -------
    (n, 2) positions in µm.

    Raises
    ------
    DataError
        If there is no room for them.
    """
    return _placed("cluster", n, size, elongation, orientation, shape, min_distance, seed, stage)


def place_ring(
    n: int,
    size: float,
    elongation: float = 1.0,
    orientation: float = 0.0,
    shape: float = 0.3,
    *,
    min_distance: float = 8.0,
    seed: int = 0,
    stage: str = "ring",
) -> Floats:
    """Place cells in a ring, about (0, 0).

    `size` is its outer radius and `shape` its thickness over that radius; other parameters,
    result and errors are those of `place_cluster`.
    """
    return _placed("ring", n, size, elongation, orientation, shape, min_distance, seed, stage)


def place_chain(
    n: int,
    size: float,
    elongation: float = 1.0,
    orientation: float = 0.0,
    shape: float = 0.3,
    *,
    min_distance: float = 8.0,
    seed: int = 0,
    stage: str = "chain",
) -> Floats:
    """Place cells in a gently bent band, about (0, 0).

    `size` is its length and `shape` its width over its length; other parameters, result and
    errors are those of `place_cluster`.
    """
    return _placed("chain", n, size, elongation, orientation, shape, min_distance, seed, stage)


def place_vessel(
    n: int,
    size: float,
    elongation: float = 1.0,
    orientation: float = 0.0,
    shape: float = 0.3,
    *,
    min_distance: float = 8.0,
    seed: int = 0,
    stage: str = "vessel",
) -> Floats:
    """Place cells in the wall around an empty lumen, about (0, 0).

    `size` is the outer radius and `shape` the wall's thickness over it; other parameters, result
    and errors are those of `place_cluster`.
    """
    return _placed("vessel", n, size, elongation, orientation, shape, min_distance, seed, stage)


def place_crypt(
    n: int,
    size: float,
    elongation: float = 1.0,
    orientation: float = 0.0,
    shape: float = 0.3,
    *,
    min_distance: float = 8.0,
    seed: int = 0,
    stage: str = "crypt",
) -> Floats:
    """Place cells in a U-shaped epithelium about (0, 0): two walls and a bottom.

    `size` is its depth and `shape` its width over its depth. It opens to the top (negative y)
    before it is turned; other parameters, result and errors are those of `place_cluster`.
    """
    return _placed("crypt", n, size, elongation, orientation, shape, min_distance, seed, stage)


def _placed(
    pattern: Pattern,
    n: int,
    size: float,
    elongation: float,
    orientation: float,
    shape: float,
    min_distance: float,
    seed: int,
    stage: str,
) -> Floats:
    where = region(pattern, size, elongation, shape, seed, stage)
    xy = pack_region(n, where, min_distance, seed, stage)
    if len(xy) < n:
        raise DataError(
            f"a {pattern} of {size:g} µm has room for {len(xy)} cells at {min_distance:g} µm "
            f"distance, not for {n}",
            "make it larger, or ask for fewer",
        )
    return turned(xy, orientation)


def pack_region(n: int, where: Region, min_distance: float, seed: int, stage: str) -> Floats:
    """Place up to n cells in a structure that nothing cuts off; see `pack_evenly`."""
    room = where.room
    shapely.prepare(room)
    return pack_evenly(
        n, where, lambda xy: shapely.contains_xy(room, xy), min_distance, seed, f"{stage}/points"
    )


def pack_evenly(
    n: int,
    where: Region,
    inside: Callable[[Floats], NDArray[np.bool_]],
    min_distance: float,
    seed: int,
    stage: str,
    taken: Floats | None = None,
) -> Floats:
    """Place up to n cells in a structure, spread along its wall if it has one.

    Cells of a wall of one layer are kept at 0.65 of their mean distance, so that they close it;
    where that is too much for them, and in structures without a lumen, the hard core holds alone.
    Parameters and result are those of `packing.pack`, with `where` for the box.
    """
    apart = min_distance
    if where.lumen is not None and n:
        apart = max(min_distance, _EVEN * where.wall_length / n)
    xy = pack(n, where.outline.bounds, inside, apart, seed, stage, taken=taken)
    if len(xy) < n and apart > min_distance:
        return pack(n, where.outline.bounds, inside, min_distance, seed, stage, taken=taken)
    return xy


def turned(xy: ArrayLike, degrees: float) -> Floats:
    """Turn (n, 2) points about the origin."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points: Floats = np.asarray(xy, dtype=np.float64) @ np.array([[cosine, sine], [-sine, cosine]])
    return points
