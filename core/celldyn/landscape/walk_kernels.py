"""Steps of random walks in compiled code; `stepping.step_walks` is the twin, to the last cell.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.landscape.graph import Floats, Ints
from celldyn.landscape.stepping import FIRST, GOLDEN, SECOND, Bits

_GOLDEN, _FIRST, _SECOND = np.uint64(GOLDEN), np.uint64(FIRST), np.uint64(SECOND)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def step_walks(
    indptr: Ints,
    indices: NDArray[np.int32],
    chance: Floats,
    keys: Bits,
    walks: NDArray[np.int32],
) -> None:
    """Fill walks from their first cell on; parameters are those of the twin."""
    for w in range(walks.shape[0]):
        cell = walks[w, 0]
        for step in range(1, walks.shape[1]):
            bits = keys[w] + np.uint64(step) * _GOLDEN
            bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
            bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
            bits = bits ^ (bits >> np.uint64(31))
            drawn = (np.float64(bits >> np.uint64(11)) + 0.5) * 2.0**-53
            low, high = indptr[cell], indptr[cell + 1] - 1
            while low < high:
                middle = (low + high) >> 1
                if chance[middle] <= drawn:
                    low = middle + 1
                else:
                    high = middle
            cell = indices[low]
            walks[w, step] = cell
