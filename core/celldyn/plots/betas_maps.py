"""Figures of fitted betas: on the tissue, by cell type, and how well a panel predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import DataError, MissingKeyError
from celldyn.plots.betas_style import DIVERGING, symmetric_limit, tissue_maps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from celldyn.betas import BetasResult

_LARGEST_DOT = 160.0
_HELDOUT, _TRAINING = "#0072b2", "#999999"


def beta_maps(
    xy: ArrayLike,
    result: BetasResult,
    modulators: Sequence[str] | None = None,
    *,
    n: int = 6,
    limit: float | None = None,
) -> Figure:
    """Draw the betas of some modulators on the tissue, on symmetric scales.

    Betas of regulators and of pairs have different units, so that each map has a scale of its own
    unless `limit` sets one for all.

    Parameters
    ----------
    xy
        (n_obs, 2) coordinates; lay sections beside one another before.
    result
        The betas of a gene.
    modulators
        Which; by default the `n` with the largest mean |beta|.
    n
        How many, if none are named.
    limit
        What the scale reaches to.

    Raises
    ------
    MissingKeyError
        If the gene has no such modulator.
    """
    wanted = list(result.table()["modulator"].head(n)) if modulators is None else list(modulators)
    unknown = [name for name in wanted if name not in result.modulators]
    if unknown:
        raise MissingKeyError(
            f"{result.gene} has no modulator {unknown[0]!r}",
            f"choose among {', '.join(result.modulators[:12])}",
        )
    at = [1 + result.modulators.index(name) for name in wanted]
    maps = [result.values[:, column] for column in at]
    alike = limit is not None
    figure = tissue_maps(xy, maps, wanted, label="beta", limit=limit, shared=alike)
    figure.suptitle(f"betas of {result.gene}", fontsize=11)
    return figure


def modulator_dots(result: BetasResult, *, n: int = 25) -> Figure:
    """Draw the mean beta of the strongest modulators in each cell type.

    Parameters
    ----------
    result
        The betas of a gene.
    n
        How many modulators, those with the largest mean |beta| over all cells.

    Returns
    -------
    A dot per modulator and cell type (and section), as large as the beta's size and coloured by
    its sign and size; none where it is 0.

    Raises
    ------
    DataError
        If no cell type has a model.
    """
    from matplotlib.figure import Figure

    fitted = [k for k, fit in enumerate(result.fits) if fit.status == "fitted"]
    if not fitted or not result.modulators:
        raise DataError(f"no cell type has a model of {result.gene}", "see its scores")
    names = list(result.table()["modulator"].head(n))
    at = [1 + result.modulators.index(name) for name in names]
    betas = result.coefficients[np.ix_(fitted, at)].T
    labels = [
        " · ".join(part for part in (result.fits[k].section, result.fits[k].cluster) if part)
        for k in fitted
    ]
    reach = symmetric_limit(betas)
    figure = Figure(
        figsize=(3.0 + 0.35 * len(fitted), 1.6 + 0.22 * len(names)), layout="constrained"
    )
    axes = figure.add_subplot()
    row, column = np.nonzero(betas)
    values = betas[row, column]
    dots = axes.scatter(
        column,
        row,
        s=_LARGEST_DOT * np.minimum(np.abs(values) / reach, 1.0),
        c=values,
        cmap=DIVERGING,
        vmin=-reach,
        vmax=reach,
        edgecolors="#666666",
        linewidths=0.3,
    )
    axes.set_xticks(np.arange(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(np.arange(len(names)), names, fontsize=7)
    axes.set(xlim=(-0.6, len(labels) - 0.4), ylim=(len(names) - 0.4, -0.6))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"mean betas of {result.gene}", fontsize=10)
    figure.colorbar(dots, ax=axes, label="mean beta", shrink=0.7)
    return figure


def score_bars(table: pd.DataFrame, *, n: int = 40, threshold: float | None = None) -> Figure:
    """Draw how well the models of a panel predict cells that they have not seen.

    Parameters
    ----------
    table
        Columns gene, r2, heldout_r2, one row per gene, as `BetaStore.gene_table` gives it.
    n
        How many genes have a bar, the best predicted ones.
    threshold
        Where a line is drawn.

    Returns
    -------
    Bars of held-out R² with a mark at the training R² of the best genes, and a histogram of the
    held-out R² of all.

    Raises
    ------
    DataError
        If no gene was tested on held-out cells.
    """
    from matplotlib.figure import Figure

    known = table[np.isfinite(table["heldout_r2"].to_numpy(float))]
    if known.empty:
        raise DataError("no gene was tested on held-out cells", "fit with heldout_folds above 0")
    best = known.sort_values("heldout_r2", ascending=False, kind="stable").head(n)
    figure = Figure(figsize=(10, 1.6 + 0.17 * len(best)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    at = np.arange(len(best))[::-1]
    left.barh(at, best["heldout_r2"], color=_HELDOUT, label="held out")
    left.scatter(best["r2"], at, marker="|", color=_TRAINING, s=40, label="training")
    left.set_yticks(at, list(best["gene"]), fontsize=7)
    left.set(xlabel="R²", title=f"the {len(best)} best predicted genes")
    left.legend(fontsize=8, frameon=False, loc="lower right")
    values = known["heldout_r2"].to_numpy(float)
    right.hist(np.clip(values, -1.0, 1.0), bins=40, range=(-1.0, 1.0), color=_HELDOUT)
    right.set(xlabel="held-out R²", ylabel="genes", title=f"all {len(known)} genes")
    for axes in (left, right):
        axes.axvline(0.0, color="#333333", linewidth=0.6)
        if threshold is not None:
            axes.axvline(threshold, color="#d55e00", linewidth=1.0, linestyle="--")
        axes.spines[["top", "right"]].set_visible(False)
    return figure
