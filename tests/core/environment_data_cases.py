"""Small modalities: counts of genes in memory, sparse and on disk, and coordinates beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse


def counts(n=90, n_genes=40, *, seed=0):
    """Counts of a few programs, so that principal components mean something."""
    rng = np.random.default_rng(seed)
    programs = rng.normal(size=(n, 4)) @ rng.normal(size=(4, n_genes))
    return rng.poisson(np.exp(0.4 * programs + rng.normal(0, 0.5, n_genes))).astype(np.float32)


def table(X, *, form=np.asarray, **obs):
    """An AnnData with names of cells and genes."""
    return AnnData(
        form(X),
        obs=pd.DataFrame(obs, index=[f"cell{i}" for i in range(X.shape[0])]),
        var=pd.DataFrame(index=[f"gene{j}" for j in range(X.shape[1])]),
    )


def coordinates(n=90, *, seed=1):
    """A plane twice as wide as high, far from the origin, as modality."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(size=(n, 2)) * [200.0, 100.0] + [1000.0, -50.0]
    adata = table(xy)
    adata.var_names = ["x", "y"]
    return adata


def csr(X):
    return sparse.csr_matrix(X)


def smooth_fields(n=600, n_genes=40, n_train=400, *, noise=0.3, seed=0):
    """The page's synthetic task: cells in the unit square, genes that are smooth over it.

    Returns expression (n, n_genes), a modality of coordinates, and which cells train.
    """
    rng = np.random.default_rng(seed)
    xy = rng.uniform(size=(n, 2))
    waves = rng.normal(0, 3.0, (2, n_genes))
    genes = np.sin(xy @ waves + rng.uniform(0, 2 * np.pi, n_genes))
    genes += rng.normal(0, noise, (n, n_genes))
    space = table(xy)
    space.var_names = ["x", "y"]
    return genes, space, np.arange(n) < n_train
