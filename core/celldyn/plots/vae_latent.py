"""Figures of the latent space: which decoder uses which dimension, and cells on embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.data.palette import default_colours
from celldyn.data.words import listed
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.plots.betas_style import panels
from celldyn.plots.vae_style import (
    MARK,
    RISING,
    columns_of,
    draw_cells,
    explain,
    limits_of,
    places,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Slices = Mapping[str, tuple[int, int]]
Palettes = Mapping[str, Mapping[str, str]]
"""By column, the colour of each of its categories."""


def plot_attribution(
    attribution: Mapping[str, ArrayLike],
    latent_slices: Slices | None = None,
    *,
    relative: bool = True,
) -> Figure:
    """Draw how much the decoder of each modality uses each latent dimension.

    Parameters
    ----------
    attribution
        By modality (n_latent,): mean over cells and features of |∂μ/∂z|.
    latent_slices
        By modality the dimensions [start, stop) that its own encoder makes; lines are drawn
        between them, so that what crosses them is seen.
    relative
        Whether each row is divided by its sum: modalities have different counts, so that their
        absolute sizes do not compare.

    Raises
    ------
    DataError
        If modalities have different numbers of dimensions, or there is none.
    """
    from matplotlib.figure import Figure

    names, table = _by_modality(attribution)
    if relative:
        total = table.sum(axis=1, keepdims=True)
        table = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    figure = Figure(
        figsize=(2.5 + 0.11 * max(table.shape[1], 30), 1.5 + 0.4 * len(names)),
        layout="constrained",
    )
    axes = figure.add_subplot()
    image = axes.imshow(table, aspect="auto", cmap=RISING, vmin=0.0, interpolation="nearest")
    axes.set_yticks(np.arange(len(names)), names, fontsize=8)
    axes.set_xlabel("latent dimension", fontsize=8)
    axes.tick_params(labelsize=7)
    for name, (start, stop) in (latent_slices or {}).items():
        if start > 0:
            axes.axvline(start - 0.5, color="white", linewidth=1.5)
        axes.text((start + stop - 1) / 2, -0.6, f"of {name}", ha="center", va="bottom", fontsize=7)
    label = "share of the use" if relative else "mean |∂μ/∂z|"
    figure.colorbar(image, ax=axes, label=label)
    return figure


def plot_attribution_scatter(
    attribution: Mapping[str, ArrayLike],
    latent_slices: Slices | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
) -> Figure:
    """Draw each latent dimension by how much two decoders use it.

    Parameters
    ----------
    attribution
        By modality (n_latent,).
    latent_slices
        By modality the dimensions [start, stop) of its encoder, which give the colours.
    x, y
        The two modalities; the first two by default.

    Raises
    ------
    MissingKeyError
        If there is no such modality.
    ConfigError
        If there is only one modality, or none.
    """
    from matplotlib.figure import Figure

    names, table = _by_modality(attribution)
    if len(names) < 2:
        raise ConfigError(
            "a scatter of attribution needs two modalities", "draw the attribution itself"
        )
    chosen = [x or names[0], y or next(name for name in names if name != (x or names[0]))]
    for name in chosen:
        if name not in names:
            raise MissingKeyError(f"there is no modality {name!r}", f"there are {listed(names)}")
    across, up = (table[names.index(name)] for name in chosen)
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    slices = latent_slices or {"": (0, table.shape[1])}
    for (name, (start, stop)), colour in zip(
        slices.items(), default_colours(len(slices)), strict=True
    ):
        axes.scatter(across[start:stop], up[start:stop], s=16, color=colour,
                     label=f"made by {name}" if name else "_nolegend_")  # fmt: skip
    axes.axline((0.0, 0.0), (1.0, 1.0), color=MARK, linewidth=0.6, linestyle="--")
    axes.set(xlabel=f"used by {chosen[0]}", ylabel=f"used by {chosen[1]}")
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    if latent_slices:
        axes.legend(fontsize=7, frameon=False)
    axes.set_title("latent dimensions, mean |∂μ/∂z|", fontsize=9)
    plain(axes)
    return figure


def plot_umap(
    umap: ArrayLike,
    colours: Mapping[str, Any] | pd.DataFrame,
    *,
    palettes: Palettes | None = None,
    size: float | None = None,
) -> Figure:
    """Draw cells on an embedding, once for each column.

    Parameters
    ----------
    umap
        (n_cells, 2) places; cells without one are left out.
    colours
        Columns of names or of numbers, one value per cell each. Numbers are shown from their 1st
        to their 99th percentile.
    palettes
        Colours of categories, by column; what is not given is celldyn's palette.
    size
        Of a dot, in points²; by default fewer cells are drawn larger.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """
    columns = columns_of(colours)
    xy = places(umap)
    figure, axes = panels(len(columns), width=4.2, height=3.2, most=3)
    for axis, (name, column) in zip(axes, columns.items(), strict=True):
        shades = (palettes or {}).get(name)
        drawn = draw_cells(axis, xy, column, palette=shades, limits=limits_of(column), size=size)
        axis.set_title(name, fontsize=9)
        explain(figure, axis, drawn, column, shades)
    return figure


def plot_umap_comparison(
    embeddings: Mapping[str, ArrayLike],
    colours: Mapping[str, Any] | pd.DataFrame,
    *,
    palettes: Palettes | None = None,
    size: float | None = None,
) -> Figure:
    """Draw the same cells on several embeddings: a row per column, an embedding per column.

    Parameters
    ----------
    embeddings
        By name (n_cells, 2) places of the same cells.
    colours, palettes, size
        As in `plot_umap`; each row has one scale, and its legend at the right.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or there is nothing to draw.
    """
    from matplotlib.figure import Figure

    columns = columns_of(colours)
    if not embeddings or not columns:
        raise DataError("there is nothing to compare", "give embeddings and columns")
    layouts = {str(name): places(xy, str(name)) for name, xy in embeddings.items()}
    figure = Figure(figsize=(3.0 * len(layouts) + 1.4, 2.9 * len(columns)), layout="constrained")
    grid = figure.subplots(len(columns), len(layouts), squeeze=False)
    for k, (row, (name, column)) in enumerate(zip(grid, columns.items(), strict=True)):
        shades, limits = (palettes or {}).get(name), limits_of(column)
        drawn: Any = None
        for axis, (title, xy) in zip(row, layouts.items(), strict=True):
            drawn = draw_cells(axis, xy, column, palette=shades, limits=limits, size=size)
            if k == 0:
                axis.set_title(title, fontsize=9)
        row[0].set_ylabel(name, fontsize=9)
        explain(figure, row[-1], drawn, column, shades)
    return figure


def _by_modality(attribution: Mapping[str, ArrayLike]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the modalities and (n_modalities, n_latent) attribution."""
    rows: Sequence[NDArray[np.float64]] = [
        np.asarray(one, np.float64) for one in attribution.values()
    ]
    if not rows or any(one.ndim != 1 or one.shape != rows[0].shape for one in rows):
        shapes = listed(one.shape for one in rows)
        raise DataError(
            f"the attributions have the shapes {shapes}",
            "give (n_latent,) for each modality, averaged over cells",
        )
    return [str(name) for name in attribution], np.stack(rows)
