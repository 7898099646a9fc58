"""How close a latent model comes to the truth of `vae_tissue.py`: one row of the table per fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from celldyn import keys

Floats = NDArray[np.float64]

N_NEIGHBOURS = 15
OFF = 0.05
"""A gene below this share of its highest type is off in a type."""


@dataclass
class Fit:
    """What a model says.

    Parameters
    ----------
    name
        Of the model.
    latent
        (n_cells, n_latent).
    profiles
        (n_types, n_genes) denoised expression of the types, each summing to 1.
    theta
        (n_genes,) inverse dispersion.
    share
        (n_batches,) share of background; None where it is not modelled.
    heldout
        Terms of the held-out -ELBO in nats a cell.
    cpu_s
        CPU seconds of training, and of building where that is apart.
    """

    name: str
    latent: Floats
    profiles: Floats
    theta: Floats
    share: Floats | None
    heldout: dict[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0


def types_of(adata: AnnData) -> NDArray[np.integer]:
    """Return (n_cells,) codes of the true types."""
    codes: NDArray[np.integer] = adata.obs["cell_type"].cat.codes.to_numpy()
    return codes


def by_type(adata: AnnData, expression: Any) -> Floats:
    """Return (n_types, n_genes) means over the cells of each type, summing to 1."""
    types = types_of(adata)
    means = np.stack([np.asarray(expression[types == k].mean(axis=0)).ravel() for k in set(types)])
    profiles: Floats = np.asarray(means / means.sum(axis=1, keepdims=True), dtype=np.float64)
    return profiles


def measure(fit: Fit, adata: AnnData, seed: int = 0) -> dict[str, float]:
    """Return every measure of a fit."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    types, batch = types_of(adata), adata.obs["batch"].cat.codes.to_numpy()
    near = np.asarray(cKDTree(fit.latent).query(fit.latent, k=N_NEIGHBOURS + 1)[1])[:, 1:]
    chance = np.random.default_rng(seed).permutation(batch)
    n_types = int(types.max()) + 1
    found = KMeans(n_types, n_init=10, random_state=seed).fit_predict(fit.latent)
    true = by_type(adata, np.asarray(adata.layers[keys.TRUTH_EXPECTED()], dtype=np.float64))
    ratio = np.log(np.maximum(fit.profiles, 1e-12) / true)
    off = true < OFF * true.max(axis=0)
    technical = adata.uns["truth"]["technical"]
    theta = np.asarray(technical["theta"])[-adata.n_vars :]
    told = {
        **fit.heldout,
        "purity": float((types[near] == types[:, None]).mean()),
        "mixing": _entropy(batch, near) / _entropy(chance, near),
        "ARI": float(adjusted_rand_score(types, found)),
        "NMI": float(normalized_mutual_info_score(types, found)),
        "profile": float(np.abs(ratio).mean()),
        "off": float(ratio[off].mean()),
        "theta rank": float(spearmanr(fit.theta, theta)[0]),
        "theta ratio": float(np.exp(np.median(np.log(fit.theta / theta)))),
        "CPU s": fit.cpu_s,
    }
    if fit.share is not None:
        told["share"] = float(np.abs(fit.share - technical["ambient_share"]).max())
        told["in order"] = float((np.diff(fit.share) > 0).all())
    return told


def _entropy(codes: NDArray[np.integer], near: NDArray[np.integer]) -> float:
    shares = np.stack([(codes[near] == b).mean(axis=1) for b in np.unique(codes)], axis=1)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(shares * logs).sum(axis=1).mean())
