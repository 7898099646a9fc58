"""Where cells on their way have just been: a fading trail behind each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_celldyn.layers.moving_mesh import MovingMesh

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_celldyn.layers.colours import RGBA

NAME = "trails"
MAX_TRAILS = 2_000
"""Of more cells every k-th has one: more would be one cloud."""

LENGTH = 16
"""Places of a trail, the present one included."""

OPACITY = 0.85
"""Of a trail where it begins, at its cell."""

WIDTH = 0.3
"""Of a trail at its cell, in widths of the cell."""


class Trails:
    """Draws the latest places of cells as bands that become thin and clear.

    Parameters
    ----------
    viewer
        The viewer itself, not napari's proxy of it.
    places
        (n, 2) where the cells are now, x first; NaN for one that is nowhere.
    size
        Of a cell, in the unit of the places.
    rgba
        (n, 4) their colours.
    unit
        As napari names it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        places: NDArray[np.floating],
        size: float,
        rgba: RGBA,
        unit: str,
    ) -> None:
        self._kept = slice(None, None, max(1, -(-len(places) // MAX_TRAILS)))
        now = _finite(places[self._kept])
        self._past = np.tile(now[None], (LENGTH, 1, 1))
        self._width = WIDTH * size
        self.mesh = MovingMesh(
            viewer, NAME, self._bands(), _faces(len(now)), _faded(rgba[self._kept]), unit
        )

    def move(self, places: NDArray[np.floating]) -> None:
        """Let every trail grow to (n, 2) places, and lose its end."""
        self._past = np.concatenate([self._past[1:], _finite(places[self._kept])[None]])
        self.mesh.move(self._bands())

    def restart(self, places: NDArray[np.floating]) -> None:
        """Begin all trails at (n, 2) places: the cells did not walk there."""
        self._past = np.tile(_finite(places[self._kept])[None], (LENGTH, 1, 1))
        self.mesh.move(self._bands())

    def paint(self, rgba: RGBA) -> None:
        """Give the trails other colours, (n, 4) for all cells."""
        self.mesh.settle()
        self.mesh.layer.vertex_colors = _faded(rgba[self._kept])

    def close(self) -> None:
        """Take the layer away."""
        self.mesh.close()

    def _bands(self) -> NDArray[np.float32]:
        """Return the two sides of every trail, (LENGTH * n * 2, 2)."""
        step = np.gradient(self._past, axis=0)
        length = np.linalg.norm(step, axis=-1, keepdims=True)
        along = np.divide(step, length, out=np.zeros_like(step), where=length > 0)
        across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
        half = 0.5 * self._width * np.linspace(0.0, 1.0, LENGTH, dtype=np.float32)[:, None, None]
        sides = np.stack([self._past + half * across, self._past - half * across], axis=2)
        return sides.reshape(-1, 2)


def _faces(n: int) -> NDArray[np.intp]:
    """Return the triangles of n bands of LENGTH places with two sides each."""
    at = 2 * (np.arange(LENGTH - 1)[:, None] * n + np.arange(n)).ravel()
    after = at + 2 * n
    quads = [np.stack([at, at + 1, after], 1), np.stack([at + 1, after + 1, after], 1)]
    return np.concatenate(quads)


def _faded(rgba: RGBA) -> RGBA:
    """Return the colours of the vertices of all bands: clear at the end of each."""
    shades = np.tile(np.asarray(rgba, np.float32)[None, :, None], (LENGTH, 1, 2, 1))
    shades[..., 3] *= OPACITY * np.linspace(0.0, 1.0, LENGTH, dtype=np.float32)[:, None, None]
    return shades.reshape(-1, 4)


def _finite(places: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return places with one far off the canvas for a cell that has none."""
    return np.nan_to_num(np.asarray(places, np.float32), nan=-1e7)
