"""What a faulty segmentation makes of a tissue: its outlines, its table, and the truth of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.devices import aside_job, compile_job
from celldyn.errors import DataError
from celldyn.jobs import Job
from celldyn.simulate.measure.containment import Locator
from celldyn.simulate.measure.faults import KINDS, FaultyOutlines, faulty_outlines_job
from celldyn.simulate.measure.inputs import (
    MoleculeBlock,
    MoleculeSource,
    molecule_blocks,
    n_molecules,
    require_cells,
)
from celldyn.simulate.measure.naming import known_names, row_names
from celldyn.simulate.measure.tally import OccupiedRows, Part, Tally
from celldyn.simulate.molecules.landing import compile_landing
from celldyn.simulate.molecules.sampling import COMPILE_FROM
from celldyn.simulate.parallel import piped_job
from celldyn.simulate.specs import SegmentationSpec

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.simulate.shapes.outlines import CellShapes

Floats = NDArray[np.float64]

STAGE = "segmentation"
_USUAL = 50
"""Molecules of a cell, where their number is not known before they have been read."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Segmented cells.

    Parameters
    ----------
    outlines
        Their outlines, and which true cells they come from.
    table
        (m, G) counts by containment. obs: `true_cell` and `second_cell` (-1 except where two are
        merged), `main_cell` (the true cell that most molecules are of; -1 without molecules),
        `purity` (share of the molecules that are of that cell; NaN without molecules), `kind`
        (ok, merged, split), `cell_type` (of `true_cell`), `area` (µm²), `section` where there are
        several. obsm["spatial"]: µm. uns["truth"]: `molecules`, how many were `assigned` or lie
        in no outline (`unassigned`, and those of them that are of a cell,
        `unassigned_of_a_cell`); `missed`, the cells that were not found; `config`, as JSON.
    """

    outlines: FaultyOutlines
    table: AnnData

    @property
    def truth_of(self) -> NDArray[np.int32]:
        """(m, 2) true cells of each row; -1 for no second one."""
        return self.outlines.true_cells

    @property
    def doublets(self) -> NDArray[np.bool_]:
        """(m,) whether two cells were taken for one."""
        return np.asarray(self.outlines.kind == KINDS.index("merged"))

    def polygons(self, rows: Any = None) -> NDArray[Any]:  # noqa: ANN401
        """Return the shapely outlines in µm, of all rows of the table or of some."""
        return self.outlines.polygons(rows)


def segmentation_job(
    spec: SegmentationSpec,
    shapes: CellShapes,
    molecules: MoleculeSource,
    gene_names: Sequence[str],
    seed: int,
    *,
    cells: pd.DataFrame,
    threads: int | None = None,
) -> Job[Segmentation]:
    """Segment a tissue with known faults, and count the molecules in what is found.

    Parameters
    ----------
    spec
        The faults; with none of them the table is that of the true outlines.
    shapes
        (n,) true outlines.
    molecules
        As for `platform_job`.
    gene_names
        (G,) names, by the molecules' gene codes.
    seed
        The simulation's seed.
    cells
        One row per cell, numbered from 0: `celltype` and `section` (categorical), `x`, `y`.
    threads
        How many.

    Raises
    ------
    MissingKeyError
        If a column of `cells` is missing.
    DataError
        If cells and outlines differ in number, or molecules name genes or cells that are not
        there.
    """
    require_cells(cells)
    if len(cells) != shapes.n_cells:
        raise DataError(
            f"{len(cells)} cells have {shapes.n_cells} outlines", "give one outline per cell"
        )
    section = cells["section"].cat.codes.to_numpy().astype(np.int64)
    ids = np.arange(len(cells))
    outlines = yield from faulty_outlines_job(spec, shapes, section, ids, seed, threads=threads)
    found = np.flatnonzero(outlines.row >= 0)
    # Within their true borders outlines cannot overlap.
    known = n_molecules(molecules)
    many = _USUAL * len(cells) if known is None else known
    if compiled := many >= COMPILE_FROM:
        yield from compile_job([compile_landing])
    locator = yield from aside_job(
        lambda: Locator.of(
            outlines.shapes, section, found, overlap=spec.jitter > 0, compiled=compiled
        ),
        STAGE,
    )
    assigned = yield from _assign_job(outlines, locator, molecules, len(gene_names), threads)
    table = yield from aside_job(
        lambda: _table(spec, outlines, assigned, gene_names, cells), STAGE
    )
    return Segmentation(outlines, table)


@dataclass(frozen=True, slots=True)
class _Assigned:
    """Molecules by segmented cell and gene, and by segmented cell and source cell + 1."""

    genes: OccupiedRows
    sources: OccupiedRows
    unassigned: int
    unassigned_of_a_cell: int


def _assign_job(
    outlines: FaultyOutlines,
    locator: Locator,
    molecules: MoleculeSource,
    n_genes: int,
    threads: int | None,
) -> Job[_Assigned]:
    n_cells = outlines.shapes.n_cells
    genes, sources = Tally(n_genes), Tally(n_cells + 1)
    outside = np.zeros(2, dtype=np.int64)

    def work(block: MoleculeBlock) -> tuple[Part, Part, NDArray[np.int64]]:
        if len(block) and block.cell_id.max() >= n_cells:
            raise DataError(
                f"a molecule is of cell {int(block.cell_id.max())}, and there are {n_cells}",
                "give all cells, numbered from 0",
            )
        cell = locator.locate(block.x, block.y, block.section, block.landed_cell_id)
        hit, source = np.flatnonzero(cell >= 0), block.cell_id.astype(np.int64)
        row = outlines.row_of(cell[hit], block.x[hit], block.y[hit])
        lost = np.array([len(block) - hit.size, np.count_nonzero((cell < 0) & (source >= 0))])
        return genes.part(row, block.gene[hit]), sources.part(row, source[hit] + 1), lost

    def take(found: tuple[Part, Part, NDArray[np.int64]]) -> None:
        nonlocal outside
        genes.parts.append(found[0])
        sources.parts.append(found[1])
        outside = outside + found[2]

    blocks, total = molecule_blocks(molecules, n_genes), n_molecules(molecules)
    yield from piped_job(blocks, work, take, STAGE, size=len, total=total, threads=threads)
    by_gene = yield from genes.rows_job(f"{STAGE}: table", threads=threads)
    by_source = yield from sources.rows_job(f"{STAGE}: purity", threads=threads)
    return _Assigned(by_gene, by_source, int(outside[0]), int(outside[1]))


def _table(
    spec: SegmentationSpec,
    outlines: FaultyOutlines,
    assigned: _Assigned,
    gene_names: Sequence[str],
    cells: pd.DataFrame,
) -> AnnData:
    from anndata import AnnData

    from celldyn.data import set_section_key, set_unit

    n_rows = len(outlines.kind)
    first, second = outlines.true_cells.T
    main, purity = _purity(assigned.sources, n_rows, len(cells) + 1)
    area, centroid = outlines.areas_and_centroids()
    several = len(cells["section"].cat.categories) > 1
    obs = {
        "true_cell": first,
        "second_cell": second,
        "main_cell": main,
        "purity": purity,
        "kind": pd.Categorical.from_codes(outlines.kind, pd.Index(KINDS)),
        "cell_type": cells["celltype"].array[first],
        "area": area,
    }
    if several:
        obs["section"] = cells["section"].array[first]
    names = row_names("seg", range(n_rows))
    with known_names():
        adata = AnnData(
            X=assigned.genes.csr(n_rows, len(gene_names)).astype(np.float32),
            obs=pd.DataFrame(obs, index=names),
            var=pd.DataFrame(index=pd.Index(np.array(gene_names, dtype=object))),
            obsm={keys.SPATIAL(): centroid},
        )
    set_unit(adata, 1.0)
    set_section_key(adata, "section" if several else None)
    counts = {
        "assigned": int(adata.X.sum(dtype=np.float64)),
        "unassigned": assigned.unassigned,
        "unassigned_of_a_cell": assigned.unassigned_of_a_cell,
    }
    adata.uns[keys.TRUTH()] = {
        "molecules": counts,
        "missed": np.flatnonzero(outlines.row < 0),
        "config": spec.model_dump_json(),
    }
    return adata


def _purity(
    sources: OccupiedRows, n_rows: int, n_sources: int
) -> tuple[NDArray[np.int32], Floats]:
    """Return each row's main source cell, the first of equals, and its share of the molecules."""
    main, purity = np.full(n_rows, -1, dtype=np.int32), np.full(n_rows, np.nan)
    counts = sources.compact(n_sources)
    if not counts.nnz:
        return main, purity
    start, per_row = counts.indptr[:-1], np.diff(counts.indptr)
    # Column 0 holds the molecules of no cell: they count among all, but are nobody's.
    own = np.where(counts.indices > 0, counts.data, 0)
    most = np.maximum.reduceat(own, start)
    leads = (own == np.repeat(most, per_row)) & (own > 0)
    cell = np.where(leads, counts.indices - 1, n_sources)
    cell = np.minimum.reduceat(cell, start)
    main[sources.rows] = np.where(most > 0, cell, -1)
    purity[sources.rows] = most / np.add.reduceat(counts.data, start)
    return main, purity
