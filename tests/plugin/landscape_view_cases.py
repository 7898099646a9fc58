"""A branched landscape made by hand: a stem that parts into two valleys, with every key."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd

from celldyn.landscape.surfaces import PotentialSurface

FATES = ("Left", "Right")


def potential_of(xy: np.ndarray) -> np.ndarray:
    """V of a place: it falls along y from 1 at 0, and parts at y = 1 into valleys at x = ±y'."""
    x, y = np.asarray(xy, float).T
    apart = np.maximum(y - 0.8, 0.0)
    return np.exp(-0.9 * y) + 0.5 * (np.abs(x) - 0.8 * apart) ** 2 * np.exp(-0.4 * y)


def tree(n: int = 600, seed: int = 0) -> ad.AnnData:
    """Cells of a stem and two branches; the fates lie side by side in the tissue."""
    rng = np.random.default_rng(seed)
    time = rng.beta(1.0, 1.1, n) * 2.6
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    x = 0.8 * np.maximum(time - 0.8, 0.0) * side + 0.16 * rng.normal(size=n)
    B = np.column_stack([x, time + 0.05 * rng.normal(size=n)]).astype(np.float32)
    z = np.zeros((n, 10), np.float32)
    z[:, :2] = 2.0 * B
    z += 0.05 * rng.normal(size=z.shape).astype(np.float32)
    right = 1.0 / (1.0 + np.exp(-6.0 * x))
    adata = ad.AnnData(rng.poisson(1.0, (n, 6)).astype(np.float32))
    adata.obs_names = [f"cell{i}" for i in range(n)]
    stage = np.where(time < 0.8, "Stem", np.where(side > 0, "B late", "A late"))
    adata.obs["cell_type"] = pd.Categorical(stage)
    adata.obs["potential"] = potential_of(B).astype(np.float32)
    adata.obs["lsd_pseudotime"] = (time / 2.6).astype(np.float32)
    adata.obs["entropy"] = rng.normal(size=n).astype(np.float32)
    adata.obs["fate"] = pd.Categorical(np.where(x > 0, *FATES[::-1]), categories=FATES)
    adata.obsm["X_cell_state"] = z
    adata.obsm["X_diff_state"] = B
    swirl = np.column_stack([B[:, 0] * 3 + np.sin(B[:, 1]), -2 * B[:, 1] + B[:, 0] ** 2])
    adata.obsm["X_umap"] = (swirl + 0.1 * rng.normal(size=B.shape)).astype(np.float32)
    angle = rng.random(n) * 2 * np.pi
    radius = 260 * np.sqrt(rng.random(n))
    middle = np.array([300.0, 300.0]) + np.outer(time - 1.3, [0.0, 60.0])
    wedge = np.outer(side * np.maximum(time - 0.8, 0), [60.0, 0.0])
    ring = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    adata.obsm["spatial"] = middle + wedge + ring
    adata.uns["celldyn"] = {
        "spatial_unit": "um",
        "um_per_unit": 1.0,
        "fates": json.dumps({"names": FATES}),
    }
    adata.obsm["fate_probabilities"] = np.column_stack([1 - right, right]).astype(np.float32)
    return adata


def surface(adata: ad.AnnData, nodes: int = 60) -> PotentialSurface:
    """The potential over the differentiation state, where there are cells."""
    B = np.asarray(adata.obsm["X_diff_state"], float)
    low, high = B.min(axis=0) - 0.15, B.max(axis=0) + 0.15
    axes = tuple(np.linspace(low[k], high[k], nodes) for k in (0, 1))
    plane = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    grid = potential_of(plane.reshape(-1, 2)).reshape(nodes, nodes)
    from scipy.spatial import cKDTree

    near = cKDTree(B).query(plane.reshape(-1, 2))[0].reshape(nodes, nodes) < 0.22
    i, j = np.meshgrid(np.arange(nodes - 1), np.arange(nodes - 1), indexing="ij")
    i, j = i.ravel(), j.ravel()
    whole = near[i, j] & near[i + 1, j] & near[i, j + 1] & near[i + 1, j + 1]
    a, b = i[whole] * nodes + j[whole], (i[whole] + 1) * nodes + j[whole]
    faces = np.concatenate([np.stack([a, b, b + 1], 1), np.stack([a, b + 1, a + 1], 1)])
    used, faces = np.unique(faces, return_inverse=True)
    places = plane.reshape(-1, 2)[used]
    values = grid.ravel()[used]
    vertices = np.column_stack([places, values])
    return PotentialSurface(vertices, faces.reshape(-1, 3), values, axes, grid)


def with_model(adata: ad.AnnData, seed: int = 0) -> ad.AnnData:
    """Give a tissue a model of random weights, as a trained one is kept."""
    import torch

    from celldyn.landscape.config import LSDConfig
    from celldyn.landscape.fitted import FittedLandscape
    from celldyn.landscape.networks import Networks
    from celldyn.landscape.results import describe
    from celldyn.landscape.saved import SavedLandscape

    torch.manual_seed(seed)
    cfg = LSDConfig()
    networks = Networks(adata.n_vars, cfg).eval()
    fitted = FittedLandscape(networks, cfg, tuple(adata.var_names))
    adata.uns["celldyn"]["landscape"] = describe(SavedLandscape(fitted))
    return adata
