"""The loops of the counts in compiled code, for many values; `blocks.py` holds their numpy twins.

Where a sum of probabilities comes within rounding of the tail, or would be long, a kernel leaves
the element to `inversion.quantile`: so twins agree to the last count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.inversion import FAR_TAIL, STEPS, SUMMED_MEAN, Floats
from celldyn.simulate.streams import Bits

Ints = NDArray[np.int32]
F = TypeVar("F", bound=Callable[..., Any])

HARD = -1
"""In place of a count: `quantile` shall say."""
_CLOSE = 1e-11
"""Far above the rounding of the sums (about 1e-14), far below what would ever cost time."""
_compiled: Callable[[F], F] = numba.njit(nogil=True, cache=True, error_model="numpy")
_inlined: Callable[[F], F] = numba.njit(
    nogil=True, cache=True, error_model="numpy", inline="always"
)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@_compiled
def draw_strata(
    cells: Bits,
    genes: Bits,
    limit: Bits,
    levels: NDArray[np.float32],
    bin_of: Ints,
    mu: Floats,
    theta: Floats,
    stratum_of: Ints,
    scale: Floats,
    per_row: Ints,
    column: Ints,
    count: Ints,
    tail: Floats,
) -> tuple[int, int]:
    """Draw the counts above zero of cells in strata, row by row.

    Parameters
    ----------
    cells, genes
        (n_rows,) and (n_genes,) spread identities.
    limit, levels, bin_of
        (n_bins, n_genes) and (n_bins, n_genes, 2, n_levels), see `SizeBins`; (n_rows,) bin of
        each cell.
    mu, theta, stratum_of, scale
        (n_strata, n_genes) twice; (n_rows,) twice.
    per_row
        (n_rows,) written: entries of each row.
    column, count, tail
        (n_rows * n_genes,) written: gene, count or `HARD`, and tail of each entry.

    Returns
    -------
    (n_entries, n_hard).
    """
    n_genes, found, n_hard = genes.size, 0, 0
    hashed, likely = np.empty(n_genes, dtype=np.uint64), np.empty(n_genes, dtype=np.int32)
    for i in range(cells.size):
        first, cell, most, stratum = found, cells[i], limit[bin_of[i]], stratum_of[i]
        for g in range(n_genes):
            hashed[g] = _mixed(cell + genes[g])
        n_likely = 0
        for g in range(n_genes):
            # Written always and kept by moving on: no branch to predict.
            likely[n_likely] = g
            n_likely += hashed[g] <= most[g]
        for g in likely[:n_likely]:
            chance = _unit(hashed[g])
            k = _certain(chance, levels[bin_of[i], g])
            if k == HARD:
                k = _count(chance, mu[stratum, g] * scale[i], theta[stratum, g])
            column[found], count[found], tail[found] = g, k, chance
            n_hard += k == HARD
            found += k != 0
        per_row[i] = found - first
    return found, n_hard


@_compiled
def draw_means(
    cells: Bits,
    genes: Bits,
    mean: Floats,
    theta: Floats,
    per_row: Ints,
    column: Ints,
    count: Ints,
    tail: Floats,
) -> tuple[int, int]:
    """Draw the counts above zero of cells with means of their own, row by row.

    Parameters
    ----------
    cells, genes
        (n_rows,) and (n_genes,) spread identities.
    mean, theta
        (n_rows, n_genes), and the same or (1, n_genes).
    per_row, column, count, tail
        As `draw_strata` writes them.

    Returns
    -------
    (n_entries, n_hard).
    """
    found, n_hard = 0, 0
    for i in range(cells.size):
        first, cell, noise = found, cells[i], theta[min(i, theta.shape[0] - 1)]
        for g in range(genes.size):
            chance = _unit(_mixed(cell + genes[g]))
            # The probability of a count is never above its mean.
            if chance <= mean[i, g] * 1.000001:
                k = _count(chance, mean[i, g], noise[g])
                column[found], count[found], tail[found] = g, k, chance
                n_hard += k == HARD
                found += k != 0
        per_row[i] = found - first
    return found, n_hard


@_inlined
def _mixed(bits: np.uint64) -> np.uint64:
    """Scramble one number; see `streams.mix_in_place`."""
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))


@_inlined
def _unit(bits: np.uint64) -> float:
    """Map bits to (0, 1); see `streams.unit_interval`."""
    return (np.float64(bits >> np.uint64(11)) + 0.5) * 2.0**-53


@_inlined
def _certain(tail: float, levels: NDArray[np.float32]) -> int:
    """Return the count that every cell of the bin would have, if it is one and small."""
    for k in range(levels.shape[1]):
        if tail > levels[0, k]:
            return k if k == 0 or tail < levels[1, k - 1] else HARD
    return HARD


@_compiled
def _count(tail: float, mean: float, theta: float) -> int:
    """Subtract one probability after another until less than the tail is left."""
    if mean > SUMMED_MEAN or tail < FAR_TAIL:
        return HARD
    rest = -np.expm1(-theta * np.log1p(mean / theta))
    if abs(rest - tail) < _CLOSE:
        return HARD
    if tail > rest:
        return 0
    ratio = mean / (theta + mean)
    term = 1.0 - rest
    for k in range(1, STEPS + 1):
        term = term * (ratio * ((theta + (k - 1)) / k))
        rest = rest - term
        if abs(rest - tail) < _CLOSE:
            return HARD
        if rest < tail:
            return k
    return HARD
