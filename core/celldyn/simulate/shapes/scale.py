"""Size factors: what makes large cells express more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn.simulate.shapes.outlines import CellShapes, Floats
from celldyn.simulate.streams import normals

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig


def size_factors(config: SimulationConfig, cells: pd.DataFrame, shapes: CellShapes) -> Floats:
    """Return the size factor of every cell, with mean 1 in each cell type.

    Parameters
    ----------
    config
        `size_factor`: the area of the nucleus or of the cell, a lognormal number of coefficient
        of variation `scale_cv`, or 1 for all.
    cells
        All cells, with `celltype`.
    shapes
        Their outlines.

    Returns
    -------
    (n,) factors on the mean of every gene.
    """
    if config.size_factor == "none":
        return np.ones(len(cells))
    if config.size_factor == "lognormal":
        spread = float(np.sqrt(np.log1p(config.scale_cv**2)))
        size = np.exp(spread * normals(config.seed, "scale", len(cells))[:, 0])
    else:
        size = shapes.areas("nucleus" if config.size_factor == "nucleus_area" else "cell")
    types = pd.Categorical(cells["celltype"])
    codes = types.codes
    total = np.bincount(codes, size, minlength=len(types.categories))
    mean = total / np.maximum(np.bincount(codes, minlength=len(types.categories)), 1)
    factors: Floats = size / mean[codes]
    return factors
