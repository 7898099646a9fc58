"""Molecules outside their cells: from a uniform point of the outline, straight out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules import noise
from celldyn.simulate.molecules.leakage import leak_share
from celldyn.simulate.molecules.placement import Identity
from celldyn.simulate.molecules.rays import Floats, Ints, Rays, inside, rays
from celldyn.simulate.molecules.sources import Sources

_FIRST_PUSH = 2.0**-22
"""Share of its distance from the centre that a point goes out if float32 puts it inside."""


def leak(sources: Sources, who: Identity) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Place molecules outside their cells, at distances of the leak law from the outline.

    An edge is chosen by length and a point on it uniformly; from there the molecule steps along
    the outward normal. Where the outline bends inwards so that this would end within the cell,
    it steps away from the centre instead, which never does. So the distance to the outline is
    that of the law on the convex parts, and never more.

    Parameters
    ----------
    sources
        All cells.
    who
        (m,) which molecules.

    Returns
    -------
    (m,) x and y in µm, all outside their cells.
    """
    common = rays(sources.cell.shape[1])
    cells, at = np.unique(who.row, return_inverse=True)
    radii = sources.cell[cells].astype(np.float64)
    corners = np.append(radii, radii[:, :1], axis=1)
    vx, vy = corners * common.cos, corners * common.sin
    ex, ey = np.diff(vx, axis=1), np.diff(vy, axis=1)
    length = np.hypot(ex, ey)
    k = _edge(length, at, noise.uniform(who.entry, who.number, noise.PLACE))
    along = noise.upper(noise.draw(who.entry, who.number, noise.WITHIN))
    fx, fy = vx[at, k] + along * ex[at, k], vy[at, k] + along * ey[at, k]
    area = 0.5 * common.cross * np.sum(corners[:, :-1] * corners[:, 1:], axis=1)
    u = noise.lower(noise.draw(who.entry, who.number, noise.DEPTH))
    config = sources.config
    far = config.leak_dist_factor * np.sqrt(area[at] / np.pi)
    step = far * leak_share(u, config.leak_coverage)
    nx, ny = ey[at, k] / length[at, k], -ex[at, k] / length[at, k]
    dx, dy = fx + step * nx, fy + step * ny
    back = np.flatnonzero(inside(dx, dy, sources.cell, who.row, common))
    outward = step[back] / np.hypot(fx[back], fy[back])
    dx[back], dy[back] = fx[back] * (1.0 + outward), fy[back] * (1.0 + outward)
    return _rounded_outside(sources, who.row, dx, dy, common)


def _edge(length: Floats, at: Ints, u: Floats) -> Ints:
    """Choose an edge per molecule, by length."""
    cumulative = np.cumsum(length, axis=1)
    target = u * cumulative[at, -1]
    k: Ints = (cumulative[at, :-1] <= target[:, None]).sum(axis=1)
    return k


def _rounded_outside(
    sources: Sources, row: Ints, dx: Floats, dy: Floats, common: Rays
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Round to float32 so that every point still lies outside its cell."""
    cx, cy = sources.centre[row, 0], sources.centre[row, 1]
    x, y = (cx + dx).astype(np.float32), (cy + dy).astype(np.float32)
    wrong, push = np.arange(row.size), _FIRST_PUSH
    while push < 1.0:
        back = inside(x[wrong] - cx[wrong], y[wrong] - cy[wrong], sources.cell, row[wrong], common)
        wrong = wrong[back]
        if not wrong.size:
            break
        x[wrong] = (cx[wrong] + dx[wrong] * (1.0 + push)).astype(np.float32)
        y[wrong] = (cy[wrong] + dy[wrong] * (1.0 + push)).astype(np.float32)
        push *= 2.0
    return x, y
