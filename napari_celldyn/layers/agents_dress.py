"""What agents on their way wear: a trail, an arrow of velocity, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers.agents_arrows import Velocities, key_corner
from napari_celldyn.layers.agents_trails import Trails

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_celldyn.layers.agents_ground import Ground
    from napari_celldyn.layers.colours import RGBA
    from napari_celldyn.layers.tissue import TissueView


class Dress:
    """Makes trails and arrows where they are asked for, and moves them with the cells.

    Parameters
    ----------
    viewer
        The viewer itself, not napari's proxy of it.
    tissue
        Below which the key of the arrows stands.
    """

    def __init__(self, viewer: ViewerModel, tissue: TissueView) -> None:
        self._viewer, self._tissue = viewer, tissue
        self.trails: Trails | None = None
        self.velocities: Velocities | None = None
        self._wants_trails = self._wants_velocities = False
        self._ground: Ground | None = None
        self._places: NDArray[np.floating] = np.empty((0, 2))
        self._steps = self._places
        self._rgba: RGBA = np.empty((0, 4), np.float32)

    def ask(self, *, trails: bool, velocities: bool) -> None:
        """Say which are wanted, for these cells and all to come."""
        self._wants_trails, self._wants_velocities = trails, velocities
        self._fit()

    def put_on(self, places: NDArray[np.floating], ground: Ground, rgba: RGBA) -> None:
        """Dress cells that have just appeared at (n, 2) places on the canvas."""
        self._ground, self._places, self._rgba = ground, places, rgba
        self._steps = np.zeros_like(places)
        self._fit()

    def move(
        self, places: NDArray[np.floating], steps: NDArray[np.floating], *, jump: bool
    ) -> None:
        """Follow the cells to (n, 2) places; `steps` is how far each gets in a second."""
        self._places, self._steps = places, steps
        if self.trails is not None:
            (self.trails.restart if jump else self.trails.move)(places)
        if self._wants_velocities:
            self._point()

    def paint(self, rgba: RGBA) -> None:
        """Give the trails the (n, 4) colours of the cells."""
        self._rgba = rgba
        if self.trails is not None:
            self.trails.paint(rgba)

    def settle(self) -> None:
        """Let the layers themselves know where everything is."""
        if self.trails is not None:
            self.trails.mesh.settle()
        if self.velocities is not None:
            self.velocities.settle()

    def take_off(self) -> None:
        """Take the layers away; what is wanted stays so, for the next cells."""
        self._close_trails()
        self._close_velocities()
        self._ground = None

    def _fit(self) -> None:
        """Have what is wanted, and nothing else."""
        ground = self._ground
        if ground is None:
            return
        if not self._wants_trails:
            self._close_trails()
        elif self.trails is None:
            unit = self._tissue.unit
            self.trails = Trails(self._viewer, self._places, ground.size, self._rgba, unit)
        if self._wants_velocities:
            self._point()
        else:
            self._close_velocities()

    def _point(self) -> None:
        ground = self._ground
        if self.velocities is not None:
            self.velocities.move(self._places, self._steps)
        elif ground is not None:
            corner = key_corner(self._tissue.display_xy if ground.on_tissue else self._places)
            self.velocities = Velocities(
                self._viewer, self._places, self._steps, ground.size, corner, self._tissue.unit,
                ground.quantity, ground.per_unit,
            )  # fmt: skip

    def _close_trails(self) -> None:
        if self.trails is not None:
            self.trails.close()
            self.trails = None

    def _close_velocities(self) -> None:
        if self.velocities is not None:
            self.velocities.close()
            self.velocities = None
