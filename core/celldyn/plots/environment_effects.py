"""Figures of perturbed virtual cells: an effect over time, and by group.

Shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from celldyn.data.words import listed
from celldyn.environment.effects import ALL
from celldyn.errors import DataError
from celldyn.plots.betas_style import UP
from celldyn.plots.landscape_style import INK, axes_of
from celldyn.plots.vae_style import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORDS = {
    "shift": "mean distance from the control",
    "effect": "mean way from the start",
    "length": "mean length of the way",
}


def plot_course(
    times: ArrayLike, course: ArrayLike, *, title: str = "", axes: Axes | None = None
) -> Axes:
    """Draw how far perturbed cells are from their controls, over time.

    Parameters
    ----------
    times, course
        (T,) seconds, and mean distances (`PerturbedCells.course`).

    Raises
    ------
    DataError
        If there is not one distance per time.
    """
    t, y = np.asarray(times, np.float64), np.asarray(course, np.float64)
    if t.shape != y.shape or t.ndim != 1 or not len(t):
        raise DataError(
            f"there are {t.size} times and {y.size} distances", "give one distance per time"
        )
    _, axes = axes_of(axes, 4.6, 3.2)
    axes.plot(t, y, color=UP, linewidth=1.6)
    axes.fill_between(t, 0, y, color=UP, alpha=0.12, linewidth=0)
    axes.set(xlabel="time since the perturbation (s)", ylabel="distance from the control",
             ylim=(0, None))  # fmt: skip
    axes.set_title(title, fontsize=9)
    plain(axes)
    return axes


def plot_effect(table: pd.DataFrame, *, title: str = "", what: str = "shift") -> Figure:
    """Draw the effect of a perturbation on each group of cells.

    Parameters
    ----------
    table
        Columns group, n_cells and effect, length or shift (`PerturbedCells.table`).
    title
        What was done.
    what
        Which of these is drawn.

    Raises
    ------
    DataError
        If columns are missing.
    """
    from matplotlib.figure import Figure

    _require(table, ("group", "n_cells", what))
    shown = table.sort_values(what, kind="stable", ignore_index=True)
    figure = Figure(figsize=(5.4, 1.1 + 0.32 * max(len(shown), 2)), layout="constrained")
    axes = figure.add_subplot()
    colours = [INK if name == ALL else UP for name in shown["group"]]
    axes.barh(np.arange(len(shown)), shown[what], color=colours, height=0.7)
    names = [f"{name} ({n:,})" for name, n in zip(shown["group"], shown["n_cells"], strict=True)]
    axes.set_yticks(np.arange(len(shown)), names, fontsize=8)
    axes.set(xlabel=_WORDS.get(what, what))
    axes.set_title(title, fontsize=9)
    plain(axes)
    return figure


def _require(table: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(f"the table has no {listed(missing)}", "give the table of a result")
    if not len(table):
        raise DataError("the table is empty", "give the table of a result")
