"""The loops of `leaking` and `landing`, compiled; results equal those of numpy to the last bit.

Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules.kernels import Array, compiled, inlined, unit, upper
from celldyn.simulate.molecules.landing import SLACK, CellGrid, Plan
from celldyn.simulate.molecules.leaking import FIRST_PUSH, Away
from celldyn.simulate.molecules.rays import rays
from celldyn.simulate.molecules.sources import Sources
from celldyn.simulate.molecules.table import Molecules


def _inside_py(
    dx: float, dy: float, radii: Array, row: int, cos: Array, sin: Array, cross: float
) -> bool:
    """Whether a point lies within an outline; see `rays.inside`."""
    n = radii.shape[1]
    reach = abs(dx) + abs(dy)
    if reach == 0.0:
        return True
    # Without an arc tangent: the sum of the coordinates guesses the sector, the rays decide.
    turn = 1.0 - dx / reach
    k = min(int((turn if dy >= 0.0 else 4.0 - turn) * n * 0.25), n - 1)
    for _ in range(n):
        if cos[k] * dy - sin[k] * dx >= 0.0:
            break
        k = k - 1 if k > 0 else n - 1
    for _ in range(n):
        if cos[k + 1] * dy - sin[k + 1] * dx < 0.0:
            break
        k = k + 1 if k + 1 < n else 0
    s = (dx * sin[k + 1] - dy * cos[k + 1]) / cross
    t = (dy * cos[k] - dx * sin[k]) / cross
    r0, r1 = np.float64(radii[row, k]), np.float64(radii[row, k + 1 if k + 1 < n else 0])
    return bool(s * r1 + t * r0 <= r0 * r1)


is_inside = inlined(_inside_py)


def _find_py(
    x: float, y: float, section: int, start: Array, member: Array, least: Array, reach: Array,
    ox: float, oy: float, side: float, nx: int, ny: int,
    centre: Array, cell: Array, cos: Array, sin: Array, cross: float,
) -> int:  # fmt: skip
    """Return the cell that a point lies in, -1 for none; see `CellGrid.landed`."""
    ix, iy = math.floor((x - ox) / side), math.floor((y - oy) / side)
    b = (section * ny + iy) * nx + ix
    if ix < 0 or ix >= nx or iy < 0 or iy >= ny or b >= start.size - 1:
        return -1
    found, nearest = -1, np.inf
    for at in range(start[b], start[b + 1]):
        j = member[at]
        dx, dy = x - centre[j, 0], y - centre[j, 1]
        apart = dx * dx + dy * dy
        if apart > reach[j] or apart >= nearest:
            continue
        if apart <= least[j] or is_inside(dx, dy, cell, j, cos, sin, cross):
            found, nearest = j, apart
    return found


find = inlined(_find_py)


def _search_py(
    x: Array, y: Array, section: Array, start: Array, member: Array, least: Array, reach: Array,
    ox: float, oy: float, side: float, nx: int, ny: int,
    centre: Array, cell: Array, cos: Array, sin: Array, cross: float, row: Array,
) -> None:  # fmt: skip
    for i in range(x.size):
        row[i] = find(
            np.float64(x[i]), np.float64(y[i]), np.int64(section[i]),
            start, member, least, reach, ox, oy, side, nx, ny, centre, cell, cos, sin, cross,
        )  # fmt: skip


_search = compiled(_search_py)


def search(grid: CellGrid, x: Array, y: Array, section: Array) -> NDArray[np.int32]:
    """Find the cell that each point lies in; the compiled twin of that in `landing`."""
    common = rays(grid.cell.shape[1])
    row = np.empty(x.size, dtype=np.int32)
    _search(
        x, y, section.astype(np.int16, copy=False), grid.start, grid.member, grid.least,
        grid.reach, *grid.origin, grid.side, *grid.shape, grid.centre, grid.cell,
        common.cos, common.sin, common.cross, row,
    )  # fmt: skip
    return row


def _nuclei_py(
    x: Array, y: Array, row: Array, centre: Array, nucleus: Array,
    cos: Array, sin: Array, cross: float, found: Array,
) -> None:  # fmt: skip
    for i in range(x.size):
        j = row[i]
        if j >= 0:
            dx, dy = np.float64(x[i]) - centre[j, 0], np.float64(y[i]) - centre[j, 1]
            found[i] = is_inside(dx, dy, nucleus, j, cos, sin, cross)


_nuclei = compiled(_nuclei_py)


def in_nucleus(grid: CellGrid, x: Array, y: Array, row: Array) -> NDArray[np.bool_]:
    """Whether points lie in the nuclei of their cells; the compiled twin of that in `landing`."""
    common, found = rays(grid.cell.shape[1]), np.zeros(x.size, dtype=np.bool_)
    _nuclei(
        x, y, row, grid.centre, grid.nucleus, common.cos, common.sin, common.cross, found
    )  # fmt: skip
    return found


def _gap_py(centre: float, origin: float, at: int, side: float) -> float:
    low = origin + at * side
    return max(max(low - centre, centre - (low + side)), 0.0)


gap = inlined(_gap_py)


def _touched_py(
    centre: Array, reach: Array, section: Array, first: Array, last: Array,
    ox: float, oy: float, side: float, nx: int, ny: int, at: Array, member: Array,
) -> None:  # fmt: skip
    """Move `at` of each square on by the cells whose circles touch it, and write them if asked."""
    for row in range(reach.size):
        most = reach[row] * SLACK
        for iy in range(first[row, 1], last[row, 1] + 1):
            up = gap(centre[row, 1], oy, iy, side)
            line = (np.int64(section[row]) * ny + iy) * nx
            for ix in range(first[row, 0], last[row, 0] + 1):
                across = gap(centre[row, 0], ox, ix, side)
                if across * across + up * up <= most:
                    if member.size:
                        member[at[line + ix]] = row
                    at[line + ix] += 1


_touched = compiled(_touched_py)


def members(plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Sort cells into squares; the compiled twin of that in `landing`."""
    given = (
        plan.centre, plan.reach, plan.section.astype(np.int16, copy=False), plan.first, plan.last,
        *plan.origin, plan.side, *plan.shape,
    )  # fmt: skip
    start = np.zeros(plan.n_squares + 1, dtype=np.int64)
    _touched(*given, start[1:], np.empty(0, np.int32))
    np.cumsum(start, out=start)
    member = np.empty(int(start[-1]), dtype=np.int32)
    _touched(*given, start[:-1].copy(), member)
    return start, member


