"""Figures of the landscape itself: a hilly surface with cells, streams and paths on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.data.categories import is_categorical
from celldyn.errors import DataError
from celldyn.plots.landscape_style import INK, MISSING_COLOUR, RISE, as_column
from celldyn.plots.vae_style import explain, limits_of, palette_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from celldyn.landscape.streams import Streamlines
    from celldyn.landscape.surfaces import PotentialSurface

_GROUND = "Greys"
_SUN = np.array([-0.45, -0.35, 0.82])
_SHADE = (0.55, 0.45)
"""Light in the shade, and what the sun adds."""
_ABOVE = 0.012
"""What cells float above the surface, over its longest side: they would be half sunk in it."""


def plot_landscape(
    surface: PotentialSurface,
    cells: ArrayLike | None = None,
    colours: Any = None,  # noqa: ANN401
    *,
    streams: Streamlines | None = None,
    path: ArrayLike | None = None,
    title: str = "",
    axes_names: tuple[str, str] = ("B1", "B2"),
    palette: Mapping[str, str] | None = None,
    size: float | None = None,
    elevation: float = 48.0,
    azimuth: float = -62.0,
) -> Figure:
    """Draw the potential as a surface in three dimensions, with what lies on it.

    Parameters
    ----------
    surface
        `celldyn.landscape.potential_surface`. Without cells it is coloured by V, else by light
        and shade alone, so that the cells' colours are seen.
    cells
        (n, 2) places of cells on the plane; those without a place are left out.
    colours
        (n,) names or numbers of the cells.
    streams
        Lines of the same plane, which are lifted onto the surface.
    path
        (m, 2) a path of the same plane.
    title
        What the colours are.
    axes_names
        Of the plane.
    palette
        Colours of names.
    size
        Of a dot, in points²; by default fewer cells are drawn larger.
    elevation, azimuth
        Where it is seen from, in degrees.

    Raises
    ------
    DataError
        If arrays do not fit each other.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d", computed_zorder=False)
    _draw_surface(figure, axes, surface, coloured=cells is None)
    lift = _ABOVE * float(np.ptp(surface.vertices[:, :2], axis=0).max())
    if streams is not None:
        for line in streams.lines:
            axes.plot(*surface.lift(line[:, :2], above=lift / 2).T, color=INK, linewidth=0.6,
                      alpha=0.8, zorder=2)  # fmt: skip
    if cells is not None:
        xy = np.asarray(cells, np.float64)
        column = as_column(colours, len(xy))
        _draw_cells(figure, axes, surface.lift(xy, above=lift), column, palette, size)
    if path is not None:
        way = surface.lift(np.asarray(path, np.float64), above=2 * lift)
        axes.plot(*way.T, color="white", linewidth=4.0, zorder=5, solid_capstyle="round")
        axes.plot(*way.T, color="#d7191c", linewidth=2.0, zorder=6, solid_capstyle="round")
        axes.scatter(*way[[0, -1]].T, color="#d7191c", s=30, edgecolors="white", zorder=7,
                     depthshade=False)  # fmt: skip
    _furnish(axes, surface, axes_names)
    axes.view_init(elev=elevation, azim=azimuth)
    axes.set_title(title, fontsize=9)
    return figure


def _draw_surface(figure: Figure, axes: Any, surface: PotentialSurface, *, coloured: bool) -> None:  # noqa: ANN401
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    corners = surface.vertices[surface.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    light = _SHADE[0] + _SHADE[1] * np.clip(normal @ (_SUN / np.linalg.norm(_SUN)), 0.0, 1.0)
    height = surface.values[surface.faces].mean(axis=1)
    scale = Normalize(float(surface.values.min()), float(surface.values.max()))
    if coloured:
        paint = colormaps[RISE](scale(height))
        figure.colorbar(
            ScalarMappable(scale, RISE), ax=axes, shrink=0.6, pad=0.08, label="potential V"
        )
    else:
        paint = colormaps[_GROUND](0.12 + 0.16 * np.asarray(1.0 - scale(height)))
    paint[:, :3] *= light[:, None]
    axes.add_collection3d(
        Poly3DCollection(corners, facecolors=paint, edgecolors=paint, linewidths=0.2, zorder=1,
                         rasterized=True)
    )  # fmt: skip


def _draw_cells(
    figure: Figure,
    axes: Any,  # noqa: ANN401
    at: NDArray[np.float64],
    column: pd.Series | None,
    palette: Mapping[str, str] | None,
    size: float | None,
) -> None:
    there = np.isfinite(at).all(axis=1)
    if not there.any():
        raise DataError("no cell has a place on the landscape", "give the plane's coordinates")
    dot = size if size is not None else float(np.clip(9000 / len(at), 0.8, 14.0))
    style: dict[str, Any] = {"s": dot, "linewidths": 0, "depthshade": False, "zorder": 4,
                             "rasterized": True}  # fmt: skip
    if column is None:
        axes.scatter(*at[there].T, color="#0072b2", **style)
    elif is_categorical(column):
        shades = palette_of(column, palette)
        names = column.astype(object).to_numpy()
        paint = [shades.get(str(name), MISSING_COLOUR) for name in names[there]]
        axes.scatter(*at[there].T, c=paint, **style)
        explain(figure, axes, None, column, palette)
        axes.get_legend().set_bbox_to_anchor((1.16, 0.5))
    else:
        low, high = limits_of(column) or (None, None)
        values = column.to_numpy(np.float64, na_value=np.nan)
        there &= np.isfinite(values)
        drawn = axes.scatter(*at[there].T, c=values[there], cmap=RISE, vmin=low, vmax=high,
                             **style)  # fmt: skip
        figure.colorbar(drawn, ax=axes, shrink=0.6, pad=0.08)


def _furnish(axes: Any, surface: PotentialSurface, names: tuple[str, str]) -> None:  # noqa: ANN401
    low, high = surface.vertices.min(axis=0), surface.vertices.max(axis=0)
    flat = np.ptp(surface.vertices[:, :2], axis=0)
    rise = max(high[2] - low[2], 1e-9)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], low[2] + rise))
    tall = rise if surface.scale != 1 else 0.4 * flat.max()
    axes.set_box_aspect((flat[0], flat[1], tall), zoom=1.25)
    axes.set_xlabel(names[0], fontsize=8, labelpad=-12)
    axes.set_ylabel(names[1], fontsize=8, labelpad=-12)
    axes.set_zlabel("V", fontsize=8, labelpad=-14)
    axes.set(xticks=[], yticks=[], zticks=[])
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1.0, 1.0, 1.0, 0.0))
        axis.line.set_color("#bbbbbb")
    axes.grid(visible=False)
