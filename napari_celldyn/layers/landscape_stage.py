"""From the flat tissue to the landscape in three dimensions, and back as it was before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_celldyn.layers.embedding import EmbeddingView

ELEVATION, TURN = 38.0, -16.0
"""Where the eye stands at first, degrees: over the plane, and round from the front."""

PERSPECTIVE = 18.0
MARGIN = 0.04


@dataclass(frozen=True, slots=True)
class _Before:
    """What a person looked at, and how."""

    n_display: int
    centre: tuple[float, ...]
    zoom: float
    angles: tuple[float, float, float]
    perspective: float
    embedding: str | None


class Stage:
    """Turns one viewer to three dimensions for as long as something stands on it.

    The embedding beside the tissue makes room, since the landscape stands where it lay. Every
    other layer stays as it is: flat ones lie in the plane z = 0.

    Parameters
    ----------
    viewer
        The viewer itself, not napari's proxy of it.
    embedding
        What makes room.
    """

    def __init__(self, viewer: ViewerModel, embedding: EmbeddingView) -> None:
        self._viewer, self._embedding = viewer, embedding
        self._before: _Before | None = None

    @property
    def entered(self) -> bool:
        """Whether it was entered and not left again."""
        return self._before is not None

    def enter(self) -> None:
        """Remember what is seen, and turn to three dimensions."""
        if self._before is not None:
            return
        camera = self._viewer.scene.camera
        self._before = _Before(
            self._viewer.dims.ndisplay,
            tuple(float(x) for x in camera.center),
            float(camera.zoom),
            camera.angles,
            float(camera.perspective),
            self._embedding.key,
        )
        self._embedding.hide()
        self._viewer.dims.ndisplay = 3

    def look(self, places: NDArray[np.floating]) -> None:
        """Look from above and in front, so that (n, 3) x, y and z just fit into the canvas."""
        camera = self._viewer.scene.camera
        up, round_ = np.radians(ELEVATION), np.radians(TURN)
        # z, y, x: downwards, and away from who looks, to the upper side of the flat canvas.
        ahead = (-np.sin(up), -np.cos(up) * np.cos(round_), -np.cos(up) * np.sin(round_))
        camera.perspective = PERSPECTIVE
        camera.set_view_direction(ahead, (1.0, 0.0, 0.0))
        there = places[np.isfinite(places).all(axis=1)][:, ::-1]
        if not len(there):
            return
        upwards = np.asarray(camera.up_direction, float)
        seen = np.stack([np.cross(ahead, upwards), upwards, ahead])
        on_canvas = there @ seen.T
        low, high = on_canvas.min(axis=0), on_canvas.max(axis=0)
        camera.center = tuple(float(x) for x in (low + high) / 2 @ seen)
        height, width = self._viewer.canvas.size
        room = np.array([width, height]) / np.maximum((high - low)[:2], 1e-9)
        camera.zoom = (1 - 2 * MARGIN) * float(room.min())

    def leave(self) -> None:
        """Go back to what was seen before; after the tissue was replaced, to the whole of it."""
        before, self._before = self._before, None
        if before is None:
            return
        if before.embedding is not None and before.embedding in self._embedding.keys:
            self._embedding.show(before.embedding)
        camera = self._viewer.scene.camera
        self._viewer.dims.ndisplay = before.n_display
        camera.perspective, camera.angles = before.perspective, before.angles
        camera.center, camera.zoom = before.centre, before.zoom
