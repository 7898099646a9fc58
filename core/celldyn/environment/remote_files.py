"""Modalities that lie on another machine: fetched whole, or left there and read in blocks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celldyn.data.words import reason
from celldyn.errors import CelldynError, FileFormatError, UnavailableError

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCK_BYTES = 100 << 20
"""Bytes that are fetched at once of a file that is left where it is."""

_SLOTS = ("obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns")


def is_remote(path: str | Path) -> bool:
    """Whether a path is an address such as s3://bucket/cells.h5ad."""
    return "://" in str(path)


def read_remote(address: str, *, backed: bool = False) -> AnnData:
    """Read an `.h5ad` file of another machine.

    Parameters
    ----------
    address
        What fsspec takes: s3://, https://, ...; credentials are those of the environment.
    backed
        Whether X stays there, and is fetched in blocks as it is asked for.

    Raises
    ------
    UnavailableError
        If nothing here speaks the protocol, or it is no `.h5ad` file.
    FileFormatError
        If it cannot be reached, or is damaged.
    """
    if not address.partition("?")[0].endswith(".h5ad"):
        raise UnavailableError(
            f"{address} is no .h5ad file, the only kind that is read from another machine",
            "copy it here first",
        )
    try:
        return _open(address) if backed else _fetched(address)
    except CelldynError:
        raise
    except (ImportError, ValueError) as error:
        raise UnavailableError(
            f"{address} cannot be opened here ({reason(error)})",
            "install what speaks its protocol, such as s3fs, or copy the file here",
        ) from error
    except Exception as error:  # whatever a protocol raises
        raise FileFormatError(
            f"{address} cannot be read ({reason(error)})",
            "check the address, the connection and your rights",
        ) from error


def _fetched(address: str) -> AnnData:
    import fsspec  # type: ignore[import-untyped]

    from celldyn.data import read

    with tempfile.TemporaryDirectory(prefix="celldyn-") as room:
        file = Path(room) / Path(address.partition("?")[0]).name
        system, place = fsspec.core.url_to_fs(address)
        system.get_file(place, str(file))
        return read(file)


def _open(address: str) -> AnnData:
    """Return an AnnData whose X stays where it is; all else is read."""
    import anndata
    import fsspec
    import h5py
    from anndata.io import read_elem, sparse_dataset

    from celldyn.data.check import check_table
    from celldyn.data.hostile import check_hdf5

    stream = fsspec.open(address, "rb", block_size=_BLOCK_BYTES).open()
    try:
        stream.name = address  # what an error calls it
        check_hdf5(stream)
        file = h5py.File(stream, "r")
        parts = {slot: read_elem(file[slot]) for slot in _SLOTS if slot in file}
        matrix: Any = file.get("X")
        if isinstance(matrix, h5py.Group):
            matrix = sparse_dataset(matrix)
        adata = anndata.AnnData(X=matrix, **parts)
        check_table(adata)
    except BaseException:
        stream.close()
        raise
    return adata
