"""Pseudocells on their way from one stage to another, in their own space beside the tissue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers import colours
from napari_celldyn.layers.agents_ground import SpaceGround
from napari_celldyn.layers.agents_trails import LENGTH, Trails
from napari_celldyn.layers.movers import Movers

if TYPE_CHECKING:
    from napari.utils.events import Event

    from napari_celldyn.session import Session

WAYS = "viridis"
"""Cells that go far and cells that stay, told apart."""


class StagesView:
    """Draws frames of pseudocells, coloured by how far each goes in all.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._viewer = session, session.viewer
        self._places: NDArray[np.float64] = np.empty((0, 0, 2))
        self._movers: Movers | None = None
        self._trails: Trails | None = None
        self._frame = 0
        session.workspace.data_changed.connect(self.hide)
        self._viewer.layers.events.removed.connect(self._on_removed)

    @property
    def places(self) -> NDArray[np.float64]:
        """(T, p, 2) where pseudocells are on the canvas at every frame; empty while hidden."""
        return self._places

    @property
    def movers(self) -> Movers | None:
        """The layer of pseudocells; None while there is none."""
        return self._movers

    def show(self, positions: NDArray[np.floating]) -> None:
        """Draw (T, p, d) positions in place of others, at the first frame."""
        self.hide()
        self._session.agents.hide()
        every = positions.reshape(-1, positions.shape[-1])
        ground = SpaceGround(every, self._session.tissue.display_xy)
        self._places = ground.places(every).reshape(*positions.shape[:2], 2)
        far = np.linalg.norm(positions[-1] - positions[0], axis=-1)
        limits = colours.value_limits(far)
        rgba = colours.shade(far, limits, colours.colormap(WAYS))
        size = SpaceGround(positions[-1], self._session.tissue.display_xy).size
        unit = self._session.tissue.unit
        self._movers = Movers(self._viewer, self._places[0], size, rgba, None, unit)
        self._movers.show_bar(limits, colours.colormap(WAYS))
        self._trails = Trails(self._viewer, self._places[0], size, rgba, unit)
        self._frame = 0
        self._viewer.reset_view()

    def seek(self, frame: int) -> None:
        """Show the pseudocells at a frame, with trails that reach back from there."""
        if self._movers is None or self._trails is None:
            return
        self._frame = int(np.clip(frame, 0, len(self._places) - 1))
        first = max(self._frame - LENGTH + 1, 0)
        self._trails.restart(self._places[first])
        for k in range(first + 1, self._frame + 1):
            self._trails.move(self._places[k])
        self._movers.move(self._places[self._frame])
        self._movers.settle()
        self._trails.mesh.settle()

    def hide(self) -> None:
        """Take them away."""
        movers, trails = self._movers, self._trails
        self._movers = self._trails = None
        self._places = np.empty((0, 0, 2))
        for each in (movers, trails):
            if each is not None:
                each.close()

    def close(self) -> None:
        """Take the layers away and stop listening."""
        self.hide()
        self._session.workspace.data_changed.disconnect(self.hide)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_removed(self, event: Event) -> None:
        if self._movers is not None and event.value is self._movers.layer:
            self.hide()  # a person deleted it
