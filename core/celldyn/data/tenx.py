"""Reading what Cell Ranger, Space Ranger and Xenium write: a folder with a matrix, or one .h5."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from celldyn import keys
from celldyn.data.anndata_files import guarded
from celldyn.data.formats import matrix_folder, open_bytes
from celldyn.data.hostile import MAX_RATIO, check_hdf5
from celldyn.data.spatial import pair_of, set_unit
from celldyn.errors import FileFormatError

if TYPE_CHECKING:
    from anndata import AnnData

_GENES = "Gene Expression"
_LIST_COLUMNS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
_BYTES_PER_ENTRY = 6


def read_h5(path: Path) -> AnnData:
    """Read a 10x .h5, with the coordinates that lie beside it; see `celldyn.data.read`."""
    import scanpy

    check_hdf5(path)
    adata = guarded(path, lambda: scanpy.read_10x_h5(path))
    return _finished(adata, path.parent)


def read_folder(folder: Path) -> AnnData:
    """Read a 10x folder, with the coordinates that lie in it; see `celldyn.data.read`."""
    place = matrix_folder(folder)
    if place is None:
        raise FileFormatError(f"{folder} has no matrix.mtx", "give the folder that holds it")
    return _finished(guarded(folder, lambda: _read_matrix(place)), folder)


def _finished(adata: AnnData, folder: Path) -> AnnData:
    adata.var_names_make_unique()  # symbols of several Ensembl genes, as 10x writes them
    guarded(folder, lambda: _add_coordinates(adata, folder))
    return adata


def _read_matrix(place: Path) -> AnnData:
    from anndata import AnnData
    from scipy.io import mmread
    from scipy.sparse import csr_matrix

    barcodes = _table(_need(place, "barcodes.tsv"))[0]
    features = _table(_need(place, "features.tsv", "genes.tsv"))
    matrix = _need(place, "matrix.mtx")
    _check_header(matrix, len(features), len(barcodes))
    symbols = features[1 if features.shape[1] > 1 else 0]
    var = pd.DataFrame({"gene_ids": features[0].to_numpy()}, index=pd.Index(symbols.to_numpy()))
    counts = csr_matrix(mmread(matrix).T, dtype=np.float32)
    adata = AnnData(X=counts, obs=pd.DataFrame(index=barcodes.to_numpy()), var=var)
    if features.shape[1] < 3:
        return adata
    adata.var["feature_types"] = features[2].to_numpy()
    is_gene = (features[2] == _GENES).to_numpy()
    return adata[:, is_gene].copy() if is_gene.any() and not is_gene.all() else adata


def _need(place: Path, *names: str) -> Path:
    for name in names:
        for file in (place / f"{name}.gz", place / name):
            if file.is_file():
                return file
    raise FileFormatError(f"{place} has a matrix.mtx but no {names[0]}", "copy it there as well")


def _table(file: Path) -> pd.DataFrame:
    table: pd.DataFrame = pd.read_csv(
        file, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3
    )
    return table


def _check_header(file: Path, n_genes: int, n_cells: int) -> None:
    """Refuse a matrix whose first line claims more than its neighbours and its size allow."""
    with open_bytes(file) as lines:
        line = lines.readline(1024)
        if not line.startswith(b"%%MatrixMarket matrix coordinate"):
            raise FileFormatError(
                f"{file.name} is not a sparse MatrixMarket file", "copy it again"
            )
        while line.startswith(b"%"):
            line = lines.readline(1024)
    claimed = [int(word) for word in line.split()]
    room = file.stat().st_size * (MAX_RATIO if file.suffix == ".gz" else 1) // _BYTES_PER_ENTRY
    if len(claimed) != 3 or claimed[:2] != [n_genes, n_cells] or claimed[2] > room + 1:
        raise FileFormatError(
            f"{file.name} claims {line.decode('ascii', 'replace').strip()!r} (genes, cells, "
            f"values), but {n_genes:,} genes and {n_cells:,} cells lie beside it",
            "copy the whole folder again",
        )


def _add_coordinates(adata: AnnData, folder: Path) -> None:
    outs = (folder, folder.parent)
    spots = _first((*(place / "spatial" for place in outs), *outs), "tissue_positions*")
    if spots is not None:
        _place(adata, _positions(spots))
        return
    cells = _first(outs, "cells.csv*")  # Xenium, in µm
    if cells is not None and _place(adata, pd.read_csv(cells, index_col=0)):
        set_unit(adata, 1.0)


def _first(places: Iterable[Path], pattern: str) -> Path | None:
    return next((file for place in places for file in sorted(place.glob(pattern))), None)


def _positions(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file).set_index("barcode")
    first = pd.read_csv(file, nrows=1, header=None).iloc[0, 0]
    if str(first) == "barcode":
        return pd.read_csv(file, index_col=0)
    return pd.read_csv(file, header=None, names=list(_LIST_COLUMNS), index_col=0)


def _place(adata: AnnData, table: pd.DataFrame) -> bool:
    """Put the coordinates of a table on the cells it names; say whether it had any."""
    pair = pair_of(table)
    table.index = table.index.astype(str)
    if pair is None or not adata.obs_names.isin(table.index).any():
        return False
    here = table[~table.index.duplicated()].reindex(adata.obs_names)
    adata.obsm[keys.SPATIAL.name] = here[list(pair)].to_numpy(float)
    for name in ("in_tissue", "array_row", "array_col"):
        if name in here:
            adata.obs[name] = here[name].to_numpy()
    return True
