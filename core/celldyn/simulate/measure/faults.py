"""Outlines with the faults of a segmentation: wrong borders, merged, cut and missed cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from celldyn.jobs import Job
from celldyn.simulate.measure.diffusion import apart
from celldyn.simulate.measure.pairing import chosen, pairs_job
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.shapes.outlines import CellShapes, polygon_areas
from celldyn.simulate.specs import SegmentationSpec
from celldyn.simulate.streams import hash_bits, stream_key, unit_interval

Floats = NDArray[np.float64]
Radii = NDArray[np.float32]

KINDS = ("ok", "merged", "split")
"""What became of the cells of a segmented outline."""

_HARMONICS = 4
"""Waves around an outline that the jitter has; with the size itself they weigh the same."""
_LEAST = 0.1
"""An outline keeps at least this share of its radius."""
_BLOCK = 1 << 14


@dataclass(frozen=True, slots=True)
class FaultyOutlines:
    """Segmented outlines; row i of the table is that of `true_cells[i]`.

    Parameters
    ----------
    shapes
        (n,) cells, with the outline that the segmentation gives each in `cell`.
    row
        (n,) row of each cell; the first of two where it is cut, the same for two that are merged,
        -1 where it is missed.
    cut
        (n,) angle in rad of the line through the centre that cuts the cell; NaN for no cut. Its
        left side is the first of the two rows.
    true_cells
        (m, 2) cells of each row; the second is -1 except where two are merged.
    kind
        (m,) positions in `KINDS`.
    """

    shapes: CellShapes
    row: NDArray[np.int64]
    cut: Floats
    true_cells: NDArray[np.int32]
    kind: NDArray[np.int8]

    def row_of(
        self, cell: NDArray[np.intp], x: NDArray[Any], y: NDArray[Any]
    ) -> NDArray[np.int64]:
        """Return the row of places, (k,) µm, that lie within the outlines of these cells."""
        row = self.row[cell]
        split = np.flatnonzero(~np.isnan(self.cut[cell]))
        own = cell[split]
        step = np.column_stack([x[split], y[split]]) - self.shapes.centre[own]
        row[split] += _right_of(self.cut[own], step)
        return row

    def polygons(self, rows: Any = None) -> NDArray[Any]:  # noqa: ANN401
        """Return shapely outlines in µm, of all rows of the table or of some.

        Two merged cells are their union, of two parts where the cells do not touch.
        """
        import shapely

        rows = np.arange(len(self.kind))[slice(None) if rows is None else rows]
        first, second = self.true_cells[rows].T
        outlines = self.shapes.polygons("cell", first)
        merged = np.flatnonzero(self.kind[rows] == KINDS.index("merged"))
        if merged.size:
            others = self.shapes.polygons("cell", second[merged])
            outlines[merged] = shapely.union(outlines[merged], others)
        halved = np.flatnonzero(self.kind[rows] == KINDS.index("split"))
        if halved.size:
            side = rows[halved] - self.row[first[halved]]
            outlines[halved] = shapely.intersection(
                outlines[halved], self._half_planes(first[halved], side)
            )
        return outlines

    def areas_and_centroids(self) -> tuple[Floats, Floats]:
        """Return (m,) µm² and (m, 2) µm; a whole cell has its true centre."""
        import shapely

        first = self.true_cells[:, 0]
        area, middle = polygon_areas(self.shapes.cell)[first], self.shapes.centre[first].copy()
        odd = np.flatnonzero(self.kind != KINDS.index("ok"))
        if odd.size:
            outlines = self.polygons(odd)
            area[odd] = shapely.area(outlines)
            middle[odd] = shapely.get_coordinates(shapely.centroid(outlines))
        return area, middle

    def _half_planes(self, cells: NDArray[Any], side: NDArray[np.int64]) -> NDArray[Any]:
        """Return squares that begin at the cut and reach past the cell on one side of it."""
        import shapely

        reach = 2.0 * self.shapes.cell[cells].max(axis=1).astype(np.float64)[:, None]
        along = np.column_stack([np.cos(self.cut[cells]), np.sin(self.cut[cells])]) * reach
        left = np.column_stack([-along[:, 1], along[:, 0]]) * np.where(side, -1.0, 1.0)[:, None]
        corners = [-along, along, along + left, left - along]
        return np.asarray(
            shapely.polygons(np.stack(corners, axis=1) + self.shapes.centre[cells][:, None])
        )


def faulty_outlines_job(
    spec: SegmentationSpec,
    shapes: CellShapes,
    section: NDArray[Any],
    cell_ids: NDArray[Any],
    seed: int,
    *,
    threads: int | None = None,
) -> Job[FaultyOutlines]:
    """Make the faults: first the outlines', then which cells are missed, cut and merged.

    Parameters
    ----------
    spec
        How many of each. A cell meets at most one of missed, cut and merged; merges stay below
        what was asked where too few cells touch.
    shapes
        The true outlines.
    section
        (n,) position of each cell's section.
    cell_ids
        (n,) identities, which fix the noise.
    seed
        The simulation's seed.
    threads
        How many.
    """
    radii = shapes.cell
    if spec.nucleus_expansion_um is not None:
        grown = shapes.nucleus + np.float32(spec.nucleus_expansion_um)
        radii = np.minimum(grown, shapes.cell)
    if spec.jitter > 0:
        radii = yield from _jittered_job(radii, spec.jitter, cell_ids, seed, threads)
    seen = CellShapes(shapes.centre, shapes.nucleus, radii)
    chance = unit_interval(hash_bits(stream_key(seed, "segmentation/fate"), cell_ids, 0))
    missed = chance < spec.miss_rate
    halved = ~missed & (chance < spec.miss_rate + spec.split_rate)
    partner = np.full(shapes.n_cells, -1, dtype=np.intp)
    if spec.merge_rate > 0:
        whole = np.flatnonzero(~missed & ~halved)
        radius = np.sqrt(shapes.areas("cell") / np.pi)
        places = apart(shapes.centre, section, 4.0 * float(radius.max(initial=0.0)))
        pairs = yield from pairs_job(
            places[whole], radius[whole], cell_ids[whole], seed, threads=threads
        )
        share = spec.merge_rate * shapes.n_cells / max(whole.size, 1)
        first, second = whole[chosen(pairs, share, whole.size, cell_ids[whole], seed)].T
        partner[first], partner[second] = second, first
    angle = unit_interval(hash_bits(stream_key(seed, "segmentation/cut"), cell_ids, 0)) * np.pi
    return _numbered(seen, missed, partner, np.where(halved, angle, np.nan))


def _numbered(
    shapes: CellShapes, missed: NDArray[np.bool_], partner: NDArray[np.intp], cut: Floats
) -> FaultyOutlines:
    """Give the segmented outlines their rows, in the order of the cells."""
    cells = np.arange(shapes.n_cells)
    second = (partner >= 0) & (partner < cells)
    n_rows = np.where(missed | second, 0, np.where(np.isnan(cut), 1, 2))
    row = np.cumsum(n_rows) - n_rows
    row[second] = row[partner[second]]
    row[missed] = -1
    first = np.repeat(cells, n_rows)
    kind = np.where(partner[first] >= 0, 1, np.where(np.isnan(cut[first]), 0, 2))
    true_cells = np.column_stack([first, partner[first]]).astype(np.int32)
    return FaultyOutlines(shapes, row, cut, true_cells, kind.astype(np.int8))


def _jittered_job(
    radii: Radii, sd: float, cell_ids: NDArray[Any], seed: int, threads: int | None
) -> Job[Radii]:
    """Multiply radii by 1 + sd f, with f a random wave of variance 1 around the outline."""
    n_rays = radii.shape[1]
    waves = np.arange(1, min(_HARMONICS, (n_rays - 1) // 2) + 1)
    turn = 2.0 * np.pi * np.outer(waves, np.arange(n_rays)) / n_rays
    basis = np.concatenate([np.ones((1, n_rays)), np.cos(turn), np.sin(turn)])
    basis /= np.sqrt(1 + len(waves))
    key, out = stream_key(seed, "segmentation/outline"), np.empty_like(radii)

    def one(block: int) -> None:
        rows = slice(block * _BLOCK, (block + 1) * _BLOCK)
        bits = hash_bits(key, cell_ids[rows, None], np.arange(len(basis)))
        factor = 1.0 + sd * (ndtri(unit_interval(bits)) @ basis)
        out[rows] = radii[rows] * np.maximum(factor, _LEAST)

    yield from blocks_job(one, -(-len(radii) // _BLOCK), "outlines", threads=threads)
    return out


def _right_of(angle: Floats, step: Floats) -> NDArray[np.bool_]:
    """Say which steps from the centre lie right of a line through it, seen along its angle."""
    across: Floats = np.cos(angle) * step[:, 1] - np.sin(angle) * step[:, 0]
    return np.asarray(across < 0)
