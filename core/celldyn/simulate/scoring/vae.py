"""A latent space and a denoised expression beside what the counts were drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn import keys
from celldyn.errors import MissingKeyError
from celldyn.simulate.scoring import metrics

if TYPE_CHECKING:
    from anndata import AnnData

Floats = NDArray[np.float64]
Row = tuple[str, str, float]

N_NEIGHBOURS = 15


def score_vae(
    adata: AnnData,
    truth: dict[str, Any],
    *,
    latent: str = keys.LATENT.name,
    normalized: str = keys.NORMALIZED.name,
    ambient: str = "ambient",
    theta: str = "theta",
    library: str = "library",
    background_share: str = "vae_background_share",
    dispersion: str = "vae_dispersion",
) -> Iterator[Row]:
    """Compare what is there of a variational autoencoder with the truth.

    Parameters
    ----------
    adata
        A simulated tissue; batches are `obs["batch"]` where there are any.
    truth
        `uns["truth"]`.
    latent
        Key of obsm, (n_obs, n_latent).
    normalized
        Layer of native expression, ambient removed.
    ambient, theta
        Columns of var: ambient profile and inverse dispersion.
    library
        Column of obs: library size.
    background_share
        Column of obs: share of each cell's expected counts that is ambient.
    dispersion
        Key of varm, (n_vars, n_groups) inverse dispersion.

    Yields
    ------
    (what, metric, value). In the latent space, over the 15 nearest neighbours: the share of the
    own cell type, and the entropy of the batches over that of a perfect mixture. Of the ambient
    the share of each batch's counts beside the true one; of the inverse dispersion, as a mean over
    groups in logs, the rank correlation over genes and the median of estimate over truth.
    """
    technical = truth.get("technical", {})
    found = False
    if latent in adata.obsm:
        found = True
        yield from _neighbours(adata, latent)
    if normalized in adata.layers:
        found = True
        yield from _native(adata, normalized)
    for column, table, name in (
        (ambient, adata.var, "ambient"),
        (theta, adata.var, "theta"),
        (library, adata.obs, "library"),
    ):
        if column in table and name in technical:
            found = True
            values = np.atleast_2d(np.asarray(technical[name], dtype=np.float64))
            true = values.mean(axis=0) if table is adata.var else values.ravel()
            estimate = np.asarray(table[column], dtype=np.float64)
            yield column, "rank correlation", metrics.spearman(true, estimate)
            yield column, "correlation of logs", metrics.pearson(_log(true), _log(estimate))
            if column == theta:
                yield column, "median over truth", _median_ratio(true, estimate)
    if dispersion in adata.varm and "theta" in technical:
        found = True
        yield from _dispersion(adata, dispersion, technical["theta"])
    if background_share in adata.obs:
        found = True
        yield from _background(adata, background_share, technical)
    if not found:
        raise MissingKeyError(
            "there is nothing of a variational autoencoder on this data set",
            f"train one, or name its keys (obsm {latent!r}, layers {normalized!r})",
        )


def _neighbours(adata: AnnData, latent: str) -> Iterator[Row]:
    from scipy.spatial import cKDTree

    points = np.asarray(adata.obsm[latent], dtype=np.float64)
    k = min(N_NEIGHBOURS, len(points) - 1)
    near = np.asarray(cKDTree(points).query(points, k=k + 1)[1])[:, 1:]
    types = adata.obs["cell_type"].astype("category").cat.codes.to_numpy()
    yield latent, "neighbours of the own type", float((types[near] == types[:, None]).mean())
    if "batch" in adata.obs and adata.obs["batch"].nunique() > 1:
        codes = adata.obs["batch"].astype("category").cat.codes.to_numpy()
        shares = np.stack([(codes[near] == b).mean(axis=1) for b in np.unique(codes)], axis=1)
        yield latent, "mixing of batches", float(_entropy(shares).mean() / _whole(codes))


def _dispersion(adata: AnnData, key: str, theta: Any) -> Iterator[Row]:  # noqa: ANN401
    groups = np.asarray(adata.varm[key], dtype=np.float64).reshape(adata.n_vars, -1)
    true, estimate = np.ravel(np.asarray(theta, np.float64)), np.exp(_log(groups).mean(axis=1))
    yield key, "rank correlation", metrics.spearman(true, estimate)
    yield key, "correlation of logs", metrics.pearson(_log(true), _log(estimate))
    yield key, "median over truth", _median_ratio(true, estimate)


def _median_ratio(true: Floats, estimate: Floats) -> float:
    return float(np.exp(np.median(_log(estimate) - _log(true))))


def _background(adata: AnnData, column: str, technical: dict[str, Any]) -> Iterator[Row]:
    """Compare the share of each batch's counts that is ambient: in order, and how far off."""
    totals = np.asarray(adata.X.sum(axis=1), dtype=np.float64).ravel()
    names, codes = np.array(["all"]), np.zeros(adata.n_obs, dtype=np.intp)
    if "batch" in adata.obs:
        batch = adata.obs["batch"].astype("category").cat
        names, codes = batch.categories.to_numpy(), batch.codes.to_numpy()

    def share(molecules: Floats) -> Floats:
        sums: Floats = np.bincount(codes, molecules, len(names)) / np.bincount(
            codes, totals, len(names)
        )
        return sums

    estimate = share(np.asarray(adata.obs[column], dtype=np.float64) * totals)
    if "ambient_share" in technical:
        true = np.ravel(np.asarray(technical["ambient_share"], dtype=np.float64))
    elif keys.TRUTH_AMBIENT() in adata.layers:
        molecules = adata.layers[keys.TRUTH_AMBIENT()].sum(axis=1)
        true = share(np.asarray(molecules, dtype=np.float64).ravel())
    else:
        true = np.zeros(len(names))
    for name, ours, theirs in zip(names, estimate, true, strict=True):
        yield f"{column} of {name}", "estimate less truth", float(ours - theirs)
    yield column, "largest error", float(np.abs(estimate - true).max())
    if len(names) > 1:
        yield column, "rank correlation", metrics.spearman(true, estimate)


