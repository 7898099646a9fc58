"""Figures of the way from one stage to another: its clock, and recovered beside measured cells.

Shapes: T frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn.data.words import listed
from celldyn.environment.stages import StageRecovery
from celldyn.errors import DataError
from celldyn.plots.betas_style import UP, panels
from celldyn.plots.landscape_style import INK
from celldyn.plots.vae_style import TRAINING, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_clock(recovery: StageRecovery) -> Figure:
    """Draw how fast cells go from stage to stage, with the fit, and the biological time of it."""
    figure, axes = panels(2, width=4.0, height=3.0)
    axes[0].plot(recovery.times, recovery.speeds, color=INK, linewidth=1.2, label="simulated")
    if recovery.clock is not None:
        fitted = recovery.clock.speed(recovery.times)
        axes[0].plot(recovery.times, fitted, color=UP, linewidth=1.2, label="gamma density")
    axes[0].set(xlabel="time (s)", ylabel="mean |v|", ylim=(0, None))
    axes[0].legend(fontsize=7, frameon=False)
    axes[1].plot(recovery.times, recovery.biological, color=TRAINING, linewidth=1.6)
    axes[1].set(xlabel="time (s)", ylabel="biological time")
    if recovery.clock is None:
        axes[1].set_title("no clock fits: in proportion to seconds", fontsize=8)
    for part in axes[:2]:
        plain(part)
    return figure


def plot_recovered(table: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw how far recovered cells are from measured ones, beside straight ways and the best.

    Parameters
    ----------
    table
        Methods by "emd", "e_distance" and "mmd" (`StageRecovery.compare_job`).

    Raises
    ------
    DataError
        If it has no such column.
    """
    shown = [name for name in ("emd", "e_distance", "mmd") if name in table]
    if not shown or not len(table):
        raise DataError(
            f"the table has columns {listed(table.columns)}", "give that of a comparison"
        )
    figure, axes = panels(len(shown), width=3.4, height=0.9 + 0.3 * len(table))
    at = np.arange(len(table))[::-1]
    colours = [UP if str(name) == "environment" else "#999999" for name in table.index]
    for part, name in zip(axes, shown, strict=False):
        part.barh(at, table[name].to_numpy(float), color=colours, height=0.7)
        part.set_yticks(at, [str(method) for method in table.index], fontsize=8)
        part.set_xlabel(f"{name}, 0 at best")
        plain(part)
    figure.suptitle(title, fontsize=10)
    return figure
