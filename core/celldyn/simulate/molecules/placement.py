"""Molecules within their cells: exactly uniform in a compartment, without rejection.

A compartment lies between two outlines on the same rays. Each sector of it is two triangles; one
of all triangles is chosen by area, and a point in it by the square root rule. `kernels` does the
same arithmetic in compiled loops, to the last bit: only +, -, *, /, comparison and square root
are used, whose results do not depend on a library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.molecules import noise
from celldyn.simulate.molecules.leakage import leak_probability
from celldyn.simulate.molecules.rays import (
    EDGE,
    OUTSIDE,
    Floats,
    Ints,
    Rays,
    ray_coordinates,
    rays,
    region,
)
from celldyn.simulate.molecules.sources import Sources
from celldyn.simulate.molecules.table import Molecules
from celldyn.simulate.streams import Bits, mix_in_place

FIRST_PULL = 2.0**-12
"""Share of the way to its triangle's centre that a point goes if float32 puts it outside."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which molecules they are.

    Parameters
    ----------
    row, gene, number
        (m,) cell, gene, and which molecule of the two.
    entry
        (m,) what their random numbers start from.
    """

    row: Ints
    gene: Ints
    number: Ints
    entry: Bits

    def take(self, which: Ints) -> Identity:
        """Return some of them."""
        return Identity(self.row[which], self.gene[which], self.number[which], self.entry[which])


def identities(sources: Sources, rows: slice) -> Identity:
    """List the molecules of a run of cells: by cell, gene, number."""
    counts = sources.counts
    first, last = int(counts.indptr[rows.start]), int(counts.indptr[rows.stop])
    times = counts.data[first:last]
    spans = np.diff(counts.indptr[rows.start : rows.stop + 1])
    row = np.repeat(np.arange(rows.start, rows.stop), spans)
    gene = counts.indices[first:last].astype(np.intp)
    end = np.cumsum(times, dtype=np.intp)
    of = np.repeat(np.arange(times.size), times)
    row, gene = row[of], gene[of]
    entry = sources.cell_bits[row] + sources.gene_bits[gene]
    mix_in_place(entry, np.empty_like(entry))
    return Identity(row, gene, np.arange(of.size) - (end - times)[of], entry)


def place(sources: Sources, rows: slice) -> tuple[Molecules, Identity, Ints]:
    """Place the molecules of a run of cells in numpy; see `kernels.place` for the compiled twin.

    Parameters
    ----------
    sources
        All cells.
    rows
        Which of them.

    Returns
    -------
    The molecules, those that leak without a place, and which of them these are: identities and
    (m,) positions.
    """
    who = identities(sources, rows)
    m = who.row.size
    leaked = np.zeros(m, dtype=np.bool_)
    if sources.leaks:
        chance = leak_probability(sources.leak_cell[who.row], sources.leak_gene[who.gene])
        leaked = noise.uniform(who.entry, who.number, noise.LEAK) < chance
    compartment = np.where(leaked, np.uint8(OUTSIDE), sources.compartment[who.gene])
    x, y = np.zeros(m, dtype=np.float32), np.zeros(m, dtype=np.float32)
    overlaps = np.zeros(m, dtype=np.bool_)
    for code in np.unique(compartment[~leaked]):
        which = np.flatnonzero(compartment == code)
        x[which], y[which], overlaps[which] = _within(sources, rows, who.take(which), int(code))
    z = noise.depth(noise.draw(who.entry, who.number, noise.DEPTH)) * sources.config.depth_um
    own, away = sources.cell_id[who.row], np.flatnonzero(leaked)
    made = Molecules(
        x, y, z.astype(np.float32), own, who.gene.astype(np.int32), leaked, compartment,
        own.copy(), overlaps, np.full(m, sources.config.qv, np.float32), sources.section[who.row],
    )  # fmt: skip
    return made, who.take(away), away


def _within(
    sources: Sources, rows: slice, who: Identity, code: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Place molecules of one compartment; returns x, y and whether the nucleus is there."""
    nucleus = sources.nucleus[rows]
    inner, outer = region(nucleus, sources.cell[rows], code)
    weight = np.cumsum(outer[:, :-1] * outer[:, 1:] - inner[:, :-1] * inner[:, 1:], axis=1)
    at = who.row - rows.start
    target = noise.uniform(who.entry, who.number, noise.PLACE) * weight[at, -1]
    k = _first_above(weight, at, target)
    rest = target - np.where(k > 0, weight[at, k - 1], 0.0)
    quad = _Quad(k, inner[at, k], inner[at, k + 1], outer[at, k], outer[at, k + 1])
    bits = noise.draw(who.entry, who.number, noise.WITHIN)
    s, t, mid_s, mid_t = quad.point(rest, noise.upper(bits), noise.lower(bits))
    common = rays(nucleus.shape[1])
    x, y, s, t = _settle(sources.centre[who.row], quad, s, t, mid_s, mid_t, common)
    n0 = nucleus[at, k].astype(np.float64)
    n1 = nucleus[at, (k + 1) % common.n].astype(np.float64)
    return x, y, s * n1 + t * n0 <= n0 * n1


