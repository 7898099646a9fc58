"""Which molecules tend to leak, and where in the cell those of each gene lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.parameters.measurement import Compartment

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig
    from celldyn.simulate.parameters import MeasurementParameters

_COMPARTMENTS: tuple[str, ...] = get_args(Compartment)
"""Names of the compartments; their codes are their positions."""


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


def compartment_codes(
    config: MeasurementParameters, gene_names: Sequence[str], gene_types: Sequence[str]
) -> NDArray[np.uint8]:
    """Return where the molecules of each gene lie.

    Parameters
    ----------
    config
        Its `compartments`, by gene or gene type; a gene's own comes before that of its type.
    gene_names, gene_types
        (G,) each.

    Returns
    -------
    (G,) positions among the values of `Compartment`; 0, uniform, where none is named.
    """
    given = config.compartments
    return np.array(
        [
            _COMPARTMENTS.index(given.get(name, given.get(kind, "uniform")))
            for name, kind in zip(gene_names, gene_types, strict=True)
        ],
        dtype=np.uint8,
    )
