"""Outlines as GeoParquet: well-known binary made in blocks, without a geometry object per cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.persist import atomic_path
from celldyn.simulate.parallel import piped_job

if TYPE_CHECKING:
    from celldyn.simulate.shapes.outlines import CellShapes, Kind

_BLOCK = 1 << 15
"""Outlines written at once: some ten megabytes."""
_GEOMETRY = "geometry"
_POLYGON = 3
# Measured: 0.25 GB and 1.3 s per million outlines of 16 corners; plain 0.31 GB, zstd 0.22 GB.
_COMPRESSION = "lz4"


def outlines_parquet_job(
    path: Path | str,
    shapes: CellShapes,
    kind: Kind,
    columns: pd.DataFrame,
    *,
    threads: int | None = None,
) -> Job[int]:
    """Write outlines and what is known of them to a GeoParquet file.

    Parameters
    ----------
    path
        File to write; it appears when all of it is written.
    shapes
        Outlines of n cells.
    kind
        "nucleus" or "cell".
    columns
        (n, ...) what stands beside the column `geometry`.
    threads
        How many make blocks.

    Returns
    -------
    How many outlines were written. `geopandas.read_parquet` opens the file; coordinates are µm.
    """

    def geometry(rows: slice) -> Any:  # noqa: ANN401
        return polygon_wkb(shapes.vertices(kind, rows))

    return (yield from geoparquet_job(path, geometry, columns, threads=threads))


def geoparquet_job(
    path: Path | str,
    geometry: Callable[[slice], Any],
    columns: pd.DataFrame,
    *,
    threads: int | None = None,
) -> Job[int]:
    """Write a table with polygons block by block.

    Parameters
    ----------
    path
        File to write; it appears when all of it is written.
    geometry
        Makes the well-known binary of a run of rows, as an Arrow array.
    columns
        One row per geometry.
    threads
        How many make blocks.
    """
    import pyarrow as pa
    from pyarrow import parquet

    def table(k: int) -> Any:  # noqa: ANN401
        rows = slice(k * _BLOCK, min((k + 1) * _BLOCK, len(columns)))
        held = pa.Table.from_pandas(columns.iloc[rows], preserve_index=False)
        return held.append_column(_GEOMETRY, geometry(rows))

    schema = table(0).schema.with_metadata({b"geo": json.dumps(_metadata()).encode()})
    n_blocks = -(-len(columns) // _BLOCK)
    with (
        atomic_path(path) as draft,
        closing(parquet.ParquetWriter(draft, schema, **_options(columns))) as writer,
    ):

        def sink(held: Any) -> None:  # noqa: ANN401
            writer.write_table(held.replace_schema_metadata(schema.metadata))

        yield from piped_job(
            range(n_blocks), table, sink, Path(path).stem, total=n_blocks, threads=threads
        )
    return len(columns)


def polygon_wkb(corners: NDArray[np.float64]) -> Any:  # noqa: ANN401
    """Return polygons as well-known binary.

    Parameters
    ----------
    corners
        (m, k, 2), in order; the first is repeated here to close the ring.

    Returns
    -------
    (m,) Arrow array of binary: what `shapely.to_wkb` gives, without a geometry per polygon.
    """
    import pyarrow as pa

    k = corners.shape[1] + 1
    record = np.dtype(
        [
            ("order", "u1"),
            ("type", "<u4"),
            ("rings", "<u4"),
            ("points", "<u4"),
            ("xy", "<f8", (k, 2)),
        ]
    )
    made = np.empty(len(corners), dtype=record)
    made["order"], made["type"], made["rings"], made["points"] = 1, _POLYGON, 1, k
    made["xy"][:, :-1] = corners
    made["xy"][:, -1] = corners[:, 0]
    offsets = np.arange(len(made) + 1, dtype=np.int32) * np.int32(record.itemsize)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(made.view(np.uint8))]
    return pa.Array.from_buffers(pa.binary(), len(made), buffers)


def _options(columns: pd.DataFrame) -> dict[str, Any]:
    names = [str(name) for name in columns]
    categories = [name for name in names if isinstance(columns[name].dtype, pd.CategoricalDtype)]
    return {
        "compression": _COMPRESSION,
        "use_dictionary": categories,
        "write_statistics": [name for name in names if name not in categories],
    }


def _metadata() -> dict[str, Any]:
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}
    return {"version": "1.0.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
