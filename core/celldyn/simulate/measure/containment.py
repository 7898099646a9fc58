"""Which outline holds a molecule: the nearest centre's among those that do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules.landing import CellGrid
from celldyn.simulate.molecules.rays import inside, rays
from celldyn.simulate.shapes.outlines import CellShapes


@dataclass(frozen=True, slots=True)
class Locator:
    """Finds the outlines that places lie in.

    Parameters
    ----------
    shapes
        (n,) outlines.
    section
        (n,) their sections.
    found
        (m,) cells that can be hit.
    grid
        The outlines of those.
    can_hit
        (n,) whether a cell is one of them.
    overlap
        Whether their outlines may overlap.
    compiled
        Whether compiled loops are used; the result does not depend on it.
    """

    shapes: CellShapes
    section: NDArray[Any]
    found: NDArray[np.intp]
    grid: CellGrid
    can_hit: NDArray[np.bool_]
    overlap: bool
    compiled: bool

    @classmethod
    def of(
        cls,
        shapes: CellShapes,
        section: NDArray[Any],
        found: NDArray[np.intp],
        *,
        overlap: bool = True,
        compiled: bool = False,
    ) -> Locator:
        """Take outlines, their sections, the cells that can be hit, and if outlines overlap."""
        whole = found.size == shapes.n_cells
        held = shapes if whole else shapes.take(found)
        where = np.asarray(section)[found]
        grid = CellGrid.build(held.centre, held.nucleus, held.cell, where, compiled=compiled)
        can_hit = np.zeros(shapes.n_cells, dtype=np.bool_)
        can_hit[found] = True
        return cls(shapes, np.asarray(section), found, grid, can_hit, overlap, compiled)

    def locate(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        section: NDArray[Any],
        guess: NDArray[Any] | None = None,
    ) -> NDArray[np.intp]:
        """Return the cell whose outline holds each place, (m,) µm; -1 for none.

        Where outlines overlap it is the one with the nearest centre. A guess, (m,) cells or -1,
        saves the search where it is right, and changes no result.
        """
        hit = np.full(len(x), -1, dtype=np.intp)
        if not self.found.size:
            return hit
        x, y, section = np.asarray(x), np.asarray(y), np.asarray(section)
        if guess is not None and not self.overlap and not self.compiled:
            self._take_guess(hit, x, y, section, guess)
        left = np.flatnonzero(hit < 0)
        row = self.grid.rows(x[left], y[left], section[left], compiled=self.compiled)
        hit[left] = np.where(row >= 0, self.found[row], -1)
        return hit

    def _take_guess(
        self,
        hit: NDArray[np.intp],
        x: NDArray[Any],
        y: NDArray[Any],
        section: NDArray[Any],
        guess: NDArray[Any],
    ) -> None:
        at = np.flatnonzero((guess >= 0) & (guess < self.can_hit.size))
        cell = guess[at].astype(np.intp)
        likely = self.can_hit[cell] & (self.section[cell] == section[at])
        at, cell = at[likely], cell[likely]
        dx, dy = (v[at] - self.shapes.centre[cell, k] for k, v in enumerate((x, y)))
        right = inside(dx, dy, self.shapes.cell, cell, rays(self.shapes.n_rays))
        hit[at[right]] = cell[right]
