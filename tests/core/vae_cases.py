"""Small data for the VAE's tests: one modality and two, with every kind of key."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix


def counts(n_obs: int, n_vars: int, seed: int = 0, types: int = 3) -> np.ndarray:
    """Return counts of cells of a few types: (n_obs, n_vars)."""
    rng = np.random.default_rng(seed)
    profiles = rng.gamma(1.0, 1.0, (types, n_vars)) + 0.05
    size = rng.lognormal(0.0, 0.3, n_obs)
    kind = np.arange(n_obs) % types
    return rng.poisson(2.0 * size[:, None] * profiles[kind]).astype(np.float32)


def tissue(n_obs: int = 120, n_vars: int = 40, seed: int = 0) -> AnnData:
    """Return cells of two batches, three sites and two donors, with counts in a layer."""
    rng = np.random.default_rng(seed + 1)
    x = counts(n_obs, n_vars, seed)
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical([f"b{k % 2}" for k in range(n_obs)]),
            "site": pd.Categorical([f"s{k % 3}" for k in range(n_obs)]),
            "donor": pd.Categorical([f"d{(k // 2) % 2}" for k in range(n_obs)]),
            "well": pd.Categorical([f"w{k % 4}" for k in range(n_obs)]),
            "type": pd.Categorical([f"t{k % 3}" for k in range(n_obs)]),
            "age": rng.normal(size=n_obs),
            "size": np.maximum(x.sum(axis=1), 1),
        },
        index=[f"cell{k}" for k in range(n_obs)],
    )
    var = pd.DataFrame(index=[f"g{k}" for k in range(n_vars)])
    adata = AnnData(csr_matrix(x), obs=obs, var=var)
    adata.layers["counts"] = adata.X.copy()
    return adata


def multiome(n_obs: int = 120, n_rna: int = 40, n_atac: int = 30, missing: int = 0):
    """Return two modalities of the same cells; the last `missing` cells lack the second."""
    import mudata

    rna = tissue(n_obs, n_rna)
    del rna.layers["counts"]
    atac = AnnData(
        csr_matrix(counts(n_obs, n_atac, seed=7)),
        obs=rna.obs.copy(),
        var=pd.DataFrame(index=[f"peak{k}" for k in range(n_atac)]),
    )
    if missing:
        atac = atac[: n_obs - missing].copy()
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": rna, "atac": atac})
        mdata.obs = rna.obs.copy()
    return mdata


SETUPS = {
    "batch": {"layer": "counts", "batch_key": "batch"},
    "batch and decoder": {
        "layer": "counts",
        "batch_key": "batch",
        "nn_conditioning_covariate_keys": ["site", "donor"],
    },
    "purposes": {
        "layer": "counts",
        "ambient_covariate_keys": ["batch", "well"],
        "nn_conditioning_covariate_keys": ["site"],
        "dispersion_key": "batch",
        "library_size_key": "well",
        "nn_continuous_covariate_keys": ["age"],
        "feature_scaling_covariate_keys": ["site", "donor"],
    },
    "size factors": {
        "batch_key": "batch",
        "nn_conditioning_covariate_keys": ["batch"],
        "size_factor_key": "size",
    },
}
"""Ways to set a data set up, by name."""
