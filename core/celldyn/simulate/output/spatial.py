"""A simulated tissue as a SpatialData: molecules, outlines, domains, platforms and tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn import keys
from celldyn.simulate.output import names
from celldyn.simulate.output.tables import Labels, annotating

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.simulate.measure.segmentation import Segmentation
    from celldyn.simulate.simulation import Simulation

CELL_ID = "cell_id"

Points = Callable[[int], Any]
"""Section -> its molecules, as a data frame of dask or pandas."""
Make = Callable[[], Any]
"""Makes one element."""


def to_spatialdata(simulation: Simulation) -> Any:  # noqa: ANN401
    """Return a simulated tissue as a SpatialData; molecules are placed in memory.

    Parameters
    ----------
    simulation
        From `simulate_job`.

    Returns
    -------
    points `transcripts`; shapes `nucleus_boundaries`, `cell_boundaries`, `domains` if there are
    several, `<platform>_spots` and `segmented_cells`; tables `table` (annotates the cells),
    `<platform>` and `segmentation`. With several sections each has its own elements, named
    `<section>_...`, on a canvas of its own. Coordinates are µm.
    """
    frame = simulation.transcripts

    def points(section: int) -> Any:  # noqa: ANN401
        here = frame["section"].cat.codes == section
        return frame[here.to_numpy()].reset_index(drop=True)

    return assemble(simulation, points)


def assemble(simulation: Simulation, points: Points) -> Any:  # noqa: ANN401
    """Return the SpatialData, its molecules from `points`."""
    from spatialdata import SpatialData

    made = {name: make() for name, make in elements(simulation, points).items()}
    return SpatialData.init_from_elements(made)


def elements(simulation: Simulation, points: Points) -> dict[str, Make]:
    """Return what makes each element, by its name: one by one they need not all be in memory."""
    made: dict[str, Make] = {}
    for k, section in enumerate(simulation.config.section_names):
        rows = names.rows_of(simulation, k)
        for kind, name in (("nucleus", names.NUCLEI), ("cell", names.CELLS)):
            element = names.element(simulation, section, name)
            made[element] = partial(_outlines, simulation, kind, rows)
        element = names.element(simulation, section, names.TRANSCRIPTS)
        made[element] = partial(_molecules, points, k)
    made |= _domains(simulation)
    made[names.TABLE] = lambda: annotating(simulation.adata, *_instances(simulation))
    for label, adata in simulation.platforms.items():
        made |= _platform(simulation, names.plain(label), adata)
    if simulation.segmentation is not None:
        made |= _segmentation(simulation, simulation.segmentation)
    return made


def lazy_points(file: Path, section: str) -> Any:  # noqa: ANN401
    """Return the molecules of a section in a file of ours as a dask frame, read when written."""
    import dask.dataframe as dd
    from pyarrow import parquet

    held = parquet.ParquetFile(file)
    groups = held.metadata.num_row_groups
    if not groups:
        return held.read().to_pandas()

    def read(group: int) -> pd.DataFrame:
        # Opened anew: one handle does not serve several threads.
        frame: pd.DataFrame = parquet.ParquetFile(file).read_row_group(group).to_pandas()
        here = frame["section"] == section
        return frame if here.all() else frame[here].reset_index(drop=True)

    return dd.from_map(read, range(groups), meta=read(0).iloc[:0])


def _molecules(points: Points, section: int) -> Any:  # noqa: ANN401
    from spatialdata.models import PointsModel

    frame = points(section)
    # A frame of dask would be read whole to learn whether its index ascends, as ours does.
    known = {} if isinstance(frame, pd.DataFrame) else {"sort": True}
    return PointsModel.parse(
        frame,
        coordinates={"x": "x", "y": "y", "z": "z"},
        feature_key="feature_name",
        instance_key=CELL_ID,
        **known,
    )


def _outlines(simulation: Simulation, kind: Any, rows: slice) -> Any:  # noqa: ANN401
    index = simulation.cells[CELL_ID].to_numpy()[rows]
    return _shapes(simulation.shapes.polygons(kind, rows), index)


def _shapes(geometry: Any, index: Any, **columns: Any) -> Any:  # noqa: ANN401
    import geopandas
    from spatialdata.models import ShapesModel

    frame = geopandas.GeoDataFrame(columns, geometry=np.asarray(geometry), index=index)
    return ShapesModel.parse(frame)


def _domains(simulation: Simulation) -> dict[str, Make]:
    found = names.domain_features(simulation)
    made: dict[str, Make] = {}
    for section in dict.fromkeys(section for section, _, _ in found):
        here = [(name, geometry) for where, name, geometry in found if where == section]
        labels, outlines = zip(*here, strict=True)
        name = names.element(simulation, section, names.DOMAINS)
        made[name] = partial(_shapes, list(outlines), pd.Index(labels))
    return made


def _instances(simulation: Simulation) -> tuple[Labels, Any, str]:
    """Return of each cell the element of its outline, what it is called there, and the key."""
    regions = _regions(simulation, simulation.cells["section"], names.CELLS)
    return regions, simulation.cells[CELL_ID].to_numpy(), CELL_ID


def _regions(simulation: Simulation, section: pd.Series, name: str) -> Labels:
    categories = [
        names.element(simulation, each, name) for each in simulation.config.section_names
    ]
    codes = section.cat.codes.to_numpy()
    return pd.Categorical.from_codes(codes, pd.Index(categories)).remove_unused_categories()


def _sections(simulation: Simulation, adata: AnnData) -> pd.Series:
    """Return the section of each row of a platform's table; it is not told where there is one."""
    if "section" in adata.obs:
        told: pd.Series = adata.obs["section"]
        return told
    only = pd.Categorical(
        [simulation.config.section_names[0]] * adata.n_obs, simulation.config.section_names
    )
    return pd.Series(only, index=adata.obs_names)


