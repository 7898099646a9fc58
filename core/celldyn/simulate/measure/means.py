"""The mean of every cell and gene, with what a batch does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from celldyn.errors import DataError
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


def apply_to_strata(
    mu: Floats, theta: Floats, of: NDArray[Any], scale: Floats, effects: MeanEffects
) -> tuple[Floats, Floats, NDArray[np.intp], Floats]:
    """Return strata and size factors that carry the effects: type x batch, and scale l_n.

    Parameters
    ----------
    mu, theta, of, scale
        As in `strata_block`.
    effects
        Without ambient; with it, draw from `with_effects(strata_block(...), effects)`.

    Returns
    -------
    mu, theta: (S, G) of the strata that have cells. of: (n,) their positions. scale: (n,).

    Raises
    ------
    DataError
        If there is ambient.
    """
    if effects.has_ambient:
        raise DataError(
            "means with ambient are not one stratum times one size factor",
            "draw from with_effects(strata_block(...), effects)",
        )
    n_batches = len(effects.batch_names)
    pair = np.asarray(of, dtype=np.intp) * n_batches + effects.batch
    used, where = np.unique(pair, return_inverse=True)
    stratum, batch = np.divmod(used, n_batches)
    own = theta[stratum] if effects.theta is None else np.tile(effects.theta, (used.size, 1))
    return mu[stratum] * effects.y[batch], own, where, scale * effects.library
