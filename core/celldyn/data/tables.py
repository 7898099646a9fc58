"""Reading tissues from tables of text: coordinates and genes in one, or in two side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn import keys
from celldyn.data.anndata_files import guarded
from celldyn.data.formats import TABLE_ENDINGS, open_bytes
from celldyn.data.spatial import PAIRS, pair_of, set_unit
from celldyn.data.words import listed
from celldyn.errors import FileFormatError

if TYPE_CHECKING:
    from anndata import AnnData

_NAME_COLUMNS = ("", "cell", "cell_id", "cellid", "barcode", "id", "index", "name", "cell_name")
_THIRD_AXIS = ("z", "z_um", "z_centroid", "center_z", "global_z")
_SAMPLE_ROWS = 500
_NOT_NUMBERS = ("NA", "NaN", "nan", "N/A", "null", "None")
_REMEDY = (
    "give columns x and y in the table, or in a second table of the same cells in the same folder"
)


@dataclass(frozen=True)
class _Peek:
    """The first rows of a table, and whether they hold coordinates and numbers beside them."""

    path: Path
    table: pd.DataFrame

    @property
    def has_xy(self) -> bool:
        return pair_of(self.table) is not None

    @property
    def has_genes(self) -> bool:
        return not _genes(self.table).empty

    def shares_cells(self, other: _Peek) -> bool:
        names = other.table.index
        return bool(names.isin(self.table.index).any() or names.isin(self.table.columns).any())


def read_tables(path: Path) -> AnnData:
    """Read one table, or two in one folder, of cells; see `celldyn.data.read`."""
    cells, genes = _choose(path)
    if genes is None:
        return guarded(cells.path, lambda: _from_one(cells.path))
    return guarded(path, lambda: _from_two(cells.path, genes.path))


def _choose(path: Path) -> tuple[_Peek, _Peek | None]:
    """Return the table with coordinates, and the one with genes if that is another."""
    folder = path if path.is_dir() else path.parent
    files = sorted(f for f in folder.iterdir() if f.name.lower().endswith(TABLE_ENDINGS))
    if path.is_file():
        return _beside(_peek(path), [f for f in files if f != path])
    peeks = [_peek(file) for file in files]
    with_xy = [peek for peek in peeks if peek.has_xy]
    if len(with_xy) != 1:
        found = listed(peek.path.name for peek in with_xy)
        raise FileFormatError(
            f"{folder} must hold one table with columns x and y (found: {found})",
            "give the file itself, or columns x and y in one table",
        )
    return with_xy[0], _one_of([p for p in peeks if not p.has_xy and p.has_genes], with_xy[0])


def _beside(given: _Peek, files: list[Path]) -> tuple[_Peek, _Peek | None]:
    others = []
    for file in files:
        try:
            others.append(_peek(file))
        except FileFormatError:
            continue  # a neighbour that nobody asked for may be anything
    if given.has_xy:
        near = [o for o in others if not o.has_xy and o.has_genes and o.shares_cells(given)]
        return given, _one_of(near, given)
    near = [other for other in others if other.has_xy]
    near = near if len(near) < 2 else [o for o in near if given.shares_cells(o)]
    chosen = _one_of(near, given)
    if chosen is None:
        names = listed(given.table.columns, 8)
        raise FileFormatError(
            f"{given.path.name} has no coordinates (its columns: {names}), and there is no table "
            "with coordinates beside it",
            _REMEDY,
        )
    return chosen, given


def _one_of(found: list[_Peek], partner: _Peek) -> _Peek | None:
    if len(found) > 1:
        names = listed(peek.path.name for peek in found)
        raise FileFormatError(
            f"several tables could belong to {partner.path.name}: {names}",
            "leave two tables in the folder",
        )
    return found[0] if found else None


def _peek(path: Path) -> _Peek:
    return _Peek(path, guarded(path, lambda: _load(path, n_rows=_SAMPLE_ROWS)))


def _load(path: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Read a table; its rows are named by its first column where that names anything.

    "NA" is a name like any other unless all else in its column are numbers.
    """
    with open_bytes(path) as file:
        header = file.readline(1 << 22).decode("utf-8-sig")
    sep = max(",\t;", key=header.count)
    if "\x00" in header or not header.strip():
        raise FileFormatError(f"{path.name} is no table of text", "export it again as .csv")
    table = pd.read_csv(
        path, sep=sep, nrows=n_rows, keep_default_na=False, na_values=[""], low_memory=False
    )
    table.columns = table.columns.astype(str)
    for name in _text_columns(table):
        table[name] = _numbers_or_names(table[name])
    first = table.columns[0] if table.shape[1] else None
    if first is not None and _names_rows(table[first]):
        table = table.set_index(first)
    table.index = table.index.astype(str).rename(None)
    return table


def _numbers_or_names(values: pd.Series) -> pd.Series:
    known = values[values.notna() & ~values.isin(_NOT_NUMBERS)]
    numbers = pd.to_numeric(known, errors="coerce")
    if len(known) and numbers.notna().all():
        return numbers.reindex(values.index)
    return values


def _names_rows(first: pd.Series) -> bool:
    name = str(first.name).lower()
    if name in _NAME_COLUMNS or name.startswith("unnamed:"):
        return True
    is_text = not pd.api.types.is_numeric_dtype(first)
    return is_text and first.is_unique and not first.hasnans


def _genes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that are numbers and neither coordinates nor true/false."""
    pair = pair_of(table) or ()
    keep = [
        name
        for name in table.select_dtypes("number").columns
        if name not in pair and name.lower() not in _THIRD_AXIS
    ]
    return table[keep]


def _from_one(path: Path) -> AnnData:
    table = _load(path)
    genes = _genes(table)
    if genes.empty:
        raise FileFormatError(
            f"{path.name} has coordinates, but no genes, and no table of the same cells with "
            "genes lies beside it",
            "put the cells by genes table into the same folder",
        )
    return _tissue(genes, table.drop(columns=genes.columns))


def _from_two(with_xy: Path, with_genes: Path) -> AnnData:
    cells, table = _load(with_xy), _load(with_genes)
    if not table.index.isin(cells.index).any() and table.columns.isin(cells.index).any():
        table = table.T.infer_objects()  # genes by cells
    shared = table.index.isin(cells.index)
    if not shared.any():
        raise FileFormatError(
            f"{with_xy.name} and {with_genes.name} have no cell name in common",
            "name the cells alike in the first column of both",
        )
    genes = _genes(table)
    names = table.drop(columns=genes.columns)
    about = cells[~cells.index.duplicated()].reindex(table.index)
    return _tissue(genes, about.join(names[names.columns.difference(about.columns)]))


def _tissue(genes: pd.DataFrame, obs: pd.DataFrame) -> AnnData:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    values = genes.to_numpy(np.float32)
    half_empty = np.count_nonzero(values) < values.size / 2
    pair = pair_of(obs)
    adata = AnnData(
        X=csr_matrix(values) if half_empty else values,
        obs=_as_obs(obs.drop(columns=list(pair or ()))),
        var=pd.DataFrame(index=genes.columns.astype(str)),
    )
    if pair is not None:
        adata.obsm[keys.SPATIAL.name] = obs[list(pair)].to_numpy(float)
        if pair[0].lower() == PAIRS[0][0]:
            set_unit(adata, 1.0)
    return adata


def _as_obs(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(dict.fromkeys(_text_columns(table), "category"))


def _text_columns(table: pd.DataFrame) -> list[str]:
    return list(table.select_dtypes(["object", "string"]).columns)
