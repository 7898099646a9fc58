"""Where the cells of a tissue are drawn: in µm where the unit is known, sections side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn import keys
from celldyn.data import coordinates, section_key, side_by_side, um_per_unit
from napari_celldyn.layers.picking import spacing

if TYPE_CHECKING:
    from anndata import AnnData

KEYS = frozenset(
    key.path() for key in (keys.SPATIAL, keys.CELLDYN, keys.UNIT, keys.UM_PER_UNIT, keys.SECTION)
)
"""What the drawing depends on, as the workspace announces it."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The places of the cells on the canvas.

    Parameters
    ----------
    xy
        (n_obs, 2) x and y as drawn.
    in_um
        Whether they are in µm; else in the data set's own unit.
    cell_size
        How wide a cell is drawn, in the same unit: the usual distance between neighbours.
    """

    xy: NDArray[np.float64]
    in_um: bool
    cell_size: float

    @property
    def unit(self) -> str:
        """The unit as napari writes it at the scale bar."""
        return "um" if self.in_um else "dimensionless"

    def same_as(self, other: Geometry | None) -> bool:
        """Whether a drawing made for the other one still holds."""
        return (
            other is not None and self.in_um == other.in_um and np.array_equal(self.xy, other.xy)
        )


def geometry(adata: AnnData) -> Geometry:
    """Return where to draw the cells of a tissue.

    Raises
    ------
    DataError
        If the tissue has no coordinates.
    """
    um = um_per_unit(adata)
    xy = coordinates(adata) * (1.0 if um is None else um)
    if (key := section_key(adata)) is not None:
        xy = side_by_side(xy, adata.obs[key])
    # After the sections are apart: neighbours are of one section.
    return Geometry(xy, um is not None, spacing(xy))
