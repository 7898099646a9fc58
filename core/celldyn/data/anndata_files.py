"""Reading AnnData from .h5ad files and .zarr folders, in memory or with X left on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from celldyn.data.hostile import check_hdf5, check_zarr
from celldyn.data.words import reason
from celldyn.errors import CelldynError, DataError, FileFormatError

if TYPE_CHECKING:
    from anndata import AnnData

T = TypeVar("T")

_SLOTS = ("obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns", "raw")


def read_h5ad(path: Path, *, backed: bool = False) -> AnnData:
    """Read an .h5ad file that looks like one; see `celldyn.data.read`."""
    import anndata

    check_hdf5(path)
    return guarded(path, lambda: anndata.read_h5ad(path, backed="r" if backed else None))


def read_zarr(folder: Path, *, backed: bool = False) -> AnnData:
    """Read an AnnData .zarr folder that looks like one; see `celldyn.data.read`."""
    check_zarr(folder)
    return guarded(folder, lambda: _read_zarr(folder, backed=backed))


def _read_zarr(folder: Path, *, backed: bool) -> AnnData:
    import anndata
    import zarr
    from anndata.io import read_elem

    group = zarr.open_group(folder, mode="r", use_consolidated=False)
    if not backed:
        return anndata.read_zarr(group)
    parts = {slot: read_elem(group[slot]) for slot in _SLOTS if slot in group}
    matrix = open_matrix(folder / "X") if "X" in group else None
    return anndata.AnnData(X=matrix, **parts)


def open_matrix(folder: Path) -> Any:  # noqa: ANN401
    """Return a matrix of a .zarr folder, sparse or dense, left on disk."""
    import zarr
    from anndata.io import sparse_dataset

    item = zarr.open(folder.parent, mode="r", use_consolidated=False)[folder.name]
    return sparse_dataset(item) if isinstance(item, zarr.Group) else item


def store_of(matrix: Any) -> Path | None:  # noqa: ANN401
    """Return the .zarr folder that a matrix reads from; None if it reads from none."""
    store = getattr(getattr(matrix, "group", matrix), "store", None)
    root = getattr(store, "root", None)
    return None if root is None else Path(root).resolve()


def guarded(path: Path, read: Callable[[], T]) -> T:
    """Return what `read` gives, with whatever a reader raises turned into one sentence."""
    try:
        return read()
    except CelldynError:
        raise
    except MemoryError as error:
        raise DataError(
            f"{path.name} does not fit into memory", "open it backed, which leaves X on disk"
        ) from error
    except Exception as error:
        raise FileFormatError(
            f"{path.name} is damaged or not written as its format asks ({reason(error)})",
            "copy or export it again",
        ) from error
