"""What every way of drawing the cells can do, so that no one else asks how many there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_celldyn.layers.colours import RGBA, Limits

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap


class CellsLayer(ABC):
    """One napari layer with one mark per cell.

    Attributes
    ----------
    layer
        The napari layer; its data are never changed in place.
    """

    layer: Layer

    @abstractmethod
    def set_values(self, values: NDArray[np.floating], limits: Limits, colormap: Colormap) -> None:
        """Colour the cells by (n_obs,) values and show the colour bar."""

    @abstractmethod
    def set_codes(self, codes: NDArray[np.integer], table: RGBA) -> None:
        """Colour the cells by category: row `codes[i]` of the table, -1 the last; no bar."""

    @abstractmethod
    def set_rgba(self, rgba: RGBA) -> None:
        """Colour every cell by itself: (n_obs, 4) in [0, 1]; no colour bar."""

    @abstractmethod
    def set_shown(self, shown: NDArray[np.bool_] | None) -> None:
        """Draw only the cells where (n_obs,) `shown` is true; None draws all."""

    @abstractmethod
    def set_size(self, size: float) -> None:
        """Draw every mark this wide, in the unit of the coordinates."""

    @property
    @abstractmethod
    def limits(self) -> Limits | None:
        """The values at the two ends of the colour bar; None unless values are shown."""

    @abstractmethod
    def set_limits(self, limits: Limits) -> None:
        """Move the ends of the colour bar; without effect unless values are shown."""

    @abstractmethod
    def set_colormap(self, colormap: Colormap) -> None:
        """Change the colours of the bar; without effect unless values are shown."""

    def describe(self, table: pd.DataFrame) -> None:  # noqa: B027
        """Tell napari's own status line and features table about the cells, where it can show it.

        Parameters
        ----------
        table
            n_obs rows with a RangeIndex and few columns: napari reads every one of them at every
            move of the mouse.
        """
