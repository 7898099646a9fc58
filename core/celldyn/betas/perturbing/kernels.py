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


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "arcp"})  # type: ignore[untyped-decorator]
def pair_correlations(x: Floats, change: Floats, first: int, near: Ints, out: Floats) -> None:
    """Write the Pearson correlation of change_i with x_j − x_i over the genes into `out`.

    Parameters
    ----------
    x, change
        (n_cells, n_genes).
    first
        The cell of the first row of `near`.
    near
        (n_rows, n_neighbors) the cells j of each cell i.
    out
        (n_rows, n_neighbors); NaN where one of the two does not vary over the genes.
    """
    n_genes = x.shape[1]
    centred = np.empty(n_genes)
    for row in range(near.shape[0]):
        i = first + row
        mean = 0.0
        for g in range(n_genes):
            mean += change[i, g]
        mean /= n_genes
        of_change = 0.0
        for g in range(n_genes):
            centred[g] = change[i, g] - mean
            of_change += centred[g] * centred[g]
        for k in range(near.shape[1]):
            j = near[row, k]
            total, square, product = 0.0, 0.0, 0.0
            for g in range(n_genes):
                away = x[j, g] - x[i, g]
                total += away
                square += away * away
                product += away * centred[g]
            spread = square - total * total / n_genes
            if spread > 1e-12 * square and of_change > 0.0:
                out[row, k] = product / np.sqrt(spread * of_change)
            else:
                out[row, k] = np.nan


def pair_correlations_plain(
    x: Floats, change: Floats, first: int, near: Ints, out: Floats
) -> None:
    """Do what `pair_correlations` does."""
    rows = np.arange(first, first + len(near))
    centred = change[rows] - change[rows].mean(axis=1, keepdims=True)
    away = x[near] - x[rows][:, None]
    spread = np.square(away).sum(axis=2) - away.sum(axis=2) ** 2 / x.shape[1]
    varies = spread > 1e-12 * np.square(away).sum(axis=2)
    size = np.sqrt(np.where(varies, spread, np.nan) * np.square(centred).sum(axis=1)[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        out[:] = np.where(size > 0, np.einsum("rkg,rg->rk", away, centred) / size, np.nan)


def row_products_plain(betas: NDArray[Any], design: Floats, columns: Ints, out: Floats) -> None:
    """Do what `row_products` does."""
    np.einsum("ik,ik->i", betas, design[:, columns], out=out)
