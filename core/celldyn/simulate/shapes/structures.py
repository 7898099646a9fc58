"""Where the structures of a section lie, and their cells: made once, for checks and for use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from celldyn.simulate.shapes.outlines import Floats
from celldyn.simulate.shapes.patterns import Region, spec_region
from celldyn.simulate.shapes.placing import pack_evenly, turned
from celldyn.simulate.specs.shapes import PrototypeSpec, PrototypeSpecInstance

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig


@dataclass(frozen=True, slots=True)
class Structure:
    """One structure at its place.

    Parameters
    ----------
    number
        Its position in `config.placed_prototypes`.
    xy
        (m, 2) positions of its cells in µm; fewer than asked for where there is no more room.
    whole
        Polygon of the structure, lumen and all.
    lumen
        Polygon of what stays empty, without structures that were there before; None for none.
    """

    number: int
    xy: Floats
    whole: Any
    lumen: Any


def structures(config: SimulationConfig, section: int) -> tuple[Structure, ...]:
    """Return the structures of a section with the positions of their cells."""
    texts = [
        (number, placed.model_dump_json(exclude={"spec": {"name", "composition", "morphology"}}))
        for number, placed in enumerate(config.placed_prototypes)
        if placed.section == section
    ]
    width, height = config.canvas_um
    density = config.section_sizes[section] / (width * height)
    return _structures(
        tuple(texts), width, height, density, config.min_distance_um, config.seed, section
    )


def wanted(spec: PrototypeSpec, where: Region, area: float, density: float) -> int:
    """Return how many cells a structure asks for.

    Parameters
    ----------
    spec, where
        The structure.
    area
        What is left for it on the canvas, µm².
    density
        Cells per µm² of the tissue. A wall of less than one layer gets cells at their spacing.
    """
    if spec.n_cells is not None:
        return spec.n_cells
    n = area * density
    if where.lumen is not None:
        n = max(n, where.wall_length * density**0.5 * area / where.outline.area)
    return round(n)


@lru_cache(maxsize=16)
def _structures(
    texts: tuple[tuple[int, str], ...],
    width: float,
    height: float,
    density: float,
    min_distance: float,
    seed: int,
    section: int,
) -> tuple[Structure, ...]:
    """Place the structures one after the other; kept, since a config's check asks for it too."""
    canvas, found = shapely.box(0.0, 0.0, width, height), list[Structure]()
    boxes = np.empty((len(texts), 4))
    for number, text in texts:
        placed = PrototypeSpecInstance(**json.loads(text))
        stage = f"layout/{section}/prototype/{number}"
        base = spec_region(placed.spec, seed, stage)
        where = base.moved(placed.spec.orientation + placed.orientation, placed.x, placed.y)
        whole = where.whole
        # Those whose boxes come near are all that can be in its way.
        near = _near(boxes[: len(found)], whole.bounds, min_distance)
        boxes[len(found)] = whole.bounds
        before = [found[k] for k in near]
        free = shapely.difference(canvas, shapely.union_all([each.whole for each in before]))
        area = shapely.intersection(where.outline, free).area
        n = wanted(placed.spec, where, area, density)
        taken = np.concatenate([np.empty((0, 2)), *(each.xy for each in before)])
        room = shapely.intersection(where.room, free)
        xy = _pack_at(n, base, room, placed, taken, min_distance, seed, f"{stage}/points")
        xy.flags.writeable = False
        lumen = None if where.lumen is None else shapely.intersection(where.lumen, free)
        found.append(Structure(number, xy, whole, lumen))
    return tuple(found)


def _near(
    boxes: Floats, box: tuple[float, float, float, float], distance: float
) -> NDArray[np.intp]:
    """Return which of (n, 4) boxes (least x and y, greatest x and y) come near another."""
    low, high = np.array(box[:2]) - distance, np.array(box[2:]) + distance
    return np.flatnonzero(np.all((boxes[:, :2] <= high) & (boxes[:, 2:] >= low), axis=1))


def _pack_at(
    n: int,
    base: Region,
    room: Any,  # noqa: ANN401
    placed: PrototypeSpecInstance,
    taken: Floats,
    min_distance: float,
    seed: int,
    stage: str,
) -> Floats:
    """Place the cells of a structure in its room on the canvas.

    They are drawn in the structure's own frame, so that it keeps its cells when it is moved.
    """
    turn, centre = placed.spec.orientation + placed.orientation, [placed.x, placed.y]
    if room.is_empty:
        return np.empty((0, 2))
    shapely.prepare(room)

    def inside(xy: Floats) -> NDArray[np.bool_]:
        return np.asarray(shapely.contains_xy(room, turned(xy, turn) + centre))

    others = turned(taken - centre, -turn)
    return turned(pack_evenly(n, base, inside, min_distance, seed, stage, others), turn) + centre
