"""Figures of perturbations in the landscape: effects against the null, and screens over genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.data.words import listed
from celldyn.errors import DataError, MissingKeyError
from celldyn.plots.betas_style import DOWN, UNSURE, UP, panels
from celldyn.plots.landscape_style import chances, fate_colours
from celldyn.plots.vae_style import MARK, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIGNIFICANT = 0.05
_LEAST_P = 1e-300
_NEAR = 0.03
"""Names are left out that would stand nearer to another than this, in shares of an axis."""


def plot_effect(
    names: Sequence[str],
    effect: ArrayLike,
    low: ArrayLike,
    high: ArrayLike,
    *,
    null: ArrayLike | None = None,
    p: ArrayLike | None = None,
    title: str = "",
    palette: Mapping[str, str] | None = None,
) -> Figure:
    """Draw how much a perturbation changes the share of each fate, over what chance does.

    Parameters
    ----------
    names
        (f,) fates.
    effect, low, high
        (f,) change of the mean chance, and its interval (`PerturbationEffect`).
    null
        (n_sets, f) changes by genes that should do nothing; drawn as a grey cloud, with the
        middle 95 % as a bar.
    p
        (f,) against that null; effects above .05 are drawn faint.
    title
        What was done.
    palette
        Colours of fates.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    from matplotlib.figure import Figure

    middle, below, above = (
        100 * chances(np.asarray(one, np.float64)[None], names, what)[0]
        for one, what in ((effect, "effects"), (low, "intervals"), (high, "intervals"))
    )
    figure = Figure(figsize=(5.6, 1.2 + 0.42 * max(len(names), 2)), layout="constrained")
    axes = figure.add_subplot()
    if null is not None and np.size(null):
        _draw_null(axes, 100 * chances(null, names, "effects of the null"))
    sure = np.ones(len(names)) if p is None else np.where(
        np.nan_to_num(np.asarray(p, np.float64)) < _SIGNIFICANT, 1.0, UNSURE)  # fmt: skip
    for k, colour in enumerate(fate_colours(names, palette)):
        axes.plot([below[k], above[k]], [k, k], color=colour, linewidth=2.2, alpha=sure[k])
        axes.plot(middle[k], k, "o", color=colour, markersize=7, alpha=sure[k])
        if p is not None and np.isfinite(np.asarray(p, np.float64)[k]):
            value = f"p = {np.asarray(p, np.float64)[k]:.2g}"
            axes.text(1.01, k, value, transform=axes.get_yaxis_transform(), va="center",
                      fontsize=7)  # fmt: skip
    axes.axvline(0.0, color=MARK, linewidth=0.7)
    axes.set_yticks(np.arange(len(names)), [str(name) for name in names], fontsize=8)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="change of the share of a fate (points of %)")
    axes.set_title(title, fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, frameon=False, loc="best")
    plain(axes)
    return figure


def _draw_null(axes: Axes, null: Any) -> None:  # noqa: ANN401
    jitter = np.random.default_rng(0).uniform(-0.18, 0.18, null.shape)
    row = np.arange(null.shape[1]) + jitter
    axes.scatter(null.ravel(), row.ravel(), s=5, color="#bbbbbb", linewidths=0,
                 label="genes that should do nothing")  # fmt: skip
    low, high = np.nanpercentile(null, [2.5, 97.5], axis=0)
    axes.hlines(np.arange(null.shape[1]), low, high, color="#999999", linewidth=7, alpha=0.35)


