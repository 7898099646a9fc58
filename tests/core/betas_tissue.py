"""A small tissue whose rules are known: three cell types on a square, and pairs that signal."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd

from celldyn.betas import BetasConfig, SpatialCellularProgramsEstimator

GENES = ["Target", "Tf1", "Tf2", "Tf3", "LigA", "LigB", "RecA", "RecB", "RecC", "Silent"]
REGULATORS = ["Tf1", "Tf2", "Tf3"]
PAIRS = pd.DataFrame(
    [
        ("LigA", "RecA", "a", "Secreted Signaling"),
        ("LigB", "RecB", "b", "Cell-Cell Contact"),
        ("LigA", "RecB", "a", "Secreted Signaling"),
        ("LigA", "RecA", "a", "Cell-Cell Contact"),
        ("LigB", "Target", "b", "Secreted Signaling"),
        ("Nowhere", "RecA", "n", "Secreted Signaling"),
    ],
    columns=["ligand", "receptor", "pathway", "signaling"],
)


def tissue(n=240, seed=0, labels=("0", "2", "7"), noise=0.0):
    """Target = 1 + c·Tf1 − 0.5·Tf2 in cell type c = 1, 2, 3, on a 200 × 200 square."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(2.0, 1.0, (n, len(GENES)))
    kind = np.arange(n) % 3
    rng.shuffle(kind)
    X[:, 0] = 1 + (kind + 1) * X[:, 1] - 0.5 * X[:, 2] + noise * rng.normal(size=n)
    X[:, -1] = 0.0
    names = [labels[k] for k in kind]
    obs = pd.DataFrame({"type": names}, index=[f"cell{i}" for i in range(n)])
    adata = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=GENES))
    adata.layers["imputed_count"] = X.copy()
    adata.obs["cell_type_int"] = np.array([0, 2, 7])[kind]
    adata.obsm["spatial"] = rng.uniform(0, 200, (n, 2))
    return adata


def estimator(adata, target="Target", **more):
    options = {"regulators": REGULATORS, "lr": PAIRS, "spatial_dim": 8} | more
    return SpatialCellularProgramsEstimator(adata, target, **options)


def config(**more):
    options = {
        "target_gene": "Target",
        "regulators": REGULATORS,
        "heldout_folds": 0,
        "num_epochs": 0,
    }
    return BetasConfig(**(options | more))


def sections(n=240):
    parts = [tissue(n, seed=k, noise=0.3) for k in range(2)]
    adata = ad.concat(parts, keys=["one/a", "two"], label="section", index_unique="-")
    adata.layers["imputed_count"][adata.obs["section"] == "two", 7] = 1.0  # RecB is constant there
    adata.layers["imputed_count"][adata.obs["section"] == "one/a", 3] = 2.0  # and Tf3 here
    return adata
