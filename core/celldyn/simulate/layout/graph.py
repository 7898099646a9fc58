"""Who is next to whom: a graph of nearest neighbours, made mutual."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from celldyn.devices import aside_job
from celldyn.jobs import Job
from celldyn.simulate.parallel import blocks_job

N_NEIGHBOURS = 6
"""What a cell has on average in a plane (Delaunay), and what squidpy takes by default."""
_BLOCK = 1 << 15


def neighbours_job(
    xy: NDArray[np.float64], n_neighbours: int = N_NEIGHBOURS, *, threads: int | None = None
) -> Job[sparse.csr_matrix]:
    """Join every cell with its nearest; progress counts blocks of cells.

    Parameters
    ----------
    xy
        (n_cells, 2) positions.
    n_neighbours
        How many each cell chooses; it also has those that chose it.
    threads
        How many; by default every core.

    Returns
    -------
    (n_cells, n_cells) symmetric, with sorted columns, ones, and nothing on the diagonal.
    """
    n_cells, k = len(xy), min(n_neighbours, len(xy) - 1)
    if k < 1:
        return sparse.csr_matrix(np.zeros((n_cells, n_cells), dtype=np.float32))
    tree = yield from aside_job(lambda: cKDTree(xy, compact_nodes=False), "neighbours")
    chosen = np.empty((n_cells, k), dtype=np.int32)

    def search(block: int) -> None:
        rows = np.arange(block * _BLOCK, min((block + 1) * _BLOCK, n_cells))
        near = np.asarray(tree.query(xy[rows], k=k + 1)[1])
        other = near != rows[:, None]
        # Of cells at one place, the search may leave out the cell itself.
        other[other.all(axis=1), -1] = False
        chosen[rows] = np.sort(near[other].reshape(-1, k), axis=1)

    yield from blocks_job(search, -(-n_cells // _BLOCK), "neighbours", threads=threads)
    return (yield from aside_job(lambda: _mutual(chosen), "neighbours"))


def _mutual(chosen: NDArray[np.int32]) -> sparse.csr_matrix:
    n_cells, k = chosen.shape
    starts = np.arange(n_cells + 1, dtype=np.int32) * np.int32(k)
    ones = np.ones(chosen.size, dtype=np.float32)
    one_way = sparse.csr_matrix((ones, chosen.ravel(), starts), shape=(n_cells, n_cells))
    graph = sparse.csr_matrix(one_way + one_way.T.tocsr())
    graph.data[:] = 1.0
    return graph
