"""Figures of virtual cells: their training here, all others in modules of their own.

Their names are here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.errors import DataError
from celldyn.plots.betas_style import panels
from celldyn.plots.environment_cells import plot_cells, plot_rest
from celldyn.plots.environment_effects import plot_course, plot_effect, plot_screen
from celldyn.plots.environment_stages import plot_clock, plot_recovered
from celldyn.plots.landscape_style import INK, save_figure
from celldyn.plots.vae_style import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_cells",
    "plot_clock",
    "plot_course",
    "plot_effect",
    "plot_recovered",
    "plot_rest",
    "plot_screen",
    "plot_training",
    "save_figure",
]

_PANELS = (
    ("reward", ("reward", "reward/"), "reward of a cell over an episode"),
    ("pinning", ("loss/pinning_",), "error of what positions tell"),
    ("policy", ("explained_variance", "loss/critic"), "critic"),
    ("motion", ("speed", "std"), "speed at the end, and noise of forces"),
)


def plot_training(history: pd.DataFrame) -> Figure:
    """Draw rewards, losses and speeds over the cell-steps of a training.

    Parameters
    ----------
    history
        A row per update with "timesteps", as `history_of` or an `EventLog` gives it; columns that
        are not there are left out.

    Raises
    ------
    DataError
        If there is no update, or nothing to draw.
    """
    if not len(history):
        raise DataError("there is no update to draw", "train first")
    columns = [str(name) for name in history.columns]
    shown = [
        (title, [c for c in columns if c in names or c.startswith(_prefixes(names))])
        for _, names, title in _PANELS
    ]
    shown = [(title, found) for title, found in shown if found]
    if not shown:
        raise DataError("the history has no reward and no loss", "give that of a training")
    timed = "timesteps" in history
    x = history["timesteps"].to_numpy(float) / 1e6 if timed else np.arange(1.0, len(history) + 1)
    figure, axes = panels(len(shown), width=3.8, height=3.0)
    for part, (title, found) in zip(axes, shown, strict=False):
        _draw_terms(part, x, history[found], title)
        part.set_xlabel("million cell-steps" if timed else "update")
    return figure


def _prefixes(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name.endswith(("/", "_"))) or ("\0",)


def _draw_terms(axes: Axes, x: NDArray[np.float64], terms: pd.DataFrame, title: str) -> None:
    for name in terms:
        whole = name == "reward"
        axes.plot(x, terms[name], linewidth=2.0 if whole else 1.2, label=str(name),
                  color=INK if whole else None)  # fmt: skip
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7, frameon=False)
    plain(axes)
