"""The tissue on which latent models are compared: types, batches, ambient, dispersion are known.

`python benchmarks/vae_tissue.py FILE --sparse` writes it. Eight cell types, two pairs of which are
subtypes that share most of their markers; four batches whose counts are 5, 10, 20 and 30 %
ambient, in the proportions of all cells of the batch; gene-wise inverse dispersions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from anndata import AnnData

from celldyn.simulate import SimulationConfig, SpotlessSimulator

AMBIENT_SHARES = (0.05, 0.10, 0.20, 0.30)
TYPE_SHARES = (0.2, 0.12, 0.18, 0.1, 0.14, 0.11, 0.09, 0.06)
SUBTYPES = {"ct_1": "ct_0", "ct_3": "ct_2"}
"""Who expresses nearly all markers of whom, beside its own."""
N_GENES, N_MARKERS, N_SHARED = 2000, 120, 105
THETA_RATE = 1.0
"""1 / √theta ~ Exp(1): a median theta of 2.1, as droplets have it for genes that are expressed."""
DENSE: dict[str, float] = {
    "marker_mu": 4.9, "marker_cv": 1.1, "hk_mu": 1.8, "hk_cv": 1.0, "silence_mu": 0.02,
    "silence_cv": 2.0,
}  # fmt: skip
SPARSE: dict[str, float] = {
    "marker_mu": 3.3, "marker_cv": 3.6, "hk_mu": 1.0, "hk_cv": 3.6, "silence_mu": 0.01,
    "silence_cv": 2.0,
}  # fmt: skip


def config_of(
    n_cells: int = 5000, *, sparse: bool = False, seed: int = 0, **changes: Any
) -> SimulationConfig:
    """Return the tissue's config; `changes` are parameters of the technical noise."""
    shared: dict[str, list[str]] = {}
    for child, parent in SUBTYPES.items():
        shared |= {f"{parent}_mkr_{i}": [child] for i in range(N_SHARED)}
    technical = {
        "batch_by": "random",
        "n_batches": len(AMBIENT_SHARES),
        "ambient_share": list(AMBIENT_SHARES),
        "library_cv": 0.35,
        "library_batch_sd": 0.15,
        "theta_rate": THETA_RATE,
    }
    return SimulationConfig(
        n_cells=n_cells,
        n_genes=N_GENES,
        n_celltype=len(TYPE_SHARES),
        celltype_proportion=list(TYPE_SHARES),
        n_markers=N_MARKERS,
        shared_markers=shared,
        size_factor="lognormal",
        keep_expected=True,
        seed=seed,
        technical={**technical, **changes},
        **(SPARSE if sparse else DENSE),
    )


def tissue(n_cells: int = 5000, **parameters: Any) -> AnnData:
    """Return the tissue with its truth; see `config_of`."""
    simulator = SpotlessSimulator(config_of(n_cells, **parameters))
    simulator.simulate_counts()
    adata = simulator.to_anndata()
    adata.layers["counts"] = adata.X.copy()
    return adata


def main() -> None:
    """Write the tissue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tissue(given.cells, sparse=given.sparse, seed=given.seed).write_h5ad(given.file)


if __name__ == "__main__":
    main()