def _platform(simulation: Simulation, label: str, adata: AnnData) -> dict[str, Make]:
    form = adata.uns["platform"]["shape"]
    if form == "cell":
        return {label: lambda: annotating(adata, *_instances(simulation))}
    name, section = f"{label}_spots", _sections(simulation, adata)
    number = np.arange(adata.n_obs)

    def spots(here: NDArray[np.intp]) -> Any:  # noqa: ANN401
        if form == "disc":
            from shapely import points

            centre = points(np.asarray(adata.obsm[keys.SPATIAL()])[here])
            radius = adata.obs["radius"].to_numpy(dtype=float)[here]
            return _shapes(centre, number[here], radius=radius)
        from celldyn.simulate.measure.platforms import spot_polygons

        return _shapes(spot_polygons(adata[here]), number[here])

    made = _by_section(simulation, section, name, spots)
    regions = _regions(simulation, section, name)
    return made | {label: lambda: annotating(adata, regions, number, "spot_id")}


def _segmentation(simulation: Simulation, found: Segmentation) -> dict[str, Make]:
    section = _sections(simulation, found.table)
    number = np.arange(found.table.n_obs)

    def outlines(here: NDArray[np.intp]) -> Any:  # noqa: ANN401
        return _shapes(found.polygons(here), number[here])

    made = _by_section(simulation, section, names.SEGMENTED, outlines)
    regions = _regions(simulation, section, names.SEGMENTED)
    return made | {names.SEGMENTATION: lambda: annotating(found.table, regions, number, CELL_ID)}


def _by_section(
    simulation: Simulation,
    section: pd.Series,
    name: str,
    make: Callable[[NDArray[np.intp]], Any],
) -> dict[str, Make]:
    """Return what makes the shapes of each section that has rows of a table."""
    made: dict[str, Make] = {}
    for k, each in enumerate(simulation.config.section_names):
        here = np.flatnonzero(section.cat.codes.to_numpy() == k)
        if here.size:
            made[names.element(simulation, each, name)] = partial(make, here)
    return made
