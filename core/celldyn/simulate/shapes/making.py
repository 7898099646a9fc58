"""The outlines of every nucleus and cell of a simulated tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from celldyn.devices import aside_job
from celldyn.errors import MissingKeyError
from celldyn.jobs import Job, run
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.shapes.fitting import fit
from celldyn.simulate.shapes.nuclei import Morphologies
from celldyn.simulate.shapes.orientation import axis_angles
from celldyn.simulate.shapes.outlines import CellShapes, Floats
from celldyn.simulate.shapes.tessellation import Tessellation, get_expansion_radius

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_BLOCK = 4096
"""Cells of one block: its arrays fit into a core's cache."""
_STAGE = "shapes"


def make_shapes(
    config: SimulationConfig, cells: pd.DataFrame, *, threads: int | None = None
) -> CellShapes:
    """Return the outlines of all nuclei and cells; see `shapes_job`."""
    return run(shapes_job(config, cells, threads=threads), bar=False)


def shapes_job(
    config: SimulationConfig, cells: pd.DataFrame, *, threads: int | None = None
) -> Job[CellShapes]:
    """Make the outlines of all nuclei and cells; progress counts blocks of cells per section.

    A nucleus is drawn for its own cell alone; a cell depends on its neighbours. Neighbouring
    cells meet half-way, or further from the larger nucleus (`cell_outline`), reach
    `expansion_um` where there is no neighbour, and stay on the canvas.

    Parameters
    ----------
    config
        `default_morphology`, `celltype_morphology`, the prototypes' `morphology`,
        `cell_outline`, `expansion_um` and `cell_gap_um`.
    cells
        All cells: `celltype`, `x`, `y`, `section`; `prototype` and `cell_id` where there are
        any (0 and the position else).
    threads
        How many; by default every core.

    Returns
    -------
    Outlines in the order of `cells`.

    Raises
    ------
    MissingKeyError
        If a cell is of a type or section that the config does not name.
    DataError
        If two cells of a section lie at the same place.
    """
    maker = yield from aside_job(lambda: _Maker.of_cells(config, cells), "nuclei")
    section = _codes(cells, "section", config.section_names)
    for k in np.unique(section):
        rows = np.flatnonzero(section == k)
        yield from _section_job(config, maker, int(k), rows, threads)
    return CellShapes(maker.centre, maker.nucleus, maker.cell)


def orientations(config: SimulationConfig, cells: pd.DataFrame) -> Floats:
    """Return the direction of each cell's long axis.

    Parameters
    ----------
    config
        The morphologies say how directions are chosen. Radial and tangential cells of a
        structure refer to that structure's axis, all others to the middle of the canvas; aligned
        cells of a structure turn with it.
    cells
        As in `shapes_job`.

    Returns
    -------
    (n,) angles from the x axis in [0, π), rad.
    """
    table, of = morphologies(config), _spec_codes(config, cells)
    xy = cells[["x", "y"]].to_numpy(dtype=np.float64)
    away = xy - 0.5 * np.array(config.canvas_um)
    angle = table.orientation_angle[of]
    if config.prototypes:
        from celldyn.simulate.shapes.patterns import away_from_axis

        prototype = cells["prototype"].to_numpy()
        for k, placed in enumerate(config.placed_prototypes):
            rows = np.flatnonzero(prototype == k + 1)
            away[rows] = away_from_axis(placed, xy[rows])
            angle[rows] += np.deg2rad(placed.spec.orientation + placed.orientation)
    noise = table.orientation_noise[of]
    stage = f"{_STAGE}/orientation"
    return axis_angles(away, table.mode[of], noise, angle, config.seed, stage, _ids(cells))


def morphologies(config: SimulationConfig) -> Morphologies:
    """Return the morphology of every cell type in the background, then in each structure.

    Entry `prototype * n_celltype + celltype` holds for a cell; prototype 0 is the background. A
    vessel's cells lie along its wall where the structure does not say otherwise.
    """
    names = config.celltype_names
    common = [config.celltype_morphology.get(name, config.default_morphology) for name in names]
    specs = list(common)
    for placed in config.placed_prototypes:
        around = placed.spec.pattern == "vessel"
        for name, usual in zip(names, common, strict=True):
            along = usual.replace(orientation_mode="tangential") if around else usual
            specs.append(placed.spec.morphology.get(name, along))
    return Morphologies.of(specs)


