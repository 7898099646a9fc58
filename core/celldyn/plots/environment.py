"""Figures of virtual cells: their training, and what their places tell beside simple methods.

Those of cells in their space, of perturbations, screens and stages have modules of their own, and
their names here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.data.palette import default_colours
from celldyn.data.words import counted
from celldyn.environment import Quality
from celldyn.environment.quality_results import NAME
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.plots.betas_style import panels
from celldyn.plots.environment_cells import plot_cells, plot_rest
from celldyn.plots.environment_effects import plot_course, plot_effect
from celldyn.plots.environment_screen import plot_screen
from celldyn.plots.environment_stages import plot_clock, plot_stages
from celldyn.plots.vae_style import MARK, TRAINING, draw_cells, explain, places, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "plot_cells",
    "plot_clock",
    "plot_course",
    "plot_effect",
    "plot_features",
    "plot_quality",
    "plot_rest",
    "plot_screen",
    "plot_stages",
    "plot_told",
    "plot_training",
]

_OWN, _OTHER = "#d55e00", "#999999"
"""Colours of the environment and of simple methods."""
_MOST_LINES = 400
_SCORES = {
    "r": "Pearson's r", "mse": "MSE / variance", "r_aligned": "r, aligned by training cells",
    "mse_aligned": "MSE / variance, aligned", "neighbour_recall": "nearest neighbours kept",
    "label_accuracy": "labels told right",
}  # fmt: skip


def plot_training(
    history: pd.DataFrame | Sequence[Mapping[str, float]], skip_updates: int = 0
) -> Figure:
    """Draw rewards, losses and speed of a training over its cell-steps.

    Parameters
    ----------
    history
        A row per update, such as `FittedEnvironment.history`.
    skip_updates
        Updates at the beginning that are left out.

    Raises
    ------
    ConfigError
        If no update is left.
    """
    table = pd.DataFrame(history)
    shown = table.iloc[max(skip_updates, 0) :]
    if shown.empty:
        raise ConfigError(
            f"skip_updates is {skip_updates}, and there are {counted(len(table), 'update')}",
            f"give less than {max(len(table), 1)}",
        )
    groups = _groups(list(map(str, shown.columns)))
    figure, axes = panels(len(groups), width=3.2, height=2.4, most=3)
    steps = shown["timesteps"] if "timesteps" in shown else pd.Series(np.arange(len(shown)))
    for axis, (title, columns) in zip(axes, groups.items(), strict=True):
        for name, colour in zip(columns, default_colours(len(columns)), strict=True):
            bold = name == "reward"
            axis.plot(
                steps.to_numpy(float), shown[name].to_numpy(float),
                color=MARK if bold else colour, linewidth=1.8 if bold else 1.1,
                marker="." if len(shown) == 1 else "", label=_short(name),
            )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("cell-steps" if "timesteps" in shown else "update", fontsize=8)
        axis.tick_params(labelsize=7)
        if len(columns) > 1:
            axis.legend(fontsize=7, frameon=False)
        plain(axis)
    return figure


def _groups(columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of each panel."""
    found: dict[str, list[str]] = {}
    rewards = [name for name in columns if name == "reward" or name.startswith("reward/")]
    pinning = [name for name in columns if name.startswith("loss/pinning")]
    if rewards:
        found["reward per cell and episode"] = rewards
    if pinning:
        found["loss of what places tell"] = pinning
    for name in columns:
        if name.startswith("loss/") and name not in (*pinning, "loss/total"):
            found[f"loss, {_short(name)}"] = [name]
    for name in ("speed", "explained_variance"):
        if name in columns:
            found[name.replace("_", " ")] = [name]
    return found


def _short(name: str) -> str:
    head, _, tail = name.partition("/")
    return (tail or ("in all" if head == "reward" else head)).replace("_", " ")


