"""The tissue on the canvas: one layer that follows the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from celldyn.data import Column, column
from celldyn.errors import MissingKeyError
from napari_celldyn.layers import colours
from napari_celldyn.layers.cells_view import CellsView
from napari_celldyn.layers.colours import PERCENTILES, Limits
from napari_celldyn.layers.geometry import KEYS as GEOMETRY_KEYS
from napari_celldyn.layers.geometry import Geometry, geometry
from napari_celldyn.layers.picking import CellIndex
from napari_celldyn.layers.shown import cell_table, keys_of, paint
from napari_celldyn.workspace import Workspace

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.base import CellsLayer

NAME = "tissue"


class TissueView(CellsView):
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

    def __init__(self, viewer: ViewerModel, workspace: Workspace) -> None:
        super().__init__(viewer, workspace)
        self._geometry: Geometry | None = None
        self._column: Column | None = None
        self._colormap_name: str | None = None
        self._percentiles = PERCENTILES
        self._drawing = False
        self._had_scale_bar = bool(self._viewer.canvas.overlays.scale_bar.visible)
        workspace.data_changed.connect(self._on_data)
        workspace.keys_changed.connect(self._on_keys)
        workspace.colour_changed.connect(self._on_colour)
        workspace.isolated_changed.connect(self._on_isolated)
        if workspace.adata is not None:
            self._on_data()

    # --- what is there ------------------------------------------------------------------------

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
        if (limits := self.fresh_limits()) is not None:
            self.limits = limits

    def fresh_limits(self) -> Limits | None:
        """Return the limits that the shown values have until a person moves them."""
        held = self._column
        if held is None or held.values is None:
            return None
        return colours.value_limits(
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

    def reset_view(self) -> None:
        """Show the whole tissue."""
        self._viewer.reset_view()

    def close(self) -> None:
        """Take the layer away and stop listening."""
        super().close()
        workspace = self._workspace
        workspace.data_changed.disconnect(self._on_data)
        workspace.keys_changed.disconnect(self._on_keys)
        workspace.colour_changed.disconnect(self._on_colour)
        workspace.isolated_changed.disconnect(self._on_isolated)
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

    # --- drawing ------------------------------------------------------------------------------

    def _rebuild(self) -> None:
        if self._geometry is not None:
            self._cells = self._make_cells(self.display_xy, self.cell_size, NAME)
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
        paint(
            cells,
            len(self.display_xy),
            self._column,
            self._workspace.isolated,
            colours.colormap(self.colormap),
            self.fresh_limits(),
        )

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
