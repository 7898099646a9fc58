"""Figures of the landscape: its training here, all others in modules of their own.

Their names are here, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from celldyn.plots.landscape_fates import plot_fate_chances, plot_fates, plot_plasticity
from celldyn.plots.landscape_flow import plot_arrows, plot_streamlines
from celldyn.plots.landscape_paths import plot_fate_paths, plot_states_over_time, plot_walks
from celldyn.plots.landscape_perturb import plot_effect, plot_screen
from celldyn.plots.landscape_style import save_figure
from celldyn.plots.landscape_surface import plot_landscape
from celldyn.plots.vae_training import plot_training as _plot_terms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "plot_arrows",
    "plot_effect",
    "plot_fate_chances",
    "plot_fate_paths",
    "plot_fates",
    "plot_landscape",
    "plot_plasticity",
    "plot_screen",
    "plot_states_over_time",
    "plot_streamlines",
    "plot_training",
    "plot_walks",
    "save_figure",
]

_HELD_OUT = "held_out_"


def plot_training(
    history: pd.DataFrame, skip_epochs: int = 0, *, best_epoch: int | None = None
) -> Figure:
    """Draw every term of the loss over the epochs, for training and held-out walks.

    Parameters
    ----------
    history
        A row per epoch, numbered by its column "epoch" or its index. "<term>" and
        "held_out_<term>" share a panel.
    skip_epochs
        Epochs at the beginning that are left out.
    best_epoch
        Where early stopping took the model from: drawn as a line.

    Raises
    ------
    ConfigError
        If no epoch is left.
    """
    table = history.set_index("epoch") if "epoch" in history else history
    pairs = {name for name in table if f"{_HELD_OUT}{name}" in table}
    names = {str(name): f"{name}_train" for name in pairs}
    names |= {f"{_HELD_OUT}{name}": f"{name}_validation" for name in pairs}
    return _plot_terms(table.rename(columns=names), skip_epochs, best_epoch=best_epoch)
