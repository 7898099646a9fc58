"""A small tissue of expression and places, and environments trained on it for a moment."""

from __future__ import annotations

from functools import cache

import anndata
import numpy as np
import pandas as pd

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.fitting import fit_job
from celldyn.environment.gathering import gather
from celldyn.jobs import run

N_CELLS, N_GENES = 24, 6


def tables(n=N_CELLS, seed=0):
    """Return counts of genes that vary across a square, and where cells are in it."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(size=(n, 2))
    rates = 2 + 3 * (1 + np.sin(3 * places @ rng.normal(size=(2, N_GENES))))
    obs = pd.DataFrame(
        {"section": np.where(places[:, 0] < 0.5, "left", "right"), "train": np.arange(n) % 4 > 0},
        index=[f"cell{k}" for k in range(n)],
    )
    genes = anndata.AnnData(
        rng.poisson(rates).astype(np.float32), obs=obs,
        var=pd.DataFrame(index=[f"gene{k}" for k in range(N_GENES)]),
    )  # fmt: skip
    where = anndata.AnnData(places.astype(np.float32), obs=obs, var=pd.DataFrame(index=["x", "y"]))
    return [genes, where]


def config(**changes):
    """Return parameters of a training of three short updates."""
    quick = {
        "dim": 2, "target_modalities": [1], "spatial": [1], "log_modalities": [0],
        "pca_dim": [4, 0], "num_cells_min": 6, "num_cells_max": 10, "num_environments": 3,
        "update_timesteps": 400, "max_timesteps": 1200, "epoch_size": 200, "batch_size": 100,
        "update_iterations": 2, "min_time": 0.8, "max_time": 1.2, "eval_time": 0.4,
        "pinning_epochs": 1, "pinning_batches": 2, "warm_start_steps": 3, "critic_updates": 1,
        "seed": 3,
    }  # fmt: skip
    return EnvironmentConfig.preset("recommended", **{**quick, **changes})


@cache
def trained():
    """Return one environment that all tests look at and none changes."""
    return run(fit_job(tables(), config(train_mask="train"), device="cpu"), bar=False)


@cache
def gathered():
    """Return data of the tissue."""
    return gather(tables(), config().data)


def same(one, other):
    """Assert that two environments are the same, bit for bit."""
    assert one.config == other.config
    for mine, its in zip((one.policy, *one.pinning), (other.policy, *other.pinning), strict=True):
        held = its.state_dict()
        for name, value in mine.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), held[name].numpy(), err_msg=name)
    assert one.resume.keys() == other.resume.keys()
    for name, value in one.resume.items():
        np.testing.assert_array_equal(value.numpy(), other.resume[name].numpy(), err_msg=name)
    for part in ("inputs", "targets", "spatial", "obs_names", "history", "updates", "timesteps",
                 "notes"):  # fmt: skip
        assert getattr(one, part) == getattr(other, part), part
