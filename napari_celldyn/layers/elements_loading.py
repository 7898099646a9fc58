"""From where an element is stored to what can be drawn of it, as a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data import (
    ElementSource,
    MoleculeTable,
    Placing,
    Polygons,
    RadialPolygons,
    read_domains,
    read_molecules_job,
    read_outlines_job,
)
from celldyn.data.elements import Region
from celldyn.data.elements_molecules import LIMIT, molecules_of_frame_job
from celldyn.jobs import Job, Progress
from napari_celldyn.layers.molecules import MoleculeMarks
from napari_celldyn.layers.outlines import CHUNK, OutlineMarks, prepare_job


@dataclass(frozen=True, slots=True, eq=False)
class LoadedOutlines:
    """Outlines ready to be drawn.

    Parameters
    ----------
    marks
        What is drawn.
    cells
        (n,) the cell of each outline, -1 for none; None where nobody says.
    """

    marks: OutlineMarks
    cells: NDArray[np.integer] | None


def outlines_job(
    shapes: Polygons | RadialPolygons | ElementSource,
    cells: NDArray[np.integer] | None = None,
    *,
    placing: Placing | None = None,
) -> Job[LoadedOutlines]:
    """Read outlines, where they are to be read, place them beside the cells and prepare them.

    Parameters
    ----------
    shapes
        Outlines where they are drawn; or where they are stored, and then with `placing`.
    cells
        (n,) the cell of each outline, -1 for none.
    placing
        Where the tissue is drawn.
    """
    if isinstance(shapes, ElementSource):
        name = shapes.name
        shapes = yield from read_outlines_job(shapes)
        if placing is not None:
            shapes, cells = yield from _placed_job(shapes, name, placing)
    ready = yield from prepare_job(shapes)
    return LoadedOutlines(OutlineMarks(ready), cells)


def _placed_job(
    shapes: Polygons, name: str, placing: Placing
) -> Job[tuple[Polygons, NDArray[np.integer]]]:
    parts, cells = [], [np.empty(0, np.intp)]
    for part in shapes.chunks(CHUNK):
        placed, rows = placing.polygons(part, name)
        parts.append(placed)
        cells.append(rows)
        yield Progress("placing outlines", sum(map(len, cells)), len(shapes))
    return Polygons.concatenate(parts), np.concatenate(cells)


def molecules_job(
    source: Any,  # noqa: ANN401
    name: str,
    *,
    genes: Sequence[str] | None = None,
    placing: Placing | None = None,
    region: Region | None = None,
    limit: int = LIMIT,
) -> Job[MoleculeMarks]:
    """Read molecules, place them beside the cells and prepare them.

    Parameters
    ----------
    source
        A table of molecules, a data frame, a path, or a simulation.
    name
        What the molecules are called where they are stored.
    genes
        Only these; None is all.
    placing
        Where the tissue is drawn.
    region
        Only those within x0, y0, x1, y1 of their own coordinates; for files.
    limit
        How many to keep at most.
    """
    if isinstance(source, MoleculeTable):
        table = source
    elif isinstance(source, str | Path):
        job = read_molecules_job(Path(source), name, genes=genes, region=region, limit=limit)
        table = yield from job
    else:
        frame = source
        if not isinstance(source, pd.DataFrame):
            frame = yield from _simulated_job(source)
        table = yield from molecules_of_frame_job(frame, genes=genes, limit=limit)
    yield Progress("placing molecules")
    if placing is not None:
        table = placing.molecules(table, name)
    yield Progress("placing molecules")
    return MoleculeMarks(table)


def _simulated_job(simulation: Any) -> Job[pd.DataFrame]:  # noqa: ANN401
    """Draw the molecules of a simulation, unless it holds them already."""
    if "transcripts" not in vars(simulation) and hasattr(simulation, "molecule_inputs"):
        from celldyn.simulate.molecules import molecules_job as simulate_job

        held = yield from simulate_job(**simulation.molecule_inputs())
        return held.to_frame(simulation.gene_names)
    yield Progress("molecules")
    return simulation.transcripts


def domains_job(source: ElementSource, placing: Placing) -> Job[dict[str, Any]]:
    """Read named outlines and place them; "[section]" behind a name tells where it lies."""
    yield Progress("reading domains")
    return placed_domains(read_domains(source), placing)


def placed_domains(domains: dict[str, Any], placing: Placing) -> dict[str, Any]:
    """Return domains where the tissue is drawn."""
    from shapely.affinity import affine_transform

    placed = {}
    for name, shape in domains.items():
        section = name[name.rfind("[") + 1 : -1] if name.endswith("]") else ""
        dx, dy = placing.of_section(int(section) if section.isdigit() else section)
        placed[name] = affine_transform(shape, [placing.scale, 0, 0, placing.scale, dx, dy])
    return placed
