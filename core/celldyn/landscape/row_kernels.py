"""Sparse rows made dense in compiled code; `rows.spread_rows` is the twin, to the last bit.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def spread_rows(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    cells: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Write rows into `out`; parameters are those of the twin."""
    for k in range(cells.shape[0]):
        row = out[k]
        row[:] = 0.0
        for e in range(indptr[cells[k]], indptr[cells[k] + 1]):
            row[indices[e]] = data[e]


def compile_row_kernels() -> None:
    """Compile the kernel; one that is compiled already returns at once."""
    spread_rows(
        np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.float32),
        np.zeros(1, np.int64), np.empty((1, 1), np.float32),
    )  # fmt: skip
