"""Reading a tissue, whatever format it is in, and refusing in one sentence what is none."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from celldyn.data.check import check_table
from celldyn.data.formats import Format, format_of
from celldyn.data.spatial import adopt_coordinates
from celldyn.errors import MissingKeyError, UnavailableError

if TYPE_CHECKING:
    from anndata import AnnData

_CAN_BE_BACKED = (Format.H5AD, Format.ZARR, Format.SPATIALDATA)


def read(path: Path | str, *, backed: bool = False, table: str | None = None) -> AnnData:
    """Read a tissue.

    Coordinates that are found under another usual name are put into `obsm["spatial"]` as well;
    where there are none, reading succeeds and `coordinates` says what was looked for.

    Parameters
    ----------
    path
        An AnnData `.h5ad` or `.zarr`; a SpatialData `.zarr`; a 10x folder or `.h5`; one `.csv` or
        `.tsv` with columns x, y and genes, or two of them (coordinates, and cells by genes) in
        one folder; a folder that the simulator wrote.
    backed
        Leave X on disk (`.h5ad` and `.zarr`); everything else is read.
    table
        Which table of a SpatialData that has several.

    Returns
    -------
    AnnData of n_obs cells and n_vars genes.

    Raises
    ------
    FileFormatError
        If the file is not there, damaged, or not what its ending says.
    DataError
        If it has no cells, no genes, doubled names or a damaged matrix.
    MissingKeyError
        If there is no such table, or several and none was named.
    """
    from celldyn.data.elements_sources import table_of

    path = table_of(Path(path).expanduser())
    found = format_of(path)
    if table is not None and found is not Format.SPATIALDATA:
        raise MissingKeyError(f"{path.name} is {found} and has no tables", "leave table out")
    if backed and found not in _CAN_BE_BACKED:
        raise UnavailableError(f"{path.name} is {found}, which cannot be left on disk", "read it")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*names are not unique", UserWarning)
        adata = _read(path, found, backed=backed, table=table)
        _check(adata)
    return adata


def _check(adata: AnnData) -> None:
    try:
        check_table(adata)
        adopt_coordinates(adata)
    except BaseException:
        if adata.isbacked:
            adata.file.close()
        raise


def _read(path: Path, found: Format, *, backed: bool, table: str | None) -> AnnData:
    from celldyn.data import anndata_files, spatialdata_files, tables, tenx

    match found:
        case Format.H5AD:
            return anndata_files.read_h5ad(path, backed=backed)
        case Format.ZARR:
            return anndata_files.read_zarr(path, backed=backed)
        case Format.SPATIALDATA:
            return spatialdata_files.read_spatialdata(path, table=table, backed=backed)
        case Format.TENX_H5:
            return tenx.read_h5(path)
        case Format.TENX_FOLDER:
            return tenx.read_folder(path)
        case Format.TABLES:
            return tables.read_tables(path)