@dataclass(frozen=True, slots=True)
class _Maker:
    """What blocks of cells are made from, and the arrays that they fill."""

    table: Morphologies
    of: NDArray[np.intp]
    ids: NDArray[np.integer]
    orientation: Floats
    areas: Floats
    seed: int
    centre: Floats
    nucleus: NDArray[np.float32]
    cell: NDArray[np.float32]

    @classmethod
    def of_cells(cls, config: SimulationConfig, cells: pd.DataFrame) -> _Maker:
        table, of, ids = morphologies(config), _spec_codes(config, cells), _ids(cells)
        shape = (len(cells), table.n_rays)
        return cls(
            table,
            of,
            ids,
            orientations(config, cells),
            table.drawn_areas(of, config.seed, _STAGE, ids),
            config.seed,
            np.ascontiguousarray(cells[["x", "y"]].to_numpy(dtype=np.float64)),
            np.empty(shape, dtype=np.float32),
            np.empty(shape, dtype=np.float32),
        )

    def fill(self, rows: NDArray[np.intp], cell: Floats) -> None:
        """Draw the nuclei of `rows`, fit them into (n_rays, m) cells, and keep both."""
        drawn = self.table.radii(
            self.of[rows],
            self.areas[rows],
            self.orientation[rows],
            self.seed,
            _STAGE,
            self.ids[rows],
        )
        self.nucleus[rows], self.cell[rows] = fit(drawn, cell)


def _section_job(
    config: SimulationConfig,
    maker: _Maker,
    section: int,
    rows: NDArray[np.intp],
    threads: int | None,
) -> Job[None]:
    def prepare() -> Tessellation:
        width, height = config.canvas_um
        cap = config.expansion_um or get_expansion_radius(len(rows) / (width * height))
        weight = maker.areas[rows] / np.pi if config.cell_outline == "power" else None
        # Neither balanced nor compact: the tree is built in half the time and asked as fast.
        tree = cKDTree(maker.centre[rows], balanced_tree=False, compact_nodes=False)
        gap, canvas = config.cell_gap_um, config.canvas_um
        return Tessellation(tree, maker.table.n_rays, cap, gap, weight, canvas)

    diagram = yield from aside_job(prepare, "neighbours")
    empty = None
    if config.prototypes:
        from celldyn.simulate.shapes.lumens import Lumens

        empty = Lumens.of(config, section)

    def work(block: int) -> None:
        local = np.arange(block * _BLOCK, min((block + 1) * _BLOCK, len(rows)))
        cell = diagram.radii(local)
        if empty is not None:
            empty.clip(maker.centre[rows[local]], cell)
        maker.fill(rows[local], cell)

    yield from blocks_job(work, -(-len(rows) // _BLOCK), "cell outlines", threads=threads)


def _spec_codes(config: SimulationConfig, cells: pd.DataFrame) -> NDArray[np.intp]:
    """Return which entry of `morphologies` each cell has."""
    celltype = _codes(cells, "celltype", config.celltype_names)
    if "prototype" not in cells:
        return celltype
    return celltype + config.n_celltype * cells["prototype"].to_numpy().astype(np.intp)


def _codes(cells: pd.DataFrame, column: str, names: list[str]) -> NDArray[np.intp]:
    codes = pd.Categorical(cells[column], categories=names).codes.astype(np.intp)
    if np.any(codes < 0):
        name = cells[column].iloc[int(np.flatnonzero(codes < 0)[0])]
        raise MissingKeyError(
            f"{name!r} is no {column} of this simulation", f"it has {', '.join(names)}"
        )
    return codes


def _ids(cells: pd.DataFrame) -> NDArray[np.integer]:
    return cells["cell_id"].to_numpy() if "cell_id" in cells else np.arange(len(cells))
