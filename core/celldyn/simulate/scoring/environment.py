"""Predicted effects of a perturbation beside the true ones, which share the control's noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.errors import DataError, MissingKeyError
from celldyn.simulate.scoring import metrics

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.perturbation import Perturbation

Floats = NDArray[np.float64]
Row = tuple[str, str, float]

N_TOP = 20


def score_effect(
    adata: AnnData,
    true: sparse.csr_matrix,
    predicted: Any,  # noqa: ANN401
) -> Iterator[Row]:
    """Compare predicted changes of expression with the true ones.

    Parameters
    ----------
    adata
        The control: a simulated tissue.
    true
        (n_obs, n_vars) counts under the perturbation minus control.
    predicted
        (n_obs, n_vars) predicted changes, in counts.

    Yields
    ------
    (what, metric, value): over genes (mean effects), over cells and genes, the overlap of the
    strongest genes, and the error relative to predicting no effect at all.
    """
    estimate = sparse.csr_matrix(predicted)
    if estimate.shape != true.shape:
        raise DataError(
            f"the predicted effect is {estimate.shape}, and the tissue is {true.shape}",
            "give one change per cell and gene",
        )
    a, b = (np.asarray(m.mean(axis=0)).ravel() for m in (true, estimate))
    moved = np.abs(a) > 0
    yield "mean effect per gene", "correlation", metrics.pearson(a, b)
    yield "mean effect per gene", "sign agreement", metrics.sign_agreement(a, b)
    yield "mean effect per gene", "calibration slope", metrics.slope(a, b)
    n_top = min(N_TOP, int(moved.sum()))
    if n_top:
        top_a, top_b = (set(np.argsort(-np.abs(v), kind="stable")[:n_top]) for v in (a, b))
        overlap = len(top_a & top_b) / n_top
        yield "mean effect per gene", f"overlap of the {n_top} strongest", overlap
    power = float(true.multiply(true).sum())
    error = true - estimate
    if power > 0:
        left = float(error.multiply(error).sum()) / power
        yield "effect per cell and gene", "error over that of no effect", left
    per_cell = [np.sqrt(np.asarray(m.multiply(m).sum(axis=1)).ravel()) for m in (true, estimate)]
    yield "effect per cell", "rank correlation of its size", metrics.spearman(*per_cell)


def true_effect(adata: AnnData, perturbation: Perturbation | None) -> sparse.csr_matrix:
    """Return what a perturbation does to the tissue that `uns["truth"]` describes."""
    if perturbation is None:
        raise MissingKeyError(
            "the effect of nothing cannot be scored", "give the perturbation that was predicted"
        )
    from celldyn.simulate.scoring.compare import truth_of
    from celldyn.simulate.simulator import SpotlessSimulator

    config, rows = truth_of(adata)
    simulator = SpotlessSimulator(config)
    changed = simulator.perturbed(perturbation) - simulator.simulate_counts()
    at = {name: k for k, name in enumerate(simulator.gene_names)}
    columns = [at[str(name)] for name in adata.var_names]
    effect: sparse.csr_matrix = changed[rows][:, columns]
    return effect
