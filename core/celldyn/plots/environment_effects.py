"""Figures of perturbed virtual cells: an effect over time and by group, and screens of genes.

Shapes: T frames, n cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from celldyn.data.words import listed
from celldyn.environment.effects import ALL
from celldyn.errors import DataError, MissingKeyError
from celldyn.plots.betas_style import UP, panels
from celldyn.plots.landscape_style import FAINT, INK, axes_of
from celldyn.plots.vae_style import MARK, plain

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


def plot_screen(
    table: pd.DataFrame, group: str = ALL, *, n_named: int = 20, highlight: Sequence[str] = ()
) -> Figure:
    """Draw a screen: the genes that move cells most, and every gene by its rank.

    Parameters
    ----------
    table
        Columns gene, group, shift, effect, size and z (`Screen.table`).
    group
        Which group of cells.
    n_named
        Genes that are named, those that move cells most.
    highlight
        Genes that are drawn in red in any case.

    Raises
    ------
    MissingKeyError
        If the screen has no such group.
    DataError
        If columns are missing.
    """
    _require(table, ("gene", "group", "shift", "size"))
    there = list(dict.fromkeys(table["group"].astype(str)))
    if group not in there:
        raise MissingKeyError(f"the screen has no group {group!r}", f"there are {listed(there)}")
    shown = table[table["group"].astype(str) == group]
    shown = shown.sort_values("shift", ascending=False, kind="stable", ignore_index=True)
    red = shown["gene"].astype(str).isin(list(highlight)).to_numpy()
    figure, axes = panels(2, width=4.4, height=max(3.4, 0.17 * min(n_named, len(shown)) + 1.0))
    top = shown.head(n_named)
    at = np.arange(len(top))[::-1]
    axes[0].barh(at, top["shift"], color=np.where(red[: len(top)], UP, INK), height=0.7)
    axes[0].set_yticks(at, top["gene"].astype(str), fontsize=7)
    axes[0].set_xlabel("mean distance from the control")
    plain(axes[0])
    axes[1].scatter(shown["size"], shown["shift"], s=10, linewidths=0, rasterized=True,
                    color=np.where(red, UP, "#999999"))  # fmt: skip
    _draw_usual(axes[1], shown)
    for k in range(min(8, len(shown))):
        axes[1].annotate(str(shown["gene"][k]), (shown["size"][k], shown["shift"][k]),
                         fontsize=6.5, xytext=(3, 3), textcoords="offset points")  # fmt: skip
    axes[1].set(xlabel="size of the change of what cells see", ylabel="mean distance from control")
    plain(axes[1])
    figure.suptitle("" if group == ALL else group, fontsize=10)
    return figure


def _draw_usual(axes: Axes, shown: pd.DataFrame) -> None:
    """Draw what a change of a size usually does: the median of shift over size."""
    usable = shown["size"] > 0
    if not usable.any():
        return
    slope = float((shown["shift"][usable] / shown["size"][usable]).median())
    end = float(shown["size"].max())
    axes.plot([0, end], [0, slope * end], color=FAINT, linewidth=1.0, zorder=0, label="usual")
    axes.axhline(0, color=MARK, linewidth=0.4)
    axes.legend(fontsize=7, frameon=False)


def _require(table: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise DataError(f"the table has no {listed(missing)}", "give the table of a result")
    if not len(table):
        raise DataError("the table is empty", "give the table of a result")
