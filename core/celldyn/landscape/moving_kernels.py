"""Cells' neighbours on their way, in compiled code; `placing.follow` is the twin.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.landscape.graph import Ints


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def follow(
    indptr: Ints,
    indices: NDArray[np.int32],
    z: NDArray[np.float32],
    places: NDArray[np.float32],
    states: NDArray[np.float32],
    at: NDArray[np.int32],
    found: NDArray[np.float32],
) -> None:
    """Move on to the nearest cells, and interpolate; parameters are those of the twin."""
    d, c = z.shape[1], places.shape[1]
    for i in range(states.shape[0]):
        cell = at[i]
        nearest = np.float32(0.0)
        for a in range(d):
            nearest += (states[i, a] - z[cell, a]) ** 2
        while True:
            best = cell
            farthest = nearest
            for e in range(indptr[cell], indptr[cell + 1]):
                away = np.float32(0.0)
                for a in range(d):
                    away += (states[i, a] - z[indices[e], a]) ** 2
                farthest = max(farthest, away)
                if away < nearest:
                    nearest, best = away, indices[e]
            if best == cell:
                break
            cell = best
        at[i] = cell
        total = np.float32(0.0)
        for e in range(indptr[cell] - 1, indptr[cell + 1]):
            j = cell if e < indptr[cell] else indices[e]
            away = np.float32(0.0)
            for a in range(d):
                away += (states[i, a] - z[j, a]) ** 2
            weight = np.float32(1.0)
            if farthest > 0:
                weight = (np.float32(1.0) - away / farthest) ** 2
            total += weight
            for a in range(c):
                found[i, a] += weight * places[j, a]
        if total > 0:
            for a in range(c):
                found[i, a] /= total
        else:
            for a in range(c):
                found[i, a] = places[cell, a]


def compile_kernel() -> None:
    """Compile the kernel, for `celldyn.devices.compile_job`."""
    one = np.zeros((1, 2), dtype=np.float32)
    begin = np.zeros(2, dtype=np.int64)
    none = np.zeros(0, dtype=np.int32)
    follow(begin, none, one, one, one, np.zeros(1, dtype=np.int32), np.zeros_like(one))
