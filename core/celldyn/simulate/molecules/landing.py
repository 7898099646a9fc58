"""Which cell lies at a point: a grid of squares that know the cells that reach into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules.rays import EDGE, Floats, Ints, inside, rays

SLACK = 1.0 + 1e-6
"""Far above the rounding of places: no square is left out that a cell may reach into."""
_MAX_BINS_PER_CELL = 4


@dataclass(frozen=True, slots=True)
class CellGrid:
    """Cells by square of the plane, for exact look-ups.

    Parameters
    ----------
    centre, nucleus, cell
        (n, 2) and (n, R) outlines.
    least, reach
        (n,) µm², squares of the radii within which a point is in the outline for certain, and
        beyond which it is not.
    start, member
        Rows whose cells reach into a square: member[start[b] : start[b + 1]], ascending.
    origin, side, shape
        Corner of the first square, µm per square, squares along x and y of every section.
    """

    centre: Floats
    nucleus: NDArray[np.float32]
    cell: NDArray[np.float32]
    least: Floats
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
        section: NDArray[np.integer],
        *,
        compiled: bool = False,
    ) -> CellGrid:
        """Sort the cells of all sections into squares, in time linear in the cells.

        Parameters
        ----------
        centre, nucleus, cell, section
            (n, 2), (n, R), (n, R) and (n,).
        compiled
            Whether the compiled twin does it; the result is the same.
        """
        plan = Plan.of(centre, cell, section)
        if compiled:
            from celldyn.simulate.molecules.leaking_kernels import members

            start, member = members(plan)
        else:
            start, member = _members(plan)
        # A chord between two rays comes nearest to the centre at their bisector, or at an end.
        least = cell.min(axis=1, initial=np.inf) * np.cos(np.pi / cell.shape[1]) * (1.0 - EDGE)
        return cls(
            centre, nucleus, cell, least**2, plan.reach, start, member,
            plan.origin, plan.side, plan.shape,
        )  # fmt: skip

    def rows(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        section: NDArray[np.integer],
        *,
        compiled: bool = False,
    ) -> NDArray[np.int32]:
        """Find the cell that each point lies in: where outlines overlap, that of nearest centre.

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
        (m,) row of the cell, or -1.
        """
        if compiled:
            from celldyn.simulate.molecules.leaking_kernels import search

            return search(self, x, y, section)
        px, py = x.astype(np.float64), y.astype(np.float64)
        return self._search(px, py, self._squares(px, py, section))

    def in_nucleus(
        self,
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        row: NDArray[np.int32],
        *,
        compiled: bool = False,
    ) -> NDArray[np.bool_]:
        """Whether points, (m,), lie in the nuclei of their cells; not where the row is -1."""
        if compiled:
            from celldyn.simulate.molecules import leaking_kernels

            return leaking_kernels.in_nucleus(self, x, y, row)
        found = np.zeros(x.size, dtype=np.bool_)
        there = np.flatnonzero(row >= 0)
        cell, common = row[there].astype(np.intp), rays(self.cell.shape[1])
        dx, dy = x[there] - self.centre[cell, 0], y[there] - self.centre[cell, 1]
        found[there] = inside(dx, dy, self.nucleus, cell, common)
        return found

    def _squares(self, x: Floats, y: Floats, section: NDArray[np.integer]) -> Ints:
        """Return the square of each point, -1 outside of all."""
        nx, ny = self.shape
        ix = np.floor((x - self.origin[0]) / self.side).astype(np.int64)
        iy = np.floor((y - self.origin[1]) / self.side).astype(np.int64)
        square = (section.astype(np.int64) * ny + iy) * nx + ix
        here = (ix >= 0) & (ix < nx) & (iy >= 0) & (iy < ny) & (square < self.start.size - 1)
        return np.where(here, square, -1)

    def _search(self, x: Floats, y: Floats, square: Ints) -> NDArray[np.int32]:
        row = np.full(x.size, -1, dtype=np.int32)
        nearest, common = np.full(x.size, np.inf), rays(self.cell.shape[1])
        left = np.flatnonzero(square >= 0)
        at, end = self.start[square[left]], self.start[square[left] + 1]
        while True:
            more = at < end
            left, at, end = left[more], at[more], end[more]
            if not left.size:
                return row
            guess = self.member[at].astype(np.intp)
            dx, dy = x[left] - self.centre[guess, 0], y[left] - self.centre[guess, 1]
            apart = dx * dx + dy * dy
            near = np.flatnonzero((apart <= self.reach[guess]) & (apart < nearest[left]))
            hit = near[inside(dx[near], dy[near], self.cell, guess[near], common)]
            row[left[hit]], nearest[left[hit]] = guess[hit], apart[hit]
            at = at + 1


def compile_landing() -> None:
    """Compile the search, on a grid of one cell; see `devices.compile_job`."""
    one, nowhere = np.ones((1, 3), dtype=np.float32), np.zeros(1, dtype=np.int16)
    grid = CellGrid.build(np.zeros((1, 2)), one, one, nowhere, compiled=True)
    at = one[0, :1]
    grid.in_nucleus(at, at, grid.rows(at, at, nowhere, compiled=True), compiled=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """Squares, and of each cell its first and last along x and y, (n, 2)."""

    centre: Floats
    reach: Floats
    section: NDArray[np.integer]
    n_sections: int
    origin: tuple[float, float]
    side: float
    shape: tuple[int, int]
    first: Ints
    last: Ints

    @classmethod
    def of(cls, centre: Floats, cell: NDArray[np.float32], section: NDArray[np.integer]) -> Plan:
        """Lay out squares of about a cell's radius."""
        radius = cell.max(axis=1, initial=0.0).astype(np.float64)
        low, high = centre - radius[:, None], centre + radius[:, None]
        origin = low.min(axis=0) if len(centre) else np.zeros(2)
        extent = (high.max(axis=0) if len(centre) else np.ones(2)) - origin
        sections = int(section.max(initial=0)) + 1
        room = max(_MAX_BINS_PER_CELL * len(centre), 1)
        # Where cells are few and far between, squares are as large as their number allows.
        side = max(float(radius.mean()) if len(centre) else 1.0, 1e-6)
        side = max(side, float(np.sqrt(sections * extent.prod() / room)))
        highest = np.floor(extent / side).astype(np.intp)
        first = np.floor((low - origin) / side).astype(np.intp)
        last = np.minimum(np.floor((high - origin) / side).astype(np.intp), highest)
        return cls(
            centre, radius**2, section, sections, (float(origin[0]), float(origin[1])), side,
            (int(highest[0]) + 1, int(highest[1]) + 1), first, last,
        )  # fmt: skip

    @property
    def n_squares(self) -> int:
        """Squares of all sections."""
        return self.n_sections * self.shape[0] * self.shape[1]


