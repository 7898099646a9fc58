"""Compiled loops of the perturbation; each has a twin in NumPy that tests hold it to.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def row_products(betas: NDArray[Any], design: Floats, columns: Ints, out: Floats) -> None:
    """Write Σ_k betas[i, k] · design[i, columns[k]] into `out`, for every cell i.

    Parameters
    ----------
    betas
        (n_cells, n_columns).
    design
        (n_cells, n_all_columns).
    """
    for i in range(betas.shape[0]):
        total = 0.0
        for k in range(columns.shape[0]):
            total += betas[i, k] * design[i, columns[k]]
        out[i] = total


def row_products_plain(betas: NDArray[Any], design: Floats, columns: Ints, out: Floats) -> None:
    """Do what `row_products` does."""
    np.einsum("ik,ik->i", betas, design[:, columns], out=out)
