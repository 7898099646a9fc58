"""Figure of the gene table: which gene is expressed where."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn.errors import MissingKeyError
from celldyn.plots.simulate_style import bare, class_colours, gene_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

COLOURMAP = "YlOrRd"
_BOX_COLUMNS = 2
_MOST_BOXES = 6


def gene_parameters(gpar_df: pd.DataFrame, *, celltypes: list[str] | None = None) -> Figure:
    """Draw the means of the gene table as a heatmap, and their spread per class of genes.

    Parameters
    ----------
    gpar_df
        From `generate_gene_parameters`: `gene_type`, and per type `<type>_mu`.
    celltypes
        Types whose means are drawn as boxes; by default all, the first six at most.

    Returns
    -------
    Left the heatmap (cell types × genes) over a strip with the genes' classes, colour bar and
    legend; right one panel per cell type with a box per class of genes.

    Raises
    ------
    MissingKeyError
        If the table lacks its columns, or has no such cell type.
    """
    from matplotlib.figure import Figure

    if "gene_type" not in gpar_df:
        raise MissingKeyError("the gene table has no gene_type", "see generate_gene_parameters")
    names = [str(c).removesuffix("_mu") for c in gpar_df if str(c).endswith("_mu")]
    shown = names[:_MOST_BOXES] if celltypes is None else list(celltypes)
    if not names or (unknown := [name for name in shown if name not in names]):
        problem = "no means" if not names else f"no cell type {unknown[0]!r}"
        raise MissingKeyError(f"the gene table has {problem}", f"it has {', '.join(names)}")
    classes = gene_classes(gpar_df["gene_type"])
    colours = class_colours(classes, names)
    rows = math.ceil(len(shown) / _BOX_COLUMNS)
    columns = min(_BOX_COLUMNS, len(shown))
    figure = Figure(figsize=(7.5 + 3.6 * columns, max(5.0, 2.6 * rows)), layout="constrained")
    left, right = _halves(figure, columns)
    _heatmap(left, gpar_df, names, classes, colours)
    grid = right.add_gridspec(rows, columns)
    for place, name in enumerate(shown):
        axes = right.add_subplot(grid[divmod(place, columns)])
        last = place >= len(shown) - columns
        _boxes(axes, gpar_df[f"{name}_mu"], classes, colours, labelled=last)
        axes.set_title(f"μ in {name}", fontsize=10)
    figure.suptitle("Gene table: markers are expressed in their own cell type")
    return figure


def _halves(figure: Figure, columns: int) -> list[SubFigure]:
    pair = figure.subfigures(1, 2, squeeze=False, width_ratios=[7.5, 3.6 * columns])
    return list(pair[0])


def _heatmap(
    figure: SubFigure,
    table: pd.DataFrame,
    names: list[str],
    classes: pd.Series,
    colours: dict[str, str],
) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    grid = figure.add_gridspec(4, 1, height_ratios=[13, 1, 0.6, 2.2])
    above, strip, bar, foot = (figure.add_subplot(grid[row]) for row in range(4))
    mu = table[[f"{name}_mu" for name in names]].to_numpy(dtype=float).T
    image = above.imshow(mu, aspect="auto", interpolation="nearest", cmap=COLOURMAP)
    above.set(title="Mean expression μ (cell types × genes)", xticks=[])
    above.set_yticks(range(len(names)), names)
    strip.imshow(
        np.array([to_rgb(colours[kind]) for kind in classes])[None],
        aspect="auto",
        interpolation="nearest",
    )
    strip.set(xticks=[], yticks=[])
    strip.set_xlabel("← genes →", fontsize=8)
    strip.spines[:].set_visible(False)
    figure.colorbar(image, cax=bar, orientation="horizontal", label="μ (counts per cell)")
    foot.set_axis_off()
    handles = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    foot.legend(handles=handles, ncol=3, fontsize=7, frameon=False, loc="upper center")


def _boxes(
    axes: Axes, mu: pd.Series, classes: pd.Series, colours: dict[str, str], *, labelled: bool
) -> None:
    groups = [mu[classes == kind].dropna().to_numpy() for kind in colours]
    drawn = axes.boxplot(
        groups, widths=0.5, patch_artist=True, flierprops={"marker": ".", "markersize": 3},
        medianprops={"color": "black"},
    )  # fmt: skip
    for box, colour in zip(drawn["boxes"], colours.values(), strict=True):
        box.set_facecolor(colour)
    axes.set_xticks(range(1, len(colours) + 1), list(colours) if labelled else [])
    axes.tick_params(axis="x", rotation=30, labelsize=8)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
    axes.set_ylabel("μ")
    bare(axes)
