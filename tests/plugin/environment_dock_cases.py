"""A small tissue whose places can be told from expression, and environments trained on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.fitting import fit

N_CELLS, N_GENES = 120, 16
TINY = {
    "dim": 4, "num_cells_min": 20, "num_cells_max": 30, "num_environments": 2,
    "update_timesteps": 1_000, "epoch_size": 500, "batch_size": 250, "update_iterations": 1,
    "max_timesteps": 3_000, "min_time": 4.0, "max_time": 8.0, "eval_time": 2.0,
    "friction_force": 0.5, "pca_dim": [8],
}  # fmt: skip
"""Parameters that train within a second or two."""


def field_tissue(n: int = N_CELLS, seed: int = 0) -> AnnData:
    """Return counts of genes whose mean rises along x (even ones) or y (odd ones).

    Of two sections, the second has coordinates of its own, as far right as the first.
    """
    random = np.random.default_rng(seed)
    xy = random.random((n, 2))
    slope = np.where(np.arange(N_GENES)[None] % 2 == 0, xy[:, :1], xy[:, 1:])
    counts = random.poisson(2.0 + 10.0 * slope).astype(np.float32)
    section = np.where(np.arange(n) % 3 == 0, "s2", "s1")
    obs = pd.DataFrame(
        {
            "section": pd.Categorical(section),
            "cell_type": pd.Categorical(np.where(xy[:, 0] > 0.5, "right", "left")),
        },
        index=[f"cell{k}" for k in range(n)],
    )
    var = pd.DataFrame(index=[f"gene{k}" for k in range(N_GENES)])
    adata = AnnData(sparse.csr_matrix(counts), obs=obs, var=var, obsm={"spatial": 500.0 * xy})
    adata.uns["celldyn"] = {"section_key": "section", "spatial_unit": "um", "um_per_unit": 1.0}
    return adata


def tiny_config(**changes: object) -> EnvironmentConfig:
    """Return a config whose training takes a second or two."""
    return EnvironmentConfig(**{**TINY, **changes})  # type: ignore[arg-type]


def trained(adata: AnnData) -> FittedEnvironment:
    """Return an environment that tells places of expression, as the dock would ask for it."""
    from napari_celldyn.widgets.environment_modalities import data_config, proposed, tables

    config, chosen = tiny_config(), proposed(adata)
    data = data_config(adata, chosen, config.data, partition="section")
    config = config.replace(**data.model_dump())
    return fit(tables(adata, chosen), config, device="cpu", progress_bar=False)
