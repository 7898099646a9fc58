"""Figures of a screen of virtual cells: which genes move them most, and in which groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from celldyn.environment.screened import Screen
from celldyn.errors import DataError
from celldyn.plots.betas_style import DIVERGING, RISING, symmetric_limit
from celldyn.plots.vae_style import MARK, TRAINING, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_SAID = {
    "effect": "effect size, mean ‖x_T − x_0‖",
    "length": "length of the way",
    "shift": "distance from the same cells without it",
    "size": "change of what cells see",
    "z": "z against controls",
    "z_random": "z against random changes",
}
_MOST_GROUPS = 30


def plot_screen(
    screen: Screen, what: str = "shift", *, group: str | None = None, n_genes: int = 25
) -> Figure:
    """Draw the genes that move cells most, and how much they move each group of cells.

    Parameters
    ----------
    screen
        From `BasicManager.screen`.
    what
        effect, length, shift, size, z or z_random.
    group
        Group of cells that genes are ranked by; None for all cells.
    n_genes
        How many genes.

    Raises
    ------
    MissingKeyError
        If there is no such figure or group.
    DataError
        If no gene has a number, as z where controls do not vary.
    """
    table = screen.matrix(what)
    by = screen.groups[0] if group is None else group
    screen.of_group(by)  # raises where there is no such group
    ranked = table[by].dropna().sort_values(ascending=False, kind="stable").head(max(n_genes, 1))
    if ranked.empty:
        raise DataError(f"no gene has a number for {what}", "draw another figure, such as shift")
    several = len(screen.groups) > 1
    height = 1.2 + 0.2 * max(len(ranked), 5)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0 if several else 4.6, height), layout="constrained")
    axes = figure.subplots(1, 2 if several else 1, squeeze=False)[0]
    at = np.arange(len(ranked))
    axes[0].barh(at, ranked.to_numpy(float), color=TRAINING)
    _null(axes[0], screen, what, by)
    axes[0].set_yticks(at, [str(gene) for gene in ranked.index], fontsize=7)
    axes[0].set_ylim(len(ranked) - 0.4, -0.6)
    axes[0].set_xlabel(_SAID[what], fontsize=8)
    axes[0].set_title(f"{screen.change}, {by}", fontsize=9)
    axes[0].tick_params(axis="x", labelsize=7)
    plain(axes[0])
    if several:
        groups = [name for name in screen.groups if name != screen.groups[0]][:_MOST_GROUPS]
        values = table.loc[ranked.index, groups].to_numpy(float)
        _heat(figure, axes[1], values, groups, signed=what.startswith("z"))
        axes[1].set_title(_SAID[what], fontsize=9)
    return figure


def _null(axes: Axes, screen: Screen, what: str, group: str) -> None:
    """Draw what cells do without a change, where that compares."""
    column = screen.groups.index(group)
    if what == "effect" and screen.control.size:
        value, name = float(screen.control[:, column].mean()), "no change"
    elif what.startswith("z"):
        value, name = 2.0, "z = 2"
    else:
        return
    axes.axvline(value, color=MARK, linewidth=0.8, linestyle="--", label=name)
    axes.legend(fontsize=7, frameon=False, loc="lower right")


def _heat(
    figure: Figure,
    axes: Axes,
    values: NDArray[np.float64],
    groups: list[str],
    *,
    signed: bool,
) -> None:
    limit = symmetric_limit(values)
    image = axes.imshow(
        values, aspect="auto", cmap=DIVERGING if signed else RISING,
        vmin=-limit if signed else 0.0, vmax=limit, interpolation="nearest",
    )  # fmt: skip
    axes.set_xticks(np.arange(len(groups)), groups, fontsize=7, rotation=60, ha="right")
    axes.set_yticks([])
    figure.colorbar(image, ax=axes, shrink=0.7)
