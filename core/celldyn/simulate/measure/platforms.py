"""Platforms that look at the tissue: spots, bins, beads, and imaging panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celldyn import keys
from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job
from celldyn.simulate.measure.grids import HexSpots, SquareBins
from celldyn.simulate.measure.inputs import (
    MoleculeBlock,
    MoleculeSource,
    require_cells,
)
from celldyn.simulate.measure.naming import known_names, row_names
from celldyn.simulate.measure.sight import Fields, Locate, Seen, Sight, panel_of
from celldyn.simulate.specs import PlatformSpec

if TYPE_CHECKING:
    from anndata import AnnData

_BEAD_GAP = 1.1
"""Pitch of a bead array over the beads' diameter: about three quarters of the area is bead."""
_UNIT = {"visium": "spot", "visium_hd": "bin", "slideseq": "bead"}


def platform_job(
    spec: PlatformSpec,
    molecules: MoleculeSource,
    canvas_um: tuple[float, float],
    gene_names: Sequence[str],
    seed: int,
    *,
    cells: pd.DataFrame,
    threads: int | None = None,
) -> Job[AnnData]:
    """Look at the molecules of a tissue as a platform does.

    Parameters
    ----------
    spec
        The platform.
    molecules
        A `Molecules`, a mapping or data frame of its columns, or an iterable of such blocks,
        which is read once; a block's memory is given back after it.
    canvas_um
        Width and height of a section.
    gene_names
        (G,) names, by the molecules' gene codes.
    seed
        The simulation's seed; the molecules' numbers fix which of them are seen.
    cells
        One row per cell, numbered from 0: `celltype` and `section` (categorical), `x`, `y`.
    threads
        How many.

    Returns
    -------
    X: (n_obs, n_panel) counts, CSR float32. obsm["spatial"]: (n_obs, 2) µm on the canvas of the
    section. obsm["truth_composition"]: (n_obs, n_types) shares of the cell types by the source
    cells of the molecules counted there; 0 where there are none. obs: for visium (all spots),
    visium_hd and slideseq (bins and beads that hold molecules) `in_tissue` (1 where a cell's
    molecule was counted), `array_row`, `array_col`, `radius` (µm; half the side of a bin); for
    xenium and merfish, which have one row per cell and count where molecules land, `cell_type`
    and `fov`; `section` where there are several. uns["platform"]: `kind`, `name`, `shape` (disc,
    square or cell), `size_um`. uns["truth"]: `molecules`, how many met which fate; `config`, the
    platform as JSON.

    Raises
    ------
    MissingKeyError
        If a gene of the panel or a column of `cells` is missing.
    DataError
        If molecules name genes or cells that are not there.
    """
    require_cells(cells)
    panel, column = panel_of(spec, gene_names)
    fields = Fields(canvas_um, spec.fov_um)
    imaging = spec.kind in ("xenium", "merfish")
    types = cells["celltype"].cat
    codes = types.codes.to_numpy().astype(np.int32)
    sight = Sight(spec, column, panel, fields if imaging else None, codes, types.categories, seed)
    if imaging:
        seen = yield from sight.look_job(molecules, _landed_in(len(cells)), threads=threads)
        return (yield from aside_job(lambda: _cell_table(sight, seen, cells, fields), spec.label))
    grid = _grid(spec, canvas_um, len(cells["section"].cat.categories), seed)

    def locate(block: MoleculeBlock) -> NDArray[np.int64]:
        return grid.locate(block.x, block.y, block.section)

    seen = yield from sight.look_job(molecules, locate, threads=threads)
    return (yield from aside_job(lambda: _grid_table(sight, seen, grid, cells), spec.label))


def spot_polygons(adata: AnnData) -> NDArray[Any]:
    """Return the outlines of a platform's spots, beads or bins.

    Parameters
    ----------
    adata
        From `platform_job`; discs also have their centres in obsm["spatial"] and obs["radius"].

    Returns
    -------
    (n_obs,) shapely polygons in µm: squares, or discs of 32 corners.

    Raises
    ------
    DataError
        If the platform has cells, not spots.
    """
    import shapely

    shape = adata.uns.get(keys.PLATFORM(), {}).get("shape")
    centre = np.asarray(adata.obsm[keys.SPATIAL()], dtype=np.float64)
    if shape not in ("disc", "square"):
        raise DataError(
            f"this table has no spots, its rows are {shape or 'not those of a platform'}",
            "take the outlines of the cells",
        )
    radius = adata.obs["radius"].to_numpy(dtype=np.float64)
    if shape == "disc":
        return np.asarray(shapely.buffer(shapely.points(centre), radius, quad_segs=8))
    low, high = centre - radius[:, None], centre + radius[:, None]
    return np.asarray(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))


