"""What outlines take over from the tissue: its colours, and the place of its dots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_celldyn.layers import colours
from napari_celldyn.layers.colours import PLAIN, Limits
from napari_celldyn.layers.quads import MAX_STEPS
from napari_celldyn.layers.tissue import TissueView
from napari_celldyn.layers.view_mesh import plain, stepped

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event


class TissueColours:
    """Colours outlines as their cells, and hides the dots of the cells while outlines are seen.

    A person who shows or hides the tissue by hand is not overruled until another is drawn.

    Parameters
    ----------
    tissue
        Draws the cells.
    """

    def __init__(self, tissue: TissueView) -> None:
        self._tissue = tissue
        self._hidden: Layer | None = None
        self._left_alone: Layer | None = None
        self._acting = False

    def of(
        self, cells: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32] | None, Colormap, Limits]:
        """Return values, colormap and limits that give each outline the colour of its cell.

        Parameters
        ----------
        cells
            (n,) the cell of each outline; -1 for none.
        """
        held = self._tissue.column
        if held is not None and held.codes is not None and held.colours:
            if len(held.colours) > MAX_STEPS:
                return None, plain(PLAIN), (0.0, 1.0)
            values = held.codes.astype(np.float32)
            values[held.codes < 0] = np.nan
            return _looked_up(values, cells), *stepped(colours.category_table(held.colours))
        if held is not None and held.values is not None:
            limits = self._tissue.limits or colours.value_limits(held.values)
            shades = colours.colormap(self._tissue.colormap)
            return _looked_up(np.asarray(held.values, np.float32), cells), shades, limits
        return None, plain(PLAIN), (0.0, 1.0)

    @staticmethod
    def ink(viewer: ViewerModel) -> tuple[float, float, float, float]:
        """Return the colour that stands out from the canvas: nearly white, or nearly black."""
        ground = np.asarray(viewer.canvas.background_color, float)[:3]
        return (0.92, 0.94, 1.0, 1.0) if ground.mean() < 0.5 else (0.1, 0.1, 0.15, 1.0)

    def stand_in(self, *, here: bool) -> None:
        """Hide the dots of the cells while outlines are here to be seen, else show them again."""
        layer = self._tissue.layer
        if self._hidden is not None and self._hidden is not layer:
            self._hidden = None
        if layer is None or layer is self._left_alone:
            return
        if here and self._hidden is None and layer.visible:
            self._hidden = layer
            layer.events.visible.connect(self._on_visible)
            self._set(layer, visible=False)
        elif not here and self._hidden is layer:
            self._hidden = None
            layer.events.visible.disconnect(self._on_visible)
            self._set(layer, visible=True)

    def _set(self, layer: Layer, *, visible: bool) -> None:
        self._acting = True
        try:
            layer.visible = visible
        finally:
            self._acting = False

    def _on_visible(self, event: Event) -> None:
        if not self._acting:
            self._left_alone, self._hidden = event.source, None


def _looked_up(values: NDArray[np.float32], cells: NDArray[np.integer]) -> NDArray[np.float32]:
    table = np.append(values, np.float32(np.nan))
    found: NDArray[np.float32] = table[np.clip(cells, -1, len(values) - 1)]
    return found
