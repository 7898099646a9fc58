"""Agents of a virtual environment on their way: cells that move, with trails and velocities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_celldyn.layers import colours
from napari_celldyn.layers.agents_dress import Dress
from napari_celldyn.layers.movers import Movers
from napari_celldyn.layers.palette import Palette
from napari_celldyn.layers.picking import CellIndex
from napari_celldyn.layers.shown import of_cells, paint

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_celldyn.layers.agents_ground import Ground
    from napari_celldyn.layers.colours import RGBA, Limits
    from napari_celldyn.layers.tissue import TissueView
    from napari_celldyn.workspace import Workspace

MAX_AGENTS = 200_000
"""Of more cells every k-th is drawn."""


class AgentsView:
    """Draws some cells of the tissue where an environment has them, many times a second.

    Parameters
    ----------
    viewer
        The napari viewer, or a bare `ViewerModel`.
    workspace
        Its tissue: with another one the agents go.
    tissue
        In whose colours they are, unless values are given.

    Attributes
    ----------
    dress
        Their trails and arrows.
    """

    changed = Signal()
    """Other cells are shown, or none any more."""

    moved = Signal()
    """The cells are elsewhere."""

    def __init__(self, viewer: ViewerModel, workspace: Workspace, tissue: TissueView) -> None:
        self._viewer: ViewerModel = getattr(viewer, "__wrapped__", viewer)
        self._workspace, self._tissue = workspace, tissue
        self._movers: Movers | None = None
        self.dress = Dress(self._viewer, tissue)
        self._ground: Ground | None = None
        self._cells = np.empty(0, np.intp)
        self._kept = slice(None)
        self._places = np.empty((0, 2))
        self._values: tuple[NDArray[np.floating], Limits, str] | None = None
        self._index: CellIndex | None = None
        self._going = False
        workspace.data_changed.connect(self.hide)
        tissue.shown_changed.connect(self._on_colours)
        tissue.rebuilt.connect(self._on_rebuilt)
        self._viewer.layers.events.removed.connect(self._on_removed)

    # --- what is there ------------------------------------------------------------------------

    @property
    def shown(self) -> bool:
        """Whether agents are drawn."""
        return self._movers is not None

    @property
    def cells(self) -> NDArray[np.intp]:
        """Positions in the tissue of the cells that are drawn, ascending."""
        return self._cells

    @property
    def on_tissue(self) -> bool:
        """Whether they are drawn on the tissue, rather than beside it."""
        return self._ground is not None and self._ground.on_tissue

    @property
    def places(self) -> NDArray[np.float64]:
        """(n, 2) where the drawn cells are on the canvas, x first."""
        return self._places

    @property
    def movers(self) -> Movers | None:
        """The layer of cells; None while there is none."""
        return self._movers

    def places_of(self, cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return where cells of the tissue are drawn as agents, (m, 2); NaN for those not."""
        found = np.full((len(cells), 2), np.nan)
        if self.shown:
            at = np.searchsorted(self._cells, cells)
            at = np.minimum(at, len(self._cells) - 1)
            there = self._cells[at] == cells
            found[there] = self._places[at[there]]
        return found

    @property
    def size(self) -> float:
        """How wide a cell is drawn."""
        return 1.0 if self._ground is None else self._ground.size

    # --- verbs --------------------------------------------------------------------------------

    def show(self, cells: NDArray[np.intp], found: NDArray[np.floating], ground: Ground) -> None:
        """Draw cells in place of those that are shown.

        Parameters
        ----------
        cells
            (n,) positions in the tissue in view, ascending.
        found
            (n, 2 or d) where they are, as the ground takes it.
        ground
            Turns that into places on the canvas.
        """
        was_beside = self.shown and not self.on_tissue
        self._clear()
        self._kept = slice(None, None, max(1, -(-len(cells) // MAX_AGENTS)))
        self._cells, self._ground = cells[self._kept], ground
        self._places = ground.places(found[self._kept])
        over = self._tissue.layer if ground.on_tissue else None
        self._movers = Movers(
            self._viewer, self._places, ground.size, self._rgba(), over, self._tissue.unit
        )
        self._index = None
        self.dress.put_on(self._places, ground, self._rgba())
        self._paint()
        if not ground.on_tissue and not was_beside:
            self._viewer.reset_view()
        self.changed.emit()

    def move(
        self,
        found: NDArray[np.floating],
        velocities: NDArray[np.floating] | None = None,
        *,
        jump: bool = False,
    ) -> None:
        """Draw the same cells elsewhere.

        Parameters
        ----------
        found
            (n, 2 or d) as in `show`.
        velocities
            (n, 2 or d) per second of the environment; None leaves no arrow long.
        jump
            Whether they did not walk there: trails begin anew.
        """
        if self._movers is None or self._ground is None:
            return
        found = found[self._kept]
        self._places = self._ground.places(found)
        self._index = None
        self._movers.move(self._places)
        speeds = np.zeros_like(found) if velocities is None else velocities[self._kept]
        self.dress.move(self._places, self._ground.steps(speeds), jump=jump)
        self.moved.emit()

    def settle(self) -> None:
        """Let the layers themselves know where everything is, once it stands still."""
        if self._movers is not None:
            self._movers.settle()
        self.dress.settle()

    def colour(self, values: NDArray[np.floating], limits: Limits, colormap: str) -> None:
        """Colour the cells by (n,) values of all that were shown, with a colour bar."""
        self._values = (values[self._kept], limits, colormap)
        self._paint()

    def colour_as_tissue(self) -> None:
        """Colour the cells as they are in the tissue."""
        if self._values is not None:
            self._values = None
            self._paint()

    def hide(self) -> None:
        """Take the agents away."""
        if self.shown:
            beside = not self.on_tissue
            self._clear()
            self._values = None
            if beside:
                self._viewer.reset_view()
            self.changed.emit()

    def close(self) -> None:
        """Take the layers away and stop listening."""
        self.hide()
        self._workspace.data_changed.disconnect(self.hide)
        self._tissue.shown_changed.disconnect(self._on_colours)
        self._tissue.rebuilt.disconnect(self._on_rebuilt)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    # --- picking ------------------------------------------------------------------------------

    def pick(self, xy: ArrayLike) -> int | None:
        """Return the position of the cell nearest to (x, y) on the canvas, where one is there."""
        if self._movers is None or self._ground is None or not self._movers.layer.visible:
            return None
        x, y = np.asarray(xy, float)
        found = self._where().pick(x, y, self._ground.size)
        return None if found is None else int(self._cells[found])

    def cells_in_polygon(self, polygon: ArrayLike) -> NDArray[np.intp]:
        """Return the positions of the cells inside a polygon of (n_vertices, 2) x and y."""
        if self._movers is None or not self._movers.layer.visible:
            return self._cells[:0]
        return self._cells[self._where().within_polygon(polygon)]

    def _where(self) -> CellIndex:
        if self._index is None:
            self._index = CellIndex(np.nan_to_num(self._places, nan=-1e7))
        return self._index

    # --- drawing ------------------------------------------------------------------------------

    def _rgba(self) -> RGBA:
        """Return the colours of the drawn cells: by values, or those they have in the tissue."""
        if self._values is not None:
            values, limits, name = self._values
            return colours.shade(values, limits, colours.colormap(name))
        tissue, palette = self._tissue, Palette()
        held = of_cells(tissue.column, self._cells)
        ends = tissue.limits or tissue.fresh_limits()
        shades = colours.colormap(tissue.colormap)
        paint(palette, len(self._cells), held, self._workspace.isolated, shades, ends)
        return palette.rgba

    def _paint(self) -> None:
        if self._movers is None:
            return
        if self._values is None:
            self._movers.hide_bar()
        else:
            _, limits, name = self._values
            self._movers.show_bar(limits, colours.colormap(name))
        rgba = self._rgba()
        self._movers.paint(rgba)
        self.dress.paint(rgba)

    # --- following ----------------------------------------------------------------------------

    def _on_colours(self) -> None:
        adata = self._workspace.adata
        fits = adata is not None and (not len(self._cells) or self._cells[-1] < adata.n_obs)
        if self._values is None and fits:
            self._paint()

    def _on_rebuilt(self) -> None:
        if self.on_tissue and not self._going:
            self.hide()  # the places are of a drawing that is no more

    def _on_removed(self, event: Event) -> None:
        if not self._going and self._movers is not None and event.value is self._movers.layer:
            self.hide()  # a person deleted it

    def _clear(self) -> None:
        movers, self._movers, self._ground = self._movers, None, None
        self._cells = np.empty(0, np.intp)
        self._places, self._index = np.empty((0, 2)), None
        self._going = True
        try:
            self.dress.take_off()
            if movers is not None:
                movers.close()
        finally:
            self._going = False
