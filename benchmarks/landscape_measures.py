"""How close a landscape comes to the truth of `tree_data.py`: its time, its fates, its potential.

Numpy and scipy alone, since sclsd is measured by it in an environment of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from tree_truth import Truth

Rows = dict[str, float]


def ranks(a: ArrayLike, b: ArrayLike) -> float:
    """Return the rank correlation of two (n,) arrays; NaN where one does not vary."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y)[0])


def measure(adata: AnnData, pseudotime: ArrayLike, fate: ArrayLike, potential: ArrayLike) -> Rows:
    """Return what is measured of one landscape.

    Parameters
    ----------
    adata
        A set of `tree_data.py`.
    pseudotime, potential
        (n_cells,) numbers.
    fate
        (n_cells,) names of clusters.
    """
    truth = Truth.read(adata)
    clusters = np.asarray(adata.obs["clusters"].astype(str))
    time, true = adata.obs["true_time"].to_numpy(), np.asarray(adata.obs["true_fate"].astype(str))
    said = np.asarray(fate).astype(str)
    within = [ranks(np.asarray(pseudotime)[true == one], time[true == one]) for one in set(true)]
    terminal, inner = np.isin(clusters, truth.terminal), clusters == truth.inner
    stem = clusters == truth.stem
    rows = {
        "pseudotime": ranks(pseudotime, time),
        "within runs": float(np.mean(within)),
        "terminal": float((said == clusters)[terminal].mean()),
        "inner": float(np.isin(said, truth.may[truth.inner])[inner].mean()),
        "inner right": float((said == true)[inner].mean()),
        "stem": float(np.isin(said, truth.terminal)[stem].mean()),
    }
    if "truth_potential" in adata.obs:
        rows["potential"] = ranks(potential, adata.obs["truth_potential"])
    return rows


def agreement(
    adata: AnnData, fates: list[NDArray[Any]], certain: list[NDArray[np.bool_]] | None = None
) -> Rows:
    """Return the share of cells on whose fate every seed agrees, by part of the tree.

    With `certain`, (n_cells,) per seed, cells that some seed is not certain of are left out, and
    what share was asked is told beside it.
    """
    truth, clusters = Truth.read(adata), np.asarray(adata.obs["clusters"].astype(str))
    said = np.stack([np.asarray(fate).astype(str) for fate in fates])
    same = (said == said[0]).all(axis=0)
    sure = np.ones(len(clusters), bool) if certain is None else np.stack(certain).all(axis=0)
    parts = {"all": np.ones(len(clusters), bool), truth.stem: clusters == truth.stem}
    if truth.inner != truth.stem:
        parts[truth.inner] = clusters == truth.inner
    rows = {}
    for name, part in parts.items():
        asked = part & sure
        rows[f"agree {name}"] = float(same[asked].mean()) if asked.any() else float("nan")
        if certain is not None:
            rows[f"asked {name}"] = float(sure[part].mean())
    return rows


def effect(before: ArrayLike, after: ArrayLike, fates: tuple[str, ...]) -> float:
    """Return how the share of cells that come to `fates` changes."""
    was, now = np.asarray(before).astype(str), np.asarray(after).astype(str)
    return float(np.isin(now, fates).mean() - np.isin(was, fates).mean())


def housekeeping(adata: AnnData, n: int = 10) -> list[str]:
    """Return n housekeeping genes, evenly from the most to the least expressed half."""
    names = np.asarray(adata.var_names[adata.var["role"] == "housekeeping"])
    mean = np.asarray(adata[:, list(names)].layers["raw"].mean(axis=0)).ravel()
    order = names[np.argsort(-mean)][: max(n, len(names) // 2)]
    return [str(order[k]) for k in np.linspace(0, len(order) - 1, n).astype(int)]
