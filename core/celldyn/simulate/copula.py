"""A Gaussian copula: within a cell, genes of one class share a part of their noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from celldyn.errors import DataError
from celldyn.simulate.inversion import Floats
from celldyn.simulate.streams import (
    Bits,
    mix_in_place,
    name_ids,
    spread,
    stream_key,
    unit_interval,
)

_COARSE_BITS = 12
"""Bits of a number that bound its normal score before the score itself is computed."""


class Copula:
    """Correlated noise of the genes of one class, with the margins left as they are.

    The tail probability of gene g in cell c is Φ(√(1-r) z_cg + √r z_ck), with z_cg the normal
    score of its own noise and z_ck one normal number per cell c and class k: uniform on its own,
    and correlated by r, as normal scores, with the other genes of its class.

    Parameters
    ----------
    correlation
        r, in (0, 1).
    classes
        (n_genes,) the class of each gene.
    cell_ids
        (n_cells,) integer identities.
    seed, stage
        Of the counts that it is for.

    Raises
    ------
    DataError
        If r is not in [0, 1) or there is not one class per gene.
    """

    def __init__(
        self,
        correlation: float,
        classes: Sequence[str],
        n_genes: int,
        cell_ids: NDArray[np.uint64],
        seed: int,
        stage: str,
    ) -> None:
        if not 0 <= correlation < 1:
            raise DataError(
                f"the correlation of the genes is {correlation}", "give at least 0 and below 1"
            )
        if len(classes) != n_genes:
            raise DataError(
                f"there are {len(classes)} classes for {n_genes} genes", "give one per gene"
            )
        names, of = np.unique(np.asarray(classes, dtype=object).astype(str), return_inverse=True)
        self._of = of
        self._shared, self._own = correlation**0.5, (1.0 - correlation) ** 0.5
        self._ids, self._classes = cell_ids, spread(name_ids(names.tolist()))
        self._key = stream_key(seed, f"{stage}/class")
        self._coarse = self._own * ndtri(np.arange(1 << _COARSE_BITS) / (1 << _COARSE_BITS))

    def factors(self, rows: slice) -> Floats:
        """Return √r z_ck of some cells, (n_rows, n_classes)."""
        bits = spread(self._ids[rows], self._key)[:, None] + self._classes
        mix_in_place(bits, np.empty_like(bits))
        shared: Floats = self._shared * ndtri(unit_interval(bits))
        return shared

    def below(self, bits: Bits, factors: Floats, score: Floats) -> NDArray[np.bool_]:
        """Return, per element of (n_rows, n_genes), whether its tail may be below a bound.

        Parameters
        ----------
        bits
            (n_rows, n_genes) noise.
        factors
            Of these rows.
        score
            (n_rows, n_genes) normal scores of the bounds.
        """
        lowest = self._coarse[bits >> np.uint64(64 - _COARSE_BITS)]
        lowest += factors[:, self._of]
        # What is rounded away here is decided when the tail itself is known.
        below: NDArray[np.bool_] = lowest <= score + 1e-9
        return below

    def tails(
        self, bits: Bits, factors: Floats, row: NDArray[np.intp], column: NDArray[np.integer]
    ) -> Floats:
        """Return the tail probability of each element.

        Parameters
        ----------
        bits
            (n,) noise.
        factors
            Of some rows.
        row, column
            (n,) position among these rows, and gene.
        """
        score = self._own * ndtri(unit_interval(bits)) + factors[row, self._of[column]]
        tail: Floats = np.minimum(ndtr(score), 1.0 - 2.0**-53)
        return tail
