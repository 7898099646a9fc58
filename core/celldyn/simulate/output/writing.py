"""A simulated tissue on disk: a table, a SpatialData, or a folder; whole or not at all."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.data.writing import check_target
from celldyn.devices import aside_job
from celldyn.errors import FileFormatError
from celldyn.jobs import Job, run, scaled
from celldyn.persist import atomic_path
from celldyn.simulate.molecules.parquet import write_transcripts_job
from celldyn.simulate.output import names
from celldyn.simulate.output.geoparquet import geoparquet_job, outlines_parquet_job

if TYPE_CHECKING:
    from anndata import AnnData

    from celldyn.simulate.measure.segmentation import Segmentation
    from celldyn.simulate.simulation import Simulation

CONFIG_FILE, TABLE_FILE = "config.yaml", "table.h5ad"


def write_simulation(simulation: Simulation, out: Path | str) -> Path:
    """Write a simulated tissue; see `write_simulation_job`."""
    return run(write_simulation_job(simulation, out), bar=False)


def write_simulation_job(
    simulation: Simulation, out: Path | str, *, threads: int | None = None
) -> Job[Path]:
    """Write a simulated tissue: what `out` is called says as what.

    Parameters
    ----------
    simulation
        From `simulate_job`.
    out
        `*.h5ad` for the table alone; `*.zarr` for a SpatialData; a name without an ending for a
        folder of `table.h5ad`, `cells.parquet`, `nuclei.parquet` and `transcripts.parquet` (the
        first two are GeoParquet), `domains.geojson` if there are several domains, `config.yaml`,
        `spots_<platform>.h5ad`, and `segmentation.h5ad` with `segmented_cells.parquet`.
    threads
        How many place molecules and make outlines; by default every core.

    Returns
    -------
    The path. Molecules are placed as they are written and never all in memory. What was at
    `out` stays as it was until all is written, and if the job is closed or fails.

    Raises
    ------
    FileFormatError
        If the name has another ending, or something else is there already.
    """
    out = Path(out)
    check_output(out)
    match out.suffix.lower():
        case ".h5ad":
            yield from _table_job(simulation.adata, out)
        case ".zarr":
            yield from _zarr_job(simulation, out, threads)
        case _:
            yield from _folder_job(simulation, out, threads)
    return out


def check_output(out: Path) -> None:
    """Refuse a name of another ending, and a place that holds something else.

    A folder is replaced whole, so it may hold nothing but what a simulation is written as.

    Raises
    ------
    FileFormatError
        One sentence that names the place.
    """
    ending = out.suffix.lower()
    if ending == ".h5ad":
        check_target(out)
        return
    if ending not in (".zarr", ""):
        raise FileFormatError(
            f"{out.name} ends in {ending}, and a simulation is written to .h5ad, .zarr or a "
            "folder",
            "give a name that ends in one of them, or in nothing",
        )
    if out.is_file():
        raise FileFormatError(f"{out} is a file", "give another name")
    held = {item.name for item in out.iterdir()} if out.exists() else set()
    ours = held & {".zgroup", "zarr.json"} if ending else not {n for n in held if not _is_ours(n)}
    if held and not ours:
        raise FileFormatError(
            f"{out} is a folder that holds something else than a simulation", "give another name"
        )


def _is_ours(name: str) -> bool:
    segmented = {f"{names.SEGMENTATION}.h5ad", f"{names.SEGMENTED}.parquet"}
    tables = {"cells.parquet", "nuclei.parquet", "transcripts.parquet", "domains.geojson"}
    whole = {CONFIG_FILE, TABLE_FILE, *tables, *segmented}
    return name in whole or (name.startswith("spots_") and name.endswith(".h5ad"))


def _table_job(adata: AnnData, path: Path) -> Job[None]:
    from celldyn.data import write

    # A draft of our own: the thread that writes cannot be stopped, but what it made can be left.
    with atomic_path(path) as draft:
        yield from aside_job(lambda: write(adata, draft), "writing", path.name)


def _folder_job(simulation: Simulation, out: Path, threads: int | None) -> Job[None]:
    with atomic_path(out) as draft:
        draft.mkdir()
        parts = list(_parts(simulation, draft, threads))
        for k, part in enumerate(parts):
            yield from scaled(part, k, len(parts))


def _parts(simulation: Simulation, draft: Path, threads: int | None) -> Iterator[Job[Any]]:
    """Give the jobs that write the files of a folder."""
    cells, shapes = names.cell_columns(simulation), simulation.shapes
    inputs = simulation.molecule_inputs()
    known = [name for name in ("cell_id", "section", "nucleus_area") if name in cells]
    yield aside_job(lambda: _small_files(simulation, draft), "writing", CONFIG_FILE)
    yield _table_job(simulation.adata, draft / TABLE_FILE)
    yield outlines_parquet_job(draft / "cells.parquet", shapes, "cell", cells, threads=threads)
    yield outlines_parquet_job(
        draft / "nuclei.parquet", shapes, "nucleus", cells[known], threads=threads
    )
    yield write_transcripts_job(draft / "transcripts.parquet", **inputs, threads=threads)
    for label, adata in simulation.platforms.items():
        yield _table_job(adata, draft / f"spots_{names.plain(label)}.h5ad")
    if simulation.segmentation is not None:
        yield _table_job(simulation.segmentation.table, draft / f"{names.SEGMENTATION}.h5ad")
        yield _segmented_job(simulation.segmentation, draft / f"{names.SEGMENTED}.parquet")


def _segmented_job(found: Segmentation, path: Path) -> Job[int]:
    import numpy as np

    def geometry(rows: slice) -> Any:  # noqa: ANN401
        import pyarrow as pa
        import shapely

        return pa.array(shapely.to_wkb(found.polygons(np.arange(rows.start, rows.stop))))

    columns = found.table.obs.rename_axis("name").reset_index()
    columns.insert(0, "cell_id", np.arange(len(columns), dtype=np.int32))
    return (yield from geoparquet_job(path, geometry, columns))


def _small_files(simulation: Simulation, draft: Path) -> None:
    from shapely.geometry import mapping

    simulation.config.to_yaml(draft / CONFIG_FILE)
    several = simulation.config.n_sections > 1
    features = [
        {
            "type": "Feature",
            "properties": {"name": name} | ({"section": section} if several else {}),
            "geometry": mapping(geometry),
        }
        for section, name, geometry in names.domain_features(simulation)
    ]
    if features:
        text = json.dumps({"type": "FeatureCollection", "features": features})
        (draft / f"{names.DOMAINS}.geojson").write_text(text, encoding="utf-8")


def _zarr_job(simulation: Simulation, out: Path, threads: int | None) -> Job[None]:
    with atomic_path(out) as draft:
        # Beside the draft, in the folder that is removed with it.
        file = draft.parent / "transcripts.parquet"
        inputs = simulation.molecule_inputs()
        yield from scaled(write_transcripts_job(file, **inputs, threads=threads), 0, 2)
        yield from scaled(_elements_job(simulation, file, draft), 1, 2)


def _elements_job(simulation: Simulation, file: Path, draft: Path) -> Job[None]:
    """Make and write one element after the other, so that one at a time is in memory."""
    from celldyn.simulate.output.spatial import elements, lazy_points

    sections = simulation.config.section_names
    store = yield from aside_job(lambda: _empty_zarr(draft), "writing", draft.name)
    parts = yield from aside_job(
        lambda: elements(simulation, lambda k: lazy_points(file, sections[k])),
        "writing",
        draft.name,
    )
    for k, (name, make) in enumerate(parts.items()):
        write = partial(_write_element, store, name, make)
        yield from scaled(aside_job(write, "writing", name), k, len(parts))
    yield from aside_job(store.write_consolidated_metadata, "writing", draft.name)


def _empty_zarr(draft: Path) -> Any:  # noqa: ANN401
    from spatialdata import SpatialData

    store = SpatialData()
    store.write(draft, consolidate_metadata=False)
    return store


def _write_element(store: Any, name: str, make: Callable[[], Any]) -> None:  # noqa: ANN401
    with _unsharded(), warnings.catch_warnings():
        # A table's outlines are on disk already, or will be.
        warnings.filterwarnings("ignore", message="The table is annotating")
        store[name] = make()
        store.write_element(name)
        del store[name]


def _unsharded() -> AbstractContextManager[Any]:
    """Keep anndata's present layout, and its words about a future one to itself."""
    import anndata

    if hasattr(anndata.settings, "auto_shard_zarr_v3"):
        kept: AbstractContextManager[Any] = anndata.settings.override(auto_shard_zarr_v3=False)
        return kept
    return nullcontext()
