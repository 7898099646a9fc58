"""Which molecules tend to leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig


def leakage_of_cells(config: SimulationConfig, celltype: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability that a molecule leaks from each cell.

    Parameters
    ----------
    config
        Its `leakage_by_celltype`; types that are not named there do not leak.
    celltype
        (n,) positions among `config.celltype_names`.

    Returns
    -------
    (n,) in [0, 1].
    """
    given = config.leakage_by_celltype
    if isinstance(given, dict):
        by_type = np.array([given.get(name, 0.0) for name in config.celltype_names])
        leakage: NDArray[np.float64] = by_type[np.asarray(celltype)]
        return leakage
    return np.full(len(celltype), float(given or 0.0))
