"""The colours that cells have, without a layer to have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers.base import CellsLayer
from napari_celldyn.layers.colours import RGBA, Limits, shade

if TYPE_CHECKING:
    from napari.utils.colormaps import Colormap


class Palette(CellsLayer):
    """Takes colours as a layer of cells does, and keeps them as they are."""

    def __init__(self) -> None:
        self.rgba: RGBA = np.empty((0, 4), np.float32)

    def set_values(self, values: NDArray[np.floating], limits: Limits, colormap: Colormap) -> None:
        """Colour the cells by (n_obs,) values."""
        self.rgba = shade(values, limits, colormap)

    def set_codes(self, codes: NDArray[np.integer], table: RGBA) -> None:
        """Colour the cells by category."""
        self.rgba = table[codes]

    def set_rgba(self, rgba: RGBA) -> None:
        """Colour every cell by itself."""
        self.rgba = rgba

    def set_shown(self, shown: NDArray[np.bool_] | None) -> None:
        """Change nothing: a palette is not drawn."""

    def set_size(self, size: float) -> None:
        """Change nothing: a palette is not drawn."""

    @property
    def limits(self) -> Limits | None:
        """None: a palette has no colour bar."""
        return None

    def set_limits(self, limits: Limits) -> None:
        """Change nothing: a palette has no colour bar."""

    def set_colormap(self, colormap: Colormap) -> None:
        """Change nothing: a palette has no colour bar."""
