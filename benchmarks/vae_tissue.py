"""The tissue on which latent models are compared: types, batches, ambient, dispersion are known.

`python benchmarks/vae_tissue.py FILE --sparse` writes it. Eight cell types, two pairs of which are
subtypes that share most of their markers; four batches whose counts are 5, 10, 20 and 30 %
ambient, in the proportions of all cells of the batch; gene-wise inverse dispersions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from celldyn.simulate import GeneSpec, SimulationConfig, SpotlessSimulator

AMBIENT_SHARES = (0.05, 0.10, 0.20, 0.30)
TYPE_SHARES = (0.20, 0.12, 0.18, 0.10, 0.14, 0.11, 0.09, 0.06)
SUBTYPES = {1: 0, 3: 2}
"""Which type is a subtype of which."""
N_GENES, N_MARKERS, N_OWN, N_VARYING, N_SUBTYPE = 2000, 40, 8, 200, 40
"""All; markers of a lineage, and of a type of a pair alone; genes that differ a little."""
VARYING_SD, SUBTYPE_SD = 0.45, 0.35
"""Log-scale sd of genes that differ a little between lineages, and within a pair."""
OFF = 0.01
"""Mean expression of a marker where it is off, over that where it is on; exponential."""
THETA_RATE = 1.0
"""1 / √theta ~ Exp(1): a median theta of 2.1, as droplets have it for genes that are expressed."""


class Depth(NamedTuple):
    """Gene means: their sum, and the log-scale sd between genes."""

    total: float
    sd: float


DENSE, SPARSE = Depth(2450.0, 0.95), Depth(1300.0, 2.1)


def factors(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (n_types, n_genes) factors on the genes' means."""
    n_types = len(TYPE_SHARES)
    lineage = np.array([SUBTYPES.get(k, k) for k in range(n_types)])
    factor = np.ones((n_types, N_GENES))
    genes = rng.permutation(N_GENES)
    off = OFF * rng.standard_exponential(factor.shape)
    at = 0
    for own in np.unique(lineage):
        marker, at = genes[at : at + N_MARKERS], at + N_MARKERS
        rest = np.flatnonzero(lineage != own)
        factor[np.ix_(rest, marker)] = off[np.ix_(rest, marker)]
    for child, parent in SUBTYPES.items():
        for one in (child, parent):
            marker, at = genes[at : at + N_OWN], at + N_OWN
            rest = np.setdiff1d(np.arange(n_types), one)
            factor[np.ix_(rest, marker)] = off[np.ix_(rest, marker)]
    varying, at = genes[at : at + N_VARYING], at + N_VARYING
    factor[:, varying] *= np.exp(VARYING_SD * rng.standard_normal((n_types, N_VARYING)))[lineage]
    subtle = genes[at : at + N_SUBTYPE]
    factor[:, subtle] *= np.exp(SUBTYPE_SD * rng.standard_normal((n_types, N_SUBTYPE)))
    return factor


def config_of(
    n_cells: int = 5000, *, sparse: bool = False, seed: int = 0, **changes: Any
) -> SimulationConfig:
    """Return the tissue's config; `changes` are parameters of the technical noise."""
    rng = np.random.default_rng(seed)
    depth = SPARSE if sparse else DENSE
    factor, mean = factors(rng), np.exp(depth.sd * rng.standard_normal(N_GENES))
    mean *= depth.total / (np.array(TYPE_SHARES) @ factor @ mean)
    genes = [
        GeneSpec(
            name=f"gene_{g}",
            mu=float(mean[g]),
            celltype_factor={f"ct_{k}": float(factor[k, g]) for k in range(len(TYPE_SHARES))},
        )
        for g in range(N_GENES)
    ]
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
        n_genes=1,
        n_markers=0,
        n_silence=1,
        extra_genes=genes,
        n_celltype=len(TYPE_SHARES),
        celltype_proportion=list(TYPE_SHARES),
        size_factor="lognormal",
        keep_expected=True,
        seed=seed,
        technical={**technical, **changes},
    )


def tissue(n_cells: int = 5000, **parameters: Any) -> AnnData:
    """Return the tissue with its truth; see `config_of`."""
    simulator = SpotlessSimulator(config_of(n_cells, **parameters))
    simulator.simulate_counts()
    whole = simulator.to_anndata()
    adata = whole[:, [f"gene_{g}" for g in range(N_GENES)]].copy()
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
