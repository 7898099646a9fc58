"""What a simulation's molecules are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules.rays import COMPARTMENTS

if TYPE_CHECKING:
    from celldyn.simulate.parameters import MeasurementParameters
    from celldyn.simulate.simulation import Simulation


def molecule_inputs(simulation: Simulation) -> dict[str, Any]:
    """Return what `molecules_job` takes, from a simulation's tables.

    Genes outside the table of priors (named genes, targets) leak for their cell's reason alone.
    """
    config, cells, names = simulation.config, simulation.cells, list(simulation.gene_names)
    table = simulation.genes.set_index("feature_name")
    leakage = table["gene_leakage"].reindex(names).fillna(0.0)
    var = simulation.adata.var if simulation.adata is not None else table
    kinds = var["gene_type"].reindex(names).astype(object).fillna("")
    return {
        "shapes": simulation.shapes,
        "counts": simulation.counts,
        "section": cells["section"].cat.codes.to_numpy().astype(np.int16),
        "cell_ids": cells["cell_id"].to_numpy(),
        "leak_cell": cells["leakage_percentage"].to_numpy(),
        "leak_gene": leakage.to_numpy(dtype=np.float64),
        "compartment": compartment_codes(config, names, [str(kind) for kind in kinds]),
        "gene_names": names,
        "config": config,
    }


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
    (G,) positions in `rays.COMPARTMENTS`; 0, uniform, where none is named.
    """
    given = config.compartments
    return np.array(
        [
            COMPARTMENTS.index(given.get(name, given.get(kind, "uniform")))
            for name, kind in zip(gene_names, gene_types, strict=True)
        ],
        dtype=np.uint8,
    )
