"""What the figures of betas share: values on the tissue, symmetric scales, panels in a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIVERGING, RISING = "RdBu_r", "viridis"
"""Colour maps of values with a sign, and of sizes."""
UP, DOWN, UNSURE = "#b2182b", "#2166ac", 0.35
"""Colours of what goes up and down, and the opacity of what is not certain."""

_ROBUST = 99.0
"""Percentile of the sizes that a colour scale reaches to."""


def symmetric_limit(values: ArrayLike) -> float:
    """Return the size that a symmetric scale reaches to: nearly the largest; 1 if all are 0."""
    sizes = np.abs(np.asarray(values, np.float64))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return float(np.percentile(sizes, _ROBUST)) if sizes.size else 1.0


def panels(
    n: int, *, width: float = 3.2, height: float = 3.0, most: int = 4
) -> tuple[Figure, list[Axes]]:
    """Return a figure and `n` axes in a grid."""
    from matplotlib.figure import Figure

    columns = min(max(n, 1), most)
    rows = -(-max(n, 1) // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[n:]:
        spare.set_axis_off()
    return figure, list(axes[:n])


def tissue_maps(
    xy: ArrayLike,
    maps: Sequence[ArrayLike],
    titles: Sequence[str],
    *,
    label: str,
    limit: float | None = None,
    shared: bool = True,
    signed: bool = True,
    size: float | None = None,
) -> Figure:
    """Draw values of cells on the tissue, one map beside the other.

    Parameters
    ----------
    xy
        (n_cells, 2) coordinates; y grows downwards, as in an image.
    maps
        (n_cells,) values each; cells without a number are left out.
    titles
        One per map.
    label
        What the values are, with their unit.
    limit
        What the scale reaches to; by default nearly the largest size.
    shared
        Whether all maps have one scale, or each its own.
    signed
        Whether the scale is symmetric about 0, or begins there.
    size
        Of a dot, in points²; by default fewer cells are drawn larger.

    Raises
    ------
    DataError
        If the arrays do not fit each other.
    """
    places = np.asarray(xy, np.float64)
    values = [np.asarray(one, np.float64) for one in maps]
    if places.ndim != 2 or any(one.shape != (len(places),) for one in values):
        raise DataError("values and coordinates do not fit", "give one value per cell")
    alike = [np.concatenate(values)] * len(values) if shared and values else values
    figure, axes = panels(len(values))
    dot = size if size is not None else float(np.clip(20_000 / max(len(places), 1), 1.0, 40.0))
    for axis, one, scale, title in zip(axes, values, alike, titles, strict=True):
        reach = symmetric_limit(scale) if limit is None else limit
        shown = _dots(axis, places, one, reach, dot, signed=signed)
        axis.set_title(title, fontsize=10)
        if not shared or axis is axes[-1]:
            figure.colorbar(
                shown,
                ax=axes if shared else axis,
                label=label,
                shrink=0.8,
                extend="both" if signed else "max",
            )
    return figure


def _dots(
    axes: Axes, xy: NDArray[Any], values: NDArray[Any], reach: float, dot: float, *, signed: bool
) -> Any:  # noqa: ANN401
    there = np.flatnonzero(np.isfinite(values))
    order = there[np.argsort(np.abs(values[there]), kind="stable")]  # the strongest on top
    shown = axes.scatter(
        xy[order, 0],
        xy[order, 1],
        c=values[order],
        s=dot,
        linewidths=0,
        cmap=DIVERGING if signed else RISING,
        vmin=-reach if signed else 0.0,
        vmax=reach,
        rasterized=True,
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_axis_off()
    return shown
