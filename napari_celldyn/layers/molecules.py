"""Molecules as discs, those that come from another cell as rings; thinned to what can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.data import MoleculeTable
from celldyn.data.palette import default_colours
from napari_celldyn.layers.colours import RGBA, category_table
from napari_celldyn.layers.view_mesh import Marks, Mesh
from napari_celldyn.layers.view_region import GridIndex, Region

MAX_DISCS = 80_000
"""More discs than this in one window cover each other: an even sample of them is drawn."""

DIAMETER_UM = 0.5
LEAST_PIXELS = 2.0
"""A disc is never smaller than this, however far one zooms out."""

N_COLOURS = 40
"""Genes that can be told apart at best; further ones repeat the colours."""

_TILE = 128
_ROOT3 = float(np.sqrt(3.0))
# One triangle round the disc of radius 1: three corners for a molecule instead of four.
_CORNERS = np.array([[0.0, 2.0], [-_ROOT3, -1.0], [_ROOT3, -1.0]], np.float32)


class MoleculeMarks(Marks):
    """Molecules as marks.

    Parameters
    ----------
    table
        The molecules, where they are to be drawn.
    diameter
        Of a disc, in the unit of their coordinates.
    """

    least_margin = 0.25

    def __init__(self, table: MoleculeTable, diameter: float = DIAMETER_UM) -> None:
        self.table, self.diameter = table, diameter
        self.index = GridIndex(table.xy)
        self._top = int(table.priority.max(initial=0)) + 1

    def choose(self, region: Region) -> tuple[NDArray[np.integer], int]:
        """Return the molecules of a region; of too many an even sample that stays as one moves."""
        rows = self.index.rows(region)
        there = len(rows)
        if there > MAX_DISCS:
            halvings = int(np.ceil(np.log2(there / MAX_DISCS)))
            # The table itself may be the lowest part of more: halves of what it holds.
            rows = rows[self.table.priority[rows] < np.uint32(self._top >> halvings)]
        return rows, there

    def affords(self, region: Region) -> bool:
        """Whether all molecules of a region can be drawn without being felt."""
        return self.index.holds_at_most(MAX_DISCS, region)

    def mesh(self, rows: NDArray[np.integer], pixels_per_unit: float) -> Mesh:
        """Return one triangle per molecule, large enough to hold its disc."""
        radius = 0.5 * max(self.diameter, LEAST_PIXELS / pixels_per_unit)
        n = len(rows)
        xy = self.table.xy[rows][:, None, :] + np.float32(radius) * _CORNERS
        places = 0.5 + 0.25 * _CORNERS * np.array([0.5, 1.0], np.float32)
        texcoords = np.broadcast_to(places, (n, 3, 2)) - np.array([0.25, 0.0], np.float32)
        if self.table.is_leaked is not None:
            texcoords[..., 0] += 0.5 * self.table.is_leaked[rows][:, None]
        faces = np.arange(3 * n, dtype=np.uint32).reshape(-1, 3)
        return Mesh(xy.reshape(-1, 2), faces, np.repeat(rows, 3), texcoords.reshape(-1, 2))

    def texture(self, pixels_per_unit: float) -> NDArray[np.uint8]:
        """Return a disc on the left and a ring on the right, with edges smooth at this zoom."""
        radius = 0.5 * max(self.diameter * pixels_per_unit, LEAST_PIXELS)
        at = (np.arange(_TILE) + 0.5) / _TILE * 4.0 - 2.0
        away = np.hypot(at[:, None], at[None, :])
        disc = np.clip((1.0 - away) * radius + 0.5, 0, 1)
        hole = np.clip((0.6 - away) * radius + 0.5, 0, 1)
        picture = np.full((_TILE, 2 * _TILE, 4), 255, np.uint8)
        picture[:, :_TILE, 3] = 255 * disc
        picture[:, _TILE:, 3] = 255 * disc * (1 - 0.85 * hole)
        return picture


def gene_values(table: MoleculeTable, genes: list[str]) -> NDArray[np.float32]:
    """Return the value of every molecule: its gene's position in `genes`; NaN if not there."""
    place = {gene: i % N_COLOURS for i, gene in enumerate(genes)}
    codes = np.array([*(place.get(gene, np.nan) for gene in table.gene_names), np.nan], np.float32)
    values: NDArray[np.float32] = codes[table.gene]
    return values


def gene_colours(n: int) -> list[str]:
    """Return "#rrggbb" of the first `n` genes; bright first, beyond 40 they repeat."""
    few = [*_BRIGHT, *default_colours(N_COLOURS)]
    return [few[i % N_COLOURS] for i in range(n)]


def gene_table(n: int) -> RGBA:
    """Return the colours of the first `n` genes and, last, of a molecule without one."""
    return category_table(gene_colours(max(1, min(n, N_COLOURS))))


_BRIGHT = ("#ffe119", "#f032e6", "#42d4f4", "#3cff4b", "#ff5a36", "#ffffff", "#a78bff", "#ffa94d")
