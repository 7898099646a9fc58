"""Nuclei and cells from plain arrays, without a config."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import run
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.shapes.fitting import fit
from celldyn.simulate.shapes.nuclei import Morphologies
from celldyn.simulate.shapes.orientation import axis_angles
from celldyn.simulate.shapes.outlines import CellShapes, Floats, Radii, polygon_areas
from celldyn.simulate.shapes.tessellation import Tessellation, get_expansion_radius
from celldyn.simulate.specs.shapes import MorphologySpec

_BLOCK = 4096
_STAGE = "shapes"


def generate_nuclei_by_celltype(
    xy: ArrayLike,
    celltype: ArrayLike,
    morphology: Mapping[str, MorphologySpec],
    *,
    default: MorphologySpec | None = None,
    centre: ArrayLike | None = None,
    seed: int = 0,
    stage: str = _STAGE,
    cell_ids: ArrayLike | None = None,
) -> Floats:
    """Draw a nucleus for every cell, by the morphology of its type.

    Parameters
    ----------
    xy
        (n, 2) positions in µm.
    celltype
        (n,) names.
    morphology
        Per cell type; all with the same `n_vertices`.
    default
        For the types that it does not name.
    centre
        (2,) that radial and tangential cells refer to; by default the middle of the cells.
    seed, stage, cell_ids
        The random stream; ids are 0 to n - 1 by default.

    Returns
    -------
    (n, n_vertices) radii in µm on rays at angles 2 π k / n_vertices.

    Raises
    ------
    MissingKeyError
        If a cell type has no morphology and there is no default.
    ConfigError
        If the morphologies' numbers of corners differ.
    """
    points = np.asarray(xy, dtype=np.float64)
    names, of = np.unique(np.asarray(celltype).astype(str), return_inverse=True)
    specs = [morphology.get(str(name), default) for name in names]
    if any(spec is None for spec in specs):
        lacking = str(names[[spec is None for spec in specs]][0])
        raise MissingKeyError(f"no morphology for cell type {lacking!r}", "name it, or a default")
    table = Morphologies.of([spec for spec in specs if spec is not None])
    ids = np.arange(len(points)) if cell_ids is None else np.asarray(cell_ids)
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0)) if centre is None else centre
    angle = axis_angles(
        points - np.asarray(middle, dtype=np.float64),
        table.mode[of],
        table.orientation_noise[of],
        table.orientation_angle[of],
        seed,
        f"{stage}/orientation",
        ids,
    )
    areas = table.drawn_areas(of, seed, stage, ids)
    return np.ascontiguousarray(table.radii(of, areas, angle, seed, stage, ids).T)


def nuclei_to_cells_voronoi(
    xy: ArrayLike,
    nuclei: ArrayLike,
    *,
    expansion_um: float | None = None,
    canvas_um: tuple[float, float] | None = None,
    cell_gap_um: float = 0.0,
    cell_outline: str = "voronoi",
    threads: int | None = None,
) -> CellShapes:
    """Grow cells around nuclei until they meet.

    Parameters
    ----------
    xy
        (n, 2) centres in µm, all of one section.
    nuclei
        (n, n_rays) radii in µm.
    expansion_um
        Farthest reach of a cell; None takes `get_expansion_radius` of the canvas's density.
    canvas_um
        Width and height that no cell leaves; None for no border.
    cell_gap_um
        Gap between neighbouring cells.
    cell_outline
        "voronoi": cells meet half-way; "power": further from the larger nucleus.
    threads
        How many; by default every core.

    Returns
    -------
    The outlines; no two cells overlap, and every nucleus lies within its cell.

    Raises
    ------
    DataError
        If the arrays do not fit each other, or two cells lie at the same place.
    """
    centre, radius = np.asarray(xy, dtype=np.float64), np.asarray(nuclei, dtype=np.float64)
    if radius.ndim != 2 or centre.shape != (len(radius), 2) or not len(radius):
        raise DataError(
            f"positions {centre.shape} and nuclei {radius.shape} do not belong together",
            "give (n, 2) positions and (n, n_rays) radii",
        )
    if expansion_um is None:
        width, height = np.ptp(centre, axis=0) if canvas_um is None else canvas_um
        expansion_um = get_expansion_radius(len(centre) / max(width * height, 1e-12))
    weight = polygon_areas(radius) / np.pi if cell_outline == "power" else None
    tree = cKDTree(centre)
    diagram = Tessellation(tree, radius.shape[1], expansion_um, cell_gap_um, weight, canvas_um)

    def work(block: int) -> tuple[Radii, Radii]:
        rows = np.arange(block * _BLOCK, min((block + 1) * _BLOCK, len(centre)))
        return fit(np.ascontiguousarray(radius[rows].T), diagram.radii(rows))

    job = blocks_job(work, -(-len(centre) // _BLOCK), "cell outlines", threads=threads)
    nucleus, cell = zip(*run(job, bar=False), strict=True)
    return CellShapes(centre, np.concatenate(nucleus), np.concatenate(cell))
