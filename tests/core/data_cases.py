"""Small tissues that the tests of celldyn.data share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

N_OBS, N_VARS = 40, 12


def tissue(*, spatial=True) -> AnnData:
    """40 cells by 12 genes of counts; a quarter of the cells is called "NA"."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.6, (N_OBS, N_VARS)).astype(np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.resize(["NA", "Astro", "eL2/3", "Oligo"], N_OBS)),
            "batch": np.resize(["s2", "s1"], N_OBS),
            "depth": rng.normal(size=N_OBS),
        },
        index=[f"cell{i}" for i in range(N_OBS)],
    )
    var = pd.DataFrame(index=[f"Gene{j}" for j in range(N_VARS)])
    adata = AnnData(csr_matrix(counts), obs=obs, var=var)
    if spatial:
        adata.obsm["spatial"] = rng.uniform(0, 100, (N_OBS, 2))
    return adata
