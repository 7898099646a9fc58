"""A small data set as the landscape takes it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from landscape_cases import ring
from scipy import sparse


def lsd_adata(n=30, n_vars=12, *, seed=0, dense=False, density_of=4.0):
    """Counts in layers["raw"], log-normalised X, library sizes, and a ring of neighbours."""
    rng = np.random.default_rng(seed)
    raw = rng.poisson(rng.gamma(1.0, density_of, n_vars), (n, n_vars)).astype(np.float32)
    raw[:, 0] += 1  # no cell without counts
    total = raw.sum(1, keepdims=True)
    X = np.log1p(raw / total * 1e4)
    keep = (lambda m: m) if dense else sparse.csr_matrix
    return AnnData(
        keep(X),
        obs=pd.DataFrame(
            {
                "librarysize": total.ravel(),
                "dpt_pseudotime": np.linspace(0, 1, n),
                "clusters": pd.Categorical(np.where(np.arange(n) < n // 2, "early", "late")),
            },
            index=[f"cell{k}" for k in range(n)],
        ),
        var=pd.DataFrame(index=[f"gene{k}" for k in range(n_vars)]),
        layers={"raw": keep(raw)},
        obsp={"connectivities": sparse.csr_matrix(ring(n))},
    )
