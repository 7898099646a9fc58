"""Random points in a region, no two closer than a hard core, in exact numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celldyn.simulate.shapes.outlines import Floats
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

_TRIES = 64
"""Candidates per squared hard core of the box: at the end almost no gap is left."""
_SMALLEST, _LARGEST = 256, 1 << 16
"""Candidates of one batch; the result does not depend on it."""
_HAIR = 1e-9
"""Added to the hard core, so that it still holds after turning and shifting."""


def pack(
    n: int,
    box: tuple[float, float, float, float],
    inside: Callable[[Floats], NDArray[np.bool_]],
    min_distance: float,
    seed: int,
    stage: str,
    *,
    taken: Floats | None = None,
) -> Floats:
    """Place points one after the other at random wherever there is still room.

    This is simple sequential inhibition: of a sequence of uniform candidates, each is kept that
    is far enough from all kept before. Batches only make it fast.

    Parameters
    ----------
    n
        How many are wanted.
    box
        Least x and y, greatest x and y of the region.
    inside
        Takes (m, 2) points and says which lie in the region.
    min_distance
        No two are closer; nor is any closer to those taken.
    seed, stage
        The random stream.
    taken
        (t, 2) points that are there already.

    Returns
    -------
    (m, 2) with m = n, or less where the region has no more room. The first points are the same
    for every n.
    """
    low, high = np.array(box[:2]), np.array(box[2:])
    most = np.inf
    if min_distance > 0:
        most = _TRIES * (1.0 + float(np.prod((high - low) / min_distance)))
        min_distance += _HAIR
    kept = np.empty((0, 2))
    key, start, hits = stream_key(seed, stage), 0, 0
    while len(kept) < n and start < most and (hits or start < _TRIES * _LARGEST):
        size = int(np.clip(2 * (n - len(kept)), _SMALLEST, _LARGEST))
        draw = unit_interval(hash_bits(key, np.arange(start, start + size)[:, None], [0, 1]))
        start += size
        candidates = low + draw * (high - low)
        candidates = candidates[inside(candidates)]
        hits += len(candidates)
        if min_distance > 0:
            for others in (taken, kept):
                candidates = _away_from(others, candidates, min_distance)
            candidates = candidates[_one_by_one(candidates, min_distance)]
        kept = np.concatenate([kept, candidates[: n - len(kept)]])
    return kept


def _away_from(others: Floats | None, points: Floats, min_distance: float) -> Floats:
    if others is None or not len(others) or not len(points):
        return points
    nearest, _ = cKDTree(others).query(points, distance_upper_bound=min_distance)
    return points[np.isinf(nearest)]


def _one_by_one(points: Floats, min_distance: float) -> NDArray[np.bool_]:
    """Say which points are kept when each is dropped that is too close to one kept before it."""
    keep = np.ones(len(points), dtype=bool)
    if len(points) < 2:
        return keep
    pairs = cKDTree(points).query_pairs(min_distance, output_type="ndarray")
    while len(pairs):
        waits = np.zeros(len(points), dtype=bool)
        waits[pairs[:, 1]] = True
        # Who is the later of no open pair is kept, which settles all pairs that it is in.
        keep[pairs[~waits[pairs[:, 0]], 1]] = False
        pairs = pairs[keep[pairs].all(axis=1)]
    return keep
