"""Figures of the regularised VAE: its ambient RNA and its dispersions.

Those of its training and of the latent space have modules of their own, and their names here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.data.palette import default_colours
from celldyn.data.words import counted
from celldyn.errors import DataError
from celldyn.plots.vae_latent import (
    plot_attribution,
    plot_attribution_scatter,
    plot_umap,
    plot_umap_comparison,
)
from celldyn.plots.vae_style import MARK, TRAINING, VALIDATION, by_group, plain
from celldyn.plots.vae_training import plot_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_ambient_profile",
    "plot_ambient_shares",
    "plot_attribution",
    "plot_attribution_scatter",
    "plot_dispersion",
    "plot_training",
    "plot_umap",
    "plot_umap_comparison",
]

_SMALLEST = 1e-12
"""What an axis of logarithms begins at."""
_BINS = 60


def plot_ambient_profile(
    background: ArrayLike,
    names: Sequence[str],
    gene_names: Sequence[str],
    mean_expression: ArrayLike | None = None,
    n_genes: int = 20,
) -> Figure:
    """Draw the genes of which there is most ambient RNA, in each group.

    Parameters
    ----------
    background
        (n_genes, n_groups) background s ≥ 0 of each ambient group, before library size.
    names
        The groups.
    gene_names
        The genes.
    mean_expression
        (n_genes,) or (n_genes, n_groups) mean expression in the same unit: the background of
        every gene is drawn beside it, with the diagonal on which all of a gene is ambient.
    n_genes
        How many genes are listed: those with the largest mean background.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """
    from matplotlib.figure import Figure

    table = by_group(background, names, "background")
    if len(gene_names) != len(table):
        raise DataError(
            f"{len(gene_names)} names do not fit {counted(len(table), 'gene')}",
            "give one name per gene",
        )
    top = np.argsort(-table.mean(axis=1), kind="stable")[: max(n_genes, 1)]
    wide = mean_expression is not None
    figure = Figure(
        figsize=(9.0 if wide else 5.0, 1.6 + 0.19 * max(len(top), 8)), layout="constrained"
    )
    axes = figure.subplots(1, 2 if wide else 1, squeeze=False)[0]
    colours = default_colours(len(names))
    at = np.arange(len(top))
    for values, name, colour in zip(table.T, names, colours, strict=True):
        axes[0].plot(values[top], at, "o", markersize=4, color=colour, label=name, alpha=0.8)
    axes[0].set_yticks(at, [str(gene_names[k]) for k in top], fontsize=7)
    axes[0].set(ylim=(len(top) - 0.4, -0.6), xlabel="ambient background s")
    axes[0].set_xlim(left=0.0)
    axes[0].hlines(at, 0.0, table[top].max(axis=1), color="#dddddd", linewidth=0.8, zorder=0)
    axes[0].set_title(f"the {len(top)} genes with most ambient RNA", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False, loc="lower right")
    plain(axes[0])
    if mean_expression is not None:
        _draw_against_means(axes[1], table, mean_expression, gene_names, colours, top)
    return figure


def _draw_against_means(
    axes: Axes,
    background: NDArray[np.float64],
    mean_expression: ArrayLike,
    gene_names: Sequence[str],
    colours: Sequence[str],
    top: NDArray[np.intp],
) -> None:
    means = np.asarray(mean_expression, np.float64)
    if means.ndim == 1:
        means = np.repeat(means[:, None], background.shape[1], axis=1)
    if means.shape != background.shape:
        raise DataError(
            f"mean expression of shape {means.shape} does not fit a background of shape "
            f"{background.shape}",
            "give one number per gene, or one per gene and group",
        )
    for x, y, colour in zip(means.T, background.T, colours, strict=True):
        there = (x > _SMALLEST) & (y > _SMALLEST)
        axes.scatter(x[there], y[there], s=5, color=colour, linewidths=0, alpha=0.6)
    for k in top[:8]:
        place = (means[k].mean(), background[k].mean())
        if min(place) > _SMALLEST:
            axes.annotate(str(gene_names[k]), place, fontsize=6, xytext=(3, 3),
                          textcoords="offset points")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="mean expression", ylabel="ambient background s")
    axes.axline((1.0, 1.0), (10.0, 10.0), color=MARK, linewidth=0.6, linestyle="--")
    axes.set_title("below the line, a gene is expressed too", fontsize=9)
    plain(axes)


def plot_ambient_shares(
    shares: pd.DataFrame, *, truth: Mapping[str, float] | None = None
) -> Figure:
    """Draw which share of the counts of each group is ambient, with its interval.

    Parameters
    ----------
    shares
        Columns group, share, low, high; shares in [0, 1], NaN where an end is not known.
    truth
        The true share by group, where it is known, as in simulated tissue.

    Raises
    ------
    DataError
        If there is no group.
    """
    from matplotlib.figure import Figure

    if shares.empty:
        raise DataError("no group has a background", "fit with use_additive_background")
    share, low, high = (100 * shares[key].to_numpy(float) for key in ("share", "low", "high"))
    at = np.arange(len(shares))
    figure = Figure(figsize=(5.5, 1.2 + 0.3 * max(len(shares), 3)), layout="constrained")
    axes = figure.add_subplot()
    axes.hlines(at, low, high, color=TRAINING, linewidth=2, alpha=0.5, label="interval")
    axes.plot(share, at, "o", color=TRAINING, label="background")
    if truth is not None:
        known = [100 * truth.get(str(group), np.nan) for group in shares["group"]]
        axes.plot(known, at, "x", color=VALIDATION, label="truth")
        axes.legend(fontsize=7, frameon=False)
    axes.set_yticks(at, [str(group) for group in shares["group"]], fontsize=8)
    axes.set(ylim=(len(shares) - 0.4, -0.6), xlabel="ambient share of the counts (%)")
    axes.set_xlim(left=0.0)
    plain(axes)
    return figure


def plot_dispersion(
    theta: ArrayLike, names: Sequence[str], equilibrium: float | Sequence[float] | None = 9.0
) -> Figure:
    """Draw how the genes' inverse dispersions are distributed in each group.

    Parameters
    ----------
    theta
        (n_genes, n_groups) inverse dispersion θ > 0; large is nearly Poisson.
    names
        The groups.
    equilibrium
        λ², where the prior alone would have them: one for all groups, or one each; None draws
        no line.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or no θ is above 0.
    """
    from matplotlib.figure import Figure

    table = by_group(theta, names, "inverse dispersion")
    held = np.where(np.isfinite(table) & (table > 0), table, np.nan)
    if np.isnan(held).all():
        raise DataError("no inverse dispersion is above 0", "look at the model")
    low, high = np.log10(np.nanmin(held)), np.log10(np.nanmax(held))
    edges = np.logspace(low - 0.05, high + 0.05, _BINS + 1)
    marks = _one_each(equilibrium, len(names))
    figure = Figure(figsize=(6.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for values, name, colour, mark in zip(
        held.T, names, default_colours(len(names)), marks, strict=True
    ):
        axes.hist(values[np.isfinite(values)], bins=list(edges), histtype="step", color=colour,
                  label=name, linewidth=1.3)  # fmt: skip
        if mark is not None and len(set(marks)) > 1:
            axes.axvline(mark, color=colour, linewidth=0.9, linestyle=":")
    if marks[0] is not None:
        alike = len(set(marks)) == 1
        at = [marks[0], marks[0]] if alike else []  # of several only what the dots mean
        axes.plot(at, [0.0, 1.0][: len(at)], ":", color=MARK, linewidth=0.9, label="prior, λ²",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set(xscale="log", xlabel="inverse dispersion θ (large: nearly Poisson)", ylabel="genes")
    axes.legend(fontsize=7, frameon=False)
    plain(axes)
    return figure


def _one_each(value: float | Sequence[float] | None, n: int) -> list[float | None]:
    if value is None or np.ndim(value) == 0:
        return [None if value is None else float(np.asarray(value))] * n
    marks = [float(each) for each in np.asarray(value, np.float64)]
    if len(marks) != n:
        raise DataError(f"{len(marks)} equilibria do not fit {n} groups", "give one per group")
    return list(marks)
