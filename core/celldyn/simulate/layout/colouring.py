"""Cells that can be drawn at once: those of one colour, none of which are neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.simulate.streams import hash_bits, stream_key

Codes = NDArray[np.intp]
Bits = NDArray[np.uint64]

_FIRST_COLOURS = 8
_ROUNDS = 64
_ONE = np.uint64(1)


def coloured(graph: sparse.csr_matrix, free: Codes, seed: int, stage: str) -> list[Codes]:
    """Divide the free cells so that no two of a part are neighbours.

    Colours begin as a hash; of neighbours that have the same, the one of lower rank takes the
    first that none of its neighbours has, until there are none (Jones and Plassmann 1993). The
    result does not depend on any order.

    Parameters
    ----------
    graph
        (n_cells, n_cells) symmetric, ones.
    free
        Rows to divide, ascending.
    seed, stage
        The random stream.

    Returns
    -------
    The rows of each colour, ascending; no part is empty.
    """
    bits = hash_bits(stream_key(seed, f"{stage}/colour"), np.arange(graph.shape[0]), 0)
    colour, rank = bits % np.uint64(_FIRST_COLOURS), bits
    active, near = np.arange(graph.shape[0]), graph
    for _ in range(_ROUNDS):
        row = np.repeat(active, np.diff(near.indptr))
        clash = (colour[row] == colour[near.indices]) & (rank[row] < rank[near.indices])
        active = np.unique(row[clash])
        if not active.size:
            break
        near = graph[active]
        colour[active] = _first_free(colour, near)
    mine = colour[free]
    return [free[mine == k] for k in np.unique(mine)]


def _first_free(colour: Bits, near: sparse.csr_matrix) -> Bits:
    """Return the lowest colour that no neighbour has; every row has a neighbour."""
    used = np.bitwise_or.reduceat(_ONE << colour[near.indices], near.indptr[:-1])
    lowest = ~used & (used + _ONE)
    # Exact for powers of two; with 64 colours taken, whichever comes does no harm.
    first: Bits = np.log2(np.maximum(lowest, _ONE).astype(np.float64)).astype(np.uint64)
    return first
