"""Which cell lies at a point: a grid of squares that know the cells that reach into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celldyn.simulate.molecules.rays import Floats, Ints, inside, rays

_MAX_BINS_PER_CELL = 4


@dataclass(frozen=True, slots=True)
class CellGrid:
    """Cells by square of the plane, for exact look-ups.

    Parameters
    ----------
    centre, nucleus, cell
        (n, 2) and (n, R) outlines.
    reach
        (n,) largest radius of each cell, squared.
    start, member
        Rows whose cells reach into a square: member[start[b] : start[b + 1]], ascending.
    origin, side, shape
        Corner of the first square, µm per square, squares along x and y of every section.
    """

    centre: Floats
    nucleus: NDArray[np.float32]
    cell: NDArray[np.float32]
    reach: Floats
    start: NDArray[np.int64]
    member: NDArray[np.int32]
    origin: tuple[float, float]
    side: float
    shape: tuple[int, int]

    @classmethod
    def build(
        cls,
        centre: Floats,
        nucleus: NDArray[np.float32],
        cell: NDArray[np.float32],
        section: NDArray[np.int16],
    ) -> CellGrid:
        """Sort the cells of all sections into squares, in time linear in the cells."""
        radius = cell.max(axis=1, initial=0.0).astype(np.float64)
        low, high = centre - radius[:, None], centre + radius[:, None]
        origin = low.min(axis=0) if len(centre) else np.zeros(2)
        extent = (high.max(axis=0) if len(centre) else np.ones(2)) - origin
        sections = int(section.max(initial=0)) + 1
        room = max(_MAX_BINS_PER_CELL * len(centre), 1)
        # Where cells are few and far between, squares are as large as their number allows.
        side = max(2.0 * float(radius.mean()) if len(centre) else 1.0, 1e-6)
        side = max(side, float(np.sqrt(sections * extent.prod() / room)))
        nx, ny = (int(extent[axis] // side) + 1 for axis in (0, 1))
        first = np.floor((low - origin) / side).astype(np.int64)
        last = np.floor((high - origin) / side).astype(np.int64)
        wide, tall = (np.maximum(last[:, a] - first[:, a] + 1, 1) for a in (0, 1))
        row = np.repeat(np.arange(len(centre), dtype=np.int32), wide * tall)
        begin = np.cumsum(wide * tall) - wide * tall
        nth = np.arange(row.size) - begin[row]
        ix = np.minimum(first[row, 0] + nth % wide[row], nx - 1)
        iy = np.minimum(first[row, 1] + nth // wide[row], ny - 1)
        square = (section[row].astype(np.int64) * ny + iy) * nx + ix
        table = sparse.csr_array(
            (np.ones(row.size, dtype=np.bool_), (square, row)),
            shape=(sections * nx * ny, max(len(centre), 1)),
        )
        table.sort_indices()
        return cls(
            centre, nucleus, cell, radius**2, table.indptr.astype(np.int64),
            table.indices.astype(np.int32), (float(origin[0]), float(origin[1])), side, (nx, ny),
        )  # fmt: skip

    def squares(self, x: Floats, y: Floats, section: NDArray[np.integer]) -> Ints:
        """Return the square of each point, -1 outside of all."""
        nx, ny = self.shape
        ix = np.floor((x - self.origin[0]) / self.side).astype(np.int64)
        iy = np.floor((y - self.origin[1]) / self.side).astype(np.int64)
        square = (section.astype(np.int64) * ny + iy) * nx + ix
        here = (ix >= 0) & (ix < nx) & (iy >= 0) & (iy < ny) & (square < self.start.size - 1)
        return np.where(here, square, -1)

    def landed(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        section: NDArray[np.integer],
        *,
        compiled: bool = False,
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Find the cell that each point lies in.

        Parameters
        ----------
        x, y
            (m,) µm.
        section
            (m,) codes.
        compiled
            Whether the compiled twin does it; the result is the same.

        Returns
        -------
        (m,) row of the cell, or -1, and whether the point is in its nucleus.
        """
        px, py = x.astype(np.float64), y.astype(np.float64)
        square = self.squares(px, py, section)
        if compiled:
            from celldyn.simulate.molecules.kernels import land

            return land(self, px, py, square)
        return self._search(px, py, square)

    def _search(
        self, x: Floats, y: Floats, square: Ints
    ) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        row = np.full(x.size, -1, dtype=np.int32)
        common = rays(self.cell.shape[1])
        left = np.flatnonzero(square >= 0)
        at = self.start[square[left]]
        while left.size:
            more = at < self.start[square[left] + 1]
            left, at = left[more], at[more]
            guess = self.member[at].astype(np.intp)
            dx, dy = x[left] - self.centre[guess, 0], y[left] - self.centre[guess, 1]
            near = np.flatnonzero(dx * dx + dy * dy <= self.reach[guess])
            hit = near[inside(dx[near], dy[near], self.cell, guess[near], common)]
            row[left[hit]] = guess[hit]
            keep = np.ones(left.size, dtype=np.bool_)
            keep[hit] = False
            left, at = left[keep], at[keep] + 1
        return row, self.in_nucleus(x, y, row)

    def in_nucleus(self, x: Floats, y: Floats, row: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether points lie in the nuclei of their cells; not where the row is -1."""
        found = np.zeros(x.size, dtype=np.bool_)
        there = np.flatnonzero(row >= 0)
        cell, common = row[there].astype(np.intp), rays(self.cell.shape[1])
        dx, dy = x[there] - self.centre[cell, 0], y[there] - self.centre[cell, 1]
        found[there] = inside(dx, dy, self.nucleus, cell, common)
        return found
