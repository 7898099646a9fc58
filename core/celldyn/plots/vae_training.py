"""Figures of the VAE's training: every term of the loss over the epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from celldyn.data.words import counted
from celldyn.errors import ConfigError
from celldyn.plots.betas_style import panels
from celldyn.plots.vae_style import MARK, TRAINING, VALIDATION, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = {"train": "training", "validation": "held-out cells"}
_FIRST = ("elbo", "loss", "reconstruction", "kl_z", "kl_library")
"""Terms of the loss that are looked at first."""


def plot_training(
    history: pd.DataFrame, skip_epochs: int = 0, *, best_epoch: int | None = None
) -> Figure:
    """Draw every term of the loss over the epochs, for training and validation cells.

    Parameters
    ----------
    history
        A row per epoch, numbered by its index. Columns "<term>_train" and "<term>_validation"
        share a panel; others have one of their own. "<term>/<modality>" is left out where it is
        the whole term. Epochs without a number, as between validations, are passed over.
    skip_epochs
        Epochs at the beginning that are left out: the first losses are so large that they hide
        all later changes.
    best_epoch
        Where early stopping took the model from: drawn as a line.

    Raises
    ------
    ConfigError
        If no epoch is left.
    """
    shown = history.iloc[max(skip_epochs, 0) :]
    if shown.empty:
        raise ConfigError(
            f"skip_epochs is {skip_epochs}, and there are {counted(len(history), 'epoch')}",
            f"give less than {max(len(history), 1)}",
        )
    terms = _terms(shown)
    figure, axes = panels(len(terms), width=3.0, height=2.3)
    for axis, (term, columns) in zip(axes, terms.items(), strict=True):
        _draw_term(axis, shown, columns)
        axis.set_title(term.replace("_", " "), fontsize=9)
        if best_epoch is not None and best_epoch >= shown.index.min():
            axis.axvline(best_epoch, color=MARK, linewidth=0.8, linestyle=":", label="best epoch")
    if axes:
        axes[0].legend(fontsize=7, frameon=False)
    return figure


def _terms(history: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the columns of each term by kind, those looked at first in front.

    A modality's part "<term>/<modality>" that is all of its term, as of one modality, is left out.
    """
    found: dict[str, dict[str, str]] = {}
    for column in map(str, history.columns):
        term, _, kind = column.rpartition("_")
        if kind not in _KINDS:
            term, kind = column, ""
        found.setdefault(term, {})[kind] = column
    kept = {}
    for term, columns in found.items():
        whole = found.get(term.partition("/")[0], {}) if "/" in term else {}
        if not all(
            kind in whole and history[column].equals(history[whole[kind]])
            for kind, column in columns.items()
        ):
            kept[term] = columns
    rank = {term: place for place, term in enumerate(_FIRST)}
    return dict(sorted(kept.items(), key=lambda item: rank.get(item[0], len(rank))))


def _draw_term(axes: Axes, history: pd.DataFrame, columns: Mapping[str, str]) -> None:
    for kind in ("", "train", "validation"):
        if kind not in columns:
            continue
        values = history[columns[kind]].astype(float).dropna()
        held_out = kind == "validation"
        axes.plot(
            values.index.to_numpy(float),
            values.to_numpy(),
            color=VALIDATION if held_out else TRAINING,
            linestyle="--" if held_out else "-",
            marker="." if len(values) == 1 else "",
            linewidth=1.2,
            label=_KINDS.get(kind, "_nolegend_"),
        )
    axes.tick_params(labelsize=7)
    axes.set_xlabel("epoch", fontsize=8)
    plain(axes)