def plot_quality(
    quality: Quality | Mapping[int, pd.DataFrame], scores: Sequence[str] | None = None
) -> Figure:
    """Draw figures of an environment beside those of simple methods, a row per modality.

    Parameters
    ----------
    quality
        From `quality_of`, or tables by modality as `imputation_report` gives them.
    scores
        Columns that are drawn; None for all that there are.

    Raises
    ------
    MissingKeyError
        If no table has such a column.
    """
    tables = dict(quality.tables) if isinstance(quality, Quality) else dict(quality)
    known = list(dict.fromkeys(str(name) for table in tables.values() for name in table))
    chosen = known if scores is None else list(scores)
    if unknown := [name for name in chosen if name not in known]:
        raise MissingKeyError(f"there are no figures {unknown[0]!r}", f"there are {known}")
    if not tables or not chosen:
        raise DataError("there are no figures to draw", "score an environment first")
    figure, axes = panels(len(tables) * len(chosen), width=3.0, height=1.9, most=len(chosen))
    for at, axis in enumerate(axes):
        k, score = list(tables)[at // len(chosen)], chosen[at % len(chosen)]
        if score not in tables[k]:
            axis.set_axis_off()
            continue
        _draw_bars(axis, tables[k][score])
        axis.set_title(f"modality {k}: {_SCORES.get(score, score)}", fontsize=8)
    return figure


def _draw_bars(axes: Axes, values: pd.Series[Any]) -> None:
    heights = values.to_numpy(float)
    names = [str(name) for name in values.index]
    at = np.arange(len(names))
    axes.barh(at, heights, color=[_OWN if name == NAME else _OTHER for name in names])
    for place, height in zip(at, heights, strict=True):
        axes.annotate(
            f" {height:.3g}", (max(height, 0.0) if np.isfinite(height) else 0.0, place),
            va="center", fontsize=7,
        )  # fmt: skip
    axes.set_yticks(at, names, fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.axvline(0.0, color=MARK, linewidth=0.6)
    axes.tick_params(axis="x", labelsize=7)
    plain(axes)


def plot_told(
    told: ArrayLike,
    truth: ArrayLike,
    train: ArrayLike | None = None,
    colour: ArrayLike | None = None,
    palette: Mapping[str, str] | None = None,
) -> Figure:
    """Draw where cells are and where they are told to be, and the way from one to the other.

    Parameters
    ----------
    told, truth
        (n, 2) coordinates in one unit; y grows downwards, as in an image.
    train
        (n,) bool which cells were trained on; None where all were. Ways are of the others.
    colour
        (n,) names or numbers that cells are coloured by; None for how far along x they truly are.
    palette
        Colours of names.

    Raises
    ------
    DataError
        If there are other numbers of cells.
    """
    where, known = places(told, "what is told"), places(truth, "the truth")
    mask = np.ones(len(known), np.bool_) if train is None else np.asarray(train, np.bool_)
    column = pd.Series(known[:, 0] if colour is None else np.asarray(colour))
    if not len(where) == len(known) == len(mask) == len(column):
        raise DataError("what is drawn is not of the same cells", "give one row per cell")
    figure, axes = panels(3, width=3.3, height=3.2, most=3)
    for axis, xy, title in ((axes[0], known, "where cells are"),
                            (axes[1], where, "where they are told to be")):  # fmt: skip
        drawn = draw_cells(axis, xy, column, palette=palette)
        axis.set_title(title, fontsize=9)
    explain(figure, axes[1], drawn, column, palette)
    held = ~mask if not mask.all() else mask
    _draw_ways(axes[2], known[held], where[held])
    of = "held out" if not mask.all() else "trained on"
    axes[2].set_title(
        f"from one to the other, {counted(int(held.sum()), 'cell')} {of}", fontsize=9
    )
    return figure


def _draw_ways(axes: Axes, start: NDArray[np.float64], end: NDArray[np.float64]) -> None:
    from matplotlib.collections import LineCollection

    if len(start) > _MOST_LINES:
        few = np.random.default_rng(0).choice(len(start), _MOST_LINES, replace=False)
        start, end = start[few], end[few]
    ways = LineCollection(
        list(np.stack([start, end], axis=1)), colors=_OWN, linewidths=0.6, alpha=0.7
    )
    axes.add_collection(ways)
    axes.scatter(start[:, 0], start[:, 1], s=4, color=MARK, linewidths=0)
    axes.set(xticks=[], yticks=[])


def plot_features(
    told: ArrayLike,
    truth: ArrayLike,
    names: Sequence[str],
    train: ArrayLike | None = None,
    features: Sequence[str] | int = 8,
) -> Figure:
    """Draw features that are told against those that were measured, with Pearson's r.

    Parameters
    ----------
    told, truth
        (n, G) values in one unit.
    names
        Names of the features.
    train
        (n,) bool which cells were trained on: the others are drawn; None draws all.
    features
        Which; or how many, those that vary most.

    Raises
    ------
    MissingKeyError
        If there is no such feature.
    DataError
        If the arrays do not fit each other.
    """
    p, t = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    if p.shape != t.shape or p.ndim != 2 or len(names) != p.shape[1]:
        raise DataError(
            f"{p.shape} told, {t.shape} measured and {len(names)} names do not fit",
            "give one each",
        )
    if train is not None and not np.all(train):
        held = ~np.asarray(train, np.bool_)
        p, t = p[held], t[held]
    every = [str(name) for name in names]
    if isinstance(features, int):
        columns = np.argsort(-t.std(axis=0), kind="stable")[: max(features, 1)].tolist()
    elif unknown := [name for name in features if name not in every]:
        raise MissingKeyError(f"there is no feature {unknown[0]!r}", "choose another")
    else:
        columns = [every.index(name) for name in features]
    figure, axes = panels(len(columns), width=2.4, height=2.4)
    for axis, k in zip(axes, columns, strict=True):
        both = np.array([t[:, k].std(), p[:, k].std()])
        r = float(np.corrcoef(t[:, k], p[:, k])[0, 1]) if (both > 0).all() else float("nan")
        axis.scatter(t[:, k], p[:, k], s=5, color=TRAINING, linewidths=0, alpha=0.5)
        axis.axline((float(t[:, k].mean()),) * 2, slope=1.0, color=MARK, linewidth=0.6,
                    linestyle="--")  # fmt: skip
        axis.set_title(f"{every[k]}, r {r:.2f}", fontsize=8)
        axis.set_xlabel("measured", fontsize=7)
        axis.set_ylabel("told", fontsize=7)
        axis.tick_params(labelsize=6)
        plain(axis)
    return figure
