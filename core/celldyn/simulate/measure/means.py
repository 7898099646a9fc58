"""The mean of every cell and gene, with what a batch does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.measure.effects import MeanEffects

Floats = NDArray[np.float64]

MeanBlock: TypeAlias = Callable[[slice], tuple[Floats, Floats]]
"""Rows of the cells -> mean (m, G) and inverse dispersion (m or 1, G)."""


def strata_block(mu: Floats, theta: Floats, of: NDArray[Any], scale: Floats) -> MeanBlock:
    """Return the native means rho_ng = mu_kg scale_n, k the stratum of cell n.

    Parameters
    ----------
    mu, theta
        (K, G) mean at scale 1 and inverse dispersion.
    of
        (n,) stratum of each cell.
    scale
        (n,) size factors.
    """

    def block(rows: slice) -> tuple[Floats, Floats]:
        own = of[rows]
        return mu[own] * scale[rows, None], theta[own]

    return block


def with_effects(native: MeanBlock, effects: MeanEffects) -> MeanBlock:
    """Return the means l_n (rho_ng + s_bg) y_bg of cells whose native means are rho.

    The ambient does not grow with the cell's size, only with its library, so with both there is
    no stratum whose cells differ by one factor: the means have to be made cell by cell.
    """

    def block(rows: slice) -> tuple[Floats, Floats]:
        rho, theta = native(rows)
        batch = effects.batch[rows]
        mean = rho + effects.ambient[batch] if effects.has_ambient else rho.copy()
        mean *= effects.y[batch]
        mean *= effects.library[rows, None]
        return mean, theta if effects.theta is None else effects.theta[None, :]

    return block
