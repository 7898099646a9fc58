"""Spatial betas beside the true coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.errors import MissingKeyError
from celldyn.simulate.scoring import metrics

if TYPE_CHECKING:
    from anndata import AnnData

Floats = NDArray[np.float64]
Row = tuple[str, str, float]

FALSE_POSITIVE_SHARE = 0.05
"""A modulator without an edge counts as found above this share of the strongest true beta."""


def score_betas(adata: AnnData, truth: dict[str, Any], rows: NDArray[np.intp]) -> Iterator[Row]:
    """Compare each fitted target with its true coefficients, modulator by modulator.

    Parameters
    ----------
    adata
        With `obsm["betas_<gene>"]`.
    truth
        `uns["truth"]`.
    rows
        (n_obs,) which row of the truth each cell of `adata` is.

    Yields
    ------
    (what, metric, value) with what = "<gene>: <modulator>", or "<gene>" for all of a gene's.
    """
    there = truth.get("betas", {})
    names = {key: str(key).replace("%2F", "/") for key in there}
    fitted = {key: gene for key, gene in names.items() if keys.BETAS(gene=gene) in adata.obsm}
    if not fitted:
        known = ", ".join(sorted(names.values())) or "none"
        raise MissingKeyError(
            "no target of known coefficients has been fitted", f"fit one of these genes: {known}"
        )
    for key, gene in fitted.items():
        columns = [str(name) for name in there[key]["columns"]]
        true = np.asarray(there[key]["values"], dtype=np.float64)[rows]
        home = adata.uns[keys.CELLDYN.name][keys.BETAS_INFO(gene=gene)]
        estimate = np.asarray(adata.obsm[keys.BETAS(gene=gene)], dtype=np.float64)
        yield from _gene(gene, columns, true, [str(c) for c in home["columns"]], estimate)


def _gene(
    gene: str, columns: list[str], true: Floats, found: list[str], estimate: Floats
) -> Iterator[Row]:
    at = {name: k for k, name in enumerate(found)}
    padded = np.concatenate([estimate, np.zeros((len(estimate), 1))], axis=1)
    matched = padded[:, [at.get(name, len(found)) for name in columns]]
    for k, column in enumerate(columns[1:], start=1):
        what = f"{gene}: {column.removeprefix('beta_')}"
        a, b = true[:, k], matched[:, k]
        yield what, "correlation over cells", metrics.pearson(a, b)
        yield what, "sign agreement", metrics.sign_agreement(a, b)
        yield what, "calibration slope", metrics.slope(a, b)
        yield what, "relative error", metrics.relative_error(a, b)
    yield (
        gene,
        "correlation over cells and modulators",
        metrics.pearson(true[:, 1:], matched[:, 1:]),
    )
    strength = np.abs(estimate[:, 1:]).mean(axis=0)
    is_edge = np.isin(found[1:], columns[1:])
    yield gene, "average precision of edges", metrics.average_precision(is_edge, strength)
    strongest = float(np.abs(true[:, 1:]).mean(axis=0).max(initial=0.0))
    false = strength[~is_edge] > FALSE_POSITIVE_SHARE * strongest
    yield gene, "false positives among non-edges", float(false.mean()) if false.size else 0.0
    missed = ~np.isin(columns[1:], [n for n, s in zip(found[1:], strength, strict=True) if s > 0])
    yield gene, "edges not found", float(missed.mean()) if missed.size else 0.0
