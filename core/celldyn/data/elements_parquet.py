"""Parquet files of outlines and molecules: found, held against their size, opened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from celldyn.data.elements import Polygons
from celldyn.data.hostile import FREE_BYTES, MAX_RATIO
from celldyn.data.words import listed, reason
from celldyn.errors import FileFormatError
from celldyn.jobs import Job, Progress

VERTEX_COLUMNS = ("cell_id", "vertex_x", "vertex_y")
"""Columns of a table with one row per corner, as Xenium writes its boundaries."""

BATCH = 20_000
"""Geometries that are decoded between two signs of life."""

_BYTES_PER_ROW = 8
"""Two coordinates of single precision: what a row of any of these tables takes at least."""


def parquet_files(path: Path) -> list[Path]:
    """Return the files of a table: itself, or those in its folder in the order of their numbers.

    Raises
    ------
    FileFormatError
        If there is none.
    """
    if path.is_file():
        return [path]
    found = [item for item in path.glob("*.parquet") if item.is_file()] if path.is_dir() else []
    if not found:
        raise FileFormatError(f"{path.name} is no Parquet table", "copy or export it again")
    return sorted(found, key=lambda item: (_number(item.name), item.name))


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else -1


def open_parquet(path: Path, *, dictionary: tuple[str, ...] = ()) -> Any:  # noqa: ANN401
    """Return a `pyarrow.parquet.ParquetFile` whose claims its size on disk can hold.

    Parameters
    ----------
    path
        One file.
    dictionary
        Columns of text to read as categories.

    Raises
    ------
    FileFormatError
        If it is no Parquet file, is damaged, or claims far more rows or bytes than it holds.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path, read_dictionary=list(dictionary))
        held = file.metadata
        groups = (held.row_group(i) for i in range(held.num_row_groups))
        claimed = max(held.num_rows * _BYTES_PER_ROW, sum(g.total_byte_size for g in groups))
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(
            f"{path.name} is no Parquet file or is damaged ({reason(error)})",
            "copy or export it again",
        ) from error
    stored = path.stat().st_size
    if held.num_rows < 0 or claimed > max(FREE_BYTES, MAX_RATIO * stored):
        raise FileFormatError(
            f"{path.name} claims {held.num_rows:,} rows, but only {stored:,} bytes are there",
            "copy or export it again",
        )
    return file


def geometry_column(schema: Any) -> str | None:  # noqa: ANN401
    """Return the column of a GeoParquet schema that holds WKB; None if it is no GeoParquet."""
    raw = (schema.metadata or {}).get(b"geo")
    if raw is None:
        return None
    try:
        held = json.loads(raw)
        name = str(held["primary_column"])
        encoding = str(held["columns"][name]["encoding"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return name if encoding.upper() == "WKB" and name in schema.names else None


def holds_outlines(path: Path) -> bool:
    """Whether a Parquet file holds polygons, told by its schema alone."""
    try:
        schema = open_parquet(path).schema_arrow
    except FileFormatError:
        return False
    return geometry_column(schema) is not None or set(VERTEX_COLUMNS) <= set(schema.names)


def read_polygons_job(path: Path) -> Job[Polygons]:
    """Read the outlines of one Parquet file; progress counts rows.

    Parameters
    ----------
    path
        A GeoParquet of polygons, or of points with a column `radius`; or a table of corners
        (cell_id, vertex_x, vertex_y) in which the corners of a polygon follow each other.

    Raises
    ------
    FileFormatError
        If it is neither, or damaged.
    """
    file = open_parquet(path)
    schema = file.schema_arrow
    column = geometry_column(schema)
    n_rows = file.metadata.num_rows
    if column is not None:
        parts: list[Polygons] = []
        done = 0
        for batch in _geometries(path, file, column):
            parts.append(_from_geometries(path, batch, column, done))
            done += batch.num_rows
            yield Progress("reading outlines", done, n_rows)
        return Polygons.concatenate(parts)
    if set(VERTEX_COLUMNS) <= set(schema.names):
        yield Progress("reading outlines", 0, n_rows)
        return _from_vertices(file)
    raise FileFormatError(
        f"{path.name} holds no outlines: neither a geometry nor {listed(VERTEX_COLUMNS)}",
        "write it with geopandas.GeoDataFrame.to_parquet",
    )


def _geometries(path: Path, file: Any, column: str) -> Iterator[Any]:  # noqa: ANN401
    """Yield batches of geometries with what they are called, and their radii if they have any."""
    import pyarrow as pa

    there = file.schema_arrow.names
    name = next((n for n in ("cell_id", *_index_columns(file), "name") if n in there), None)
    extra = [n for n in (name, "radius") if n is not None and n in there]
    try:
        yield from file.iter_batches(BATCH, columns=list(dict.fromkeys([column, *extra])))
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(
            f"{path.name} is damaged ({reason(error)})", "copy or export it again"
        ) from error


def _from_geometries(path: Path, batch: Any, column: str, first: int) -> Polygons:  # noqa: ANN401
    import shapely

    try:
        shapes = shapely.from_wkb(batch.column(column).to_numpy(zero_copy_only=False))
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise FileFormatError(
            f"the geometries of {path.name} are damaged ({reason(error)})",
            "copy or export it again",
        ) from error
    there = batch.schema.names
    name = next((n for n in there if n not in (column, "radius")), None)
    ids = np.arange(first, first + len(shapes)) if name is None else _values(batch.column(name))
    points = shapely.get_type_id(shapes) == shapely.GeometryType.POINT
    if len(shapes) and points.all() and "radius" in there:
        centre, radius = shapely.get_coordinates(shapes), _values(batch.column("radius"))
        return Polygons.from_circles(centre, radius, ids)
    return Polygons.from_shapely(shapes, ids)


def _index_columns(file: Any) -> list[str]:  # noqa: ANN401
    raw = (file.schema_arrow.metadata or {}).get(b"pandas")
    try:
        held = json.loads(raw or b"{}").get("index_columns", [])
    except (ValueError, AttributeError, RecursionError):
        return []
    return [name for name in held if isinstance(name, str)]


def _from_vertices(file: Any) -> Polygons:  # noqa: ANN401
    table = file.read(columns=list(VERTEX_COLUMNS))
    names, x, y = (_values(table[column]) for column in VERTEX_COLUMNS)
    first = np.ones(len(names), bool)
    first[1:] = names[1:] != names[:-1]
    begin = np.flatnonzero(first)
    end = np.append(begin[1:], len(names))[: len(begin)] - 1
    xy = np.column_stack([x, y]).astype(np.float64)
    keep = np.ones(len(names), bool)
    closed = (end > begin) & (xy[end] == xy[begin]).all(axis=1)  # the first corner once more
    keep[end[closed]] = False
    n_corners = end - begin + 1 - closed
    start = np.concatenate([[0], np.cumsum(n_corners)]).astype(np.intp)
    return Polygons(xy[keep], start, names[begin])


def _values(column: Any) -> Any:  # noqa: ANN401
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    if hasattr(column, "dictionary"):
        column = column.dictionary_decode()
    held = column.to_numpy(zero_copy_only=False)
    if held.dtype == object and len(held) and isinstance(held[0], bytes):
        return np.array([item.decode(errors="replace") for item in held], dtype=object)
    return held
