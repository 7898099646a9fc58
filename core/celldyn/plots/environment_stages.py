"""Figures of stages between two others: the clock of a simulation, and how near it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from celldyn.environment import BiologicalClock
from celldyn.errors import DataError
from celldyn.plots.betas_style import panels
from celldyn.plots.vae_style import MARK, TRAINING, VALIDATION, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALVES = "measured, halves"
"""The row of a table of stages that tells what chance alone makes."""
_OTHER = "#999999"
_SAID = {"emd": "earth mover's distance", "e_distance": "energy distance", "mmd": "MMD²"}


def plot_clock(
    times: ArrayLike,
    speed: ArrayLike,
    clock: BiologicalClock,
    stages: Sequence[float] = (),
) -> Figure:
    """Draw how fast cells move, the density that was fitted, and the biological time it makes.

    Parameters
    ----------
    times, speed
        (T,) what the clock was fitted to.
    clock
        From `biological_time`.
    stages
        Biological times that are marked.

    Raises
    ------
    DataError
        If times and speeds do not fit, or a stage is not between both others.
    """
    t, g = np.asarray(times, np.float64), np.asarray(speed, np.float64)
    if t.shape != g.shape or t.ndim != 1 or not t.size:
        raise DataError("there is not one speed per time", "give what the clock was fitted to")
    figure, axes = panels(2, width=3.8, height=2.8)
    fine = np.linspace(t[0], t[-1], 400)
    axes[0].plot(t, g, ".", color=TRAINING, markersize=3, label="cells")
    axes[0].plot(fine, clock.speed(fine), color=VALIDATION, linewidth=1.2, label="gamma density")
    axes[0].set_ylabel("mean |v|", fontsize=8)
    axes[0].set_title(f"{100 * clock.explained:.0f} % of the variance", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False)
    axes[1].plot(fine, clock.at(fine), color=VALIDATION, linewidth=1.2)
    axes[1].set_ylabel("biological time", fontsize=8)
    axes[1].set_title(f"{100 * clock.covered:.0f} % of the way covered", fontsize=9)
    axes[1].set_ylim(min(clock.start, clock.end), max(clock.start, clock.end))
    for stage in stages:
        at = float(clock.inverse(stage))
        axes[1].plot([t[0], at, at], [stage, stage, clock.start], color=MARK, linewidth=0.8,
                     linestyle=":")  # fmt: skip
        axes[1].annotate(f"{stage:g} at {at:.3g} s", (at, stage), fontsize=7, xytext=(3, -9),
                         textcoords="offset points")  # fmt: skip
    for axis in axes:
        axis.set_xlabel("simulated time [s]", fontsize=8)
        axis.tick_params(labelsize=7)
        plain(axis)
    return figure


def plot_stages(table: pd.DataFrame, own: str = "environment") -> Figure:
    """Draw how far recovered cells are from those measured, beside straight ways.

    Parameters
    ----------
    table
        From `stage_report_job`: methods by distances. What one half of the measured cells is away
        from the other, by chance alone, is a line.
    own
        The method that stands out.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    bars = table.drop(index=HALVES, errors="ignore")
    if bars.empty or not len(bars.columns):
        raise DataError("the table has no distances", "compare a stage first")
    names = [str(name) for name in bars.index]
    figure, axes = panels(len(bars.columns), width=3.2, height=0.9 + 0.28 * max(len(names), 4))
    at = np.arange(len(names))
    for axis, measure in zip(axes, bars.columns, strict=True):
        colours = [VALIDATION if name == own else _OTHER for name in names]
        axis.barh(at, bars[measure].to_numpy(float), color=colours)
        axis.set_yticks(at, names, fontsize=7)
        axis.invert_yaxis()
        if HALVES in table.index:
            axis.axvline(float(table.loc[[HALVES], measure].iloc[0]), color=MARK, linewidth=0.8,
                         linestyle="--", label=HALVES)  # fmt: skip
            axis.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        axis.set_xlabel(_SAID.get(str(measure), str(measure)), fontsize=8)
        axis.set_xlim(left=0.0)
        axis.tick_params(axis="x", labelsize=7)
        plain(axis)
    return figure
