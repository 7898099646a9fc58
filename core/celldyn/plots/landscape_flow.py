"""Figures of the flow: streamlines and arrows over cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.errors import DataError
from celldyn.plots.landscape_style import (
    INK,
    as_column,
    axes_of,
    draw_backdrop,
)
from celldyn.plots.vae_style import places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from celldyn.landscape.streams import Streamlines

Palette = Mapping[str, str]

_WIDTHS = (0.4, 1.3)
"""Of the slowest and the fastest piece of a line, in points."""
_FAST = 95.0
_HEADS_APART = 0.35
"""Distance between the arrowheads of a line, over the longest side."""


def plot_streamlines(
    embedding: ArrayLike,
    streams: Streamlines,
    colours: Any = None,  # noqa: ANN401
    *,
    title: str = "",
    palette: Palette | None = None,
    tissue: bool = False,
    size: float | None = None,
    alpha: float = 0.8,
    axes: Axes | None = None,
) -> Axes:
    """Draw streamlines over cells; lines are wider where cells move faster.

    Parameters
    ----------
    embedding
        (n, 2) places; of more axes the first two are drawn.
    streams
        Lines on the same embedding (`celldyn.landscape.streamlines`).
    colours
        (n,) names or numbers; None draws cells grey.
    title
        What the colours are.
    palette
        Colours of names.
    tissue
        Whether y grows downwards, as in an image.
    size, alpha
        Of the dots.
    axes
        Where to draw; by default on a new figure.

    Returns
    -------
    The axes; `axes.figure` is the figure.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    from matplotlib.collections import LineCollection

    xy = places(embedding)
    figure, axis = axes_of(axes)
    draw_backdrop(figure, axis, xy, as_column(colours, len(xy)), palette=palette, size=size,
                  alpha=alpha)  # fmt: skip
    lines = [np.asarray(line)[:, :2] for line in streams.lines]
    if lines:
        pieces = np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in lines])
        speeds = np.concatenate([(speed[1:] + speed[:-1]) / 2 for speed in streams.speeds])
        axis.add_collection(
            LineCollection(list(pieces), linewidths=_widths(speeds, speeds), colors=INK,
                           capstyle="round", zorder=3)
        )  # fmt: skip
        _draw_heads(axis, lines, streams.speeds, speeds)
    axis.set_title(title, fontsize=9)
    axis.autoscale_view()
    if tissue and not axis.yaxis_inverted():
        axis.invert_yaxis()
    return axis


def _widths(speeds: NDArray[Any], every: NDArray[Any]) -> NDArray[np.float64]:
    low, high = _WIDTHS
    fastest = max(float(np.percentile(every, _FAST)), 1e-300)
    return np.asarray(low + (high - low) * np.sqrt(np.clip(speeds / fastest, 0.0, 1.0)))


def _draw_heads(
    axes: Axes,
    lines: Sequence[NDArray[Any]],
    speeds: Sequence[NDArray[Any]],
    every: NDArray[Any],
) -> None:
    """Draw arrowheads along lines: one in the middle of a short line, several on a long one."""
    from matplotlib.patches import FancyArrowPatch

    whole = np.concatenate(lines)
    apart = _HEADS_APART * float(np.ptp(whole, axis=0).max())
    for line, speed in zip(lines, speeds, strict=True):
        along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        n = max(round(along[-1] / apart), 1)
        for k in range(n):
            at = int(np.searchsorted(along, along[-1] * (k + 0.5) / n))
            tail, head = line[max(at - 1, 0)], line[min(max(at, 1), len(line) - 1)]
            axes.add_patch(
                FancyArrowPatch(tuple(tail), tuple(head), arrowstyle="-|>", color=INK, zorder=4,
                                mutation_scale=6.0 + 4.0 * _widths(speed[at : at + 1], every)[0],
                                linewidth=0.0, shrinkA=0.0, shrinkB=0.0)
            )  # fmt: skip


def plot_arrows(
    embedding: ArrayLike,
    grid_places: ArrayLike,
    grid_arrows: ArrayLike,
    colours: Any = None,  # noqa: ANN401
    *,
    title: str = "",
    palette: Palette | None = None,
    tissue: bool = False,
    size: float | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw arrows on a grid (`ArrowGrid.vectors`) over cells; the longest is as long as a box.

    Parameters
    ----------
    embedding, colours, title, palette, tissue, size, axes
        As in `plot_streamlines`.
    grid_places, grid_arrows
        (m, 2) where arrows begin, and the arrows.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    xy, at = places(embedding), places(grid_places, "the grid")
    arrows = np.asarray(grid_arrows, np.float64)[:, :2]
    if arrows.shape != at.shape:
        raise DataError(
            f"arrows {arrows.shape} and places {at.shape} do not fit", "give one for each place"
        )
    figure, axis = axes_of(axes)
    draw_backdrop(figure, axis, xy, as_column(colours, len(xy)), palette=palette, size=size,
                  alpha=0.7)  # fmt: skip
    if len(at):
        lengths = np.linalg.norm(arrows, axis=1)
        apart = np.abs(at[1:] - at[:-1]).max(axis=1)
        box = float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
        scale = float(np.percentile(lengths, _FAST)) / (1.3 * box)
        axis.quiver(*at.T, *arrows.T, color=INK, angles="xy", scale_units="xy", width=0.0028,
                    scale=scale if scale > 0 else 1.0, zorder=3)  # fmt: skip
    axis.set_title(title, fontsize=9)
    if tissue and not axis.yaxis_inverted():
        axis.invert_yaxis()
    return axis
