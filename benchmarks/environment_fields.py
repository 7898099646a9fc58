"""A tissue whose genes are smooth fields of space: what virtual cells are to find out."""

from __future__ import annotations

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

N_CELLS, N_GENES, N_TRAINED = 600, 40, 400
NOISE = 0.3


def fields(seed: int = 0) -> tuple[AnnData, AnnData, NDArray[np.bool_]]:
    """Return genes and standardised coordinates of 600 cells in the unit square, and 400 of them.

    Every gene is sin(k · x + φ) + N(0, 0.3²), k ~ N(0, 4²) per axis, φ uniform.
    """
    rng = np.random.default_rng(seed)
    place = rng.random((N_CELLS, 2))
    waves, phase = rng.normal(0, 4, (2, N_GENES)), rng.random(N_GENES) * 2 * np.pi
    genes = np.sin(place @ waves + phase) + rng.normal(0, NOISE, (N_CELLS, N_GENES))
    trained = np.zeros(N_CELLS, np.bool_)
    trained[rng.permutation(N_CELLS)[:N_TRAINED]] = True
    made = []
    for values in (genes, place):
        table = AnnData(values.astype(np.float32))
        table.obs_names = [f"cell{i}" for i in range(N_CELLS)]
        table.obs["train"] = trained
        made.append(table)
    return made[0], made[1], trained