def _grid(
    spec: PlatformSpec, canvas_um: tuple[float, float], n_sections: int, seed: int
) -> HexSpots | SquareBins:
    if spec.kind == "visium_hd":
        return SquareBins.on(canvas_um, n_sections, spec.bin_um)
    if spec.kind == "visium":
        return HexSpots.on(canvas_um, n_sections, pitch=spec.pitch_um, diameter=spec.spot_um)
    return HexSpots.on(
        canvas_um,
        n_sections,
        pitch=_BEAD_GAP * spec.bead_um,
        diameter=spec.bead_um,
        scattered_by=(seed, f"platform/{spec.label}/beads"),
    )


def _landed_in(n_cells: int) -> Locate:
    def locate(block: MoleculeBlock) -> NDArray[np.int64]:
        landed = block.landed_cell_id.astype(np.int64)
        if landed.size and landed.max() >= n_cells:
            raise DataError(
                f"a molecule landed in cell {int(landed.max())}, and there are {n_cells}",
                "give all cells, numbered from 0",
            )
        return landed

    return locate


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a table: their numbers among all, names, places in µm, and columns of obs."""

    site: NDArray[np.int64]
    unit: str
    xy: NDArray[np.float64]
    obs: dict[str, Any]
    section: pd.Categorical
    shape: str
    size_um: float


def _grid_table(
    sight: Sight, seen: Seen, grid: HexSpots | SquareBins, cells: pd.DataFrame
) -> AnnData:
    kind = sight.spec.kind
    everywhere = kind == "visium"
    site = np.arange(grid.n_sites) if everywhere else seen.counts.rows
    width = len(sight.panel)
    counts = seen.counts.csr(site.size, width) if everywhere else seen.counts.compact(width)
    row, column = grid.array_position(site)
    obs = {
        "in_tissue": np.isin(site, seen.types.rows).astype(np.int8),
        "array_row": row.astype(np.int32),
        "array_col": column.astype(np.int32),
        "radius": np.full(site.size, grid.radius),
    }
    section = pd.Categorical.from_codes(grid.section_of(site), cells["section"].cat.categories)
    shape = "square" if kind == "visium_hd" else "disc"
    xy, size = grid.centres(site), 2.0 * grid.radius
    return _table(sight, seen, counts, _Rows(site, _UNIT[kind], xy, obs, section, shape, size))


def _cell_table(sight: Sight, seen: Seen, cells: pd.DataFrame, fields: Fields) -> AnnData:
    n_cells, xy = len(cells), cells[["x", "y"]].to_numpy(dtype=np.float64)
    section = cells["section"].cat.codes.to_numpy().astype(np.int64)
    per_section = int(np.prod(fields.shape))
    number, code = np.unique(section * per_section + fields.of(*xy.T), return_inverse=True)
    obs = {
        "cell_type": cells["celltype"].array,
        "fov": pd.Categorical.from_codes(code, pd.Index([f"fov_{k}" for k in number])),
    }
    counts = seen.counts.csr(n_cells, len(sight.panel))
    rows = _Rows(np.arange(n_cells), "cell", xy, obs, cells["section"].array, "cell", 0.0)
    return _table(sight, seen, counts, rows)


def _table(sight: Sight, seen: Seen, counts: sparse.csr_matrix, rows: _Rows) -> AnnData:
    from anndata import AnnData

    from celldyn.data import set_section_key, set_unit

    several = len(rows.section.categories) > 1
    names = row_names(rows.unit, range(rows.site.size))
    with known_names():
        adata = AnnData(
            X=counts.astype(np.float32),
            obs=pd.DataFrame(
                rows.obs | ({"section": rows.section} if several else {}), index=names
            ),
            var=pd.DataFrame(index=pd.Index(np.array(sight.panel, dtype=object))),
            obsm={
                keys.SPATIAL(): rows.xy,
                keys.TRUTH_COMPOSITION(): _composition(sight, seen, rows.site, names),
            },
        )
    set_unit(adata, 1.0)
    set_section_key(adata, "section" if several else None)
    adata.uns[keys.PLATFORM()] = {
        "kind": sight.spec.kind,
        "name": sight.spec.label,
        "shape": rows.shape,
        "size_um": rows.size_um,
    }
    adata.uns[keys.TRUTH()] = {
        "molecules": seen.fates,
        "config": sight.spec.model_dump_json(),
    }
    return adata


def _composition(
    sight: Sight, seen: Seen, site: NDArray[np.int64], names: pd.Index
) -> pd.DataFrame:
    shares = np.zeros((site.size, len(sight.types)), dtype=np.float32)
    counts = seen.types.compact(len(sight.types))
    totals = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
    shares[np.searchsorted(site, seen.types.rows)] = counts.toarray() / totals
    # A "/" in the name of a type would make a folder inside a file.
    types = [str(name).replace("/", "_") for name in sight.types]
    return pd.DataFrame(shares, index=names, columns=types)
