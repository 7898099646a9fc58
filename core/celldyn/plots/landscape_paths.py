"""Figures of single cells on their way: walks, paths to fates, states over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.data.words import counted
from celldyn.errors import DataError
from celldyn.plots.betas_style import panels
from celldyn.plots.landscape_style import (
    FAINT,
    INK,
    RISE,
    as_column,
    axes_of,
    draw_backdrop,
    fate_colours,
    some_of,
)
from celldyn.plots.vae_style import places, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Palette = Mapping[str, str]


def plot_walks(
    embedding: ArrayLike,
    walks: ArrayLike,
    *,
    n_walks: int = 30,
    seed: int = 0,
    axes: Axes | None = None,
) -> Axes:
    """Draw random walks over cells, dark where they begin and bright where they end.

    Parameters
    ----------
    embedding
        (n, 2) places.
    walks
        (n_walks, path_len) cells by number (`sample_walks`).
    n_walks
        How many are drawn, chosen by the seed.

    Raises
    ------
    DataError
        If walks are not rows of cells that are there.
    """
    from matplotlib.collections import LineCollection

    xy, every = places(embedding), np.asarray(walks)
    if every.ndim != 2 or not every.size or every.min() < 0 or every.max() >= len(xy):
        raise DataError(
            f"walks of shape {every.shape} do not go over {counted(len(xy), 'cell')}",
            "give rows of numbers of cells",
        )
    figure, axis = axes_of(axes)
    draw_backdrop(figure, axis, xy, None)
    some = every[some_of(len(every), n_walks, seed)]
    way = xy[some]
    pieces = np.stack([way[:, :-1], way[:, 1:]], axis=2).reshape(-1, 2, 2)
    step = np.tile(np.arange(some.shape[1] - 1) + 0.5, len(some))
    lines = LineCollection(list(pieces), cmap=RISE, linewidths=0.8, alpha=0.8, zorder=3)
    lines.set_array(step)
    axis.add_collection(lines)
    _dots(axis, way[:, 0], s=14, color="#440154", zorder=4, linewidths=0, label="start")
    _dots(axis, way[:, -1], s=24, color="#fde725", edgecolors=INK, linewidths=0.5, zorder=4,
                 label="end")  # fmt: skip
    axis.legend(fontsize=7, frameon=False, loc="best")
    figure.colorbar(lines, ax=axis, label="step of the walk", shrink=0.7)
    axis.set_title(f"{counted(len(some), 'random walk')}", fontsize=9)
    return axis


def plot_fate_paths(
    embedding: ArrayLike,
    frames: ArrayLike,
    fates: ArrayLike,
    names: Sequence[str],
    *,
    n_paths: int = 60,
    seed: int = 0,
    palette: Palette | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Draw the way of some cells to their fates over all cells.

    Parameters
    ----------
    embedding
        (n, 2) places.
    frames
        (n_times, n, 2) places over time (`flow_frames`).
    fates
        (n,) name of each cell's fate.
    names
        Fates, in the order of the legend.
    n_paths
        How many cells, chosen by the seed.
    palette
        Colours of fates.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    from matplotlib.collections import LineCollection

    xy, film = places(embedding), np.asarray(frames, np.float64)
    ends = np.asarray(fates).astype(str)
    if film.ndim != 3 or film.shape[1] != len(xy) or ends.shape != (len(xy),):
        raise DataError(
            f"frames {film.shape} and {counted(ends.size, 'fate')} do not fit "
            f"{counted(len(xy), 'cell')}",
            "give all for each cell",
        )
    figure, axis = axes_of(axes)
    draw_backdrop(figure, axis, xy, None)
    some = some_of(len(xy), n_paths, seed)
    for name, colour in zip(names, fate_colours(names, palette), strict=True):
        cells = some[ends[some] == name]
        way = film[:, cells, :2].swapaxes(0, 1)
        axis.add_collection(LineCollection(list(way), colors=colour, linewidths=1.0, alpha=0.75))
        _dots(axis, way[:, 0], s=9, color="white", edgecolors=colour, linewidths=0.9, zorder=3)
        _dots(axis, way[:, -1], s=26, color=colour, edgecolors=INK, linewidths=0.5, zorder=4,
                     label=name)  # fmt: skip
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5),
                title="fate", title_fontsize=8)  # fmt: skip
    axis.set_title(f"ways of {counted(len(some), 'cell')} downhill", fontsize=9)
    return axis


def plot_states_over_time(
    times: ArrayLike,
    paths: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    palette: Palette | None = None,
    most: int = 12,
) -> Figure:
    """Draw each dimension of the state over time: the median of each group, and its middle 80 %.

    Parameters
    ----------
    times
        (n_times,).
    paths
        (n_times, n, d) states (`flow`).
    groups
        (n,) names, such as fates; None takes all cells together.
    palette
        Colours of groups.
    most
        Dimensions that are drawn: those that change most.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    at, z = np.asarray(times, np.float64), np.asarray(paths, np.float64)
    if z.ndim != 3 or at.shape != z.shape[:1]:
        raise DataError(f"times {at.shape} and paths {z.shape} do not fit", "give a time each")
    column = as_column(groups, z.shape[1])
    labels = np.array(["all cells"] * z.shape[1]) if column is None else column.astype(str).values
    moved = np.abs(z - z[0]).mean(axis=(0, 1))
    shown = np.sort(np.argsort(-moved, kind="stable")[: max(most, 1)])
    names = sorted(set(labels))
    figure, axes = panels(len(shown), width=2.5, height=1.9)
    for axis, dim in zip(axes, shown, strict=True):
        for name, colour in zip(names, fate_colours(names, palette), strict=True):
            low, middle, high = np.percentile(z[:, labels == name, dim], [10, 50, 90], axis=1)
            axis.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(at, middle, color=colour, linewidth=1.3, label=name)
        axis.set_title(f"z{dim + 1}", fontsize=9)
        axis.tick_params(labelsize=7)
        axis.axhline(0.0, color=FAINT, linewidth=0.6, zorder=0)
        plain(axis)
    for axis in axes[-4:]:
        axis.set_xlabel("time", fontsize=8)
    axes[0].legend(fontsize=6, frameon=False)
    return figure


def _dots(axes: Axes, xy: NDArray[Any], **style: Any) -> None:  # noqa: ANN401
    axes.scatter(xy[:, 0], xy[:, 1], **style)
