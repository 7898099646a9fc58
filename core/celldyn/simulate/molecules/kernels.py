"""The loops of `placement` and `landing`, compiled: for large tissues, at a fifth of the time.

Same arithmetic in the same order as their numpy twins, so the results are equal to the last bit.
Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules.landing import CellGrid
from celldyn.simulate.molecules.noise import N_DRAWS, STEP
from celldyn.simulate.molecules.placement import FIRST_PULL, Placed
from celldyn.simulate.molecules.rays import (
    EDGE,
    MEMBRANE_FROM,
    OUTSIDE,
    PERINUCLEAR_REACH,
    rays,
)
from celldyn.simulate.molecules.sources import Sources

Array = NDArray[Any]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_S32, _S48 = np.uint64(32), np.uint64(48)
_LOWER = np.uint64(0xFFFFFFFF)
_OUTSIDE = np.uint8(OUTSIDE)
_PLACE_AT, _WITHIN_AT, _DEPTH_AT = np.uint64(2), np.uint64(3), np.uint64(4)
_LEAK_AT = np.uint64(1)


def _compiled(function: Any) -> Any:  # noqa: ANN401
    return numba.njit(nogil=True, cache=True)(function)


def _mixed_py(bits: np.uint64) -> np.uint64:
    bits = (bits ^ (bits >> _S30)) * _FIRST
    bits = (bits ^ (bits >> _S27)) * _SECOND
    return bits ^ (bits >> _S31)


mixed = _compiled(_mixed_py)


def _radii_py(
    code: int, nucleus: Array, cell: Array, inner: Array, outer: Array, cumulative: Array
) -> None:
    """Fill inner and outer radii of a compartment, (R + 1,), and the sum of areas, (R,)."""
    n = nucleus.size
    for k in range(n + 1):
        rn, rc = np.float64(nucleus[k % n]), np.float64(cell[k % n])
        inner[k], outer[k] = 0.0, rc
        if code == 1:
            outer[k] = rn
        elif code == 2:
            inner[k], outer[k] = rn, min(PERINUCLEAR_REACH * rn, rc)
        elif code == 3:
            inner[k] = rn
        elif code == 4:
            inner[k] = max(MEMBRANE_FROM * rc, rn)
    total = 0.0
    for k in range(n):
        total += outer[k] * outer[k + 1] - inner[k] * inner[k + 1]
        cumulative[k] = total


fill_radii = _compiled(_radii_py)


def _point_py(
    rest: float, u: float, v: float, a0: float, a1: float, b0: float, b1: float
) -> tuple[float, float, float, float]:
    """Return a uniform point of a sector, and its triangle's centre; see `placement._Quad`."""
    root = math.sqrt(u)
    w0, w1, w2 = 1.0 - root, root * (1.0 - v), root * v
    if rest < (b0 - a0) * b1 or a0 <= 0.0:
        return w0 * a0 + w1 * b0, w2 * b1 + 0.0, (a0 + b0) / 3.0, (b1 + 0.0) / 3.0
    return w0 * a0 + 0.0, w2 * b1 + w1 * a1, (a0 + 0.0) / 3.0, (b1 + a1) / 3.0


point = _compiled(_point_py)


def _settled_py(
    centre: Array, k: int, a0: float, a1: float, b0: float, b1: float,
    rest: float, u: float, v: float, nucleus: Array, cos: Array, sin: Array, cross: float,
) -> tuple[np.float32, np.float32, bool]:  # fmt: skip
    """Return a point of a sector, rounded to float32 within it; see `placement._settle`."""
    s, t, mid_s, mid_t = point(rest, u, v, a0, a1, b0, b1)
    n0, n1 = np.float64(nucleus[k]), np.float64(nucleus[(k + 1) % nucleus.size])
    outer, inner = b0 * b1, a0 * a1
    pull = FIRST_PULL
    while True:
        x = np.float32(centre[0] + (s * cos[k] + t * cos[k + 1]))
        y = np.float32(centre[1] + (s * sin[k] + t * sin[k + 1]))
        dx, dy = np.float64(x) - centre[0], np.float64(y) - centre[1]
        s_now = (dx * sin[k + 1] - dy * cos[k + 1]) / cross
        t_now = (dy * cos[k] - dx * sin[k]) / cross
        good = (
            s_now >= 0.0
            and t_now >= 0.0
            and s_now * b1 + t_now * b0 <= outer * (1.0 - EDGE)
            and s_now * a1 + t_now * a0 >= inner * (1.0 + EDGE)
        )
        if good or pull > 1.0:
            return x, y, s_now * n1 + t_now * n0 <= n0 * n1
        s += pull * (mid_s - s)
        t += pull * (mid_t - t)
        pull *= 2.0


settled = _compiled(_settled_py)


def _sector_py(area: Array, u: float) -> tuple[int, float]:
    """Choose a sector by area; returns it and what is left of the target within it."""
    n = area.size
    k = min(int(u * n), n - 1)
    target = u * area[n - 1]
    while k > 0 and area[k - 1] > target:
        k -= 1
    while k < n - 1 and area[k] <= target:
        k += 1
    return k, target - (area[k - 1] if k > 0 else 0.0)


choose_sector = _compiled(_sector_py)


def _unit_py(bits: np.uint64) -> float:
    return (np.float64(bits >> _S11) + 0.5) * 2.0**-53


unit = _compiled(_unit_py)


