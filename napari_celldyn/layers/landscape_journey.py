"""Cells that flow downhill, from frame to frame: on the embedding and on the landscape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_celldyn.layers import colours
from napari_celldyn.layers.film import Film, Frames
from napari_celldyn.layers.movers import Movers
from napari_celldyn.layers.palette import Palette
from napari_celldyn.layers.shown import of_cells, paint

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.colours import RGBA
    from napari_celldyn.layers.embedding import EmbeddingView
    from napari_celldyn.layers.landscape import TerrainView
    from napari_celldyn.layers.tissue import TissueView
    from napari_celldyn.workspace import Workspace

MAX_MOVERS = 200_000
"""Of more cells every k-th is shown on its way."""

LEAST_MOVERS = 500
"""So few are shown on however slow a machine."""


class Journey:
    """Shows cells where they are at one time, wherever the frames' embedding is drawn.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Its tissue: with another one the cells stop.
    tissue
        In whose colours.
    flat, landscape
        Where cells may be on their way.
    """

    changed = Signal()
    """There are other frames, or none any more."""

    moved = Signal()
    """It is another time."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        tissue: TissueView,
        flat: EmbeddingView,
        landscape: TerrainView,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._tissue = workspace, tissue
        self._flat, self._landscape = flat, landscape
        self._film: Film | None = None
        self._key = ""
        self._cells = np.empty(0, np.intp)
        self._time = 0.0
        self._movers: dict[str, Movers] = {}
        self._going = False
        workspace.data_changed.connect(self.hide)
        workspace.keys_changed.connect(self._on_keys)
        tissue.shown_changed.connect(self._paint)
        flat.rebuilt.connect(self._on_rebuilt)
        landscape.rebuilt.connect(self._on_rebuilt)
        self._viewer.layers.events.removed.connect(self._on_removed)

    # --- what is there ------------------------------------------------------------------------

    @property
    def film(self) -> Film | None:
        """The frames that are shown; None while there are none."""
        return self._film

    @property
    def key(self) -> str:
        """On which embedding the frames are; empty while there are none."""
        return self._key

    @property
    def time(self) -> float:
        """The time that is shown."""
        return self._time

    @property
    def cells(self) -> NDArray[np.intp]:
        """Positions of the cells that are shown on their way."""
        return self._cells

    @property
    def layers(self) -> list[str]:
        """Where cells are on their way: "embedding", "landscape"."""
        return sorted(self._movers)

    def movers(self, where: str) -> Movers:
        """Return the cells on their way on the "embedding" or the "landscape"."""
        return self._movers[where]

    # --- verbs --------------------------------------------------------------------------------

    def show(self, frames: Frames, key: str) -> None:
        """Put cells at the first of some frames.

        Parameters
        ----------
        frames
            Of all cells of the tissue in view.
        key
            The embedding of obsm that they are on.
        """
        n = frames.places.shape[1]
        self._cells = np.arange(0, n, max(1, -(-n // MAX_MOVERS)))
        self._cells = self._cells[np.isfinite(frames.places[0, self._cells]).all(axis=1)]
        kept = np.ascontiguousarray(frames.places[:, self._cells, :2], np.float32)
        self._film = Film(np.asarray(frames.times, np.float64), kept)
        self._key, self._time = key, float(self._film.times[0])
        self._on_rebuilt()
        self.changed.emit()

    def thin(self) -> bool:
        """Show only every fourth of the cells on their way; False where they are few already."""
        film = self._film
        if film is None or len(self._cells) < 4 * LEAST_MOVERS:
            return False
        self._cells = self._cells[::4]
        self._film = Film(film.times, np.ascontiguousarray(film.places[:, ::4]))
        self._on_rebuilt()
        return True

    def seek(self, time: float) -> None:
        """Show the cells where they are at a time."""
        film = self._film
        if film is None:
            return
        self._time = float(np.clip(time, film.times[0], film.times[-1]))
        places = film.at(self._time)
        for where, movers in self._movers.items():
            movers.move(self._on_canvas(where, places))
        self.moved.emit()

    def settle(self) -> None:
        """Let the layers themselves know where the cells are, once they stand still."""
        for movers in self._movers.values():
            movers.settle()

    def hide(self) -> None:
        """Take the cells on their way away, and forget the frames."""
        if self._film is None:
            return
        self._clear()
        self._film, self._key, self._time = None, "", 0.0
        self.changed.emit()

    def close(self) -> None:
        """Take the layers away and stop listening."""
        self.hide()
        self._workspace.data_changed.disconnect(self.hide)
        self._workspace.keys_changed.disconnect(self._on_keys)
        self._tissue.shown_changed.disconnect(self._paint)
        self._flat.rebuilt.disconnect(self._on_rebuilt)
        self._landscape.rebuilt.disconnect(self._on_rebuilt)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    # --- drawing ------------------------------------------------------------------------------

    def _on_canvas(self, where: str, places: NDArray[np.floating]) -> NDArray[np.float64]:
        if where == "landscape":
            return self._landscape.cells_at(places)
        return self._flat.points_on_canvas(places)

    def _appear(self) -> None:
        """Draw the cells wherever the embedding of the frames is drawn."""
        if self._film is None:
            return
        places = self._film.at(self._time)
        rgba = self._rgba()
        views = (("embedding", self._flat), ("landscape", self._landscape))
        for where, view in views:
            if view.layer is None or view.key != self._key:
                continue
            at = self._on_canvas(where, places)
            size, unit = view.cell_size, view.unit
            self._movers[where] = Movers(self._viewer, at, size, rgba, view.layer, unit)

    def _rgba(self) -> RGBA:
        """Return the colours of the cells on their way: those that they have at rest."""
        tissue, palette = self._tissue, Palette()
        held = of_cells(tissue.column, self._cells)
        limits = tissue.limits or tissue.fresh_limits()
        shades = colours.colormap(tissue.colormap)
        paint(palette, len(self._cells), held, self._workspace.isolated, shades, limits)
        return palette.rgba

    def _paint(self) -> None:
        adata, film = self._workspace.adata, self._film
        if film is None or adata is None or (len(self._cells) and self._cells[-1] >= adata.n_obs):
            return
        for movers in self._movers.values():
            movers.paint(self._rgba())

    # --- following ----------------------------------------------------------------------------

    def _on_keys(self, written: frozenset[str]) -> None:
        if self._film is not None and written & {"obsm", f"obsm/{self._key}"}:
            self.hide()  # the frames are of the places that the cells had

    def _on_rebuilt(self) -> None:
        if self._film is not None:
            self._clear()
            self._appear()

    def _on_removed(self, event: Event) -> None:
        if not self._going and any(event.value is m.layer for m in self._movers.values()):
            self.hide()  # a person deleted it

    def _clear(self) -> None:
        movers, self._movers = self._movers, {}
        self._going = True
        try:
            for each in movers.values():
                each.close()
        finally:
            self._going = False
