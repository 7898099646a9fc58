"""Where an embedding is drawn: to the right of the tissue, about as high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAP = 0.08
"""Between tissue and embedding, in widths or heights of the tissue, whichever is larger."""

LEAST_SHARE = 0.5
"""Side of the embedding in widths of the tissue, at least: a row of sections is wide and low."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Moves and scales an embedding to its place on the canvas, its second axis upwards.

    Parameters
    ----------
    origin
        x and y on the canvas of the embedding's point (0, 0).
    scale
        Units of the canvas in one of the embedding.
    side
        Of the square that the embedding fills, in units of the canvas.
    """

    origin: tuple[float, float]
    scale: float
    side: float

    def points(self, embedding: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the places on the canvas of (n, 2) points of the embedding."""
        return np.asarray(self.origin) + self.vectors(embedding)

    def vectors(self, steps: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) steps on the canvas for (n, 2) steps in the embedding."""
        return np.asarray(steps, float) * (self.scale, -self.scale)


def beside(embedding: NDArray[np.floating], tissue: NDArray[np.floating]) -> Beside:
    """Return the place of an embedding beside a tissue.

    Parameters
    ----------
    embedding
        (n, 2) places of the cells in the embedding; NaN for a cell that is not in it.
    tissue
        (n, 2) places of the cells in the tissue as drawn.
    """
    low, high = np.min(tissue, axis=0), np.max(tissue, axis=0)
    width, height = high - low
    side = float(max(height, LEAST_SHARE * width)) or 1.0
    there = embedding[np.isfinite(embedding).all(axis=1)]
    if len(there) == 0:
        there = np.zeros((1, 2))
    first, last = there.min(axis=0), there.max(axis=0)
    scale = side / (float((last - first).max()) or 1.0)
    middle = high[0] + GAP * max(width, height) + side / 2, (low[1] + high[1]) / 2
    centre = (first + last) / 2
    origin = middle[0] - scale * centre[0], middle[1] + scale * centre[1]
    return Beside((float(origin[0]), float(origin[1])), scale, side)
