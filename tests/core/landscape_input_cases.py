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


def small_config(**model):
    """The smallest landscape that is one."""
    from celldyn.landscape import LSDConfig

    cfg = LSDConfig()
    cfg.model.z_dim = 3
    for name, value in model.items():
        setattr(cfg.model, name, value)
    dims = cfg.model.layer_dims
    dims.x_encoder = dims.z_decoder = (16, 8)
    dims.z_encoder = dims.B_decoder = dims.xl_encoder = dims.potential = (8, 8)
    cfg.walks.path_len, cfg.walks.num_walks, cfg.walks.batch_size = 4, 24, 12
    return cfg


def trained_lsd(adata=None, epochs=2, **model):
    """A landscape that was trained a little."""
    from celldyn.landscape import LSD

    lsd = LSD(lsd_adata() if adata is None else adata, small_config(**model), "cpu")
    lsd.set_prior_transition(prior_time_key="dpt_pseudotime")
    lsd.prepare_walks()
    lsd.train(epochs)
    return lsd
