"""A small branching tissue whose stem, fates and branch genes are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.spatial import cKDTree

from celldyn.jobs import run
from celldyn.landscape import LSD, LSDConfig
from celldyn.landscape.results import write_result

N_CELLS, N_GENES = 220, 60
STEM, FATES = "Stem", ("Alpha", "Beta")


def branching_tissue(n_cells: int = N_CELLS, seed: int = 3) -> AnnData:
    """Return raw counts of cells that come from a stem and go one of two ways.

    Genes 0–9 rise towards Alpha, 10–19 towards Beta, 20–29 fall with time; the rest say nothing.
    """
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(0, 1, n_cells))
    way = random.integers(0, 2, n_cells)
    late = np.clip((time - 0.35) / 0.65, 0, 1)
    log_mean = np.full((n_cells, N_GENES), np.log(4.0))
    for k in range(2):
        genes = slice(10 * k, 10 * k + 10)
        log_mean[:, genes] = np.log(0.4) + 4.0 * (late * (way == k))[:, None]
    log_mean[:, 20:30] = np.log(12.0) - 3.0 * time[:, None]
    depth = random.lognormal(0, 0.15, n_cells)[:, None]
    counts = random.poisson(depth * np.exp(log_mean)).astype(np.float32)
    state = np.where(time < 0.55, STEM, np.array(FATES)[way])
    obs = pd.DataFrame(
        {"clusters": pd.Categorical(state), "true_time": time, "way": np.array(FATES)[way]},
        index=[f"cell_{k}" for k in range(n_cells)],
    )
    genes = pd.DataFrame(index=[f"gene_{k}" for k in range(N_GENES)])
    adata = AnnData(sparse.csr_matrix(counts), obs=obs, var=genes)
    adata.obsm["spatial"] = np.c_[time * 600, 150 * (2 * way - 1) * late] + random.normal(
        0, 12, (n_cells, 2)
    )
    return adata


def prepared_tissue() -> AnnData:
    """Return the same with counts in a layer, log-normalised X, and neighbours in obsp."""
    adata = branching_tissue()
    adata.layers["raw"] = adata.X.copy()
    depth = np.asarray(adata.X.sum(axis=1)).ravel()
    log = np.log1p(adata.X.toarray() * (np.median(depth) / depth)[:, None]).astype(np.float32)
    adata.X = sparse.csr_matrix(log)
    u, s, _ = np.linalg.svd(log - log.mean(axis=0), full_matrices=False)
    adata.obsm["X_pca"] = (u * s)[:, :8]
    near = cKDTree(adata.obsm["X_pca"]).query(adata.obsm["X_pca"], k=13)[1][:, 1:]
    rows = np.repeat(np.arange(adata.n_obs), near.shape[1])
    links = sparse.csr_matrix((np.ones(rows.size), (rows, near.ravel())), shape=(adata.n_obs,) * 2)
    adata.obsp["connectivities"] = links.maximum(links.T)
    return adata


def small_config(epochs: int = 3) -> LSDConfig:
    """Return a config that is trained within a second."""
    cfg = LSDConfig()
    cfg.model.z_dim = 4
    widths = cfg.model.layer_dims
    widths.B_decoder = widths.potential = (8, 8)
    widths.z_decoder = widths.x_encoder = widths.z_encoder = (16,)
    cfg.walks.num_walks, cfg.walks.path_len, cfg.walks.batch_size = 128, 6, 64
    cfg.training.num_epochs = epochs
    return cfg


def fitted_tissue(epochs: int = 6) -> AnnData:
    """Return the prepared tissue with a landscape on it, as a script leaves it."""
    adata = prepared_tissue()
    lsd = LSD(adata.copy(), small_config(epochs), "cpu")
    lsd.set_prior_transition(prior_time_key="true_time")
    lsd.prepare_walks()
    lsd.train()
    write_result(adata, run(lsd.result_job(), bar=False))
    return adata
