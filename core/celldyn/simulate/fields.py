"""Smooth random fields over a tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.streams import normals, uniforms

_N_WAVES = 64
BLOCK = 1 << 15
"""Cells that are done at once; whoever splits at its multiples gets the same bytes."""


def smooth_field(
    xy: NDArray[np.float64], length_um: float, seed: int, stage: str
) -> NDArray[np.float64]:
    """Return a smooth random field of mean 0 and variance 1 at the cells.

    Parameters
    ----------
    xy
        (n_cells, 2) positions in µm.
    length_um
        Length scale of its squared-exponential covariance.
    seed, stage
        The random stream; the field is a fixed function of the position, whichever cells ask.

    Returns
    -------
    (n_cells,) values. A sum of random waves (random Fourier features, Rahimi and Recht 2007).
    """
    waves = normals(seed, f"{stage}/waves", _N_WAVES, 2) / length_um
    phase = 2 * np.pi * uniforms(seed, f"{stage}/phase", _N_WAVES)[:, 0]
    field = np.empty(len(xy))
    for start in range(0, len(xy), BLOCK):
        block = slice(start, start + BLOCK)
        field[block] = np.cos(xy[block] @ waves.T + phase).sum(axis=1)
    field *= np.sqrt(2.0 / _N_WAVES)
    return field
