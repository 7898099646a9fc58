"""Cells of one stratum and like size: what their noise decides without a logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.inversion import Floats, detection_probability
from celldyn.simulate.strata import Strata
from celldyn.simulate.streams import Bits

_MAX_BINS = 64
"""Bins of a stratum: the narrower, the less is left open."""
_TABLE_VALUES = 1 << 17
"""Thresholds that stay in the processor's cache while every cell reads its row of them."""
_LEVELS = 4
"""Counts up to this one, less 1, can be certain."""
_MARGIN = 2e-7
"""Above the rounding of the levels to 32 bits."""


@dataclass(frozen=True)
class SizeBins:
    """Bins of cells, and what can be said of a whole bin from its smallest and largest cell.

    A larger mean never gives a smaller count for the same noise, so that what holds for both
    ends of a bin holds for all of it.

    Parameters
    ----------
    of
        (n_cells,) the bin of each cell.
    smallest, largest
        (n_bins,) size factors of the ends; 0 where a bin is empty.
    mu, theta
        (n_bins, n_genes) mean at size 1 and inverse dispersion.
    """

    of: NDArray[np.int32]
    smallest: Floats
    largest: Floats
    mu: Floats
    theta: Floats

    @classmethod
    def of_strata(cls, strata: Strata) -> Self:
        """Bin the cells of every stratum by size."""
        n_strata, n_genes = strata.mu.shape
        n_bins = int(np.clip(_TABLE_VALUES // max(n_strata * n_genes, 1), 1, _MAX_BINS))
        of = (strata.of * n_bins + _bins(strata.scale, n_bins)).astype(np.int32)
        smallest, largest = np.full(n_strata * n_bins, np.inf), np.zeros(n_strata * n_bins)
        np.minimum.at(smallest, of, strata.scale)
        np.maximum.at(largest, of, strata.scale)
        smallest[np.isinf(smallest)] = 0.0
        mu, theta = (np.repeat(a, n_bins, axis=0) for a in (strata.mu, strata.theta))
        return cls(of, smallest, largest, mu, theta)

    @cached_property
    def probability(self) -> Floats:
        """(n_bins, n_genes) probability of a count above zero in the largest cell."""
        return detection_probability(self.mu * self.largest[:, None], self.theta)

    @cached_property
    def limit(self) -> Bits:
        """(n_bins, n_genes) bits that are exceeded by no noise that gives a count above zero."""
        limit = self.probability * (1 + 1e-9) * 2.0**64 + 4096.0
        bits = np.minimum(limit, 2.0**64 - 4096.0).astype(np.uint64)
        bits[limit >= 2.0**64 - 4096.0] = np.iinfo(np.uint64).max
        return bits

    @cached_property
    def levels(self) -> NDArray[np.float32]:
        """(n_bins, n_genes, 2, 4) P(K > 0) to P(K > 3), rounded to the safe side.

        A tail above [0, k] gives at most k in the largest cell; one below [1, k] gives more than
        k in the smallest.
        """
        levels = np.empty((*self.mu.shape, 2, _LEVELS), dtype=np.float32)
        for end, (size, margin) in enumerate(((self.largest, _MARGIN), (self.smallest, -_MARGIN))):
            mean = self.mu * size[:, None]
            rest = detection_probability(mean, self.theta)
            ratio, term = mean / (self.theta + mean), 1.0 - rest
            levels[:, :, end, 0] = rest + margin
            for k in range(1, _LEVELS):
                term = term * ratio * (self.theta + (k - 1)) / k
                rest = rest - term
                levels[:, :, end, k] = rest + margin
        return levels

    @property
    def expected(self) -> float:
        """How many counts above zero to expect at most, with what chance may add to them."""
        cells = np.bincount(self.of, minlength=len(self.mu))
        mean = float(cells @ self.probability.sum(axis=1))
        return float(1.001 * mean + 6.0 * mean**0.5)


def _bins(scale: Floats, n_bins: int) -> NDArray[np.intp]:
    """Bin sizes evenly on the log scale; cells of size 0 lie in the first bin."""
    positive = scale[scale > 0]
    if n_bins == 1 or not positive.size or positive.min() == positive.max():
        return np.zeros(scale.size, dtype=np.intp)
    low, high = np.log(positive.min()), np.log(positive.max())
    at = (np.log(np.maximum(scale, positive.min())) - low) / (high - low)
    bins: NDArray[np.intp] = np.minimum((at * n_bins).astype(np.intp), n_bins - 1)
    return bins
