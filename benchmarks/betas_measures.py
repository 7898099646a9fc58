"""What is measured of betas whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import anndata as ad
import numpy as np
from betas_tissue import REGULATED

from celldyn import keys
from celldyn.simulate import score
from celldyn.simulate.scoring.metrics import pearson


@dataclass
class Fits:
    """What one mode found: betas of every cell by gene, scores by gene and cluster, seconds."""

    name: str
    beside: str = "seed"
    betas: dict[str, tuple[list[str], np.ndarray]] = field(default_factory=dict)
    heldout: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failure: str = ""


def measure(fits: Fits, adata: ad.AnnData) -> dict[str, float]:
    """Return the columns of the table."""
    home = {
        keys.BETAS_INFO(gene=gene): {"columns": columns}
        for gene, (columns, _) in fits.betas.items()
    }
    scored = ad.AnnData(
        obs=adata.obs[[]],
        obsm={keys.BETAS(gene=g): b for g, (_, b) in fits.betas.items() if g in REGULATED},
        uns={keys.TRUTH(): adata.uns[keys.TRUTH()], keys.CELLDYN.name: home},
    )
    by_metric = score(scored, "betas").groupby("metric")["value"]
    # An edge whose beta is 0 everywhere has no correlation: it was not found.
    correlation = by_metric.get_group("correlation over cells").fillna(0.0).mean()
    mean = by_metric.mean()
    heldout = heldout_scores(fits.heldout, adata)
    return {
        "corr": correlation,
        "within": float(np.mean([r for _, r in within_types(fits, adata)] or [np.nan])),
        "sign": mean["sign agreement"],
        "slope": mean["calibration slope"],
        "error": mean["relative error"],
        "AP": mean["average precision of edges"],
        "false+": mean["false positives among non-edges"],
        "heldout": heldout[0],
        "nothing": heldout[1],
        "CPU s": float(np.mean(list(fits.seconds.values()))),
    }


def within_types(fits: Fits, adata: ad.AnnData) -> Iterator[tuple[str, float]]:
    """Yield (gene, correlation) of each edge that varies within types, less the types' means."""
    codes = adata.obs["cell_type_int"].to_numpy()
    for gene, columns, true in truths(adata):
        if gene not in fits.betas:
            continue
        names, betas = fits.betas[gene]
        for k, column in enumerate(columns[1:], start=1):
            expected = centred(true[:, k], codes)
            if expected.std() < 1e-6:
                continue
            found = betas[:, names.index(column)] if column in names else np.zeros(len(codes))
            r = pearson(expected, centred(found, codes))
            yield gene, r if np.isfinite(r) else 0.0


def truths(adata: ad.AnnData) -> Iterator[tuple[str, list[str], np.ndarray]]:
    for gene, there in adata.uns[keys.TRUTH()]["betas"].items():
        yield gene, [str(c) for c in there["columns"]], np.asarray(there["values"], np.float64)


def centred(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    sums, sizes = np.bincount(codes, values), np.bincount(codes)
    return values - (sums / np.maximum(sizes, 1))[codes]


def heldout_scores(scores: dict[str, dict[int, float]], adata: ad.AnnData) -> tuple[float, float]:
    """Return mean held-out R², weighted by cells, where targets are regulated and where not."""
    codes = adata.obs["cell_type_int"].to_numpy()
    taken: dict[bool, list[tuple[float, int]]] = {True: [], False: []}
    for gene, _, true in truths(adata):
        for code, r2 in scores.get(gene, {}).items():
            mask = codes == code
            if np.isfinite(r2):
                taken[bool(np.abs(true[mask, 1:]).sum() > 0)].append((r2, int(mask.sum())))
    where, elsewhere = (_weighted_mean(taken[flag]) for flag in (True, False))
    return where, elsewhere


def _weighted_mean(pairs: list[tuple[float, int]]) -> float:
    values, weights = np.array(pairs, np.float64).reshape(-1, 2).T
    return float(np.average(values, weights=weights)) if len(values) else float("nan")


def ceiling(adata: ad.AnnData) -> float:
    """Return the R² of the true means where targets are regulated: no model predicts better."""
    codes, scores = adata.obs["cell_type_int"].to_numpy(), {}
    for gene, columns, true in truths(adata):
        there = adata.uns[keys.TRUTH()]["betas"][gene]
        ligands = there.get("ligands", ())
        heard = {name: there["received"][:, k] for k, name in enumerate(ligands)}
        mean = true[:, 0].copy()
        for beta, column in zip(true.T[1:], columns[1:], strict=True):
            ligand, _, partner = column.removeprefix("beta_").replace("#", "$").rpartition("$")
            mean += beta * counts(adata, partner) * (heard[ligand] if ligand else 1.0)
        y = counts(adata, gene)
        scores[gene] = {
            int(c): 1 - ((y - mean)[codes == c] ** 2).mean() / y[codes == c].var()
            for c in np.unique(codes)
        }
    return heldout_scores(scores, adata)[0]


def counts(adata: ad.AnnData, gene: str) -> np.ndarray:
    return adata[:, gene].layers["imputed_count"].toarray().ravel().astype(np.float64)
