"""What a path on disk is, told by its contents and not by its name alone."""

from __future__ import annotations

import gzip
import json
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

from celldyn.data.words import listed, reason
from celldyn.errors import FileFormatError

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
"""Endings of a table of text."""

READABLE = (
    "an AnnData .h5ad or .zarr, a SpatialData .zarr, a 10x folder or .h5, or .csv/.tsv tables"
)
"""What `celldyn.data.read` takes, in words."""

_GENERIC_HDF5 = (".h5", ".hdf5")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MAGIC = {
    b"PK\x03\x04": "a zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"PAR1": "a Parquet table",
    b"%PDF": "a PDF",
    b"\x89PNG": "a PNG picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"RDX": "an R object",
}
_PICKLES = tuple(bytes((0x80, version)) for version in (2, 3, 4, 5))


class Format(StrEnum):
    """The layouts that can be read."""

    H5AD = "an AnnData .h5ad"
    ZARR = "an AnnData .zarr"
    SPATIALDATA = "a SpatialData .zarr"
    TENX_H5 = "a 10x .h5"
    TENX_FOLDER = "a 10x folder"
    TABLES = "tables of text"


def format_of(path: Path) -> Format:
    """Tell what a file or folder is.

    Raises
    ------
    FileFormatError
        If it is not there, is empty, is nothing known, or is not what its ending says.
    """
    if not path.exists():
        raise FileFormatError(f"{path} is not there", "check the path")
    if path.is_dir():
        return _format_of_folder(path)
    if path.stat().st_size == 0:
        raise FileFormatError(f"{path.name} is an empty file", "copy or export it again")
    with path.open("rb") as file:
        head = file.read(8)
    if head == _HDF5_MAGIC:
        return _format_of_hdf5(path)
    _refuse_foreign(path, head)
    if path.name.lower().endswith(TABLE_ENDINGS):
        return Format.TABLES
    raise FileFormatError(
        f"{path.name} is neither HDF5 nor a table of text"
        if not path.name.lower().endswith((".h5ad", *_GENERIC_HDF5))
        else f"{path.name} is not an HDF5 file, whatever its ending says",
        f"give {READABLE}",
    )


def _refuse_foreign(path: Path, head: bytes) -> None:
    if path.suffix.lower() in (".pkl", ".pickle") or head.startswith(_PICKLES):
        raise FileFormatError(
            f"{path.name} is a Python pickle, which can run any code when it is opened",
            "load it where it was made and save it with adata.write_h5ad",
        )
    is_gzip = head.startswith(b"\x1f\x8b")
    if is_gzip and not path.name.lower().endswith(".gz"):
        raise FileFormatError(f"{path.name} is compressed with gzip", "add the ending .gz")
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise FileFormatError(f"{path.name} is {what}", f"give {READABLE}")


def _format_of_hdf5(path: Path) -> Format:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = _known_hdf5(path, frozenset(file), str(file.attrs.get("encoding-type", "")))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{path.name} is damaged or cut short ({reason(error)})", "copy or export it again"
        ) from error
    own = (".h5ad",) if found is Format.H5AD else ()
    if path.suffix.lower() not in (*own, *_GENERIC_HDF5):
        right = own[0] if own else _GENERIC_HDF5[0]
        raise FileFormatError(
            f"{path.name} is {found.value} file by its contents, but its name ends otherwise",
            f"rename it so that it ends in {right}",
        )
    return found


def _known_hdf5(path: Path, names: frozenset[str], encoding: str) -> Format:
    if encoding == "anndata" or {"obs", "var"} <= names:
        return Format.H5AD
    if {"row_attrs", "col_attrs"} <= names:
        raise FileFormatError(
            f"{path.name} is a loom file", "convert it with anndata.io.read_loom and write_h5ad"
        )
    if "mod" in names:
        raise FileFormatError(
            f"{path.name} is a MuData file", "write one of its modalities with write_h5ad"
        )
    if "matrix" in names:
        return Format.TENX_H5
    inside = listed(sorted(names), 8)
    raise FileFormatError(
        f"{path.name} is HDF5, but neither AnnData nor 10x (it holds {inside})",
        f"give {READABLE}",
    )


def _format_of_folder(path: Path) -> Format:
    attributes, names = zarr_attributes(path), frozenset(item.name for item in path.iterdir())
    if attributes is not None:
        if attributes.get("encoding-type") == "anndata" or {"obs", "var"} <= names:
            return Format.ZARR
        if "spatialdata_attrs" in attributes or "tables" in names:
            return Format.SPATIALDATA
        raise FileFormatError(
            f"{path.name} is a Zarr folder, but neither AnnData nor SpatialData",
            f"give {READABLE}",
        )
    if matrix_folder(path) is not None:
        return Format.TENX_FOLDER
    if any(name.lower().endswith(TABLE_ENDINGS) for name in names):
        return Format.TABLES
    what = "an empty folder" if not names else "a folder with nothing in it that can be read"
    raise FileFormatError(f"{path} is {what}", f"give {READABLE}")


def zarr_attributes(folder: Path) -> dict[str, object] | None:
    """Return the attributes of a Zarr group on disk, version 2 or 3; None if it is not one."""
    files = {name: folder / name for name in (".zgroup", ".zattrs", "zarr.json")}
    if not (files[".zgroup"].is_file() or files["zarr.json"].is_file()):
        return None
    held = files["zarr.json"] if files["zarr.json"].is_file() else files[".zattrs"]
    if not held.is_file():
        return {}
    try:
        whole = json.loads(held.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise FileFormatError(
            f"{folder.name} has a damaged {held.name}", "copy or export it again"
        ) from error
    inner = whole.get("attributes", {}) if held.name == "zarr.json" else whole
    return inner if isinstance(inner, dict) else {}


def matrix_folder(folder: Path) -> Path | None:
    """Return where a 10x folder keeps its matrix.mtx; None if it has none."""
    for place in (folder, folder / "filtered_feature_bc_matrix", folder / "cell_feature_matrix"):
        if any((place / f"matrix.mtx{end}").is_file() for end in ("", ".gz")):
            return place
    return None


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, unpacked if its name ends in .gz."""
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")
