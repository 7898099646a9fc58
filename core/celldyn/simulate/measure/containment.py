"""Which outline holds a molecule: the nearest centre's among those that do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celldyn.simulate.measure.diffusion import stride_between
from celldyn.simulate.shapes.outlines import CellShapes

Floats = NDArray[np.float64]


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
    tree
        Their centres, sections side by side.
    stride
        µm between the sections there.
    least, most
        (n,) within which radius a place is in the outline for certain, and beyond which it is not.
    clear
        (n,) within which radius no other cell that holds the place comes before this one.
    """

    shapes: CellShapes
    section: NDArray[Any]
    found: NDArray[np.intp]
    tree: cKDTree
    stride: float
    least: Floats
    most: Floats
    clear: Floats

    @classmethod
    def of(
        cls,
        shapes: CellShapes,
        section: NDArray[Any],
        found: NDArray[np.intp],
        *,
        overlap: bool = True,
    ) -> Locator:
        """Take outlines, their sections, the cells that can be hit, and if outlines overlap."""
        radii = shapes.cell.astype(np.float64)
        # The chord between two rays comes nearest to the centre at their bisector, or at an end.
        least = radii.min(axis=1) * np.cos(np.pi / shapes.n_rays)
        most = radii.max(axis=1)
        stride = stride_between(shapes.centre, 2.0 * float(most.max(initial=0.0)))
        places = shapes.centre[found]
        places[:, 0] += np.asarray(section)[found] * stride
        tree = cKDTree(places)
        clear = np.full(shapes.n_cells, -1.0)
        clear[found] = np.inf
        if overlap and found.size > 1:
            # Up to half-way to the next centre a cell's own is the nearest.
            clear[found] = 0.5 * np.asarray(tree.query(places, [2])[0])[:, 0]
        return cls(shapes, section, found, tree, stride, least, most, clear)

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
        xy = np.column_stack([x, y]).astype(np.float64)
        moved = xy.copy()
        moved[:, 0] += np.asarray(section) * self.stride
        reach = float(self.most[self.found].max())
        if guess is not None:
            self._take_guess(hit, xy, section, guess)
        pending, asked, wanted = np.flatnonzero(hit < 0), 0, 1
        while pending.size:
            ranks = [*range(asked + 1, wanted + 1)]
            found = self.tree.query(moved[pending], ranks, distance_upper_bound=reach)
            apart, near = map(np.asarray, found)
            for rank in range(len(ranks)):
                trial = np.flatnonzero((hit[pending] < 0) & np.isfinite(apart[:, rank]))
                cell, at = self.found[near[trial, rank]], pending[trial]
                inside = (self.section[cell] == section[at]) & self._inside(cell, xy[at])
                hit[at[inside]] = cell[inside]
            # Who has neither a cell nor all centres within reach behind it asks for more of them.
            pending = pending[(hit[pending] < 0) & np.isfinite(apart[:, -1])]
            asked, wanted = wanted, 4 * wanted
        return hit

    def _take_guess(
        self, hit: NDArray[np.intp], xy: Floats, section: NDArray[Any], guess: NDArray[Any]
    ) -> None:
        at = np.flatnonzero((guess >= 0) & (guess < len(self.clear)))
        cell = guess[at].astype(np.intp)
        step = xy[at] - self.shapes.centre[cell]
        near = np.hypot(step[:, 0], step[:, 1]) < self.clear[cell]
        at, cell = at[near], cell[near]
        inside = (self.section[cell] == section[at]) & self._inside(cell, xy[at])
        hit[at[inside]] = cell[inside]

    def _inside(self, cell: NDArray[np.intp], xy: Floats) -> NDArray[np.bool_]:
        step = xy - self.shapes.centre[cell]
        squared = np.einsum("ij,ij->i", step, step)
        inside: NDArray[np.bool_] = squared <= self.least[cell] ** 2
        unsure = np.flatnonzero(~inside & (squared <= self.most[cell] ** 2))
        inside[unsure] = self.shapes.contains("cell", cell[unsure], xy[unsure])
        return inside
