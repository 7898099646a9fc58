"""The cells on their landscape: a surface of the potential beside the tissue, in 3-D."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from psygnal import Signal

from celldyn.data import embedding
from napari_celldyn.layers import colours
from napari_celldyn.layers.canvas import active_kept
from napari_celldyn.layers.cells_view import POINTS_LIMIT
from napari_celldyn.layers.embedding import LEAST_SIZE
from napari_celldyn.layers.landscape_picking import Hiding, pick_along
from napari_celldyn.layers.landscape_relief import Places, Relief, relief_beside
from napari_celldyn.layers.landscape_scene import Scene
from napari_celldyn.layers.landscape_stage import Stage
from napari_celldyn.layers.picking import spacing
from napari_celldyn.layers.shown import cell_table, of_cells, paint

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer, Surface
    from napari.utils.events import Event

    from celldyn.landscape.surfaces import PotentialSurface
    from napari_celldyn.layers.embedding import EmbeddingView
    from napari_celldyn.layers.tissue import TissueView
    from napari_celldyn.workspace import Workspace

SUNK = 0.3
"""Of a cell's width: so far its middle stands over the ground."""

_REACH = 0.8
"""Of a cell's width: so near to it the mouse has to be."""


class TerrainView:
    """Draws the landscape in the viewer of the tissue, where the embedding would lie.

    The viewer turns to three dimensions and back (`Stage`): one canvas, so that the tissue lies
    beside the landscape, and what is chosen, hovered over and coloured is the same on both. What
    is drawn goes when the viewer is turned back, by whatever button, so that no axis of height
    is left to the flat tissue.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        What to draw.
    tissue
        Beside which, and in whose colours.
    flat
        The embedding beside the tissue, which makes room.
    """

    changed = Signal()
    """It is shown, hidden or of another surface."""

    rebuilt = Signal()
    """What is drawn on it has other places."""

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        tissue: TissueView,
        flat: EmbeddingView,
    ) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._tissue = workspace, tissue
        self.stage = Stage(self._viewer, flat)
        self._key = ""
        self._relief: Relief | None = None
        self._hiding: Hiding | None = None
        self._xy = np.empty((0, 2))
        self._drawn = np.empty(0, np.intp)
        self._size = 1.0
        self._exaggeration = 1.0
        self._scene: Scene | None = None
        self._going = False
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._viewer.dims.events.ndisplay.connect(self._on_turned)
        workspace.data_changed.connect(self.hide)
        workspace.keys_changed.connect(self._on_keys)
        tissue.rebuilt.connect(self._on_tissue)
        tissue.shown_changed.connect(self._paint)

    # --- what is there ------------------------------------------------------------------------

    @property
    def shown(self) -> bool:
        """Whether it is drawn."""
        return self._relief is not None

    @property
    def key(self) -> str:
        """Over which table of obsm it stands; empty while it is not shown."""
        return self._key

    @property
    def relief(self) -> Relief | None:
        """Where its surface is; None while it is not shown."""
        return self._relief

    @property
    def layer(self) -> Layer | None:
        """The layer of its cells; None while there is none."""
        return None if self._scene is None else self._scene.cells.layer

    @property
    def ground(self) -> Surface | None:
        """The layer of its surface; None while there is none."""
        return None if self._scene is None else self._scene.ground

    @property
    def cell_size(self) -> float:
        """How wide a cell is drawn, in the unit of the canvas."""
        return self._size

    @property
    def clearance(self) -> float:
        """How high over the ground the cells reach, in the unit of the canvas."""
        return (SUNK + 0.5) * self._size

    @property
    def unit(self) -> str:
        """The tissue's, with which it shares the canvas."""
        return self._tissue.unit

    @property
    def display_xyz(self) -> Places:
        """(n_obs, 3) x, y and z as drawn, NaN for cells that are not on it; empty if hidden."""
        return np.empty((0, 3)) if self._relief is None else self.cells_at(self._xy)

    @property
    def exaggeration(self) -> float:
        """How steep the relief is; 1 is half as high as wide."""
        return self._exaggeration

    @exaggeration.setter
    def exaggeration(self, value: float) -> None:
        self._exaggeration = float(value)
        if self._relief is not None:
            self._relief = replace(self._relief, exaggeration=self._exaggeration)
            self._raise()

    # --- verbs --------------------------------------------------------------------------------

    def show(self, surface: PotentialSurface, key: str) -> None:
        """Draw a surface, and the cells where an embedding has them.

        Parameters
        ----------
        surface
            In the coordinates of that embedding.
        key
            Of obsm.

        Raises
        ------
        MissingKeyError
            If the tissue in view has no such embedding.
        """
        self._xy = embedding(self._workspace.require(), key)
        self._clear()
        self._key = key
        tissue = self._tissue.display_xy
        self._relief = relief_beside(surface, self._xy, tissue, self._exaggeration)
        first = not self.stage.entered
        self.stage.enter()
        self._draw()
        if first:
            self.look()
        self.rebuilt.emit()
        self.changed.emit()

    def look(self, *, tissue: bool = True) -> None:
        """Look at it from above and in front, with or without the tissue beside it."""
        if self._relief is None:
            return
        flat = self._tissue.display_xy if tissue else np.empty((0, 2))
        self.stage.look(np.vstack([self._relief.mesh()[0], np.pad(flat, ((0, 0), (0, 1)))]))

    def hide(self) -> None:
        """Take it away and go back to the flat tissue as it was seen before."""
        if self._relief is None and not self.stage.entered:
            return
        self._clear()
        self._going = True
        try:
            # First what is drawn on it: with the last layer in space napari moves the camera.
            self.rebuilt.emit()
            self.stage.leave()
        finally:
            self._going = False
        self.changed.emit()

    def close(self) -> None:
        """Take the layers away and stop listening."""
        self.hide()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.dims.events.ndisplay.disconnect(self._on_turned)
        self._workspace.data_changed.disconnect(self.hide)
        self._workspace.keys_changed.disconnect(self._on_keys)
        self._tissue.rebuilt.disconnect(self._on_tissue)
        self._tissue.shown_changed.disconnect(self._paint)

    # --- place --------------------------------------------------------------------------------

    def points_on_canvas(self, xy: ArrayLike, above: float = 0.0) -> Places:
        """Return where (n, 2) points of the embedding lie, (n, 3); none while it is hidden."""
        return np.empty((0, 3)) if self._relief is None else self._relief.points(xy, above)

    def cells_at(self, xy: ArrayLike) -> Places:
        """Return where the middles of cells are drawn that are at (n, 2) of the embedding."""
        return self.points_on_canvas(xy, SUNK * self._size)

    def pick(self, origin: ArrayLike, direction: ArrayLike) -> int | None:
        """Return the position of the cell that a ray of the canvas meets first.

        Parameters
        ----------
        origin, direction
            (3,) x, y and z of a point of the ray, and of its direction away from the eye.
        """
        if self._hiding is None or self.layer is None or not self.layer.visible:
            return None
        far = self._hiding.seen_to(origin, direction) + 2 * self._size
        places = self.cells_at(self._xy[self._drawn])
        found = pick_along(places, origin, direction, _REACH * self._size, seen_to=far)
        return None if found is None else int(self._drawn[found])

    # --- drawing ------------------------------------------------------------------------------

    def _draw(self) -> None:
        there = np.flatnonzero(np.isfinite(self._xy).all(axis=1))
        self._drawn = there[:: max(1, -(-len(there) // POINTS_LIMIT))]
        relief = self._relief
        if relief is None:
            return
        side = relief.place.side
        least = LEAST_SIZE * side / max(np.sqrt(len(there)), 1.0)
        self._size = max(relief.place.scale * spacing(self._xy[there]), least)
        places = self.cells_at(self._xy[self._drawn])
        self._scene = Scene(relief, places, self._size, self.unit)
        self._hiding = Hiding(relief)
        self._paint()
        with active_kept(self._viewer):
            for layer in self._scene.layers:
                self._viewer.add_layer(layer)

    def _raise(self) -> None:
        """Give what is drawn its height anew."""
        if self._relief is not None and self._scene is not None:
            self._scene.raise_to(self._relief, self.cells_at(self._xy[self._drawn]))
            self._hiding = Hiding(self._relief)
            self.rebuilt.emit()

    def _paint(self) -> None:
        scene, adata = self._scene, self._workspace.adata
        if scene is None or adata is None or len(self._xy) != adata.n_obs:
            return  # another tissue is on its way
        tissue, cells = self._tissue, scene.cells
        held = of_cells(tissue.column, self._drawn)
        limits = tissue.limits or tissue.fresh_limits()
        shades = colours.colormap(tissue.colormap)
        paint(cells, len(self._drawn), held, self._workspace.isolated, shades, limits)
        table = cell_table(adata, tissue.column)
        cells.describe(table.iloc[self._drawn].reset_index(drop=True))

    # --- following ----------------------------------------------------------------------------

    def _on_tissue(self) -> None:
        """Stand beside the same tissue at other places; another one is none of ours."""
        relief = self._relief
        if relief is None or self._workspace.adata is None:
            return
        if len(self._tissue.display_xy) != len(self._xy):
            self.hide()
            return
        self.show(relief.surface, self._key)

    def _on_keys(self, written: frozenset[str]) -> None:
        if self.shown and written & {"obsm", f"obsm/{self._key}"}:
            self.hide()  # the surface is of the places that the cells had

    def _on_turned(self, _event: Event) -> None:
        if self.shown and not self._going and self._viewer.dims.ndisplay != 3:
            self.hide()

    def _on_removed(self, event: Event) -> None:
        if self._scene is not None and event.value in (self._scene.ground, self.layer):
            self.hide()

    def _clear(self) -> None:
        scene, self._scene = self._scene, None
        self._relief, self._hiding, self._key = None, None, ""
        for layer in () if scene is None else scene.layers:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
