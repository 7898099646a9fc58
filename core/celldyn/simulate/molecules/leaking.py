"""Molecules outside their cells: from a uniform point of the outline, straight out.

`leaking_kernels` does the same arithmetic in compiled loops, to the last bit: but for the share of
the largest distance, which both take from here, only +, -, *, /, comparison and square root.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules import noise
from celldyn.simulate.molecules.leakage import leak_share
from celldyn.simulate.molecules.placement import Identity
from celldyn.simulate.molecules.rays import Floats, Ints, Rays, inside, rays
from celldyn.simulate.molecules.sources import Sources
from celldyn.simulate.streams import Bits, unit_interval

FIRST_PUSH = 2.0**-22
"""Share of its distance from the centre that a point goes out if float32 puts it inside."""


@dataclass(frozen=True, slots=True)
class Away:
    """Molecules that leave their cells.

    Parameters
    ----------
    at
        (m,) their positions among the molecules of their block.
    row
        (m,) their cells.
    place, within, deep
        (m,) their random bits: edge, point on it, and distance.
    """

    at: NDArray[np.integer]
    row: NDArray[np.integer]
    place: Bits
    within: Bits
    deep: Bits

    @classmethod
    def of(cls, who: Identity, at: Ints) -> Away:
        """Draw the bits of molecules."""
        place, within, deep = (
            noise.draw(who.entry, who.number, which)
            for which in (noise.PLACE, noise.WITHIN, noise.DEPTH)
        )
        return cls(at, who.row, place, within, deep)

    def shares(self, coverage: float) -> Floats:
        """Return how far they go, as shares of the largest distance from their cells."""
        return leak_share(noise.lower(self.deep), coverage)


def leak(sources: Sources, away: Away) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Place molecules outside their cells, at distances of the leak law from the outline.

    An edge is chosen by length and a point on it uniformly; from there the molecule steps along
    the outward normal. Where the outline bends inwards so that this would end within the cell,
    it steps away from the centre instead, which never does. So the distance to the outline is
    that of the law on the convex parts, and never more.

    Parameters
    ----------
    sources
        All cells.
    away
        (m,) which molecules.

    Returns
    -------
    (m,) x and y in µm, all outside their cells.
    """
    common = rays(sources.cell.shape[1])
    cells, at = np.unique(away.row, return_inverse=True)
    radii = sources.cell[cells].astype(np.float64)
    corners = np.append(radii, radii[:, :1], axis=1)
    vx, vy = corners * common.cos, corners * common.sin
    ex, ey = np.diff(vx, axis=1), np.diff(vy, axis=1)
    length = np.sqrt(ex * ex + ey * ey)
    k = _edge(length, at, unit_interval(away.place))
    along = noise.upper(away.within)
    fx, fy = vx[at, k] + along * ex[at, k], vy[at, k] + along * ey[at, k]
    # A running sum adds from left to right, as a loop does.
    area = 0.5 * common.cross * np.cumsum(corners[:, :-1] * corners[:, 1:], axis=1)[:, -1]
    config = sources.config
    far = config.leak_dist_factor * np.sqrt(area[at] / np.pi)
    step = far * away.shares(config.leak_coverage)
    nx, ny = ey[at, k] / length[at, k], -ex[at, k] / length[at, k]
    dx, dy = fx + step * nx, fy + step * ny
    back = np.flatnonzero(inside(dx, dy, sources.cell, away.row, common))
    outward = step[back] / np.sqrt(fx[back] * fx[back] + fy[back] * fy[back])
    dx[back], dy[back] = fx[back] * (1.0 + outward), fy[back] * (1.0 + outward)
    return _rounded_outside(sources, away.row, dx, dy, common)


def _edge(length: Floats, at: Ints, u: Floats) -> Ints:
    """Choose an edge per molecule, by length."""
    cumulative = np.cumsum(length, axis=1)
    target = u * cumulative[at, -1]
    k: Ints = (cumulative[at, :-1] <= target[:, None]).sum(axis=1)
    return k


def _rounded_outside(
    sources: Sources, row: NDArray[np.integer], dx: Floats, dy: Floats, common: Rays
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Round to float32 so that every point still lies outside its cell."""
    cx, cy = sources.centre[row, 0], sources.centre[row, 1]
    x, y = (cx + dx).astype(np.float32), (cy + dy).astype(np.float32)
    wrong, push = np.arange(row.size), FIRST_PUSH
    while push < 1.0:
        back = inside(x[wrong] - cx[wrong], y[wrong] - cy[wrong], sources.cell, row[wrong], common)
        wrong = wrong[back]
        if not wrong.size:
            break
        x[wrong] = (cx[wrong] + dx[wrong] * (1.0 + push)).astype(np.float32)
        y[wrong] = (cy[wrong] + dy[wrong] * (1.0 + push)).astype(np.float32)
        push *= 2.0
    return x, y