@dataclass(frozen=True, slots=True)
class _Quad:
    """Sectors of a compartment: inner radii a, outer radii b, at rays k and k + 1."""

    k: Ints
    a0: Floats
    a1: Floats
    b0: Floats
    b1: Floats

    def point(self, rest: Floats, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return ray coordinates of a uniform point, and of the centre of its triangle."""
        first = (rest < (self.b0 - self.a0) * self.b1) | (self.a0 <= 0.0)
        root = np.sqrt(u)
        w0, w1, w2 = 1.0 - root, root * (1.0 - v), root * v
        # Triangle 1 has two corners on ray k, triangle 2 has two on ray k + 1.
        s = w0 * self.a0 + np.where(first, w1 * self.b0, 0.0)
        t = w2 * self.b1 + np.where(first, 0.0, w1 * self.a1)
        mid_s = (self.a0 + np.where(first, self.b0, 0.0)) / 3.0
        mid_t = (self.b1 + np.where(first, 0.0, self.a1)) / 3.0
        return s, t, mid_s, mid_t

    def holds(self, s: Floats, t: Floats) -> NDArray[np.bool_]:
        """Whether points lie in their sector and compartment."""
        outer, inner = self.b0 * self.b1, self.a0 * self.a1
        return (
            (s >= 0.0)
            & (t >= 0.0)
            & (s * self.b1 + t * self.b0 <= outer * (1.0 - EDGE))
            & (s * self.a1 + t * self.a0 >= inner * (1.0 + EDGE))
        )

    def take(self, which: Ints) -> _Quad:
        a0, a1, b0, b1 = (part[which] for part in (self.a0, self.a1, self.b0, self.b1))
        return _Quad(self.k[which], a0, a1, b0, b1)


def _settle(
    centre: Floats, quad: _Quad, s: Floats, t: Floats, mid_s: Floats, mid_t: Floats, common: Rays
) -> tuple[NDArray[np.float32], NDArray[np.float32], Floats, Floats]:
    """Round to float32 so that every point still lies where it belongs.

    Returns
    -------
    x and y, and the ray coordinates of exactly these.
    """
    x, y, s_now, t_now = _rounded(centre, quad.k, s, t, common)
    wrong = np.flatnonzero(~quad.holds(s_now, t_now))
    pull = FIRST_PULL
    while wrong.size and pull <= 1.0:
        s[wrong] += pull * (mid_s[wrong] - s[wrong])
        t[wrong] += pull * (mid_t[wrong] - t[wrong])
        part = quad.take(wrong)
        x[wrong], y[wrong], s_new, t_new = _rounded(
            centre[wrong], part.k, s[wrong], t[wrong], common
        )
        s_now[wrong], t_now[wrong] = s_new, t_new
        wrong = wrong[~part.holds(s_new, t_new)]
        pull *= 2.0
    return x, y, s_now, t_now


def _rounded(
    centre: Floats, k: Ints, s: Floats, t: Floats, common: Rays
) -> tuple[NDArray[np.float32], NDArray[np.float32], Floats, Floats]:
    x = (centre[:, 0] + (s * common.cos[k] + t * common.cos[k + 1])).astype(np.float32)
    y = (centre[:, 1] + (s * common.sin[k] + t * common.sin[k + 1])).astype(np.float32)
    return x, y, *ray_coordinates(x - centre[:, 0], y - centre[:, 1], k, common)


def _first_above(cumulative: Floats, at: Ints, target: Floats) -> Ints:
    """Return the first column of each point's row that is above its target, by bisection."""
    width = cumulative.shape[1]
    found = np.zeros(at.size, dtype=np.intp)
    step = 1 << (width - 1).bit_length()
    while step := step // 2:
        probe = np.minimum(found + step, width - 1)
        found = np.where(cumulative[at, probe - 1] <= target, probe, found)
    return found
