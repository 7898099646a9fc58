"""Figures of perturbed tissues: effects, maps, arrows, and screens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from celldyn.data.palette import default_colours
from celldyn.errors import ConfigError, DataError
from celldyn.plots.betas_style import (
    DIVERGING,
    DOWN,
    RISING,
    UNSURE,
    UP,
    panels,
    symmetric_limit,
    tissue_maps,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from celldyn.betas import GridVectors, PerturbResult, ScreenResult

_SURE = ("", "perturbed")


def effect_bars(
    result: PerturbResult,
    *,
    n_genes: int = 12,
    genes: Sequence[str] | None = None,
    by: ArrayLike | None = None,
    measure: Literal["mean", "relative"] = "mean",
) -> Figure:
    """Draw the change of the strongest genes in each cell type.

    Parameters
    ----------
    result
        From `perturb_job` or `read_perturbed`.
    n_genes
        How many genes, those of the largest mean |change|; perturbed genes are left out.
    genes
        Which genes, in place of the strongest.
    by
        (n_obs,) labels in place of the models' cell types.
    measure
        "mean" change, in the unit of the expression, or "relative" to the mean expression.

    Returns
    -------
    One panel per cell type; bars of flagged genes are pale.

    Raises
    ------
    ConfigError
        If no gene is to be drawn.
    """
    table = result.effects(by)
    chosen = list(result.top(n_genes)["gene"]) if genes is None else list(genes)
    table = table[table["gene"].isin(chosen)]
    if table.empty:
        raise ConfigError("no gene changes", "choose genes to draw, or another perturbation")
    clusters = list(dict.fromkeys(table["cluster"]))
    figure, axes = panels(len(clusters), width=3.4, height=1.4 + 0.2 * len(chosen))
    reach = 1.05 * float(np.nanmax(np.abs(table[measure].to_numpy(float)), initial=0.0)) or 1.0
    for axis, cluster in zip(axes, clusters, strict=True):
        part = table[table["cluster"] == cluster].set_index("gene").loc[chosen]
        _bars(axis, part, measure)
        axis.set(xlim=(-reach, reach))
        axis.set_title(f"{cluster} ({int(part['n_cells'].iloc[0])} cells)", fontsize=9)
    said = {"mean": "mean change", "relative": "change / mean expression"}[measure]
    figure.supxlabel(said, fontsize=9)
    figure.suptitle(result.perturbation.describe(result.n_obs), fontsize=11)
    return figure


def _bars(axes: Axes, part: pd.DataFrame, measure: str) -> None:
    values = part[measure].to_numpy(float)
    at = np.arange(len(part))[::-1]
    bars = axes.barh(at, np.nan_to_num(values), color=[UP if v > 0 else DOWN for v in values])
    for bar, flag in zip(bars, part["flag"], strict=True):
        bar.set_alpha(1.0 if flag in _SURE else UNSURE)
    axes.axvline(0.0, color="#333333", linewidth=0.6)
    axes.set_yticks(at, list(part.index), fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def delta_map(
    xy: ArrayLike,
    result: PerturbResult,
    genes: Sequence[str] | None = None,
    *,
    limit: float | None = None,
) -> Figure:
    """Draw the change of genes on the tissue, or the size of each cell's change.

    Parameters
    ----------
    xy
        (n_obs, 2) coordinates; lay sections beside one another before.
    result
        The perturbed tissue.
    genes
        One map each, on one symmetric scale; None for the norm of the change of each cell.
    limit
        What the scale reaches to.
    """
    done = result.perturbation.describe(result.n_obs)
    if genes is None:
        label = "size of the change"
        figure = tissue_maps(xy, [result.shift], [done], label=label, limit=limit, signed=False)
    else:
        maps = [result.of(gene) for gene in genes]
        figure = tissue_maps(xy, maps, list(genes), label="change of expression", limit=limit)
        figure.suptitle(done, fontsize=11)
    return figure


def arrow_map(
    embedding: ArrayLike,
    grid: GridVectors,
    *,
    labels: ArrayLike | None = None,
    colours: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw where cells go on their embedding, with a key that tells the length of an arrow.

    Parameters
    ----------
    embedding
        (n_cells, 2).
    grid
        From `grid_vectors`.
    labels, colours
        (n_cells,) type of each cell, and a colour per type in sorted order.
    title
        Above the figure.
    """
    from matplotlib.figure import Figure

    places = np.asarray(embedding, np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise DataError(f"the embedding is {places.shape}", "give (n_cells, 2)")
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    axes = figure.add_subplot()
    _crowd(axes, places, labels, colours)
    length = np.linalg.norm(grid.vectors, axis=1)
    moves = length > 0
    if moves.any():
        arrows = axes.quiver(
            *grid.points[moves].T,
            *grid.vectors[moves].T,
            angles="xy",
            scale_units="xy",
            scale=1.0,
            width=0.0025,
            color="#111111",
        )
        shown = _round_number(float(length.max()) / grid.scale / 2)
        key = f"steps of the cells in a box add up to {shown:g}"
        axes.quiverkey(arrows, 0.9, 1.03, shown * grid.scale, key, labelpos="W")
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=11)
    return figure


def _crowd(axes: Axes, xy: Any, labels: ArrayLike | None, colours: Sequence[str] | None) -> None:  # noqa: ANN401
    dot = float(np.clip(20_000 / max(len(xy), 1), 1.0, 30.0))
    if labels is None:
        axes.scatter(xy[:, 0], xy[:, 1], s=dot, c="#bbbbbb", linewidths=0, rasterized=True)
        return
    names = np.asarray(labels).astype(str)
    there = sorted(set(names))
    used = default_colours(len(there)) if colours is None else list(colours)
    for name, colour in zip(there, used, strict=False):
        part = xy[names == name]
        x, y = part.T
        axes.scatter(x, y, s=dot, color=colour, alpha=0.5, linewidths=0, label=name)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False, markerscale=2
    )


def _round_number(value: float) -> float:
    """Return 1, 2 or 5 times a power of ten, the largest that is not above the value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)) * power)


def screen_map(
    result: ScreenResult,
    *,
    n_genes: int = 40,
    measure: Literal["impact", "signed", "mean_abs"] = "impact",
) -> Figure:
    """Draw what each screened gene does to each cell type, those of largest impact on top.

    Parameters
    ----------
    result
        From `screen_job`.
    n_genes
        How many genes.
    measure
        As `ScreenResult.matrix` takes it; "signed" has a symmetric scale.
    """
    from matplotlib.figure import Figure

    table = result.matrix(measure).head(n_genes)
    signed = measure == "signed"
    reach = symmetric_limit(table.to_numpy()) if signed else float(table.to_numpy().max()) or 1.0
    width, height = 2.5 + 0.35 * table.shape[1], 1.8 + 0.18 * len(table)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        table.to_numpy(),
        aspect="auto",
        cmap=DIVERGING if signed else RISING,
        vmin=-reach if signed else 0.0,
        vmax=reach,
        interpolation="nearest",
    )
    axes.set_yticks(np.arange(len(table)), list(table.index), fontsize=7)
    axes.set_xticks(np.arange(table.shape[1]), list(table.columns), rotation=90, fontsize=7)
    said = {
        "impact": "mean |mean change of a gene|",
        "signed": "mean change of a gene",
        "mean_abs": "mean |change|",
    }[measure]
    figure.colorbar(image, ax=axes, label=said, shrink=0.7)
    known = {"0x": "knocked out", "maxx": "at its highest"}
    axes.set_title(f"each gene {known.get(result.label, result.label)}", fontsize=10)
    return figure
