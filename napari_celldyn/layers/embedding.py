"""The cells among their states: an embedding beside the tissue, in the same colours."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from celldyn.data import Column, embedding, embedding_keys
from napari_celldyn.layers import colours
from napari_celldyn.layers.beside import Beside, beside
from napari_celldyn.layers.canvas import active_kept
from napari_celldyn.layers.cells_view import CellsView
from napari_celldyn.layers.picking import CellIndex, spacing
from napari_celldyn.layers.shown import cell_table, paint
from napari_celldyn.layers.tissue import TissueView

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.workspace import Workspace

LEAST_SIZE = 0.5
"""Of a mark, in sides of the embedding over the square root of the number of cells."""


class EmbeddingView(CellsView):
    """Draws the cells a second time, where an embedding of obsm has them; computes none.

    Column, limits, colours and isolated categories are the tissue's: what is changed at either
    changes both. Nothing is drawn until `show` is called.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        What to draw.
    tissue
        Beside which, and in whose colours.
    """

    changed = Signal()
    """Another embedding is shown or offered."""

    def __init__(self, viewer: ViewerModel, workspace: Workspace, tissue: TissueView) -> None:
        super().__init__(viewer, workspace)
        self._tissue = tissue
        self._key: str | None = None
        self._keys: list[str] = []
        self._place: Beside | None = None
        self._xy = np.empty((0, 2))
        self._size = 1.0
        self._there = np.empty(0, np.intp)
        self._drawn_of: object = None
        self._painting = False
        self._look()
        tissue.rebuilt.connect(self._on_rebuilt)
        tissue.shown_changed.connect(self._paint)
        workspace.keys_changed.connect(self._on_keys)

    # --- what is there ------------------------------------------------------------------------

    @property
    def keys(self) -> list[str]:
        """What the tissue in view offers: keys of obsm, the usual ones in front."""
        return list(self._keys)

    @property
    def key(self) -> str | None:
        """Which of them is shown; None while none is."""
        return self._key

    @property
    def place(self) -> Beside | None:
        """From the embedding's own coordinates to the canvas; None while none is shown."""
        return self._place

    @property
    def in_sight(self) -> bool:
        """Whether its layer is there and not switched off."""
        return self.layer is not None and bool(self.layer.visible)

    @property
    def column(self) -> Column | None:
        """The column that is shown: the tissue's."""
        return self._tissue.column

    @property
    def display_xy(self) -> NDArray[np.float64]:
        """(n_obs, 2) x and y as drawn, NaN for cells that are not in it; empty if not shown."""
        return self._xy

    @property
    def cell_size(self) -> float:
        """How wide a cell is drawn, in the unit of `display_xy`."""
        return self._size

    @property
    def unit(self) -> str:
        """The tissue's, with which it shares the canvas."""
        return self._tissue.unit

    # --- verbs --------------------------------------------------------------------------------

    def show(self, key: str | None = None) -> None:
        """Draw an embedding in place of the one that is shown.

        Parameters
        ----------
        key
            Of obsm; None takes the first of `keys`.

        Raises
        ------
        MissingKeyError
            If the tissue in view has no such embedding.
        """
        adata = self._workspace.require()
        key = key or next(iter(embedding_keys(adata)), "X_umap")
        table = embedding(adata, key)
        if key != self._key or self._cells is None:
            self._draw(key, table)
            self._viewer.reset_view()
        self.changed.emit()

    def hide(self) -> None:
        """Take it away."""
        if self._key is None:
            return
        self._forget()
        self._viewer.reset_view()
        self.changed.emit()

    def close(self) -> None:
        """Take the layer away and stop listening."""
        super().close()
        self._tissue.rebuilt.disconnect(self._on_rebuilt)
        self._tissue.shown_changed.disconnect(self._paint)
        self._workspace.keys_changed.disconnect(self._on_keys)

    # --- place --------------------------------------------------------------------------------

    def points_on_canvas(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Return the places on the canvas of (n, 2) points of the embedding; none while hidden."""
        return np.empty((0, 2)) if self._place is None else self._place.points(np.asarray(xy))

    def steps_on_canvas(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Return (n, 2) steps on the canvas for steps in the embedding; none while hidden."""
        return np.empty((0, 2)) if self._place is None else self._place.vectors(np.asarray(steps))

    def pick(self, xy: ArrayLike) -> int | None:
        """Return the position of the cell nearest to (x, y), at most one cell's width away."""
        found = super().pick(xy) if self.in_sight else None
        return None if found is None else int(self._there[found])

    def cells_in_radius(self, xy: ArrayLike, radius: float) -> NDArray[np.intp]:
        """Return the positions of the cells at most `radius` from (x, y) on the canvas."""
        return self._there[super().cells_in_radius(xy, radius)]

    def _inside(self, polygon: ArrayLike) -> NDArray[np.intp]:
        return self._there[super()._inside(polygon)] if self.in_sight else self._there[:0]

    # --- following the tissue -----------------------------------------------------------------

    def _on_rebuilt(self) -> None:
        """Another tissue, or the same at other places: draw the same embedding if it has it."""
        key = self._key
        self._look()
        if key is not None:
            self._forget()
            if key in self._keys:
                self._draw(key, embedding(self._workspace.require(), key))
                self._viewer.reset_view()
        self.changed.emit()

    def _on_keys(self, written: frozenset[str]) -> None:
        before, key = self._keys, self._key
        if not any(path.partition("/")[0] == "obsm" for path in written):
            return
        self._look()
        if key is not None and key not in self._keys:
            self._forget()
        elif key is not None and written & {"obsm", f"obsm/{key}"}:
            self._draw(key, embedding(self._workspace.require(), key))
        elif self._keys == before:
            return
        self.changed.emit()

    def _on_removed(self, event: Event) -> None:
        gone = event.value is self.layer
        super()._on_removed(event)
        if gone and self._key is not None:  # a person deleted it
            self._forget()
            self.changed.emit()

    def _look(self) -> None:
        adata = self._workspace.adata
        self._keys = [] if adata is None else embedding_keys(adata)

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self, key: str, table: NDArray[np.float64]) -> None:
        self._forget(announce=False)
        self._key, self._drawn_of = key, self._workspace.adata
        self._place = beside(table, self._tissue.display_xy)
        self._xy = self._place.points(table)
        present = np.isfinite(table).all(axis=1)
        self._there = np.flatnonzero(present)
        here = self._xy[present]
        least = LEAST_SIZE * self._place.side / max(np.sqrt(len(here)), 1.0)
        self._size = max(spacing(here), least)
        self._index = CellIndex(here)
        middle = here.mean(axis=0) if len(here) else np.zeros(2)
        marks = np.where(present[:, None], self._xy, middle)
        self._cells = self._make_cells(marks, self._size, f"embedding {key}", has_bar=False)
        if not present.all():
            self._cells.set_shown(present)
        self._paint()
        with active_kept(self._viewer):
            self._viewer.add_layer(self._cells.layer)
        with suppress(AttributeError):  # discs have no limits of their own
            self._cells.layer.events.contrast_limits.connect(self._on_native_limits)
        self.rebuilt.emit()

    def _forget(self, *, announce: bool = True) -> None:
        self._key, self._place, self._drawn_of = None, None, None
        self._xy, self._there = np.empty((0, 2)), np.empty(0, np.intp)
        self._index = CellIndex(self._xy)
        self._remove_layer()
        if announce:
            self.rebuilt.emit()

    def _paint(self) -> None:
        cells, adata = self._cells, self._workspace.adata
        if cells is None or adata is None or self._drawn_of is not adata:
            return  # another tissue is on its way
        tissue = self._tissue
        limits = tissue.limits or tissue.fresh_limits()
        shades = colours.colormap(tissue.colormap)
        self._painting = True
        try:
            paint(cells, len(self._xy), tissue.column, self._workspace.isolated, shades, limits)
        finally:
            self._painting = False
        cells.describe(cell_table(adata, tissue.column))

    def _on_native_limits(self, _event: Event) -> None:
        """Hand on limits that were moved in napari's own controls of this layer."""
        held = None if self._painting or self._cells is None else self._cells.limits
        if held is not None:
            self._tissue.limits = held
