"""Nuclei within cells, in the single precision in which outlines are kept."""

from __future__ import annotations

import numpy as np

from celldyn.simulate.shapes.nuclei import column_areas
from celldyn.simulate.shapes.outlines import NESTING, Floats, Radii

_LARGEST_SHARE = 0.75
"""A nucleus takes at most this share of its cell's area."""
_ROUNDS = 4
"""Times that a nucleus which is in its cell's way grows again elsewhere."""
_BELOW = 1.0 - 2.0**-23
"""Makes rounding to single precision a rounding down."""


def fit(nucleus: Floats, cell: Floats) -> tuple[Radii, Radii]:
    """Fit nuclei into cells.

    A nucleus of more than 0.75 of its cell's area is scaled down to that. Where it would come
    closer to the outline than 0.92 of the cell's radius it is cut off, and grows in the other
    directions until it has its area again, as a nucleus that is pushed aside.

    Parameters
    ----------
    nucleus, cell
        (n_rays, n) radii in µm.

    Returns
    -------
    nucleus, cell
        (n, n_rays) float32, each rounded down, so that cells which do not overlap in double
        precision do not overlap in single precision, and nuclei stay within.
    """
    cell32 = _rounded_down(cell)
    limit = NESTING * cell32.astype(np.float64)
    target = np.minimum(column_areas(nucleus), _LARGEST_SHARE * column_areas(cell))
    tight = np.flatnonzero((nucleus > limit).any(axis=0))
    if tight.size:
        nucleus = nucleus.copy()
        nucleus[:, tight] = _squeezed(nucleus[:, tight], limit[:, tight], target[tight])
    large = np.flatnonzero(column_areas(nucleus) > target)
    if large.size:
        nucleus[:, large] *= np.sqrt(target[large] / column_areas(nucleus[:, large]))
    return (
        np.ascontiguousarray(_rounded_down(nucleus).T),
        np.ascontiguousarray(cell32.T),
    )


def _squeezed(nucleus: Floats, limit: Floats, target: Floats) -> Floats:
    """Return the nuclei within their limits, as near to the wanted area as a few rounds bring."""
    for _ in range(_ROUNDS):
        nucleus = np.minimum(nucleus * np.sqrt(target / column_areas(nucleus)), limit)
    return nucleus


def _rounded_down(radius: Floats) -> Radii:
    return (radius * _BELOW).astype(np.float32)