def _native(adata: AnnData, layer: str) -> Iterator[Row]:
    """Compare with the counts that are not ambient: cell by cell, and gene by gene."""
    native = sparse.csr_matrix(adata.X).astype(np.float64)
    if keys.TRUTH_AMBIENT() in adata.layers:
        native = native - sparse.csr_matrix(adata.layers[keys.TRUTH_AMBIENT()])
    estimate = sparse.csr_matrix(adata.layers[layer]).astype(np.float64)
    yield (
        layer,
        "correlation of gene means",
        metrics.pearson(np.asarray(native.mean(axis=0)), np.asarray(estimate.mean(axis=0))),
    )
    by_cell = _row_correlation(native, estimate)
    yield layer, "median correlation with native counts", float(np.nanmedian(by_cell))


def _row_correlation(a: sparse.csr_matrix, b: sparse.csr_matrix) -> Floats:
    n = a.shape[1]
    sum_a, sum_b = (np.asarray(m.sum(axis=1)).ravel() for m in (a, b))
    square_a, square_b = (np.asarray(m.multiply(m).sum(axis=1)).ravel() for m in (a, b))
    product = np.asarray(a.multiply(b).sum(axis=1)).ravel() - sum_a * sum_b / n
    scale = np.sqrt((square_a - sum_a**2 / n) * (square_b - sum_b**2 / n))
    correlation: Floats = np.full(len(product), np.nan)
    np.divide(product, scale, out=correlation, where=scale > 0)
    return correlation


def _entropy(shares: Floats) -> Floats:
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Floats = -(shares * logs).sum(axis=1)
    return entropy


def _whole(codes: NDArray[np.integer]) -> float:
    shares = np.bincount(codes) / len(codes)
    return float(_entropy(shares[None, :])[0])


def _log(values: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(values, 1e-12))
    return logs
