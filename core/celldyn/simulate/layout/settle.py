"""The last cells change type where that costs least, so that all numbers are exactly as wanted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.simulate.layout.gibbs import Codes, Labels
from celldyn.simulate.layout.quotas import Quotas
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

Floats = NDArray[np.float64]


def settled(
    graph: sparse.csr_matrix,
    labels: Labels,
    free: Codes,
    quotas: Quotas,
    log_odds: Floats,
    coupling: Floats,
    seed: int,
    stage: str,
) -> Codes:
    """Flip as few cells as there must be, preferably those whose neighbours mind least.

    Cells are drawn by the odds of the flip, not by its rank: the very cheapest flips would all
    smooth borders, and shift the shares among neighbours.

    Parameters
    ----------
    graph
        (n_cells, n_cells) symmetric, ones.
    labels
        (n_cells,) types.
    free, quotas
        Rows that may change, their strata, and the wanted numbers.
    log_odds, coupling
        (n_strata, n_types) and (n_types, n_types) of the model that the types came from.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells,) types in exactly the wanted numbers.
    """
    types = labels.astype(np.intp)
    n_strata, n_types = quotas.numbers.shape
    group = quotas.stratum * n_types + types[free]
    found = np.bincount(group, minlength=n_strata * n_types).reshape(n_strata, n_types)
    excess = found - quotas.numbers
    if not excess.any():
        return types
    ends = np.cumsum(found.ravel())
    order = free[np.argsort(group, kind="stable")]
    before, key = types.copy(), stream_key(seed, f"{stage}/settle")
    for stratum, celltype in np.argwhere(excess > 0):
        end = ends[stratum * n_types + celltype]
        cells = order[end - found[stratum, celltype] : end]
        odds = log_odds[stratum] + _neighbours(graph, cells, before, n_types) @ coupling
        bits = hash_bits(key, cells[:, None], np.arange(n_types))
        # Gumbel noise: the least of the sums is drawn in proportion to exp(-cost).
        cost = odds[:, [celltype]] - odds + np.log(-np.log(unit_interval(bits)))
        for other in np.flatnonzero(excess[stratum] < 0):
            n = int(min(excess[stratum, celltype], -excess[stratum, other]))
            if n == 0:
                continue
            chosen = np.argsort(cost[:, other], kind="stable")[:n]
            types[cells[chosen]] = other
            cost[chosen] = np.inf
            excess[stratum, celltype] -= n
            excess[stratum, other] += n
    return types


def _neighbours(graph: sparse.csr_matrix, cells: Codes, types: Codes, n_types: int) -> Floats:
    """Return (m, n_types) numbers of neighbours of each type."""
    near = graph[cells]
    row = np.repeat(np.arange(cells.size), np.diff(near.indptr))
    counts = np.bincount(row * n_types + types[near.indices], minlength=cells.size * n_types)
    return counts.reshape(cells.size, n_types).astype(np.float64)
