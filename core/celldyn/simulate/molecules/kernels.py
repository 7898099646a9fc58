"""The loops of `placement`, compiled: for large tissues, at a fifth of the time.

Same arithmetic in the same order as their numpy twins, so the results are equal to the last bit.
Importing this module imports numba; nothing is compiled before a kernel is called.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules.leaking import Away
from celldyn.simulate.molecules.noise import N_DRAWS, STEP
from celldyn.simulate.molecules.placement import FIRST_PULL
from celldyn.simulate.molecules.rays import EDGE, MEMBRANE_FROM, OUTSIDE, PERINUCLEAR_REACH, rays
from celldyn.simulate.molecules.sources import Sources
from celldyn.simulate.molecules.table import Molecules

Array = NDArray[Any]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_S32, _S48 = np.uint64(32), np.uint64(48)
_LOWER = np.uint64(0xFFFFFFFF)
_OUTSIDE = np.uint8(OUTSIDE)
_LEAK_AT, _PLACE_AT, _WITHIN_AT, _DEPTH_AT = (np.uint64(k) for k in (1, 2, 3, 4))
_N_COMPARTMENTS = OUTSIDE


def compiled(function: Any) -> Any:  # noqa: ANN401
    """Compile a loop; as in numpy, a division by zero is no error."""
    return numba.njit(nogil=True, cache=True, error_model="numpy")(function)


def inlined(function: Any) -> Any:  # noqa: ANN401
    """Compile what is called in a loop as part of it: passing arrays would cost more than it."""
    return numba.njit(nogil=True, inline="always", error_model="numpy")(function)


def _mixed_py(bits: np.uint64) -> np.uint64:
    bits = (bits ^ (bits >> _S30)) * _FIRST
    bits = (bits ^ (bits >> _S27)) * _SECOND
    return bits ^ (bits >> _S31)


mixed = inlined(_mixed_py)


def _unit_py(bits: np.uint64) -> float:
    return (np.float64(np.int64(bits >> _S11)) + 0.5) * 2.0**-53


unit = inlined(_unit_py)


def _upper_py(bits: np.uint64) -> float:
    return (np.float64(np.int64(bits >> _S32)) + 0.5) * 2.0**-32


upper = inlined(_upper_py)


def _lower_py(bits: np.uint64) -> float:
    return (np.float64(np.int64(bits & _LOWER)) + 0.5) * 2.0**-32


lower = inlined(_lower_py)


def _radii_py(
    code: int, row: int, nucleus: Array, cell: Array, inner: Array, outer: Array, area: Array
) -> None:
    """Fill inner and outer radii of a compartment, (5, R + 1), and the sums of areas, (5, R)."""
    n = nucleus.shape[1]
    for k in range(n + 1):
        rn, rc = np.float64(nucleus[row, k % n]), np.float64(cell[row, k % n])
        inner[code, k], outer[code, k] = 0.0, rc
        if code == 1:
            outer[code, k] = rn
        elif code == 2:
            inner[code, k], outer[code, k] = rn, min(PERINUCLEAR_REACH * rn, rc)
        elif code == 3:
            inner[code, k] = rn
        elif code == 4:
            inner[code, k] = max(MEMBRANE_FROM * rc, rn)
    total = 0.0
    for k in range(n):
        total += outer[code, k] * outer[code, k + 1] - inner[code, k] * inner[code, k + 1]
        area[code, k] = total


fill_radii = inlined(_radii_py)


def _sector_py(area: Array, code: int, target: float) -> int:
    """Return the first sector whose sum of areas is above the target."""
    k = 0
    # Counted, not searched: no branch for the processor to guess wrong.
    for j in range(area.shape[1] - 1):
        k += 1 if area[code, j] <= target else 0
    return k


sector = inlined(_sector_py)


def _settled_py(
    cx: float, cy: float, c0: float, s0: float, c1: float, s1: float, cross: float,
    a0: float, a1: float, b0: float, b1: float, rest: float, u: float, v: float,
) -> tuple[np.float32, np.float32, float, float]:  # fmt: skip
    """Return a uniform point of a sector, rounded to float32 within it.

    See `placement._Quad` and `placement._settle`.
    """
    first, root = (rest < (b0 - a0) * b1) | (a0 <= 0.0), math.sqrt(u)
    w0, w1, w2 = 1.0 - root, root * (1.0 - v), root * v
    s = w0 * a0 + (w1 * b0 if first else 0.0)
    t = w2 * b1 + (0.0 if first else w1 * a1)
    outer, inner = b0 * b1 * (1.0 - EDGE), a0 * a1 * (1.0 + EDGE)
    pull = FIRST_PULL
    while True:
        x, y = np.float32(cx + (s * c0 + t * c1)), np.float32(cy + (s * s0 + t * s1))
        dx, dy = np.float64(x) - cx, np.float64(y) - cy
        s_now, t_now = (dx * s1 - dy * c1) / cross, (dy * c0 - dx * s0) / cross
        good = (
            (s_now >= 0.0)
            & (t_now >= 0.0)
            & (s_now * b1 + t_now * b0 <= outer)
            & (s_now * a1 + t_now * a0 >= inner)
        )
        if good or pull > 1.0:
            return x, y, s_now, t_now
        mid_s, mid_t = (a0 + (b0 if first else 0.0)) / 3.0, (b1 + (0.0 if first else a1)) / 3.0
        s += pull * (mid_s - s)
        t += pull * (mid_t - t)
        pull *= 2.0


settled = inlined(_settled_py)


def _place_py(
    first: int, last: int, centre: Array, nucleus: Array, cell: Array, ids: Array, section: Array,
    indptr: Array, indices: Array, data: Array, cell_bits: Array, gene_bits: Array,
    leak_cell: Array, leak_gene: Array, compartment: Array, depth: float,
    cos: Array, sin: Array, cross: float,
    x: Array, y: Array, z: Array, cell_id: Array, gene_of: Array, leaked: Array, where: Array,
    landed: Array, overlaps: Array, section_of: Array,
    away: Array, row_of: Array, place: Array, within: Array, deep_of: Array,
) -> int:  # fmt: skip
    n = nucleus.shape[1]
    inner, outer = np.empty((_N_COMPARTMENTS, n + 1)), np.empty((_N_COMPARTMENTS, n + 1))
    area, ready = np.empty((_N_COMPARTMENTS, n)), np.full(_N_COMPARTMENTS, -1, dtype=np.int64)
    m = n_away = 0
    for row in range(first, last):
        cx, cy = centre[row, 0], centre[row, 1]
        for at in range(indptr[row], indptr[row + 1]):
            gene, code = indices[at], compartment[indices[at]]
            entry = mixed(cell_bits[row] + gene_bits[gene])
            chance = 1.0 - (1.0 - leak_cell[row]) * (1.0 - leak_gene[gene])
            if ready[code] != row:
                fill_radii(code, row, nucleus, cell, inner, outer, area)
                ready[code] = row
            for number in range(data[at]):
                base = entry + np.uint64(number) * N_DRAWS * STEP
                deep, bits = mixed(base + _DEPTH_AT * STEP), mixed(base + _PLACE_AT * STEP)
                inside = mixed(base + _WITHIN_AT * STEP)
                z[m] = np.float32(np.float64(np.int64(deep >> _S48)) * 2.0**-16 * depth)
                cell_id[m] = landed[m] = ids[row]
                gene_of[m], section_of[m] = gene, section[row]
                leaked[m] = chance > 0.0 and unit(mixed(base + _LEAK_AT * STEP)) < chance
                if leaked[m]:
                    where[m], away[n_away], row_of[n_away] = _OUTSIDE, m, row
                    place[n_away], within[n_away], deep_of[n_away] = bits, inside, deep
                    n_away += 1
                    m += 1
                    continue
                target = unit(bits) * area[code, n - 1]
                k = sector(area, code, target)
                rest = target - (area[code, k - 1] if k > 0 else 0.0)
                x[m], y[m], s, t = settled(
                    cx, cy, cos[k], sin[k], cos[k + 1], sin[k + 1], cross,
                    inner[code, k], inner[code, k + 1], outer[code, k], outer[code, k + 1],
                    rest, upper(inside), lower(inside),
                )  # fmt: skip
                n0 = np.float64(nucleus[row, k])
                n1 = np.float64(nucleus[row, k + 1 if k + 1 < n else 0])
                where[m], overlaps[m] = code, s * n1 + t * n0 <= n0 * n1
                m += 1
    return n_away


_place = compiled(_place_py)


def place(sources: Sources, rows: slice) -> tuple[Molecules, Away]:
    """Place the molecules of a run of cells; the compiled twin of `placement.place`."""
    counts, common = sources.counts, rays(sources.cell.shape[1])
    first, last = int(counts.indptr[rows.start]), int(counts.indptr[rows.stop])
    made = Molecules.empty(int(counts.data[first:last].sum(dtype=np.int64)))
    made.qv.fill(sources.config.qv)
    # Pages that are never written take no memory.
    room = len(made) if sources.leaks else 0
    at, row = np.empty(room, np.int32), np.empty(room, np.int32)
    bits = np.empty((3, room), np.uint64)
    n = _place(
        rows.start, rows.stop, sources.centre, sources.nucleus, sources.cell,
        sources.cell_id, sources.section,
        counts.indptr, counts.indices, counts.data, sources.cell_bits, sources.gene_bits,
        sources.leak_cell, sources.leak_gene, sources.compartment,
        float(sources.config.depth_um), common.cos, common.sin, common.cross,
        made.x, made.y, made.z, made.cell_id, made.gene, made.is_leaked, made.compartment,
        made.landed_cell_id, made.overlaps_nucleus, made.section,
        at, row, *bits,
    )  # fmt: skip
    return made, Away(at[:n], row[:n], *bits[:, :n])
