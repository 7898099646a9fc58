"""What every drawing of the cells can be asked: which cell is here, which are in there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_celldyn.layers.picking import CellIndex
from napari_celldyn.layers.points import PointsCells
from napari_celldyn.layers.quads import QuadsCells
from napari_celldyn.layers.shown import isolated_codes

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from celldyn.data import Column
    from napari_celldyn.layers.base import CellsLayer
    from napari_celldyn.workspace import Workspace

POINTS_LIMIT = 200_000
"""Up to this many cells are discs; more are squares of one mesh, which stays fluid."""


class CellsView(ABC):
    """The cells of the workspace at some places of the canvas, in one layer.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        What to draw.
    """

    rebuilt = Signal()
    """The cells are at other places, or in another layer."""

    def __init__(self, viewer: ViewerModel, workspace: Workspace) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace = workspace
        self._cells: CellsLayer | None = None
        self._index = CellIndex(np.empty((0, 2)))
        self._viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Layer | None:
        """The napari layer; None while there is none."""
        return None if self._cells is None else self._cells.layer

    @property
    def cells(self) -> CellsLayer | None:
        """The drawing behind the layer; None while there is none."""
        return self._cells

    @property
    def in_sight(self) -> bool:
        """Whether a person sees the cells there, or outlines that stand in for their marks."""
        return self._cells is not None

    @property
    @abstractmethod
    def column(self) -> Column | None:
        """The column that is shown; None while the cells are plain."""

    @property
    @abstractmethod
    def display_xy(self) -> NDArray[np.float64]:
        """(n_obs, 2) x and y of the cells as drawn; empty while there are none."""

    @property
    @abstractmethod
    def cell_size(self) -> float:
        """How wide a cell is drawn, in the unit of `display_xy`."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """Unit of `display_xy` as napari names it: "um", or "dimensionless" where not known."""

    # --- place --------------------------------------------------------------------------------

    def points_on_canvas(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Return the places on the canvas of (n, 2) points in the coordinates of the view."""
        return np.asarray(xy, float)

    def steps_on_canvas(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Return (n, 2) steps on the canvas for steps in the coordinates of the view."""
        return np.asarray(steps, float)

    def pick(self, xy: ArrayLike) -> int | None:
        """Return the position of the cell nearest to (x, y), at most one cell's width away."""
        x, y = np.asarray(xy, float)
        return self._index.pick(x, y, self.cell_size)

    def cells_in_polygon(self, polygon: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of the cells inside a polygon of (n_vertices, 2) x and y.

        While categories are isolated, only their cells count: one chooses what one sees.
        """
        inside = self._inside(polygon)
        held = self.column
        isolated = isolated_codes(held, self._workspace.isolated)
        if isolated is None or held is None or held.codes is None:
            return inside
        return inside[np.isin(held.codes[inside], isolated)]

    def cells_in_radius(self, xy: ArrayLike, radius: float) -> NDArray[np.intp]:
        """Return the positions of the cells at most `radius` from (x, y)."""
        x, y = np.asarray(xy, float)
        return self._index.within_radius(x, y, radius)

    def _inside(self, polygon: ArrayLike) -> NDArray[np.intp]:
        return self._index.within_polygon(polygon)

    def close(self) -> None:
        """Take the layer away and stop listening."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._remove_layer()

    # --- the layer ----------------------------------------------------------------------------

    def _make_cells(
        self, xy: NDArray[np.floating], size: float, name: str, *, has_bar: bool = True
    ) -> CellsLayer:
        make = PointsCells if len(xy) <= POINTS_LIMIT else QuadsCells
        return make(
            xy,
            size,
            has_bar=has_bar,
            name=name,
            units=(self.unit, self.unit),
            metadata={"celldyn": True},
        )

    def _on_removed(self, event: Event) -> None:
        if event.value is self.layer:
            self._cells = None

    def _remove_layer(self) -> None:
        layer, self._cells = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
