"""One sweep of Gibbs sampling over the types of neighbouring cells; numpy, for up to ~1e5 cells.

`gibbs_kernels.py` does the same in compiled code, to the last bit: weights are products of numbers
from one table, taken in one order.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.simulate.streams import hash_bits, unit_interval

Codes = NDArray[np.intp]
Labels = NDArray[np.int16]
Floats = NDArray[np.float64]

MOST_NEIGHBOURS = 32
"""Of one type; more count as that many, so that weights stay far from overflow."""


class Sampler(Protocol):
    """Draws the types of the free cells, colour by colour, and counts neighbouring pairs."""

    def draw(self, colour: int, labels: Labels, weights: Floats, table: Floats, key: int) -> None:
        """Draw the cells of one colour anew, in place.

        Parameters
        ----------
        colour
            Which cells: those of one colour are drawn at once, given all others.
        labels
            (n_cells,) types.
        weights
            (n_strata, n_types) of at least 0.
        table
            (n_types, MOST_NEIGHBOURS + 1, n_types) from `weight_table`.
        key
            Of the sweep's random stream.
        """

    def pairs(self, labels: Labels) -> NDArray[np.int64]:
        """Return (n_types, n_types) how often each type has each as a neighbour."""


def weight_table(coupling: Floats) -> Floats:
    """Return exp(coupling[a, b] * m) at [b, m, a], for m neighbours of type b."""
    times = np.arange(MOST_NEIGHBOURS + 1)[None, :, None]
    table: Floats = np.exp(coupling.T[:, None, :] * times)
    return table


class NumpySampler:
    """Gibbs sampling with sparse products.

    Parameters
    ----------
    graph
        (n_cells, n_cells) symmetric, ones.
    rows
        The free cells of each colour.
    stratum
        (n_cells,) codes; those of the others do not matter.
    n_types
        How many.
    """

    def __init__(
        self, graph: sparse.csr_matrix, rows: list[Codes], stratum: Codes, n_types: int
    ) -> None:
        self.rows, self.n_types = rows, n_types
        self._graph = graph
        self._near = [graph[own] for own in rows]
        self._stratum = [stratum[own] for own in rows]

    def draw(self, colour: int, labels: Labels, weights: Floats, table: Floats, key: int) -> None:
        """Draw the cells of one colour anew; see `Sampler.draw`."""
        rows = self.rows[colour]
        near = self._neighbours(self._near[colour], labels)
        weight = weights[self._stratum[colour]]
        for b in range(self.n_types):
            weight *= table[b][np.minimum(near[:, b], MOST_NEIGHBOURS)]
        steps = np.cumsum(weight, axis=1)
        chance = unit_interval(hash_bits(np.uint64(key), rows, 0))
        below = steps[:, :-1] <= (chance * steps[:, -1])[:, None]
        labels[rows] = below.sum(axis=1)

    def pairs(self, labels: Labels) -> NDArray[np.int64]:
        """Count neighbouring pairs; see `Sampler.pairs`."""
        near = self._neighbours(self._graph, labels)
        counts = np.zeros((self.n_types, self.n_types), dtype=np.int64)
        for b in range(self.n_types):
            own = np.bincount(labels, near[:, b], minlength=self.n_types)
            counts[:, b] = own.astype(np.int64)
        return counts

    def _neighbours(self, graph: sparse.csr_matrix, labels: Labels) -> NDArray[np.intp]:
        """Return (m, n_types) numbers of neighbours of each type."""
        is_type = (labels[:, None] == np.arange(self.n_types)).astype(np.float32)
        near: NDArray[np.intp] = (graph @ is_type).astype(np.intp)
        return near
