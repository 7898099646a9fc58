"""From a column of values or categories to colours, all cells at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from napari.utils.colormaps import Colormap, ensure_colormap
from numpy.typing import NDArray
from vispy.color import ColorArray

Limits = tuple[float, float]
RGBA = NDArray[np.float32]

MISSING: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 1.0)
"""Colour of a cell that has no value or no category."""

PLAIN: tuple[float, float, float, float] = (0.62, 0.62, 0.66, 1.0)
"""Colour of every cell while no column is shown."""

FADED_ALPHA = 0.12
"""Opacity of the cells of a category that is not among the isolated ones."""

PERCENTILES: Limits = (1.0, 99.0)
"""Which percentiles of the values the colour limits are at, until a person moves them."""

CONTINUOUS = "viridis"
DIVERGING = "blue-white-red"
N_SHADES = 256

_DIVERGING_STOPS = (
    (0.00, 0.20, 0.62),
    (0.33, 0.58, 0.89),
    (0.94, 0.94, 0.94),
    (0.95, 0.49, 0.38),
    (0.65, 0.02, 0.10),
)


def colormap(name: str) -> Colormap:
    """Return a colormap by name, with missing values in grey.

    Parameters
    ----------
    name
        "blue-white-red", or any name that napari knows.
    """
    if name == DIVERGING:
        return Colormap(list(_DIVERGING_STOPS), name=name, nan_color=MISSING)
    known = ensure_colormap(name)
    return Colormap(
        known.colors,
        name=known.name,
        controls=known.controls,
        interpolation=known.interpolation,
        nan_color=MISSING,
    )


def value_limits(
    values: NDArray[np.floating],
    *,
    percentiles: Limits = PERCENTILES,
    diverging: bool = False,
) -> Limits:
    """Return the colour limits for one column: percentiles, about zero when it diverges.

    Where the percentiles coincide (a gene that few cells express) the whole range is taken, and
    where that is a single value, one unit above it.

    Parameters
    ----------
    values
        (n_obs,) values; those that are not finite count for nothing.
    percentiles
        Lower and upper percentile, in [0, 100].
    diverging
        Whether to make the limits symmetric about 0, from the percentiles of |value|.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return (-1.0, 1.0) if diverging else (0.0, 1.0)
    if diverging:
        magnitude = np.abs(finite)
        reach = float(np.percentile(magnitude, percentiles[1])) or float(magnitude.max()) or 1.0
        return -reach, reach
    low, high = (float(limit) for limit in np.percentile(finite, percentiles))
    if low >= high:
        low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low, low + 1.0)


def shade(values: NDArray[np.floating], limits: Limits, colours: Colormap) -> RGBA:
    """Return one colour per value.

    Parameters
    ----------
    values
        (n_obs,) values; missing ones are given the colormap's own colour for that.
    limits
        The values at the two ends of the colormap; beyond them the end colours hold.
    colours
        The colormap.

    Returns
    -------
    (n_obs, 4) float32 RGBA in [0, 1].
    """
    table = np.empty((N_SHADES + 1, 4), np.float32)
    table[:-1] = colours.map(np.linspace(0.0, 1.0, N_SHADES))
    table[-1] = MISSING if colours.nan_color is None else colours.nan_color
    low, high = limits
    place = (np.asarray(values, np.float32) - np.float32(low)) * np.float32(
        N_SHADES / (high - low)
    )
    missing = np.isnan(place)
    np.clip(place, 0, N_SHADES - 1, out=place)
    place[missing] = N_SHADES
    return table[place.astype(np.intp)]


def category_table(colours: Sequence[str], isolated: Collection[int] | None = None) -> RGBA:
    """Return one colour per category, and one more for the cells that have none.

    Parameters
    ----------
    colours
        One hex colour or colour name per category.
    isolated
        Codes of the categories to show alone; the others are faded. None fades none.

    Returns
    -------
    (n_categories + 1, 4) float32 RGBA. Code -1 (missing) picks the last row, so that
    `table[codes]` is the colour of every cell.
    """
    table = np.empty((len(colours) + 1, 4), np.float32)
    if len(colours):
        table[:-1] = ColorArray(list(colours)).rgba
    table[-1] = MISSING
    if isolated is not None:
        others = np.ones(len(table), bool)
        others[list(isolated)] = False
        table[others, 3] = FADED_ALPHA
    return table
