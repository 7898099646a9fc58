"""The sweep of `gibbs.py` in compiled code, for many cells."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.simulate.layout.gibbs import MOST_NEIGHBOURS, Codes, Floats, Labels
from celldyn.simulate.streams import spread

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ZERO = np.uint64(spread(0))
"""The gene of a draw that concerns no gene."""


@numba.njit(nogil=True, cache=True, inline="always")
def _mixed(bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def draw(rows, starts, near, labels, stratum, weights, table, key, fresh):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Draw the types of some cells given those of all others.

    Parameters
    ----------
    rows
        (m,) cells.
    starts, near
        (m + 1,) and (n_edges,): their neighbours, `near[starts[r] : starts[r + 1]]`.
    labels
        (n_cells,) types.
    stratum
        (m,) codes.
    weights, table, key
        See `Sampler.draw`.
    fresh
        (m,) written: the new types.
    """
    n_types = weights.shape[1]
    count, weight = np.zeros(n_types, dtype=np.int64), np.empty(n_types)
    for r in range(rows.size):
        for a in range(n_types):
            count[a] = 0
            weight[a] = weights[stratum[r], a]
        for e in range(starts[r], starts[r + 1]):
            count[labels[near[e]]] += 1
        for b in range(n_types):
            if count[b] > 0:
                factor = table[b, min(count[b], MOST_NEIGHBOURS)]
                for a in range(n_types):
                    weight[a] *= factor[a]
        for a in range(1, n_types):
            weight[a] += weight[a - 1]
        bits = _mixed(_mixed(np.uint64(rows[r]) * _GOLDEN + key) + _ZERO)
        chance = (np.float64(bits >> np.uint64(11)) + 0.5) * 2.0**-53
        level = chance * weight[n_types - 1]
        new = 0
        for a in range(n_types - 1):
            new += weight[a] <= level
        fresh[r] = new


@numba.njit(nogil=True, cache=True, error_model="numpy")
def pairs(starts, near, labels, counts):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Add up, in (n_types, n_types) `counts`, how often each type has each as a neighbour."""
    for i in range(starts.size - 1):
        for e in range(starts[i], starts[i + 1]):
            counts[labels[i], labels[near[e]]] += 1


class CompiledSampler:
    """Gibbs sampling in compiled code; see `gibbs.NumpySampler` for the parameters."""

    def __init__(
        self, graph: sparse.csr_matrix, rows: list[Codes], stratum: Codes, n_types: int
    ) -> None:
        self.rows, self.n_types, self._graph = rows, n_types, graph
        # Side by side in memory: else each colour would read all of the graph.
        self._near = [graph[own] for own in rows]
        self._stratum = [stratum[own] for own in rows]

    def draw(self, colour: int, labels: Labels, weights: Floats, table: Floats, key: int) -> None:
        """Draw the cells of one colour anew; see `gibbs.Sampler.draw`."""
        rows, near = self.rows[colour], self._near[colour]
        fresh = np.empty(rows.size, dtype=np.int16)
        stratum = self._stratum[colour]
        around = rows, near.indptr, near.indices, labels, stratum
        draw(*around, weights, table, np.uint64(key), fresh)
        labels[rows] = fresh

    def pairs(self, labels: Labels) -> NDArray[np.int64]:
        """Count neighbouring pairs; see `gibbs.Sampler.pairs`."""
        counts = np.zeros((self.n_types, self.n_types), dtype=np.int64)
        pairs(self._graph.indptr, self._graph.indices, labels, counts)
        return counts


def compile_kernels() -> None:
    """Compile, or load what was compiled before."""
    graph = sparse.csr_matrix(np.array([[0, 1], [1, 0]], dtype=np.float32))
    graph.indptr, graph.indices = graph.indptr.astype(np.int32), graph.indices.astype(np.int32)
    sampler = CompiledSampler(graph, [np.arange(2)], np.zeros(2, dtype=np.intp), 2)
    labels = np.zeros(2, dtype=np.int16)
    table = np.ones((2, MOST_NEIGHBOURS + 1, 2))
    sampler.draw(0, labels, np.ones((1, 2)), table, 0)
    sampler.pairs(labels)