def _members(plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return start and member of `CellGrid`: cells by the squares that their circles touch."""
    wide, tall = (plan.last - plan.first + 1).T
    row = np.repeat(np.arange(wide.size, dtype=np.int32), wide * tall)
    nth = np.arange(row.size) - np.repeat(np.cumsum(wide * tall) - wide * tall, wide * tall)
    at = plan.first[row] + np.column_stack([nth % wide[row], nth // wide[row]])
    gap = [
        _gap(plan.centre[row, axis], plan.origin[axis], at[:, axis], plan.side) for axis in (0, 1)
    ]
    touched = gap[0] * gap[0] + gap[1] * gap[1] <= plan.reach[row] * SLACK
    row, at = row[touched], at[touched]
    nx, ny = plan.shape
    square = (plan.section[row].astype(np.int64) * ny + at[:, 1]) * nx + at[:, 0]
    start = np.concatenate([[0], np.cumsum(np.bincount(square, minlength=plan.n_squares))])
    return start.astype(np.int64), row[np.argsort(square, kind="stable")]


def _gap(centre: Floats, origin: float, at: Ints, side: float) -> Floats:
    """Return how far squares lie from centres along one axis, 0 for those that hold them."""
    low = origin + at * side
    gap: Floats = np.maximum(np.maximum(low - centre, centre - (low + side)), 0.0)
    return gap