def _leak_py(
    at: Array, rows: Array, place: Array, within: Array, share: Array, factor: float,
    centre: Array, cell: Array, cos: Array, sin: Array, cross: float, x: Array, y: Array,
) -> None:  # fmt: skip
    n = cell.shape[1]
    vx, vy, length = np.empty(n + 1), np.empty(n + 1), np.empty(n)
    ready, far = -1, 0.0
    for i in range(at.size):
        row, m = rows[i], at[i]
        if row != ready:
            total = area = 0.0
            for k in range(n + 1):
                radius = np.float64(cell[row, k if k < n else 0])
                vx[k], vy[k] = radius * cos[k], radius * sin[k]
            for k in range(n):
                ex, ey = vx[k + 1] - vx[k], vy[k + 1] - vy[k]
                total += math.sqrt(ex * ex + ey * ey)
                length[k] = total
                area += np.float64(cell[row, k]) * np.float64(cell[row, k + 1 if k + 1 < n else 0])
            far, ready = factor * math.sqrt(0.5 * cross * area / math.pi), row
        target, k = unit(place[i]) * length[n - 1], 0
        while k < n - 1 and length[k] <= target:
            k += 1
        ex, ey, along = vx[k + 1] - vx[k], vy[k + 1] - vy[k], upper(within[i])
        edge, step = math.sqrt(ex * ex + ey * ey), far * share[i]
        fx, fy = vx[k] + along * ex, vy[k] + along * ey
        dx, dy = fx + step * (ey / edge), fy + step * (-ex / edge)
        if is_inside(dx, dy, cell, row, cos, sin, cross):
            outward = step / math.sqrt(fx * fx + fy * fy)
            dx, dy = fx * (1.0 + outward), fy * (1.0 + outward)
        cx, cy, push = centre[row, 0], centre[row, 1], FIRST_PUSH
        x[m], y[m] = np.float32(cx + dx), np.float32(cy + dy)
        while push < 1.0 and is_inside(
            np.float64(x[m]) - cx, np.float64(y[m]) - cy, cell, row, cos, sin, cross
        ):
            x[m], y[m] = np.float32(cx + dx * (1.0 + push)), np.float32(cy + dy * (1.0 + push))
            push *= 2.0


_leak = compiled(_leak_py)


def leak(sources: Sources, away: Away, made: Molecules) -> None:
    """Write the places of molecules that leave; the compiled twin of `leaking.leak`."""
    common, config = rays(sources.cell.shape[1]), sources.config
    _leak(
        away.at, away.row, away.place, away.within, away.shares(config.leak_coverage),
        float(config.leak_dist_factor), sources.centre, sources.cell,
        common.cos, common.sin, common.cross, made.x, made.y,
    )  # fmt: skip