def _place_py(
    first: int, last: int, centre: Array, nucleus: Array, cell: Array,
    indptr: Array, indices: Array, data: Array, cell_bits: Array, gene_bits: Array,
    leak_cell: Array, leak_gene: Array, compartment: Array, depth: float,
    cos: Array, sin: Array, cross: float,
    row_of: Array, gene_of: Array, x: Array, y: Array, z: Array,
    leaked: Array, where: Array, overlaps: Array,
) -> None:  # fmt: skip
    n = nucleus.shape[1]
    inner, outer, area = np.empty((5, n + 1)), np.empty((5, n + 1)), np.empty((5, n))
    ready = np.full(5, -1, dtype=np.int64)
    m = 0
    for row in range(first, last):
        for at in range(indptr[row], indptr[row + 1]):
            gene, code = indices[at], compartment[indices[at]]
            entry = mixed(cell_bits[row] + gene_bits[gene])
            chance = 1.0 - (1.0 - leak_cell[row]) * (1.0 - leak_gene[gene])
            a, b, areas = inner[code], outer[code], area[code]
            if ready[code] != row:
                fill_radii(code, nucleus[row], cell[row], a, b, areas)
                ready[code] = row
            for number in range(data[at]):
                base = np.uint64(number) * N_DRAWS
                row_of[m], gene_of[m] = row, gene
                deep = mixed(entry + (base + _DEPTH_AT) * STEP)
                z[m] = np.float32(np.float64(deep >> _S48) * 2.0**-16 * depth)
                if chance > 0.0 and unit(mixed(entry + (base + _LEAK_AT) * STEP)) < chance:
                    leaked[m], where[m] = True, _OUTSIDE
                    m += 1
                    continue
                k, rest = choose_sector(areas, unit(mixed(entry + (base + _PLACE_AT) * STEP)))
                bits = mixed(entry + (base + _WITHIN_AT) * STEP)
                u = (np.float64(bits >> _S32) + 0.5) * 2.0**-32
                v = (np.float64(bits & _LOWER) + 0.5) * 2.0**-32
                x[m], y[m], overlaps[m] = settled(
                    centre[row], k, a[k], a[k + 1], b[k], b[k + 1], rest, u, v,
                    nucleus[row], cos, sin, cross,
                )  # fmt: skip
                where[m] = code
                m += 1


_place = _compiled(_place_py)


def place(sources: Sources, rows: slice) -> Placed:
    """Place the molecules of a run of cells; the compiled twin of `placement.place`."""
    counts, common = sources.counts, rays(sources.cell.shape[1])
    first, last = int(counts.indptr[rows.start]), int(counts.indptr[rows.stop])
    m = int(counts.data[first:last].sum(dtype=np.int64))
    placed = Placed(
        np.empty(m, np.int32), np.empty(m, np.int32), np.zeros(m, np.float32),
        np.zeros(m, np.float32), np.empty(m, np.float32), np.zeros(m, np.bool_),
        np.empty(m, np.uint8), np.zeros(m, np.bool_),
    )  # fmt: skip
    _place(
        rows.start, rows.stop, sources.centre, sources.nucleus, sources.cell,
        counts.indptr, counts.indices, counts.data, sources.cell_bits, sources.gene_bits,
        sources.leak_cell, sources.leak_gene, sources.compartment,
        float(sources.config.depth_um), common.cos, common.sin, common.cross,
        placed.row, placed.gene, placed.x, placed.y, placed.z,
        placed.is_leaked, placed.compartment, placed.overlaps_nucleus,
    )  # fmt: skip
    return placed


def _inside_py(dx: float, dy: float, radii: Array, cos: Array, sin: Array, cross: float) -> bool:
    """Whether a point lies within an outline; see `rays.inside`."""
    n = radii.size
    k = math.floor(math.atan2(dy, dx) / (2.0 * math.pi / n)) % n
    if cos[k] * dy - sin[k] * dx < 0.0:
        k = (k - 1) % n
    if cos[k + 1] * dy - sin[k + 1] * dx >= 0.0:
        k = (k + 1) % n
    s = (dx * sin[k + 1] - dy * cos[k + 1]) / cross
    t = (dy * cos[k] - dx * sin[k]) / cross
    r0, r1 = np.float64(radii[k]), np.float64(radii[(k + 1) % n])
    return bool(s * r1 + t * r0 <= r0 * r1)


is_inside = _compiled(_inside_py)


def _land_py(
    x: Array, y: Array, square: Array, start: Array, member: Array, reach: Array,
    centre: Array, nucleus: Array, cell: Array, cos: Array, sin: Array, cross: float,
    row: Array, in_nucleus: Array,
) -> None:  # fmt: skip
    for i in range(x.size):
        b = square[i]
        if b < 0:
            continue
        for at in range(start[b], start[b + 1]):
            j = member[at]
            dx, dy = x[i] - centre[j, 0], y[i] - centre[j, 1]
            if dx * dx + dy * dy > reach[j]:
                continue
            if is_inside(dx, dy, cell[j], cos, sin, cross):
                row[i] = j
                in_nucleus[i] = is_inside(dx, dy, nucleus[j], cos, sin, cross)
                break


_land = _compiled(_land_py)


def land(
    grid: CellGrid, x: Array, y: Array, square: Array
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Find the cell that each point lies in; the compiled twin of `CellGrid`'s search."""
    common = rays(grid.cell.shape[1])
    row = np.full(x.size, -1, dtype=np.int32)
    in_nucleus = np.zeros(x.size, dtype=np.bool_)
    _land(
        x, y, square, grid.start, grid.member, grid.reach, grid.centre, grid.nucleus, grid.cell,
        common.cos, common.sin, common.cross, row, in_nucleus,
    )  # fmt: skip
    return row, in_nucleus
