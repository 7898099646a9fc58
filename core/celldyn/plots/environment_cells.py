"""Figures of virtual cells in their space: where they are, where they go, how they come to rest.

Shapes: n cells, m axes of a view, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError
from celldyn.plots.landscape_style import (
    INK,
    as_column,
    axes_of,
    draw_backdrop,
    some_of,
)
from celldyn.plots.vae_style import MARK, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONG = 0.06
"""Length of the arrow of the fastest cell, in shares of the width of the figure."""


def plot_cells(
    places: ArrayLike,
    colour: ArrayLike | pd.Series | None = None,
    *,
    velocities: ArrayLike | None = None,
    control: ArrayLike | None = None,
    palette: Mapping[str, str] | None = None,
    most_arrows: int = 400,
    title: str = "",
    axes: Axes | None = None,
    seed: int = 0,
) -> Axes:
    """Draw cells on two axes of their space, with arrows of where they go or were moved to.

    Parameters
    ----------
    places
        (n, at least 2), such as `LatentView.places` gives, or coordinates.
    colour
        (n,) names or numbers.
    velocities
        (n, at least 2) on the same axes: arrows, the fastest one of a fixed length.
    control
        (n, at least 2) where cells are without a perturbation: arrows from there.
    palette
        Colours of names.
    most_arrows
        Arrows that are drawn at most, of cells drawn at random by the seed.

    Raises
    ------
    DataError
        If arrays do not fit each other, or both kinds of arrows are asked for.
    """
    x = _two(places, None, "places")
    if velocities is not None and control is not None:
        raise DataError("arrows can show velocities or a change, not both", "leave one out")
    figure, axes = axes_of(axes)
    draw_backdrop(figure, axes, x, as_column(colour, len(x)), palette=palette)
    chosen = some_of(len(x), most_arrows, seed)
    if velocities is not None:
        v = _two(velocities, len(x), "velocities")
        fastest = float(np.linalg.norm(v, axis=1).max(initial=0.0))
        if fastest > 0:
            scale = _LONG * float(np.ptp(x, axis=0).max()) / fastest
            _draw_arrows(axes, x[chosen], scale * v[chosen])
    elif control is not None:
        before = _two(control, len(x), "places without the perturbation")
        _draw_arrows(axes, before[chosen], (x - before)[chosen])
    axes.set_title(title, fontsize=9)
    axes.set_aspect("equal", adjustable="datalim")
    return axes


def _draw_arrows(axes: Axes, start: NDArray[np.float64], way: NDArray[np.float64]) -> None:
    axes.quiver(
        *start.T, *way.T, angles="xy", scale_units="xy", scale=1.0, width=0.0022, color=INK,
        alpha=0.75, zorder=3,
    )  # fmt: skip


def _two(values: ArrayLike, n: int | None, what: str) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or found.shape[1] < 2 or (n is not None and len(found) != n):
        raise DataError(
            f"{what} are of shape {found.shape}"
            + (f" and there are {n} cells" if n is not None else ""),
            "give (cells, 2)",
        )
    return found[:, :2]


def plot_rest(
    speeds: ArrayLike, delta: float = 0.1, *, tolerance: float | None = None,
    axes: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw how cells come to rest: their mean speed over time.

    Parameters
    ----------
    speeds
        (T,) or (T, starts) mean speed after every step (`Trajectory.speeds`).
    delta
        Seconds of a step.
    tolerance
        What counts as rest: drawn as a line.

    Raises
    ------
    DataError
        If there is no step.
    """
    y = np.asarray(speeds, np.float64)
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or not len(y):
        raise DataError("there is no step to draw", "give the speeds of a run")
    _, axes = axes_of(axes, 5.0, 3.2)
    time = delta * np.arange(1, len(y) + 1)
    axes.plot(time, y, linewidth=1.2)
    if tolerance is not None:
        axes.axhline(tolerance, color=MARK, linewidth=0.7, linestyle="--", label="rest")
        axes.legend(fontsize=7, frameon=False)
    if (y > 0).any():
        axes.set_yscale("symlog", linthresh=max(float(y[y > 0].min()), 1e-6))
    axes.set(xlabel="time (s)", ylabel="mean speed (1/s)", xlim=(0, time[-1]))
    plain(axes)
    return axes
