"""Which way cells on their way go and how fast, with a key that tells what the length means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points
from numpy.typing import NDArray

from napari_celldyn.layers.arrows import GAP, KEY_PIXELS, round_down
from napari_celldyn.layers.canvas import active_kept, ink
from napari_celldyn.layers.moving_mesh import MovingMesh

if TYPE_CHECKING:
    from napari.components import ViewerModel

NAME, KEY_NAME = "velocities", "key of the velocities"
MAX_ARROWS = 800
"""Of more cells every k-th has one."""

USUAL = 3.0
"""Length of an arrow of a fast cell at first, in widths of a cell."""

FAST = 99.0
"""Percentile of the speeds that is such a cell's: of many cells few may be fast."""

LONGEST = 12.0
"""Once a fast cell's arrow is as long, the scale and the key are made anew.

Not so where arrows become short: cells that come to rest are to be seen to.
"""

SHAFT, HEAD = 0.16, 0.5
"""Width of a shaft, and of a head, in widths of a cell."""

_ALONG = np.array([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0], np.float32)
_FACES = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6]])


class Velocities:
    """Draws one arrow per cell, which follows it; the scale holds while it serves.

    Parameters
    ----------
    viewer
        The viewer itself, not napari's proxy of it.
    places, velocities
        (n, 2) on the canvas, and per second of the environment.
    size
        Of a cell, in the unit of the places.
    corner
        (2,) x and y of the lower left corner of what is drawn, where the key stands.
    unit
        As napari names it.
    quantity
        What is measured, in words that follow a number ("µm/s").
    per_unit
        Units of the canvas in one that is measured.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        places: NDArray[np.floating],
        velocities: NDArray[np.floating],
        size: float,
        corner: NDArray[np.floating],
        unit: str,
        quantity: str,
        per_unit: float = 1.0,
    ) -> None:
        self._viewer, self._size, self._quantity = viewer, size, quantity
        self._corner, self._unit, self._per_unit = np.asarray(corner, float), unit, per_unit
        self._kept = slice(None, None, max(1, -(-len(places) // MAX_ARROWS)))
        self._scale = self._measured = 0.0
        self.mesh: MovingMesh | None = None
        self.key: Points | None = None
        self.move(places, velocities)

    @property
    def measured(self) -> float:
        """The speed that the key tells; 0 while there is none."""
        return self._measured

    @property
    def scale(self) -> float:
        """Seconds that an arrow is long: at its tip is the cell after so many."""
        return self._scale

    def move(self, places: NDArray[np.floating], velocities: NDArray[np.floating]) -> None:
        """Draw the arrows at (n, 2) places, of (n, 2) velocities."""
        at, v = np.asarray(places[self._kept]), np.asarray(velocities[self._kept])
        there = np.isfinite(at).all(axis=1) & np.isfinite(v).all(axis=1)
        at, v = np.where(there[:, None], at, 0.0), np.where(there[:, None], v, 0.0)
        fast = float(np.percentile(np.linalg.norm(v, axis=1), FAST)) if len(v) else 0.0
        if fast > 0 and (not self._scale or self._scale * fast / self._size > LONGEST):
            self._rescale(USUAL * self._size / fast, fast)
        if not self._scale:
            return
        end = np.array([[self._measured * self._per_unit * self._scale, 0.0]])
        tails = np.vstack([at, self._corner])
        vertices = arrows(tails, np.vstack([v * self._scale, end]), self._size)
        if self.mesh is None:
            self._begin(vertices, len(tails))
        else:
            self.mesh.move(vertices)

    def settle(self) -> None:
        """Tell the layer itself where its arrows are by now."""
        if self.mesh is not None:
            self.mesh.settle()

    def close(self) -> None:
        """Take the layers away."""
        if self.mesh is not None:
            self.mesh.close()
        if self.key is not None and self.key in self._viewer.layers:
            self._viewer.layers.remove(self.key)
        self.mesh = self.key = None

    def _begin(self, vertices: NDArray[np.floating], n: int) -> None:
        faces = (_FACES + len(_ALONG) * np.arange(n)[:, None, None]).reshape(-1, 3)
        bright = 1.0 if ink(self._viewer) == "white" else 0.0
        rgba = np.tile(np.array([[bright, bright, bright, 0.8]], np.float32), (len(vertices), 1))
        self.mesh = MovingMesh(self._viewer, NAME, vertices, faces, rgba, self._unit)

    def _rescale(self, scale: float, fast: float) -> None:
        self._scale, self._measured = scale, round_down(1.5 * fast / self._per_unit)
        if self.key is not None and self.key in self._viewer.layers:
            self._viewer.layers.remove(self.key)
        self.key = Points(
            self._corner[None, ::-1],
            ndim=2,
            name=KEY_NAME,
            size=1e-6,
            face_color="transparent",
            border_color="transparent",
            text={
                "string": [f"{self._measured:g} {self._quantity}"],
                "anchor": "upper_left",
                "size": KEY_PIXELS,
                "color": ink(self._viewer),
            },
            units=(self._unit, self._unit),
            metadata={"celldyn": True},
        )
        self.key.editable = False
        with active_kept(self._viewer):
            self._viewer.add_layer(self.key)


def arrows(
    tails: NDArray[np.floating], steps: NDArray[np.floating], size: float
) -> NDArray[np.float32]:
    """Return the corners of arrows, seven each: four of a shaft, three of a head.

    Parameters
    ----------
    tails, steps
        (n, 2) where they begin, and how far they reach.
    size
        Of a cell; short arrows are thinner than it asks for.

    Returns
    -------
    (7 n, 2).
    """
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    along = np.divide(steps, length, out=np.zeros_like(steps, float), where=length > 0)
    across = np.column_stack([-along[:, 1], along[:, 0]])
    head = np.minimum(HEAD * size, 0.6 * length)
    shaft = head * (SHAFT / HEAD)
    shape = np.concatenate([np.repeat(shaft / 2, 4, 1), np.repeat(head / 2, 3, 1)], axis=1)
    wide = shape * np.array([1, -1, 1, -1, 1, -1, 0])
    far = length * _ALONG
    far[:, 2:6] -= head  # shaft and head meet where the head begins
    corners = tails[:, None] + far[..., None] * along[:, None] + wide[..., None] * across[:, None]
    return np.asarray(corners.reshape(-1, 2), np.float32)


def key_corner(places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return where the key stands below (n, 2) places: y grows downwards."""
    low, high = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
    return np.array([low[0], high[1] + GAP * float((high - low).max())])