def plot_screen(
    table: pd.DataFrame, fate: str, *, n_named: int = 12, highlight: Sequence[str] = ()
) -> Figure:
    """Draw a screen for one fate: every gene by its effect and by how sure it is, and the ranks.

    Parameters
    ----------
    table
        Columns gene, fate, effect, p, q, and low and high where there are any (`Screen.table`).
    fate
        Which.
    n_named
        Genes that are named: the surest, then the strongest.
    highlight
        Genes that are named in any case, in red.

    Raises
    ------
    MissingKeyError
        If the screen has no such fate.
    DataError
        If columns are missing.
    """
    missing = [name for name in ("gene", "fate", "effect", "p", "q") if name not in table]
    if missing:
        raise DataError(f"the table has no {listed(missing)}", "give the table of a screen")
    there = sorted(table["fate"].astype(str).unique())
    if fate not in there:
        raise MissingKeyError(f"the screen has no fate {fate!r}", f"there are {listed(there)}")
    shown = table[table["fate"].astype(str) == fate].copy()
    shown = shown.sort_values("effect", ascending=False, kind="stable", ignore_index=True)
    figure, axes = panels(2, width=4.4, height=3.8)
    _draw_volcano(axes[0], shown, n_named, highlight)
    _draw_ranks(axes[1], shown, n_named, highlight)
    figure.suptitle(f"genes that change the share of {fate}", fontsize=10)
    return figure


def _paint(table: pd.DataFrame) -> list[str]:
    sure = table["q"].fillna(1.0) < _SIGNIFICANT
    return [("#bbbbbb" if not s else UP if e > 0 else DOWN)
            for s, e in zip(sure, table["effect"], strict=True)]  # fmt: skip


def _draw_volcano(axes: Axes, table: pd.DataFrame, n_named: int, highlight: Sequence[str]) -> None:
    x = 100 * table["effect"].to_numpy(float)
    y = -np.log10(np.maximum(table["p"].fillna(1.0).to_numpy(float), _LEAST_P))
    axes.scatter(x, y, s=10, color=_paint(table), linewidths=0, rasterized=True)
    axes.axvline(0.0, color=MARK, linewidth=0.5)
    axes.set(xlabel="effect (points of %)", ylabel="−log₁₀ p against the null")
    for label, colour in ((f"more, q < {_SIGNIFICANT}", UP), (f"less, q < {_SIGNIFICANT}", DOWN)):
        axes.scatter([], [], s=14, color=colour, label=label)
    axes.legend(fontsize=7, frameon=False)
    order = np.lexsort([-np.abs(x), -y])
    _name(axes, table["gene"].astype(str).tolist(), x, y, order[:n_named], highlight)
    plain(axes)


def _draw_ranks(axes: Axes, table: pd.DataFrame, n_named: int, highlight: Sequence[str]) -> None:
    at, y = np.arange(1.0, len(table) + 1), 100 * table["effect"].to_numpy(float)
    if {"low", "high"} <= set(table):
        axes.vlines(at, 100 * table["low"], 100 * table["high"], color="#dddddd", linewidth=0.6,
                    zorder=0)  # fmt: skip
    axes.scatter(at, y, s=8, color=_paint(table), linewidths=0, rasterized=True)
    axes.axhline(0.0, color=MARK, linewidth=0.5)
    axes.set(xlabel="rank of the gene", ylabel="effect, with its 95 % interval (points of %)")
    ends = np.argsort(-np.abs(y), kind="stable")[:n_named]
    _name(axes, table["gene"].astype(str).tolist(), at, y, ends, highlight)
    plain(axes)


def _name(
    axes: Axes,
    genes: list[str],
    x: NDArray[Any],
    y: NDArray[Any],
    chosen: NDArray[Any],
    highlight: Sequence[str],
) -> None:
    """Name genes, the highlighted first; none where another name stands already."""
    wanted = [k for k, gene in enumerate(genes) if gene in set(highlight)]
    taken: list[np.ndarray[Any, Any]] = []
    span = np.array([max(float(np.ptp(v)), 1e-12) for v in (x, y)]) if len(x) else np.ones(2)
    for k in [*wanted, *(k for k in chosen if k not in wanted)]:
        at = np.array([x[k], y[k]]) / span
        near = any((np.abs(at - other) < (3 * _NEAR, _NEAR)).all() for other in taken)
        if near and k not in wanted:
            continue
        taken.append(at)
        axes.annotate(genes[k], (x[k], y[k]), fontsize=6.5, xytext=(3, 3),
                      textcoords="offset points",
                      color=UP if k in wanted else "#222222")  # fmt: skip
