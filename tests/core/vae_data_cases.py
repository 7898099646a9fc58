"""Small data sets that the tests of the VAE's input share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from celldyn.vae.inputs import CountRows, Csr

N_OBS, N_VARS = 120, 25


def cells(n_obs=N_OBS, seed=0) -> pd.DataFrame:
    """What is known of cells of a sci-RNA-seq3 experiment."""
    rng = np.random.default_rng(seed)
    at = np.arange(n_obs)
    return pd.DataFrame(
        {
            "embryo": pd.Categorical(np.array(["e1", "e2", "e3"])[at % 3]),
            "pcr_well": pd.Categorical(np.array(["w1", "w2"])[at % 2], ["w2", "w1"]),
            "experiment": np.array(["x1", "x2", "x3", "x4"])[at // 5 % 4],
            "lane": at % 4 + 1,
            "donor": "only",
            "age": rng.normal(size=n_obs),
            "size": rng.uniform(500, 900, n_obs),
        },
        index=[f"cell{i}" for i in at],
    )


def counts(n_obs=N_OBS, n_vars=N_VARS, seed=1) -> np.ndarray:
    return np.random.default_rng(seed).poisson(0.8, (n_obs, n_vars)).astype(np.float32)


def tissue(n_obs=N_OBS, n_vars=N_VARS, seed=1) -> AnnData:
    var = pd.DataFrame(index=[f"Gene{j}" for j in range(n_vars)])
    return AnnData(csr_matrix(counts(n_obs, n_vars, seed)), obs=cells(n_obs), var=var)


def multiome(n_obs=N_OBS, n_rna=15, n_atac=10):
    """RNA of all cells but the first ten, ATAC of all but the last twenty, in another order."""
    import mudata

    rna, atac = tissue(n_obs, n_rna)[10:].copy(), tissue(n_obs, n_atac, seed=2)[:-20].copy()
    atac.var_names = [f"peak{j}" for j in range(n_atac)]
    atac = atac[np.random.default_rng(3).permutation(atac.n_obs)].copy()
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": rna, "atac": atac})
    mdata.obs["well"] = np.where(np.arange(mdata.n_obs) % 2, "a", "b")
    return mdata


def dense(part) -> np.ndarray:
    """Counts of a minibatch, or of rows, as a dense array."""
    if isinstance(part, CountRows):
        return dense(part.csr)[part.at]
    if isinstance(part, Csr):
        return csr_matrix((part.data, part.indices, part.indptr), part.shape).toarray()
    return part.cpu().numpy()
