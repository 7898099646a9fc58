"""Shots of virtual cells brought onto the canvas: where, in which colours, with what on. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers.agents_ground import Ground, SpaceGround, TissueGround
from napari_celldyn.widgets.environment_look import TISSUE, GrowingLimits, Look, values_of

if TYPE_CHECKING:
    from napari_celldyn.session import Session
    from napari_celldyn.widgets.environment_live import Shot, View
    from napari_celldyn.widgets.environment_opening import Opened


class StageDrawing:
    """Draws cells as they are asked to look.

    Parameters
    ----------
    session
        What the viewer's docks share.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ground: Ground | None = None
        self._limits = GrowingLimits()
        self._of: tuple[int, str] | None = None

    @property
    def per_unit(self) -> float:
        """Units of the canvas in one of the tissue's own coordinates."""
        from celldyn.data import um_per_unit

        adata = self._session.workspace.adata
        um = None if adata is None else um_per_unit(adata)
        return 1.0 if um is None else float(um)

    def draw(
        self, opened: Opened, shot: Shot, view: View, look: Look, *, jump: bool = False
    ) -> None:
        """Draw one of both views of a shot.

        Parameters
        ----------
        opened
            The cells.
        shot, view
            All cells at a time, and those of both that are shown.
        look
            How.
        jump
            Whether cells did not walk there from what was drawn before.
        """
        agents = self._session.agents
        if self._of != (id(opened), look.where):
            self._of, self._ground = (id(opened), look.where), None
        on_tissue = look.where == TISSUE and view.place is not None
        found, rate = (view.place, view.flow) if on_tissue else (view.position, view.velocity)
        assert found is not None
        agents.dress.ask(trails=look.trails, velocities=look.velocities)
        if self._ground is None or not self._ground.serves(found) or not agents.shown:
            self._ground = self._make_ground(opened, found, on_tissue=on_tissue)
            agents.show(opened.at, found, self._ground)
            jump = True
        self._colour(opened, shot, view, look)
        agents.move(found, rate, jump=jump)

    def clear(self) -> None:
        """Take all away."""
        self._ground, self._of = None, None
        self._limits.forget()
        self._session.agents.hide()

    def forget_limits(self) -> None:
        """Let the ends of the colours begin anew."""
        self._limits.forget()

    def _make_ground(
        self, opened: Opened, found: NDArray[np.floating], *, on_tissue: bool
    ) -> Ground:
        tissue = self._session.tissue
        if on_tissue:
            return TissueGround(self._session.workspace.require(), opened.at, tissue)
        held = self._ground
        axes = held.axes if isinstance(held, SpaceGround) else None
        return SpaceGround(found, tissue.display_xy, axes)

    def _colour(self, opened: Opened, shot: Shot, view: View, look: Look) -> None:
        agents = self._session.agents
        if not look.has_values:
            agents.colour_as_tissue()
            return
        values = values_of(look, shot, view, opened.cells, self.per_unit)
        limits = self._limits.take(values, (look.colour, look.gene), diverging=look.diverging)
        agents.colour(values, limits, look.colormap)
