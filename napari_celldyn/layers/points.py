"""Cells as a Points layer: discs that napari can pick, for tissue of moderate size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Points
from numpy.typing import NDArray

from napari_celldyn.layers.base import CellsLayer
from napari_celldyn.layers.colours import PLAIN, RGBA, Limits, shade

if TYPE_CHECKING:
    from napari.utils.colormaps import Colormap

MAX_PIXELS = 10_000


class PointsCells(CellsLayer):
    """One disc per cell.

    The layer stays in napari's direct colour mode: every change is one array of colours. napari's
    own mapping of a feature redraws twice, and its change from a colormap to a colour cycle takes
    seconds or fails. The native colour bar reads only the limits and the colormap, which are set.

    Parameters
    ----------
    xy
        (n_obs, 2 or 3) coordinates, x first.
    size
        Diameter of a disc, in the unit of the coordinates.
    has_bar
        Whether values have a colour bar on the canvas.
    options
        Passed on to `napari.layers.Points` (name, units, metadata, ...).
    """

    layer: Points

    def __init__(
        self,
        xy: NDArray[np.floating],
        size: float,
        *,
        has_bar: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self.layer = Points(
            np.asarray(xy)[:, ::-1],
            ndim=np.shape(xy)[1],
            size=size,
            face_color=np.array(PLAIN),
            border_width=0,
            # From the least size upwards vispy gives discs a rim; far out it is all one would see.
            canvas_size_limits=(0, MAX_PIXELS),
            **options,
        )
        self.layer.editable = False
        self._has_bar = has_bar
        self._values: NDArray[np.floating] | None = None

    def set_values(self, values: NDArray[np.floating], limits: Limits, colormap: Colormap) -> None:
        """Colour the cells by (n_obs,) values and show the colour bar."""
        self._values = values
        self.layer.face_colormap = colormap
        self.layer.face_contrast_limits = limits
        self._paint(shade(values, limits, colormap))
        self.layer.face_colorbar.visible = self._has_bar

    def set_codes(self, codes: NDArray[np.integer], table: RGBA) -> None:
        """Colour the cells by category: row `codes[i]` of the table, -1 the last; no bar."""
        self.set_rgba(table[codes])

    def set_rgba(self, rgba: RGBA) -> None:
        """Colour every cell by itself: (n_obs, 4) in [0, 1]; no colour bar."""
        self._values = None
        self.layer.face_colorbar.visible = False
        self._paint(rgba)

    def set_shown(self, shown: NDArray[np.bool_] | None) -> None:
        """Draw only the cells where (n_obs,) `shown` is true; None draws all."""
        self.layer.shown = True if shown is None else shown

    def set_size(self, size: float) -> None:
        """Draw every disc this wide, in the unit of the coordinates."""
        self.layer.size = size

    @property
    def limits(self) -> Limits | None:
        """The values at the two ends of the colour bar; None unless values are shown."""
        return None if self._values is None else self.layer.face_contrast_limits

    def set_limits(self, limits: Limits) -> None:
        """Move the ends of the colour bar; without effect unless values are shown."""
        if self._values is not None:
            self.set_values(self._values, limits, self.layer.face_colormap)

    def set_colormap(self, colormap: Colormap) -> None:
        """Change the colours of the bar; without effect unless values are shown."""
        if self._values is not None:
            self.set_values(self._values, self.layer.face_contrast_limits, colormap)

    def describe(self, table: pd.DataFrame) -> None:
        """Put the table under the layer's features, where napari's status line reads it."""
        self.layer.features = table

    def _paint(self, rgba: RGBA) -> None:
        # The colours announce themselves; the layer's own event would draw all a second time.
        with self.layer.events.face_color.blocker():
            self.layer.face_color = rgba
