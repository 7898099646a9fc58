"""Structures of cells at their places: tumours, infiltrates, ducts, vessels, crypts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from celldyn.simulate.shapes.arrays import generate_nuclei_by_celltype
from celldyn.simulate.shapes.outlines import Floats
from celldyn.simulate.shapes.patterns import away_from_axis, spec_region
from celldyn.simulate.shapes.placing import pack_region, turned
from celldyn.simulate.shapes.structures import Structure, structures, wanted
from celldyn.simulate.specs.shapes import MorphologySpec, PrototypeSpec, PrototypeSpecInstance
from celldyn.simulate.streams import uniforms

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig


@dataclass(frozen=True, slots=True)
class Placed:
    """The cells of all structures of a section.

    Parameters
    ----------
    xy
        (m, 2) positions in µm.
    prototype
        (m,) their structure: i + 1 for `config.placed_prototypes[i]`.
    celltype
        (m,) positions in `config.celltype_names`; -1 where the structure has no composition, so
        that the layout decides.
    keep_out
        Takes (k, 2) positions and says where no other cell may lie: within a structure or its
        lumen, or closer than the hard core to one of these cells.
    """

    xy: Floats
    prototype: NDArray[np.intp]
    celltype: NDArray[np.intp]
    keep_out: Callable[[ArrayLike], NDArray[np.bool_]]


def place_prototypes(config: SimulationConfig, section: int) -> Placed:
    """Place the cells of a section's structures.

    Structures keep out of those listed before them, and what reaches over the canvas is cut off.

    Parameters
    ----------
    config
        `prototypes`, and the canvas, hard core, density and cell types of the tissue.
    section
        Which.

    Returns
    -------
    As many cells as each structure asks for, or the tissue's density gives, in shares of the cell
    types that are exact to one cell.
    """
    found = structures(config, section)
    numbers = [np.full(len(each.xy), each.number + 1, dtype=np.intp) for each in found]
    codes = [_celltypes(config, each, section) for each in found]
    xy = np.concatenate([np.empty((0, 2)), *(each.xy for each in found)])
    return Placed(
        xy,
        np.concatenate([np.empty(0, dtype=np.intp), *numbers]),
        np.concatenate([np.empty(0, dtype=np.intp), *codes]),
        _keep_out(found, xy, config.min_distance_um),
    )


def count_prototype_cells(config: SimulationConfig) -> NDArray[np.intp]:
    """Return how many cells each of `config.placed_prototypes` has."""
    counts = np.zeros(len(config.placed_prototypes), dtype=np.intp)
    for section in range(config.n_sections):
        for each in structures(config, section):
            counts[each.number] = len(each.xy)
    return counts


def generate_spec_points(
    spec: PrototypeSpec,
    *,
    area_per_cell_um2: float = 150.0,
    min_distance_um: float = 8.0,
    seed: int = 0,
    stage: str = "prototype",
) -> Floats:
    """Place the cells of one structure about (0, 0).

    Parameters
    ----------
    spec
        The structure.
    area_per_cell_um2
        Sets the number of cells where the structure does not.
    min_distance_um
        No two cells are closer.
    seed, stage
        The random stream.

    Returns
    -------
    (n, 2) positions in µm; n is less than asked for where there is no more room.
    """
    where = spec_region(spec, seed, stage)
    n = wanted(spec, where, where.outline.area, 1.0 / area_per_cell_um2)
    return turned(pack_region(n, where, min_distance_um, seed, stage), spec.orientation)


def generate_spec_nuclei(
    spec: PrototypeSpec,
    xy: ArrayLike,
    celltype: ArrayLike,
    *,
    default: MorphologySpec | None = None,
    seed: int = 0,
    stage: str = "prototype",
) -> Floats:
    """Draw the nuclei of one structure's cells.

    Parameters
    ----------
    spec
        The structure; its `morphology` holds for the cell types that it names.
    xy
        (n, 2) positions about (0, 0), as of `generate_spec_points`.
    celltype
        (n,) names.
    default
        For the other cell types.
    seed, stage
        The random stream.

    Returns
    -------
    (n, n_vertices) radii in µm on rays at angles 2 π k / n_vertices.

    Raises
    ------
    ConfigError
        If the morphologies' numbers of corners differ.
    """
    points = np.asarray(xy, dtype=np.float64)
    away = away_from_axis(PrototypeSpecInstance(spec=spec, x=0.0, y=0.0), points)

    def turn(one: MorphologySpec) -> MorphologySpec:
        angle = (one.orientation_angle + spec.orientation) % 180.0
        turned_one: MorphologySpec = one.replace(orientation_angle=angle)
        return turned_one

    return generate_nuclei_by_celltype(
        points,
        celltype,
        {name: turn(one) for name, one in spec.morphology.items()},
        default=turn(default or MorphologySpec()),
        centre=points - away,
        seed=seed,
        stage=stage,
    )


def exact_shares(
    shares: Mapping[str, float], names: list[str], n: int, seed: int, stage: str
) -> NDArray[np.intp]:
    """Return n codes of `names` in random order, their numbers off the shares by less than one."""
    share = np.array([shares.get(name, 0.0) for name in names])
    exact = n * share / share.sum()
    counts = np.floor(exact).astype(np.intp)
    left = n - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    order = np.argsort(uniforms(seed, stage, n)[:, 0], kind="stable")
    codes = np.empty(n, dtype=np.intp)
    codes[order] = np.repeat(np.arange(len(names)), counts)
    return codes


def _keep_out(
    found: tuple[Structure, ...], cells: Floats, min_distance: float
) -> Callable[[ArrayLike], NDArray[np.bool_]]:
    whole = shapely.union_all([each.whole for each in found])
    shapely.prepare(whole)
    tree = cKDTree(cells) if len(cells) else None

    def keep_out(xy: ArrayLike) -> NDArray[np.bool_]:
        points = np.asarray(xy, dtype=np.float64)
        forbidden = np.asarray(shapely.contains_xy(whole, points))
        if tree is not None and min_distance > 0:
            nearest, _ = tree.query(points, distance_upper_bound=min_distance)
            forbidden |= np.isfinite(nearest)
        return forbidden

    return keep_out


def _celltypes(config: SimulationConfig, found: Structure, section: int) -> NDArray[np.intp]:
    composition, n = config.placed_prototypes[found.number].spec.composition, len(found.xy)
    if not composition:
        return np.full(n, -1, dtype=np.intp)
    stage = f"layout/{section}/prototype/{found.number}/type"
    return exact_shares(composition, config.celltype_names, n, config.seed, stage)
