"""What the figures of the regularised VAE share: checks, panels, and cells on an embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.data.categories import is_categorical, named
from celldyn.data.palette import MISSING_COLOUR, default_colours
from celldyn.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING, VALIDATION, MARK = "#0072b2", "#d55e00", "#333333"
"""Colours of training cells, of validation cells, and of marks such as the best epoch."""
RISING = "viridis"

_LEGEND_MOST = 24
"""Categories that a legend names; a longer one hides the panel."""


def by_group(values: ArrayLike, names: Sequence[str], what: str) -> NDArray[np.float64]:
    """Return (n_features, n_groups) numbers, with one name for each group.

    Raises
    ------
    DataError
        If the table and the names do not fit each other.
    """
    table = np.asarray(values, np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or table.shape[1] != len(names):
        raise DataError(
            f"{what} of shape {table.shape} does not fit {len(names)} names of groups",
            "give one column per group",
        )
    return table


def columns_of(colours: Mapping[str, Any] | pd.DataFrame) -> dict[str, pd.Series]:
    """Return what cells are coloured by, as columns; a DataFrame gives all of its own."""
    return {
        str(name): pd.Series(column).reset_index(drop=True) for name, column in colours.items()
    }


def places(embedding: ArrayLike, name: str = "the embedding") -> NDArray[np.float64]:
    """Return the first two axes of an embedding.

    Raises
    ------
    DataError
        If it has fewer.
    """
    xy = np.asarray(embedding, np.float64)
    if xy.ndim != 2 or xy.shape[1] < 2:
        raise DataError(f"{name} has the shape {xy.shape}", "give two axes, a row per cell")
    return xy[:, :2]


def palette_of(column: pd.Series, palette: Mapping[str, str] | None) -> dict[str, str]:
    """Return the colour of each category that cells have, in the order of the categories.

    Categories without a cell keep their place in the default palette, so that a subset of the
    cells is drawn in the colours of all.
    """
    held = named(column)
    names = [str(name) for name in held.categories]
    colours = dict(zip(names, default_colours(len(names)), strict=True))
    there = {names[code] for code in np.unique(held.codes) if code >= 0}
    return {
        name: (palette or {}).get(name, colour)
        for name, colour in colours.items()
        if name in there
    }


def draw_cells(
    axes: Axes,
    xy: NDArray[np.float64],
    column: pd.Series,
    *,
    palette: Mapping[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    size: float | None = None,
) -> Any:  # noqa: ANN401
    """Draw cells, coloured by a column of names or of numbers.

    Names are drawn in a random order that repeats itself, so that none lies on top of all;
    numbers with the largest on top. Cells without a place or a number are left out, those without
    a name are grey.

    Returns
    -------
    What was drawn, for a colour bar.

    Raises
    ------
    DataError
        If there is not one value for each cell.
    """
    if len(column) != len(xy):
        raise DataError(
            f"{len(column):,} values do not fit {len(xy):,} cells", "give one value per cell"
        )
    dot = size if size is not None else float(np.clip(10_000 / max(len(xy), 1), 0.5, 12.0))
    there = np.isfinite(xy).all(axis=1)
    if is_categorical(column):
        shades = palette_of(column, palette)
        names = np.asarray(named(column).astype(object), object)
        order = np.random.default_rng(0).permutation(np.flatnonzero(there))
        paint: Any = [shades.get(names[i], MISSING_COLOUR) for i in order]
        more: dict[str, Any] = {}
    else:
        values = column.to_numpy(np.float64, na_value=np.nan)
        kept = np.flatnonzero(there & np.isfinite(values))
        order = kept[np.argsort(values[kept], kind="stable")]
        paint = values[order]
        low, high = limits or (None, None)
        more = {"cmap": RISING, "vmin": low, "vmax": high}
    drawn = axes.scatter(
        xy[order, 0], xy[order, 1], c=paint, s=dot, linewidths=0, rasterized=True, **more
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
    return drawn


def explain(figure: Figure, axes: Axes, drawn: Any, column: pd.Series, shades: Any) -> None:  # noqa: ANN401
    """Put a legend beside a panel of names, or a colour bar beside one of numbers."""
    if not is_categorical(column):
        figure.colorbar(drawn, ax=axes, shrink=0.7)
        return
    from matplotlib.lines import Line2D

    names = palette_of(column, shades)
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colour, label=name)
        for name, colour in list(names.items())[:_LEGEND_MOST]
    ]
    if len(names) > _LEGEND_MOST:
        more = f"and {len(names) - _LEGEND_MOST} more"
        handles.append(Line2D([], [], linestyle="", label=more))
    axes.legend(
        handles=handles, fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )


def limits_of(column: pd.Series) -> tuple[float, float] | None:
    """Return the 1st and 99th percentile of numbers; None for names, or where all are alike."""
    if is_categorical(column):
        return None
    values = column.to_numpy(np.float64, na_value=np.nan)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values, [1.0, 99.0])
    return (float(low), float(high)) if high > low else None


def plain(axes: Axes) -> None:
    """Take the upper and the right line of a frame away."""
    axes.spines[["top", "right"]].set_visible(False)
