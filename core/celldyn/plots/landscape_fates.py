"""Figures of fates: shares by cluster, chances on an embedding, and plasticity with its doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from celldyn.data.categories import named
from celldyn.data.words import counted
from celldyn.errors import DataError
from celldyn.plots.betas_style import panels
from celldyn.plots.landscape_style import INK, as_column, chances, fate_colours
from celldyn.plots.vae_style import draw_cells, places, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Palette = Mapping[str, str]

_BINS = 20
_NOBODY = 0.5
"""Mean chance, in %, below which in every cluster a fate is left out of the legend."""


def plot_fates(
    probabilities: ArrayLike,
    names: Sequence[str],
    clusters: Any,  # noqa: ANN401
    *,
    certain: ArrayLike | None = None,
    palette: Palette | None = None,
) -> Figure:
    """Draw the mean chance of each fate in every cluster, as bars that add up to 100 %.

    Parameters
    ----------
    probabilities
        (n, n_fates) chances of each cell's fates.
    names
        Fates.
    clusters
        (n,) names.
    certain
        (n,) whether a cell's fate is told apart: the share of those cells is written beside.
    palette
        Colours of fates.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    from matplotlib.figure import Figure

    table = chances(probabilities, names)
    column = as_column(clusters, len(table))
    assert column is not None
    held = named(column)
    groups = [str(name) for name in held.categories if (held == name).any()]
    codes = np.asarray(held.astype(str), object)
    mean = 100 * np.stack([table[codes == group].mean(axis=0) for group in groups])
    figure = Figure(figsize=(6.0, 1.1 + 0.34 * max(len(groups), 3)), layout="constrained")
    axes = figure.add_subplot()
    left, at = np.zeros(len(groups)), np.arange(len(groups))
    for k, (name, colour) in enumerate(zip(names, fate_colours(names, palette), strict=True)):
        said = name if mean[:, k].max(initial=0.0) >= _NOBODY else f"_{name}"
        axes.barh(at, mean[:, k], left=left, color=colour, label=said, edgecolor="white",
                  linewidth=0.6, height=0.8)  # fmt: skip
        left += mean[:, k]
    sizes = [f"{group}  ({int((codes == group).sum()):,})" for group in groups]
    axes.set_yticks(at, sizes, fontsize=8)
    axes.set(ylim=(len(groups) - 0.4, -0.6), xlim=(0, 100), xlabel="mean chance of a fate (%)")
    if certain is not None:
        told = np.asarray(certain, bool)
        for k, group in enumerate(groups):
            share = f"{100 * told[codes == group].mean():.0f} % certain"
            axes.text(101, k, share, va="center", fontsize=7, color=INK)
    axes.legend(fontsize=7, frameon=False, loc="center left", title="fate", title_fontsize=8,
                bbox_to_anchor=(1.16 if certain is not None else 1.0, 0.5))  # fmt: skip
    plain(axes)
    return figure


def plot_fate_chances(
    embedding: ArrayLike,
    probabilities: ArrayLike,
    names: Sequence[str],
    *,
    tissue: bool = False,
    size: float | None = None,
) -> Figure:
    """Draw the chance of every fate that any cell has over the cells, a panel each.

    Parameters
    ----------
    embedding
        (n, 2) places.
    probabilities, names
        (n, n_fates) chances, and the fates.
    tissue
        Whether y grows downwards.
    size
        Of a dot, in points².

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    xy, table = places(embedding), chances(probabilities, names)
    shown = [k for k in range(len(names)) if table[:, k].max(initial=0.0) > 0]
    figure, axes = panels(len(shown), width=3.0, height=2.7)
    drawn: Any = None
    for axis, k in zip(axes, shown, strict=len(shown) > 0):
        name, values = names[k], table[:, k]
        drawn = draw_cells(axis, xy, pd.Series(values), limits=(0.0, 1.0), size=size)
        axis.set_title(name, fontsize=9)
        if tissue:
            axis.invert_yaxis()
    if drawn is not None:
        figure.colorbar(drawn, ax=axes, shrink=0.7, label="chance of the fate")
    return figure


def plot_plasticity(
    embedding: ArrayLike,
    plasticity: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    time: ArrayLike | None = None,
    *,
    tissue: bool = False,
    size: float | None = None,
) -> Figure:
    """Draw plasticity over the cells, how wide its interval is, and how it goes with time.

    Parameters
    ----------
    embedding
        (n, 2) places.
    plasticity, low, high
        (n,) in [0, 1] with its 95 % interval.
    time
        (n,) pseudotime; None leaves the third panel out.
    tissue
        Whether y grows downwards.
    size
        Of a dot, in points².

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    xy = places(embedding)
    middle, below, above = (np.asarray(one, np.float64) for one in (plasticity, low, high))
    if not middle.shape == below.shape == above.shape == (len(xy),):
        raise DataError(
            f"plasticity {middle.shape} and its interval {below.shape}, {above.shape} do not fit "
            f"{counted(len(xy), 'cell')}",
            "give one number per cell",
        )
    when = None if time is None else np.asarray(time, np.float64)
    if when is not None and when.shape != middle.shape:
        raise DataError(f"time {when.shape} does not fit {counted(len(xy), 'cell')}",
                        "give one number per cell")  # fmt: skip
    figure, axes = panels(2 if when is None else 3, width=3.8, height=3.1)
    for axis, values, title in zip(
        axes[:2], (middle, above - below), ("plasticity", "width of its 95 % interval"),
        strict=True,
    ):  # fmt: skip
        drawn = draw_cells(axis, xy, pd.Series(values), limits=(0.0, 1.0), size=size)
        axis.set_title(title, fontsize=9)
        figure.colorbar(drawn, ax=axis, shrink=0.7)
        if tissue:
            axis.invert_yaxis()
    if when is not None:
        _draw_course(axes[2], when, middle, below, above)
    return figure


def _draw_course(axes: Any, time: Any, middle: Any, low: Any, high: Any) -> None:  # noqa: ANN401
    """Draw mean plasticity, and the mean of its interval's ends, in bins of as many cells."""
    order = np.argsort(time, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if part.size]
    at, mid, below, above = (
        np.array([values[part].mean() for part in bins]) for values in (time, middle, low, high)
    )
    axes.scatter(time, middle, s=3, color="#bbbbbb", linewidths=0, rasterized=True)
    axes.fill_between(at, below, above, color="#0072b2", alpha=0.2, linewidth=0,
                      label="95 % interval, mean")  # fmt: skip
    axes.plot(at, mid, color="#0072b2", linewidth=1.6, label="mean")
    axes.set(xlabel="pseudotime", ylabel="plasticity", ylim=(-0.02, 1.02))
    axes.legend(fontsize=7, frameon=False)
    axes.set_title("along pseudotime", fontsize=9)
    plain(axes)
