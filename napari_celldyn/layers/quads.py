"""Cells as one Surface of squares: what stays fluid with a million of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Surface
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_celldyn.layers.base import CellsLayer
from napari_celldyn.layers.colours import CONTINUOUS, PLAIN, RGBA, Limits, colormap

if TYPE_CHECKING:
    from napari.utils.events import Event

CORNERS = 4
MAX_STEPS = 256
"""More categories than this would blur in the colormap texture of the graphics card."""

_CORNER_OFFSETS = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])
_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


class QuadsCells(CellsLayer):
    """One square per cell, all in one mesh.

    Values and categories alike are vertex values under a colormap, so that new limits, other
    category colours and isolating touch no cell at all.

    Parameters
    ----------
    xy
        (n_obs, 2) coordinates, x first.
    size
        Side of a square, in the unit of the coordinates.
    has_bar
        Whether values have a colour bar on the canvas.
    options
        Passed on to `napari.layers.Surface` (name, units, metadata, ...).
    """

    layer: Surface

    def __init__(
        self,
        xy: NDArray[np.floating],
        size: float,
        *,
        has_bar: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self._centres = np.asarray(xy)[:, ::-1]
        self._faces = _faces(np.arange(len(self._centres)))
        self._codes: NDArray[np.integer] | None = None
        self._fixed_limits: Limits | None = (0.0, 1.0)
        self._has_bar = has_bar
        nothing = np.full(CORNERS * len(self._centres), np.nan, np.float32)
        self.layer = Surface(
            (_vertices(self._centres, size), self._faces, nothing),
            colormap=_plain(),
            contrast_limits=(0.0, 1.0),
            blending="translucent_no_depth",
            **options,
        )
        self.layer.events.contrast_limits.connect(self._keep_limits)

    def set_values(self, values: NDArray[np.floating], limits: Limits, colormap: Colormap) -> None:
        """Colour the cells by (n_obs,) values and show the colour bar."""
        self._codes, self._fixed_limits = None, None
        self._draw(np.asarray(values, np.float32), limits, colormap)
        self.layer.colorbar.visible = self._has_bar

    def set_codes(self, codes: NDArray[np.integer], table: RGBA) -> None:
        """Colour the cells by category: row `codes[i]` of the table, -1 the last; no bar."""
        n_categories = len(table) - 1
        if not 1 <= n_categories <= MAX_STEPS:
            self.set_rgba(table[codes])
            return
        self.layer.colorbar.visible = False
        self._fixed_limits = (-0.5, n_categories - 0.5)
        if codes is self._codes:
            self.layer.colormap = _steps(table)
            return
        values = codes.astype(np.float32)
        values[codes < 0] = np.nan
        self._draw(values, self._fixed_limits, _steps(table))
        self._codes = codes

    def set_rgba(self, rgba: RGBA) -> None:
        """Colour every cell by itself: (n_obs, 4) in [0, 1]; no colour bar."""
        self._codes, self._fixed_limits = None, (0.0, 1.0)
        self.layer.colorbar.visible = False
        self.layer.vertex_colors = np.repeat(rgba, CORNERS, axis=0)

    def set_shown(self, shown: NDArray[np.bool_] | None) -> None:
        """Draw only the cells where (n_obs,) `shown` is true; None draws all."""
        cells = np.arange(len(self._centres)) if shown is None else np.flatnonzero(shown)
        self._faces = _faces(cells)
        vertices, _, values = self.layer.data
        self.layer.data = (vertices, self._faces, values)

    def set_size(self, size: float) -> None:
        """Draw every square this wide, in the unit of the coordinates."""
        self.layer.vertices = _vertices(self._centres, size)

    @property
    def limits(self) -> Limits | None:
        """The values at the two ends of the colour bar; None unless values are shown."""
        if self._fixed_limits is not None:
            return None
        low, high = self.layer.contrast_limits
        return float(low), float(high)

    def set_limits(self, limits: Limits) -> None:
        """Move the ends of the colour bar; without effect unless values are shown."""
        if self._fixed_limits is None:
            self.layer.contrast_limits = limits

    def set_colormap(self, colormap: Colormap) -> None:
        """Change the colours of the bar; without effect unless values are shown."""
        if self._fixed_limits is None:
            self.layer.colormap = colormap

    def _draw(self, values: NDArray[np.float32], limits: Limits, colours: Colormap) -> None:
        # Vertex colours hide vertex values, and each assignment of either is a whole redraw.
        if self.layer.vertex_colors is not None:
            self.layer.vertex_colors = None
        self.layer.vertex_values = np.repeat(values, CORNERS)
        self.layer.colormap = colours
        # The range first: napari only ever widens it, and it is the travel of the slider.
        self.layer.contrast_limits_range = _slider_range(values, limits)
        self.layer.contrast_limits = limits

    def _keep_limits(self, event: Event) -> None:
        """Undo a pull at napari's contrast slider while it would mix up the categories."""
        fixed = self._fixed_limits
        if fixed is not None and tuple(self.layer.contrast_limits) != fixed:
            self.layer.contrast_limits = fixed


def _vertices(centres: NDArray[np.floating], size: float) -> NDArray[np.float32]:
    corners = centres[:, None, :] + size * _CORNER_OFFSETS
    # Column by column in memory: napari asks for the extent at every new value, and along the
    # columns that is ten times faster.
    return np.asfortranarray(corners.reshape(-1, 2), np.float32)


def _faces(cells: NDArray[np.intp]) -> NDArray[np.intp]:
    corners = CORNERS * cells[:, None, None] + _TRIANGLES[:, ::-1]
    # napari reverses every triangle before it draws; reversed here, what it reads is contiguous.
    return np.ascontiguousarray(corners.reshape(-1, 3))[:, ::-1]


def _steps(table: RGBA) -> Colormap:
    edges = np.linspace(0.0, 1.0, len(table))
    return Colormap(
        table[:-1], name="categories", controls=edges, interpolation="zero", nan_color=table[-1]
    )


def _plain() -> Colormap:
    plain = colormap(CONTINUOUS)
    plain.nan_color = PLAIN
    return plain


def _slider_range(values: NDArray[np.float32], limits: Limits) -> Limits:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return limits
    return min(float(finite.min()), limits[0]), max(float(finite.max()), limits[1])
