"""Which neighbouring cells are taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celldyn.jobs import Job, Progress
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

Floats = NDArray[np.float64]
Pairs = NDArray[np.intp]

_NEIGHBOURS = 6
_TOUCHING = 1.25
"""Centres are at most this many times the sum of the cells' radii apart."""
_BLOCK = 1 << 15


def pairs_job(
    places: Floats,
    radius: Floats,
    cell_ids: NDArray[Any],
    seed: int,
    *,
    threads: int | None = None,
) -> Job[Pairs]:
    """Pair neighbours at random until nobody is left who has a free neighbour.

    Edges between touching cells have random ranks; an edge is taken when no edge at either of
    its cells ranks before it, so the result does not depend on the order of the cells.

    Parameters
    ----------
    places
        (n, 2) µm, sections well apart.
    radius
        (n,) radii in µm.
    cell_ids
        (n,) identities, which fix the ranks.
    seed
        The simulation's seed.
    threads
        How many.

    Returns
    -------
    (m, 2) positions, the lower first, no cell twice.
    """
    edges = yield from _edges_job(places, radius, threads)
    key, ids = stream_key(seed, "segmentation/pairs"), cell_ids
    low, high = np.sort(ids[edges], axis=1).T if len(edges) else (ids[:0], ids[:0])
    rank = unit_interval(hash_bits(key, low, high))
    taken: list[Pairs] = []
    first = np.empty(len(places))
    while len(edges):
        yield Progress("merging neighbours")
        first.fill(np.inf)
        for end in edges.T:
            np.minimum.at(first, end, rank)
        leads = (rank == first[edges[:, 0]]) & (rank == first[edges[:, 1]])
        taken.append(edges[leads])
        busy = np.zeros(len(places), dtype=bool)
        busy[edges[leads].ravel()] = True
        free = ~busy[edges].any(axis=1)
        edges, rank = edges[free], rank[free]
    pairs = np.concatenate([np.zeros((0, 2), dtype=np.intp), *taken])
    return pairs[np.argsort(pairs[:, 0])]


def chosen(
    pairs: Pairs, share: float, n_eligible: int, cell_ids: NDArray[Any], seed: int
) -> Pairs:
    """Keep pairs by chance, so that on average `share` of the eligible cells is in one."""
    if not len(pairs):
        return pairs
    key = stream_key(seed, "segmentation/merge")
    chance = unit_interval(hash_bits(key, *np.sort(cell_ids[pairs], axis=1).T))
    return pairs[chance * 2 * len(pairs) < share * n_eligible]


def _edges_job(places: Floats, radius: Floats, threads: int | None) -> Job[Pairs]:
    """Return (m, 2) touching cells, the lower first, each once."""
    n_cells = len(places)
    if n_cells < 2:
        return np.zeros((0, 2), dtype=np.intp)
    tree = cKDTree(places)
    k = min(_NEIGHBOURS, n_cells - 1)

    def one(block: int) -> Pairs:
        own = np.arange(block * _BLOCK, min((block + 1) * _BLOCK, n_cells))
        apart, near = map(np.asarray, tree.query(places[own], k=[*range(1, k + 2)]))
        here = np.broadcast_to(own[:, None], near.shape)
        touching = apart <= _TOUCHING * (radius[here] + radius[near])
        keep = touching & (here != near)
        return np.sort(np.column_stack([here[keep], near[keep]]), axis=1)

    found = yield from blocks_job(one, -(-n_cells // _BLOCK), "neighbours", threads=threads)
    both = np.concatenate(found)
    once = np.unique(both[:, 0] * n_cells + both[:, 1])
    edges: Pairs = np.column_stack(np.divmod(once, n_cells)).astype(np.intp)
    return edges
