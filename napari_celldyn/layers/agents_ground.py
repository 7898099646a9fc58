"""Where the agents of an environment are drawn: on the tissue, or in the space they move in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from celldyn.data import coordinates, um_per_unit
from napari_celldyn.layers.beside import beside
from napari_celldyn.layers.picking import spacing

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_celldyn.layers.beside import Beside
    from napari_celldyn.layers.tissue import TissueView

ROOM, LEAST = 1.6, 0.35
"""Cells that spread over more, or less, of their square are given another scale."""

LEAST_SIZE = 0.7
"""Of a mark, in sides of the square over the square root of the number of cells."""


class Ground(Protocol):
    """What turns places of cells into places on the canvas."""

    on_tissue: bool
    size: float
    quantity: str
    per_unit: float

    def places(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) places on the canvas."""

    def steps(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) steps on the canvas."""

    def serves(self, found: NDArray[np.floating]) -> bool:
        """Whether cells at these places are still well seen."""


class TissueGround:
    """Coordinates that the environment tells, where the tissue has such cells.

    Parameters
    ----------
    adata
        The tissue, whose coordinates may be in pixels.
    cells
        (n,) positions of the agents.
    tissue
        Draws them in µm where it can, sections side by side.
    """

    on_tissue = True

    def __init__(self, adata: AnnData, cells: NDArray[np.intp], tissue: TissueView) -> None:
        um = um_per_unit(adata)
        self.per_unit = 1.0
        self._scale = 1.0 if um is None else float(um)
        self._shift = tissue.display_xy[cells] - self._scale * coordinates(adata)[cells]
        self.size = float(tissue.cell_size)
        self.quantity = "µm/s" if tissue.unit == "um" else "per s"

    def places(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) places on the canvas of (n, 2) coordinates in the tissue's own unit."""
        return self._scale * np.asarray(found, float)[:, :2] + self._shift

    def steps(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) steps on the canvas."""
        return self._scale * np.asarray(found, float)[:, :2]

    def serves(self, found: NDArray[np.floating]) -> bool:
        """Whether cells at these places are well seen: the tissue stays as it is."""
        return True


class SpaceGround:
    """The space that cells move in, seen along its two widest directions, beside the tissue.

    The directions are found once and then hold, so that what moves on the canvas moved.

    Parameters
    ----------
    positions
        (n, d) where the cells are.
    tissue_xy
        (m, 2) places of the tissue, beside which they are drawn.
    axes
        (d, 2) directions that hold; None looks for them.
    """

    on_tissue = False
    quantity = "per s"

    def __init__(
        self,
        positions: NDArray[np.floating],
        tissue_xy: NDArray[np.floating],
        axes: NDArray[np.floating] | None = None,
    ) -> None:
        self.axes = widest(positions) if axes is None else axes
        flat = np.asarray(positions, float) @ self.axes
        self._beside: Beside = beside(flat, tissue_xy)
        self.per_unit = self._beside.scale
        self._middle = (flat.min(axis=0) + flat.max(axis=0)) / 2
        self._reach = float(np.ptp(flat, axis=0).max()) or 1.0
        on_canvas = self._beside.points(flat)
        least = LEAST_SIZE * self._beside.side / max(np.sqrt(len(flat)), 1.0)
        self.size = max(float(spacing(on_canvas)), float(least))

    def places(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) places on the canvas of (n, d) positions."""
        return self._beside.points(np.asarray(found, float) @ self.axes)

    def steps(self, found: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (n, 2) steps on the canvas of (n, d) steps."""
        return self._beside.vectors(np.asarray(found, float) @ self.axes)

    def serves(self, found: NDArray[np.floating]) -> bool:
        """Whether cells at these positions fill their square, and not much more."""
        flat = np.asarray(found, float) @ self.axes
        reach = float(np.ptp(flat, axis=0).max())
        off = float(np.abs((flat.min(axis=0) + flat.max(axis=0)) / 2 - self._middle).max())
        return LEAST * self._reach < reach and reach + 2 * off < ROOM * self._reach


def widest(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the two directions in which (n, d) positions spread most, (d, 2).

    Their signs are such that the largest entry of each is positive: the same positions are
    always seen from the same side. In one dimension the second is 0.
    """
    centred = np.asarray(positions, float) - np.mean(positions, axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    found = vectors[:, np.argsort(values)[::-1][:2]]
    largest = found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])]
    found = found * np.where(largest < 0, -1.0, 1.0)
    return found if found.shape[1] == 2 else np.column_stack([found, np.zeros(len(found))])
