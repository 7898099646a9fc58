"""A small environment that was never trained, but moves, sees and tells as a trained one does."""

from __future__ import annotations

import numpy as np
import torch
from environment_data_cases import coordinates, counts, table

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.fitted import FittedEnvironment
from celldyn.environment.manager import BasicManager
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.preprocessing import Preprocessing

N = 24


def tables(n=N, seed=0):
    """Counts of genes, and places, of the same cells."""
    return [table(counts(n, seed=seed)), coordinates(n, seed=seed + 1)]


def environment(adatas=None, *, inputs=(0,), targets=(1,), train=None, **config):
    """Weights drawn at random, strong enough that what a cell sees matters."""
    adatas = tables() if adatas is None else adatas
    cfg = EnvironmentConfig(**{
        "dim": 4, "pca_dim": [6], "log_modalities": [0], "spatial": [1], "friction_force": 0.3,
        "actor_gain": 1.0, **config,
    })  # fmt: skip
    preprocessing = Preprocessing(
        cfg.sample_counts, cfg.log_modalities, cfg.pca_dim, spatial=cfg.spatial
    ).fit(adatas, train)
    sizes = preprocessing.n_features
    with torch.random.fork_rng():
        torch.manual_seed(3)
        policy = Policy(cfg.dim, sum(sizes[k] for k in inputs), cfg.policy).eval()
        pinning = tuple(Pinning(cfg.dim, sizes[k], cfg.policy).eval() for k in targets)
    return FittedEnvironment(
        config=cfg, policy=policy, pinning=pinning, preprocessing=preprocessing, inputs=inputs,
        targets=targets, spatial=tuple(cfg.spatial), train_mask=train,
        obs_names=tuple(adatas[0].obs_names),
    )  # fmt: skip


def at_rest(fitted):
    """The same, whose cells push nowhere, so that friction brings them to rest."""
    with torch.no_grad():
        fitted.policy.actor_out.weight.zero_()
        fitted.policy.actor_out.bias.zero_()
    return fitted


def manager(adatas=None, *, reset=True, fitted=None, **options):
    """A manager of these cells, at their beginning."""
    adatas = tables() if adatas is None else adatas
    fitted = environment(adatas, **options) if fitted is None else fitted
    made = BasicManager(fitted=fitted, adatas=adatas)
    if reset:
        made.reset_env()
    return made


def expression(adatas):
    """What the counts of the cells are, dense."""
    return np.asarray(adatas[0].X)
