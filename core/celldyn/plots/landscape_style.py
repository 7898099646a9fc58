"""What the figures of the landscape share: cells on axes, colours of fates, where figures go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from celldyn.data.palette import MISSING_COLOUR, default_colours
from celldyn.data.words import counted
from celldyn.errors import ConfigError, DataError
from celldyn.plots.vae_style import draw_cells, explain, limits_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RISE = "#222222", "#d0d0d0", "viridis"
FORMATS = (".png", ".svg", ".pdf")
_DPI = 300


def axes_of(axes: Axes | None, width: float = 6.2, height: float = 5.0) -> tuple[Figure, Axes]:
    """Return axes to draw on, and their figure: those given, or new ones.

    Raises
    ------
    DataError
        If the axes given are in no figure.
    """
    if axes is None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()
    found = axes.get_figure(root=True)
    if found is None:
        raise DataError("the axes are in no figure", "give axes of a figure")
    return found, axes


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a figure as .png, .svg or .pdf, at 300 dots per inch.

    Raises
    ------
    ConfigError
        If the name ends in anything else, or the folder is not there.
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ConfigError(f"a figure cannot be saved as {target.name}",
                          f"use a name that ends in {', '.join(FORMATS)}")  # fmt: skip
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent}", "make it first")
    figure.savefig(target, dpi=_DPI, bbox_inches="tight", facecolor="white")
    return target


def draw_backdrop(
    figure: Figure,
    axes: Axes,
    xy: NDArray[np.float64],
    column: pd.Series | None,
    *,
    palette: Mapping[str, str] | None = None,
    size: float | None = None,
    alpha: float = 1.0,
    legend: bool = True,
) -> None:
    """Draw cells for something to lie on, in the colours of a column, or grey."""
    shown = pd.Series(["cells"] * len(xy)) if column is None else column
    shades = {"cells": FAINT} if column is None else palette
    drawn = draw_cells(axes, xy, shown, palette=shades, limits=limits_of(shown), size=size)
    drawn.set_alpha(alpha)
    if column is not None and legend:
        explain(figure, axes, drawn, shown, shades)


def fate_colours(names: Sequence[str], palette: Mapping[str, str] | None = None) -> list[str]:
    """Return a colour for each fate: of its cluster where that is known."""
    given = palette or {}
    return [
        given.get(name, colour)
        for name, colour in zip(names, default_colours(len(names)), strict=True)
    ]


def chances(values: ArrayLike, names: Sequence[str], what: str = "chances") -> NDArray[np.float64]:
    """Return (n, n_fates) numbers that fit the names.

    Raises
    ------
    DataError
        If they do not.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 2 or found.shape[1] != len(names):
        raise DataError(
            f"{what} of shape {found.shape} do not fit {counted(len(names), 'fate')}",
            "give one row per cell and one column per fate",
        )
    return found


def as_column(values: Any, n: int) -> pd.Series | None:  # noqa: ANN401
    """Return one value per cell as a column; None stays None.

    Raises
    ------
    DataError
        If there are fewer or more.
    """
    if values is None:
        return None
    column = pd.Series(values).reset_index(drop=True)
    if len(column) != n:
        raise DataError(
            f"{counted(len(column), 'value')} do not fit {counted(n, 'cell')}",
            "give one value per cell",
        )
    return column


def some_of(n: int, most: int, seed: int) -> NDArray[np.intp]:
    """Return numbers of up to `most` of n things, drawn by a seed, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


__all__ = [
    "FAINT",
    "INK",
    "MISSING_COLOUR",
    "RISE",
    "as_column",
    "axes_of",
    "chances",
    "draw_backdrop",
    "fate_colours",
    "save_figure",
    "some_of",
]
