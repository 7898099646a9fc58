"""Two sets whose fates others made: scanpy's `krumsiek11`, and the simulator's SDE tissue."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from tree_truth import ROLES, Floats, Intervention, Truth, annotated, counts_of, prepared

KRUMSIEK_BRANCHES = ("Mo", "Ery", "Mk", "Neu")
KRUMSIEK_KNOCKOUTS = {
    "Gata1": ("Ery", "Mk"),
    "Pu.1": ("Mo", "Neu"),
    "Cebpa": ("Mo", "Neu"),
    "EKLF": ("Ery",),
    "Fli1": ("Mk",),
    "cJun": ("Mo",),
    "Gfi1": ("Neu",),
}
"""Fates that need a gene, by the network of Krumsiek et al. 2011 (PLoS ONE 6, e22649)."""
KRUMSIEK_COUNTS, KRUMSIEK_HOUSEKEEPING, KRUMSIEK_THETA = 100.0, 40, 100.0
LEAK = 0.05
"""What is left of a gene that is off, of its mean where it is on."""


def krumsiek11(seed: int = 0) -> AnnData:
    """Return scanpy's `krumsiek11` read as counts, with the housekeeping genes that it lacks.

    640 cells in four runs of the same start, 160 time points each, to four fates. A gene's mean is
    100 (x + 0.05), x its level (0 to 1), 40 more genes have means of their own that never change
    (log-scale sd 1, median 12); counts are negative binomial with an inverse dispersion of 100 and
    totals that vary by a third. Time is the share that a cell has gone of the length of its run,
    smoothed over nine points, since a run rests at its end; a progenitor's fate that of its run.
    """
    import scanpy as sc

    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean = sc.datasets.krumsiek11()
    level = np.clip(np.asarray(clean.X, dtype=np.float64), 0.0, None) + LEAK
    constant = 12.0 * np.exp(rng.standard_normal(KRUMSIEK_HOUSEKEEPING))
    n_cells = len(level)
    share = np.hstack([KRUMSIEK_COUNTS * level, np.tile(constant, (n_cells, 1))])
    total = float(share.sum(axis=1).mean())
    names = [*clean.var_names, *(f"house_{g}" for g in range(len(constant)))]
    adata = annotated(counts_of(share, total, KRUMSIEK_THETA, rng), names)
    length = n_cells // len(KRUMSIEK_BRANCHES)
    place = np.arange(n_cells)
    adata.obs["clusters"] = pd.Categorical(clean.obs["cell_type"].astype(str).to_numpy())
    adata.obs["true_time"] = np.concatenate(
        [_way(part) for part in np.split(level, n_cells // length)]
    )
    adata.obs["true_fate"] = pd.Categorical(np.array(KRUMSIEK_BRANCHES)[place // length])
    adata.var["role"] = pd.Categorical(
        ["driver" if name in KRUMSIEK_KNOCKOUTS else "branch" for name in clean.var_names]
        + ["housekeeping"] * len(constant),
        ROLES,
    )
    prepared(adata, 0, seed, n_pcs=8, target=None, variable=list(clean.var_names))
    may = {"progenitor": KRUMSIEK_BRANCHES, **{one: (one,) for one in KRUMSIEK_BRANCHES}}
    made = [
        Intervention(f"KO {gene}", gene, 0.0, fates, ("progenitor",))
        for gene, fates in KRUMSIEK_KNOCKOUTS.items()
    ]
    Truth("krumsiek11", may, KRUMSIEK_BRANCHES, "progenitor", "progenitor", tuple(made)).write(
        adata
    )
    return adata


def _way(run: Floats, width: int = 9) -> Floats:
    """Return the share of a run's length, (n_points, n_genes), that every point has behind it."""
    from scipy.ndimage import uniform_filter1d

    smooth = uniform_filter1d(run, width, axis=0, mode="nearest")
    way = np.concatenate([[0.0], np.linalg.norm(np.diff(smooth, axis=0), axis=1).cumsum()])
    share: Floats = way / way[-1]
    return share


def sde(n_cells: int = 1000, seed: int = 0) -> AnnData:
    """Return a tissue of the simulator whose states follow dz = -∇V dt + σ dW down a tree.

    Three fates, 120 genes that read the state and 80 that do not; obs["truth_potential"],
    obs["truth_time"], obsm["truth_fates"], obsm["truth_latent"] as the simulator writes them. A
    cell of a fate's branch is of that cluster, the rest are progenitors.
    """
    from celldyn import keys
    from celldyn.simulate import SimulationConfig, SpotlessSimulator
    from celldyn.simulate.specs import DynamicsSpec

    dynamics = {
        "potential": "tree", "n_fates": 3, "n_genes": 120, "defines_celltypes": True,
        "t_max": 3.0, "drivers_per_fate": 2,
    }  # fmt: skip
    fates = ["fate_0", "fate_1", "fate_2"]
    config = SimulationConfig(
        n_cells=n_cells,
        n_celltype=4,
        n_genes=80,
        n_markers=0,
        seed=seed,
        celltype_labels=["progenitor", *fates],
        dynamics=dynamics,
    )
    simulator = SpotlessSimulator(config)
    simulator.simulate_counts()
    adata = simulator.to_anndata()
    adata.X = sparse.csr_matrix(adata.X, dtype=np.float32)
    adata.obs["clusters"] = pd.Categorical(adata.obs["cell_type"].astype(str).to_numpy())
    adata.obs["true_time"] = adata.obs[keys.TRUTH_TIME()].to_numpy()
    adata.obs["true_fate"] = pd.Categorical(adata.obs[keys.TRUTH_FATE()].astype(str).to_numpy())

    drivers = DynamicsSpec(**dynamics).drivers
    adata.var["role"] = pd.Categorical(
        [
            "driver" if g in drivers else "branch" if g.startswith("dyn_") else "housekeeping"
            for g in adata.var_names
        ],
        ROLES,
    )
    del adata.uns["truth"]
    prepared(adata, int(np.argmin(adata.obs["true_time"])), seed)
    may = {"progenitor": tuple(fates), **{fate: (fate,) for fate in fates}}
    made = [
        Intervention(f"KO {gene}", gene, 0.0, (fates[k],), ("progenitor",))
        for gene, k in drivers.items()
    ]
    Truth("sde", may, tuple(fates), "progenitor", "progenitor", tuple(made)).write(adata)
    return adata
