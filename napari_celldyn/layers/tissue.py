"""The tissue on the canvas: one layer that follows the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from celldyn.data import Column, column
from celldyn.errors import MissingKeyError
from napari_celldyn.layers import colours
from napari_celldyn.layers.base import CellsLayer
from napari_celldyn.layers.colours import PERCENTILES, PLAIN, Limits
from napari_celldyn.layers.geometry import KEYS as GEOMETRY_KEYS
from napari_celldyn.layers.geometry import Geometry, geometry
from napari_celldyn.layers.picking import CellIndex
from napari_celldyn.layers.points import PointsCells
from napari_celldyn.layers.quads import QuadsCells
from napari_celldyn.layers.shown import cell_table, isolated_codes, keys_of
from napari_celldyn.workspace import Workspace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

NAME = "tissue"
POINTS_LIMIT = 200_000
"""Up to this many cells are discs; more are squares of one mesh, which stays fluid."""


class TissueView:
    """Draws the cells of the workspace and keeps the drawing true.

    Listens to the workspace. Where a person deleted the layer, the next tissue or colour brings
    it back.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        What to draw.
    """

    shown_changed = Signal()
    """The column, its limits or its colours are drawn anew."""

    rebuilt = Signal()
    """The cells are at other places, or in another layer."""

    def __init__(self, viewer: ViewerModel, workspace: Workspace) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace = workspace
        self._cells: CellsLayer | None = None
        self._geometry: Geometry | None = None
        self._index = CellIndex(np.empty((0, 2)))
        self._column: Column | None = None
        self._colormap_name: str | None = None
        self._percentiles = PERCENTILES
        self._drawing = False
        self._had_scale_bar = bool(self._viewer.canvas.overlays.scale_bar.visible)
        workspace.data_changed.connect(self._on_data)
        workspace.keys_changed.connect(self._on_keys)
        workspace.colour_changed.connect(self._on_colour)
        workspace.isolated_changed.connect(self._on_isolated)
        self._viewer.layers.events.removed.connect(self._on_removed)
        if workspace.adata is not None:
            self._on_data()

    # --- what is there ------------------------------------------------------------------------

    @property
    def layer(self) -> Layer | None:
        """The napari layer; None while there is none."""
        return None if self._cells is None else self._cells.layer

    @property
    def cells(self) -> CellsLayer | None:
        """The drawing behind the layer; None while there is none."""
        return self._cells

    @property
    def column(self) -> Column | None:
        """The column that is shown; None while the cells are plain."""
        return self._column

    @property
    def display_xy(self) -> NDArray[np.float64]:
        """(n_obs, 2) x and y of the cells as drawn (in µm where the unit is known)."""
        return np.empty((0, 2)) if self._geometry is None else self._geometry.xy

    @property
    def cell_size(self) -> float:
        """How wide a cell is drawn, in the unit of `display_xy`."""
        return 1.0 if self._geometry is None else self._geometry.cell_size

    @property
    def unit(self) -> str:
        """Unit of `display_xy` as napari names it: "um", or "dimensionless" where not known."""
        return "dimensionless" if self._geometry is None else self._geometry.unit

    # --- colour -------------------------------------------------------------------------------

    @property
    def limits(self) -> Limits | None:
        """The values at the two ends of the colour bar; None unless values are shown."""
        return None if self._cells is None else self._cells.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        low, high = float(limits[0]), float(limits[1])
        if self._cells is not None and low < high and (low, high) != self._cells.limits:
            with self._drawn_anew():
                self._cells.set_limits((low, high))

    @property
    def percentiles(self) -> Limits:
        """The percentiles that the limits of every new column are at."""
        return self._percentiles

    @percentiles.setter
    def percentiles(self, percentiles: Limits) -> None:
        self._percentiles = (float(percentiles[0]), float(percentiles[1]))
        held = self._column
        if held is not None and held.values is not None:
            self.limits = colours.value_limits(
                held.values, percentiles=self._percentiles, diverging=held.diverging
            )

    @property
    def colormap(self) -> str:
        """Name of the colormap for values; setting it holds for all columns, None for neither."""
        diverging = self._column is not None and self._column.diverging
        return self._colormap_name or (colours.DIVERGING if diverging else colours.CONTINUOUS)

    @colormap.setter
    def colormap(self, name: str | None) -> None:
        self._colormap_name = name
        if self._cells is not None:
            with self._drawn_anew():
                self._cells.set_colormap(colours.colormap(self.colormap))

    # --- place --------------------------------------------------------------------------------

    def pick(self, xy: ArrayLike) -> int | None:
        """Return the position of the cell nearest to (x, y), at most one cell's width away."""
        x, y = np.asarray(xy, float)
        return self._index.pick(x, y, self.cell_size)

    def cells_in_polygon(self, polygon: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of the cells inside a polygon of (n_vertices, 2) x and y.

        While categories are isolated, only their cells count: one chooses what one sees.
        """
        inside = self._index.within_polygon(polygon)
        isolated = isolated_codes(self._column, self._workspace.isolated)
        if isolated is None or self._column is None or self._column.codes is None:
            return inside
        return inside[np.isin(self._column.codes[inside], isolated)]

    def cells_in_radius(self, xy: ArrayLike, radius: float) -> NDArray[np.intp]:
        """Return the positions of the cells at most `radius` from (x, y)."""
        x, y = np.asarray(xy, float)
        return self._index.within_radius(x, y, radius)

    def reset_view(self) -> None:
        """Show the whole tissue."""
        self._viewer.reset_view()

    def close(self) -> None:
        """Take the layer away and stop listening."""
        workspace = self._workspace
        workspace.data_changed.disconnect(self._on_data)
        workspace.keys_changed.disconnect(self._on_keys)
        workspace.colour_changed.disconnect(self._on_colour)
        workspace.isolated_changed.disconnect(self._on_isolated)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._remove_layer()
        self._viewer.canvas.overlays.scale_bar.visible = self._had_scale_bar

    # --- following the workspace --------------------------------------------------------------

    def _on_data(self) -> None:
        self._remove_layer()
        self._geometry = None
        if self._workspace.adata is not None:
            self._geometry = geometry(self._workspace.adata)
        self._index = CellIndex(self.display_xy)
        self._rebuild()

    def _on_keys(self, written: frozenset[str]) -> None:
        adata = self._workspace.adata
        if adata is None or self._cells is None:
            return
        if written & GEOMETRY_KEYS and not geometry(adata).same_as(self._geometry):
            self._on_data()
        elif written & keys_of(self._workspace.colour):
            self._on_colour()

    def _on_colour(self) -> None:
        if self._cells is None and self._geometry is not None:
            self._rebuild()
            return
        self._fetch()
        self._draw()
        self._describe()

    def _on_isolated(self) -> None:
        if self._column is not None and self._column.codes is not None:
            self._draw()

    def _on_removed(self, event: Event) -> None:
        if event.value is self.layer:
            self._cells = None

    # --- drawing ------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        if self._geometry is not None:
            self._cells = _cells_layer(self._geometry)
            self._fetch()
            self._draw()
            self._describe()
            self._viewer.add_layer(self._cells.layer)
            with suppress(AttributeError):  # discs have no limits of their own
                self._cells.layer.events.contrast_limits.connect(self._on_native_limits)
            self._viewer.canvas.overlays.scale_bar.visible = True
            self.reset_view()
        self.rebuilt.emit()

    def _fetch(self) -> None:
        source, adata = self._workspace.colour, self._workspace.adata
        self._column = None
        if source is None or adata is None:
            return
        try:
            self._column = column(adata, source)
        except MissingKeyError:  # it was there when it was chosen: an undo took it away
            self._workspace.colour = None

    def _draw(self) -> None:
        if self._cells is not None:
            with self._drawn_anew():
                self._paint(self._cells)

    def _paint(self, cells: CellsLayer) -> None:
        held = self._column
        if held is not None and held.codes is not None:
            isolated = isolated_codes(held, self._workspace.isolated)
            cells.set_codes(held.codes, colours.category_table(held.colours or [], isolated))
        elif held is not None and held.values is not None:
            limits = colours.value_limits(
                held.values, percentiles=self._percentiles, diverging=held.diverging
            )
            cells.set_values(held.values, limits, colours.colormap(self.colormap))
        else:
            cells.set_rgba(np.tile(np.array(PLAIN, np.float32), (len(self.display_xy), 1)))

    @contextmanager
    def _drawn_anew(self) -> Iterator[None]:
        """Announce one change, however many napari reports while it is made."""
        self._drawing = True
        try:
            yield
        finally:
            self._drawing = False
        self.shown_changed.emit()

    def _describe(self) -> None:
        if self._workspace.adata is not None and self._cells is not None:
            self._cells.describe(cell_table(self._workspace.adata, self._column))

    def _on_native_limits(self, _event: Event) -> None:
        """Tell of limits that were moved in napari's own controls."""
        if self._cells is not None and not self._drawing:
            self.shown_changed.emit()

    def _remove_layer(self) -> None:
        layer, self._cells = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)


def _cells_layer(where: Geometry) -> CellsLayer:
    make = PointsCells if len(where.xy) <= POINTS_LIMIT else QuadsCells
    return make(
        where.xy,
        where.cell_size,
        name=NAME,
        units=(where.unit, where.unit),
        metadata={"celldyn": True},
    )
