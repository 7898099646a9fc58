"""Mixed-up borders: cells at the borders of patches change places with their neighbours."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from celldyn.simulate.layout.gibbs import Codes
from celldyn.simulate.streams import hash_bits, stream_key


def mixed_borders(
    graph: sparse.csr_matrix, types: Codes, free: Codes, share: float, seed: int, stage: str
) -> Codes:
    """Exchange the types of neighbours across the borders of patches.

    Parameters
    ----------
    graph
        (n_cells, n_cells) symmetric, ones.
    types
        (n_cells,) types.
    free
        Rows that may change.
    share
        Of the free cells that have a free neighbour of another type, the share that takes part;
        fewer where they do not come out in pairs.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells,) types, as many of each as before.
    """
    movable = np.zeros(types.size, dtype=bool)
    movable[free] = True
    row = np.repeat(np.arange(types.size), np.diff(graph.indptr))
    across = np.flatnonzero(
        (row < graph.indices)
        & (types[row] != types[graph.indices])
        & movable[row]
        & movable[graph.indices]
    )
    one, other = row[across], graph.indices[across].astype(np.intp)
    n_border = np.union1d(one, other).size
    one, other = _pairs(one, other, types.size, seed, stage)
    wanted = min(round(share * n_border / 2), one.size)
    # In the order of a hash, so that which pairs take part does not follow the rows.
    luck = hash_bits(stream_key(seed, f"{stage}/mixed"), one, 1)
    chosen = np.argsort(luck, kind="stable")[:wanted]
    one, other = one[chosen], other[chosen]
    swapped = types.copy()
    swapped[one], swapped[other] = types[other], types[one]
    return swapped


def _pairs(one: Codes, other: Codes, n_cells: int, seed: int, stage: str) -> tuple[Codes, Codes]:
    """Return edges that share no cell, as many as fit: always the luckiest around (Luby 1986)."""
    key = stream_key(seed, f"{stage}/pairs")
    luck = hash_bits(key, one, other).astype(np.int64) >> 1
    kept_one, kept_other = [], []
    while one.size:
        best = np.full(n_cells, np.iinfo(np.int64).max)
        np.minimum.at(best, one, luck)
        np.minimum.at(best, other, luck)
        wins = (best[one] == luck) & (best[other] == luck)
        kept_one.append(one[wins])
        kept_other.append(other[wins])
        taken = np.zeros(n_cells, dtype=bool)
        taken[one[wins]] = taken[other[wins]] = True
        rest = ~(taken[one] | taken[other])
        one, other, luck = one[rest], other[rest], luck[rest]
    empty = np.empty(0, dtype=np.intp)
    return np.concatenate([empty, *kept_one]), np.concatenate([empty, *kept_other])
