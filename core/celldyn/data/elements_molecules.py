"""Reading molecules: the columns and row groups that are asked for, thinned to what can be shown.

Which molecules stay depends on their row alone, so that a region or gene read again shows the
same ones and more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.elements import MoleculeTable, Region
from celldyn.data.elements_parquet import open_parquet, parquet_files
from celldyn.data.elements_thinning import Columns, Lowest, scattered
from celldyn.data.elements_transform import global_affine
from celldyn.data.formats import zarr_attributes
from celldyn.data.hostile import check_zarr
from celldyn.data.spatial import PAIRS
from celldyn.data.words import listed, reason
from celldyn.errors import CelldynError, FileFormatError
from celldyn.jobs import Job, Progress, run

if TYPE_CHECKING:
    from celldyn.data.elements_transform import Affine

LIMIT = 1_000_000
"""Molecules that are kept of a larger number."""

BATCH = 1 << 17
"""Rows that are decoded between two signs of life."""

GENE_COLUMNS = ("feature_name", "gene", "feature", "target", "target_name", "target_gene")


@dataclass(frozen=True, slots=True)
class MoleculeFiles:
    """Where molecules are stored, and under which names.

    Parameters
    ----------
    files
        Parquet files, in order.
    x, y, gene
        Their columns.
    extra
        Further columns that are there, of is_leaked, cell_id and section, by our name.
    affine
        (3, 3) map of (x, y, 1) to the coordinates of the tissue.
    """

    files: tuple[Path, ...]
    x: str
    y: str
    gene: str
    extra: dict[str, str]
    affine: Affine


def molecule_files(path: Path, element: str = "transcripts") -> MoleculeFiles:
    """Find the molecules of a SpatialData folder, of a folder of Parquet files, or a Parquet file.

    Parameters
    ----------
    path
        The SpatialData `.zarr`, the folder that holds `<element>.parquet`, or that file itself.
    element
        Name of the points.

    Raises
    ------
    FileFormatError
        If there are none, or the file holds no molecules.
    """
    place, attributes = path, {}
    if (folder := path / "points" / element).is_dir():
        check_zarr(folder)
        place, attributes = folder / "points.parquet", zarr_attributes(folder) or {}
    elif path.is_dir() and not list(path.glob("part*.parquet")):
        place = path / f"{element}.parquet"
    if not place.exists():
        raise FileFormatError(f"{path.name} has no molecules {element!r}", "check the path")
    files = parquet_files(place)
    names = open_parquet(files[0]).schema_arrow.names
    pair = next(((x, y) for x, y in PAIRS if x in names and y in names), None)
    said = attributes.get("spatialdata_attrs")
    said = said if isinstance(said, dict) else {}
    gene = next((g for g in (said.get("feature_key"), *GENE_COLUMNS) if g in names), None)
    if pair is None or gene is None:
        raise FileFormatError(
            f"{place.name} holds no molecules: its columns are {listed(names)}",
            "it needs x, y and feature_name",
        )
    wanted = {"is_leaked": "is_leaked", "cell_id": said.get("instance_key") or "cell_id",
              "section": "section"}  # fmt: skip
    extra = {ours: name for ours, name in wanted.items() if name in names}
    return MoleculeFiles(tuple(files), *pair, str(gene), extra, global_affine(attributes, element))


def read_molecules(
    path: Path | str,
    element: str = "transcripts",
    *,
    genes: Collection[str] | None = None,
    limit: int = LIMIT,
    region: Region | None = None,
) -> MoleculeTable:
    """Read molecules; of more than `limit` an even sample, the same at every call.

    Parameters
    ----------
    path
        A SpatialData `.zarr`, a folder with `<element>.parquet`, or a Parquet file with columns
        x, y (or the names that Xenium or MERSCOPE give them) and feature_name.
    element
        Name of the points of a SpatialData, or of the file in a folder.
    genes
        Only these; None reads all.
    limit
        How many to keep at most.
    region
        Only those within x0, y0, x1, y1, in the coordinate system "global".

    Returns
    -------
    At most `limit` molecules, and how many there are.

    Raises
    ------
    FileFormatError
        If the files are not there, damaged, or hold no molecules.
    ConfigError
        If the limit is not positive.
    """
    job = read_molecules_job(Path(path), element, genes=genes, limit=limit, region=region)
    return run(job, bar=False)


def read_molecules_job(
    path: Path,
    element: str = "transcripts",
    *,
    genes: Collection[str] | None = None,
    limit: int = LIMIT,
    region: Region | None = None,
) -> Job[MoleculeTable]:
    """Do the work of `read_molecules`; progress counts rows."""
    keep = Lowest(limit)
    where = molecule_files(path, element)
    names = _Names(genes)
    files = [open_parquet(file, dictionary=(where.gene,)) for file in where.files]
    n_rows, done = sum(file.metadata.num_rows for file in files), 0
    for file in files:
        for group in range(file.metadata.num_row_groups):
            n_group = file.metadata.row_group(group).num_rows
            if region is None or _touches(file.metadata.row_group(group), where, region):
                first = done
                for batch in _batches(file, group, where):
                    rows = np.arange(first, first + batch.num_rows, dtype=np.uint64)
                    keep.add(_chosen_safely(batch, rows, where, names, region))
                    first += batch.num_rows
                    yield Progress("molecules", first, n_rows)
            done += n_group
            yield Progress("molecules", done, n_rows)
    return keep.table(names.known)


def molecules_of_frame(
    frame: pd.DataFrame, *, genes: Collection[str] | None = None, limit: int = LIMIT
) -> MoleculeTable:
    """Return the molecules of a table with columns x, y, feature_name, thinned as when read.

    Raises
    ------
    FileFormatError
        If it has no such columns.
    """
    return run(molecules_of_frame_job(frame, genes=genes, limit=limit), bar=False)


def molecules_of_frame_job(
    frame: pd.DataFrame, *, genes: Collection[str] | None = None, limit: int = LIMIT
) -> Job[MoleculeTable]:
    """Do the work of `molecules_of_frame`; progress counts rows."""
    import pyarrow as pa

    pair = next(((x, y) for x, y in PAIRS if {x, y} <= set(frame.columns)), None)
    gene = next((name for name in GENE_COLUMNS if name in frame), None)
    if pair is None or gene is None:
        raise FileFormatError(
            f"the table holds no molecules: its columns are {listed(frame.columns)}",
            "it needs x, y and feature_name",
        )
    extra = {name: name for name in ("is_leaked", "cell_id", "section") if name in frame}
    where = MoleculeFiles((), *pair, gene, extra, np.eye(3))
    keep, names = Lowest(limit), _Names(genes)
    columns = [*pair, gene, *extra.values()]
    for first in range(0, len(frame), BATCH):
        part = frame[columns].iloc[first : first + BATCH]
        if not isinstance(part[gene].dtype, pd.CategoricalDtype):
            part = part.assign(**{gene: pd.Categorical(part[gene])})
        rows = np.arange(first, first + len(part), dtype=np.uint64)
        batch = pa.RecordBatch.from_pandas(part, preserve_index=False)
        keep.add(_chosen(batch, rows, where, names, None))
        yield Progress("molecules", first + len(part), len(frame))
    return keep.table(names.known)


# --- one batch --------------------------------------------------------------------------------


class _Names:
    """Codes of the genes over all batches, each of which numbers them by itself."""

    def __init__(self, genes: Collection[str] | None) -> None:
        self._wanted = None if genes is None else frozenset(genes)
        self.known: dict[str, int] = {}
        self._last: Any = None
        self._codes: NDArray[np.int32] = np.empty(0, np.int32)

    def codes(self, column: Any) -> NDArray[np.int32]:  # noqa: ANN401
        """Return (n,) codes of a dictionary column; -1 is missing, -2 is not asked for."""
        if self._last is None or not column.dictionary.equals(self._last):
            self._last = column.dictionary
            self._codes = np.array([self._code(name) for name in column.dictionary.to_pylist()]
                                   + [-1 if self._wanted is None else -2], np.int32)  # fmt: skip
        codes: NDArray[np.int32] = self._codes[
            column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        ]
        return codes

    def _code(self, name: Any) -> int:  # noqa: ANN401
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        if self._wanted is not None and text not in self._wanted:
            return -2
        return self.known.setdefault(text, len(self.known))


def _batches(file: Any, group: int, where: MoleculeFiles) -> Iterator[Any]:  # noqa: ANN401
    import pyarrow as pa

    columns = list(dict.fromkeys([where.x, where.y, where.gene, *where.extra.values()]))
    try:
        yield from file.iter_batches(BATCH, row_groups=[group], columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(
            "a part of the table of molecules is damaged", "copy or export it again"
        ) from error


def _chosen_safely(
    batch: Any,  # noqa: ANN401
    rows: NDArray[np.uint64],
    where: MoleculeFiles,
    names: _Names,
    region: Region | None,
) -> Columns:
    import pyarrow as pa

    try:
        return _chosen(batch, rows, where, names, region)
    except (pa.ArrowException, TypeError, ValueError) as error:
        if isinstance(error, CelldynError):
            raise
        raise FileFormatError(
            f"the table of molecules is not written as it should be ({reason(error)})",
            "write x and y as numbers and feature_name as text",
        ) from error


def _chosen(
    batch: Any,  # noqa: ANN401
    rows: NDArray[np.uint64],
    where: MoleculeFiles,
    names: _Names,
    region: Region | None,
) -> Columns:
    """Return the molecules of a batch that were asked for, placed and numbered."""
    column = batch.column(where.gene)
    if not hasattr(column, "dictionary"):
        column = column.dictionary_encode()
    gene = names.codes(column)
    x, y = (_numbers(batch.column(name)) for name in (where.x, where.y))
    (a, b, c), (d, e, f) = where.affine[:2]
    x, y = a * x + b * y + c, d * x + e * y + f
    keep = (gene > -2) & np.isfinite(x) & np.isfinite(y)
    if region is not None:
        keep &= (x >= region[0]) & (x <= region[2]) & (y >= region[1]) & (y <= region[3])
    at = np.flatnonzero(keep)
    found: Columns = {"x": x[at].astype(np.float32), "y": y[at].astype(np.float32),
                      "gene": gene[at], "priority": scattered(rows[at])}  # fmt: skip
    for ours, name in where.extra.items():
        held = batch.column(name)
        if hasattr(held, "dictionary"):
            held = held.dictionary_decode()
        found[ours] = held.to_numpy(zero_copy_only=False)[at]
    if "is_leaked" in found:
        found["is_leaked"] = found["is_leaked"].astype(bool)
    return found


def _numbers(column: Any) -> NDArray[np.float64]:  # noqa: ANN401
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _touches(group: Any, where: MoleculeFiles, region: Region) -> bool:  # noqa: ANN401
    """Whether a row group can hold a molecule of a region, by its least and largest x and y."""
    bounds = {}
    for i in range(group.num_columns):
        column = group.column(i)
        held = column.statistics
        if column.path_in_schema in (where.x, where.y):
            if held is None or not held.has_min_max:
                return True
            bounds[column.path_in_schema] = (float(held.min), float(held.max))
    if len(bounds) < 2:
        return True
    (x0, x1), (y0, y1) = bounds[where.x], bounds[where.y]
    corners = np.array([[x, y, 1.0] for x in (x0, x1) for y in (y0, y1)]) @ where.affine[:2].T
    low, high = corners.min(axis=0), corners.max(axis=0)
    return bool((low <= region[2:]).all() and (high >= region[:2]).all())
