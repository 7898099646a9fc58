"""What a platform sees of the molecules: its panel, its efficiency, the seams of its fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Job
from celldyn.simulate.measure.inputs import (
    MoleculeBlock,
    MoleculeSource,
    molecule_blocks,
    n_molecules,
)
from celldyn.simulate.measure.tally import OccupiedRows, Part, Tally
from celldyn.simulate.parallel import piped_job
from celldyn.simulate.specs import PlatformSpec
from celldyn.simulate.streams import spread, stream_key, unit_interval

Ints = NDArray[np.int64]
Locate = Callable[[MoleculeBlock], Ints]
"""Molecules -> the spot, bin or cell that each falls into; -1 for none."""

SEAM_UM = 2.0
"""Molecules this near to the border of two fields of view may be lost."""
FATES = ("off_panel", "undetected", "at_seam", "outside", "counted")
"""What becomes of a molecule."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Square fields of view that tile a canvas from its corner.

    Parameters
    ----------
    canvas_um
        Width and height of a section.
    side
        Side of a field in µm.
    """

    canvas_um: tuple[float, float]
    side: float

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows of fields."""
        columns, rows = (max(int(np.ceil(length / self.side)), 1) for length in self.canvas_um)
        return columns, rows

    def of(self, x: NDArray[Any], y: NDArray[Any]) -> Ints:
        """Return the number of the field of each place; beyond the canvas it is the nearest."""
        columns, rows = self.shape
        column = np.clip(np.floor(x / self.side), 0, columns - 1)
        row = np.clip(np.floor(y / self.side), 0, rows - 1)
        number: Ints = (row * columns + column).astype(np.int64)
        return number

    def near_seam(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which places lie within `SEAM_UM` of where two fields meet."""
        near = np.zeros(len(x), dtype=bool)
        for values, fields in zip((x, y), self.shape, strict=True):
            seam = np.rint(values / self.side)
            at = (seam >= 1) & (seam < fields)
            near |= at & (np.abs(values - seam * self.side) <= SEAM_UM)
        return near


@dataclass(slots=True)
class Seen:
    """Molecules that were seen, by where they fell.

    Parameters
    ----------
    counts
        By spot and gene of the panel.
    types
        By spot and type of the source cell; those of no cell are left out.
    fates
        How many molecules met each of `FATES`.
    """

    counts: OccupiedRows
    types: OccupiedRows
    fates: dict[str, int]


@dataclass(slots=True)
class Sight:
    """Looks at molecules as a platform does.

    Parameters
    ----------
    spec
        The platform.
    column
        (G,) column of each gene in its table; -1 for a gene that is not on the panel.
    panel
        Names of the columns.
    fields
        Of an imaging platform.
    celltype
        (n,) type of each cell.
    types
        Names of the types.
    seed
        The simulation's seed.
    """

    spec: PlatformSpec
    column: NDArray[np.int32]
    panel: list[str]
    fields: Fields | None
    celltype: NDArray[np.int32]
    types: pd.Index
    seed: int
    _fates: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FATES), np.int64))

    def look_job(
        self, molecules: MoleculeSource, locate: Locate, *, threads: int | None = None
    ) -> Job[Seen]:
        """Count the molecules that are seen; progress counts molecules, then merges."""
        counts, types = Tally(len(self.panel)), Tally(max(len(self.types), 1))

        def work(block: MoleculeBlock) -> tuple[Part, Part, NDArray[np.int64]]:
            column, fates = self._visible(block)
            rows = np.flatnonzero(column >= 0)
            site = locate(block if rows.size == len(block) else _some(block, rows))
            hit = np.flatnonzero(site >= 0)
            fates[3:] = rows.size - hit.size, hit.size
            site, source = site[hit], block.cell_id[rows[hit]]
            self._check(source)
            own = source >= 0
            return (
                counts.part(site, column[rows[hit]]),
                types.part(site[own], self.celltype[source[own]]),
                fates,
            )

        def take(found: tuple[Part, Part, NDArray[np.int64]]) -> None:
            counts.parts.append(found[0])
            types.parts.append(found[1])
            self._fates += found[2]

        yield from piped_job(
            molecule_blocks(molecules, len(self.column)),
            work,
            take,
            self.spec.label,
            size=len,
            total=n_molecules(molecules),
            threads=threads,
        )
        seen = yield from counts.rows_job(f"{self.spec.label}: table", threads=threads)
        kinds = yield from types.rows_job(f"{self.spec.label}: composition", threads=threads)
        fates = {name: int(n) for name, n in zip(FATES, self._fates, strict=True)}
        return Seen(seen, kinds, fates)

    def _visible(self, block: MoleculeBlock) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return each molecule's column, -1 where it is not seen, and what became of those."""
        column = self.column[block.gene]
        left = [len(block), int((column >= 0).sum())]
        if self.spec.efficiency < 1:
            column[self._chance(block, "efficiency") >= self.spec.efficiency] = -1
        left.append(int((column >= 0).sum()))
        if self.fields is not None and self.spec.seam_loss > 0:
            near = np.flatnonzero(self.fields.near_seam(block.x, block.y))
            column[near[self._chance(block, "seam")[near] < self.spec.seam_loss]] = -1
        left.append(int((column >= 0).sum()))
        fates = np.zeros(len(FATES), dtype=np.int64)
        fates[:3] = -np.diff(left)
        return column, fates

    def _chance(self, block: MoleculeBlock, what: str) -> NDArray[np.float64]:
        key = stream_key(self.seed, f"platform/{self.spec.label}/{what}")
        return unit_interval(spread(block.numbers, key))

    def _check(self, source: NDArray[Any]) -> None:
        if source.size and source.max() >= len(self.celltype):
            raise DataError(
                f"a molecule is of cell {int(source.max())}, and there are {len(self.celltype)}",
                "give all cells, numbered from 0",
            )


def panel_of(spec: PlatformSpec, gene_names: Sequence[str]) -> tuple[list[str], NDArray[np.int32]]:
    """Return the names of a platform's columns, and the column of each gene; -1 for none.

    Raises
    ------
    MissingKeyError
        If a gene of the panel is not there.
    """
    if spec.genes is None:
        return list(gene_names), np.arange(len(gene_names), dtype=np.int32)
    where = {name: k for k, name in enumerate(gene_names)}
    missing = [name for name in spec.genes if name not in where]
    if missing:
        raise MissingKeyError(
            f"{spec.label!r} lists {missing[0]!r}, which is no gene of this tissue",
            "name genes of the tissue",
        )
    column = np.full(len(gene_names), -1, dtype=np.int32)
    column[[where[name] for name in spec.genes]] = np.arange(len(spec.genes))
    return list(spec.genes), column


def _some(block: MoleculeBlock, rows: NDArray[np.intp]) -> MoleculeBlock:
    return MoleculeBlock(
        block.x[rows],
        block.y[rows],
        block.gene[rows],
        block.cell_id[rows],
        block.landed_cell_id[rows],
        block.section[rows],
        block.first,
    )
