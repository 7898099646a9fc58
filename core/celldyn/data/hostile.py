"""Refusing files whose headers claim more than they hold, before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from celldyn.data.words import reason
from celldyn.errors import FileFormatError

FREE_BYTES = 1 << 28
"""An array below this many bytes is not held against its size on disk."""

MAX_SIDE = 1 << 31
"""No matrix has as many cells or genes as this."""

MAX_RATIO = 1100
"""No honest array is stored this many times smaller than it is (deflate's own limit is 1032)."""


_SPARSE_PARTS = ("indptr", "indices", "data")
_ARRAYS = (".zarray", "zarr.json")
_METADATA = (*_ARRAYS, ".zattrs", ".zmetadata")
_PICKLE_CODECS = ("pickle", "numcodecs.pickle")


def check_hdf5(path: Path) -> None:
    """Refuse an HDF5 file that is damaged, reaches outside itself, or claims what it has not.

    Raises
    ------
    FileFormatError
        Naming the first array or link at fault.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            for name, item in _items(path, file):
                if isinstance(item, h5py.Dataset):
                    _check_dataset(path, name, item)
                else:
                    parts = {part: item[part].shape for part in _SPARSE_PARTS if part in item}
                    _check_sparse(path, name, dict(item.attrs), parts)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{path.name} is damaged or cut short ({reason(error)})", "copy or export it again"
        ) from error


def _items(path: Path, root: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    import h5py

    seen, todo = set(), [("", root)]
    while todo:
        prefix, group = todo.pop()
        for name in group:
            full = f"{prefix}/{name}"
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise FileFormatError(
                    f"{full} in {path.name} is a link to another file",
                    "export the file with its data inside",
                )
            item = group[name]
            yield full, item
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address not in seen:  # hard links may close a circle
                    seen.add(address)
                    todo.append((full, item))


def _check_dataset(path: Path, name: str, dataset: Any) -> None:  # noqa: ANN401
    if dataset.external or dataset.is_virtual:
        raise FileFormatError(
            f"{name} in {path.name} keeps its values in another file",
            "export the file with its data inside",
        )
    claimed = (dataset.size or 0) * dataset.dtype.itemsize
    _refuse_excess(path, name, dataset.shape or (), claimed, dataset.id.get_storage_size())


def _check_sparse(
    path: Path, name: str, attributes: dict[str, Any], parts: dict[str, tuple[int, ...]]
) -> None:
    """Refuse a sparse matrix whose shape and arrays contradict each other."""
    major = {"csr_matrix": 0, "csc_matrix": 1}.get(str(attributes.get("encoding-type")))
    if major is None:
        return
    shape = [int(n) for n in attributes.get("shape", ())]
    fits = len(shape) == 2 and set(parts) == set(_SPARSE_PARTS)
    fits = fits and min(shape) >= 0 and max(shape) < MAX_SIDE
    if not fits or parts["indptr"] != (shape[major] + 1,) or parts["indices"] != parts["data"]:
        raise FileFormatError(
            f"the sparse matrix {name} in {path.name} is damaged (its shape is {shape}, its "
            f"arrays have {parts})",
            "copy or export the file again",
        )


def _refuse_excess(
    path: Path, name: str, shape: tuple[int, ...], claimed: int, stored: int
) -> None:
    if claimed > max(FREE_BYTES, MAX_RATIO * stored):
        size = " x ".join(f"{n:,}" for n in shape)
        raise FileFormatError(
            f"{name} in {path.name} claims {size} values, but only {stored:,} bytes are there",
            "copy or export the file again",
        )


def check_zarr(folder: Path) -> None:
    """Refuse a Zarr folder that would run code, or whose arrays claim what they have not.

    Raises
    ------
    FileFormatError
        Naming the first array or metadata file at fault.
    """
    for file in _metadata_files(folder):
        try:
            metadata = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError, RecursionError) as error:
            raise FileFormatError(
                f"{file.relative_to(folder)} in {folder.name} is damaged",
                "copy or export it again",
            ) from error
        if _names_pickle(metadata):
            raise FileFormatError(
                f"{file.relative_to(folder)} in {folder.name} stores a pickle, which can run "
                "any code when it is opened",
                "write it again with a present anndata",
            )
        if file.name in _ARRAYS and "shape" in metadata:
            _check_array(folder, file.parent, metadata)
        _check_sparse_group(folder, file, metadata)


def _metadata_files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.name in _METADATA)


def _names_pickle(item: Any) -> bool:  # noqa: ANN401
    todo = [item]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if any(part.get(key) in _PICKLE_CODECS for key in ("id", "name")):
                return True
            todo.extend(part.values())
        elif isinstance(part, list):
            todo.extend(part)
    return False


def _check_sparse_group(root: Path, file: Path, metadata: dict[str, Any]) -> None:
    attributes = metadata.get("attributes", metadata) if file.name != ".zarray" else {}
    if not isinstance(attributes, dict) or "encoding-type" not in attributes:
        return
    parts = {}
    for part in _SPARSE_PARTS:
        for held in (file.parent / part / name for name in _ARRAYS):
            if held.is_file():
                parts[part] = tuple(json.loads(held.read_text(encoding="utf-8"))["shape"])
    _check_sparse(root, file.parent.name, attributes, parts)


def _check_array(root: Path, place: Path, array: dict[str, Any]) -> None:
    try:
        shape = tuple(int(n) for n in array["shape"])
        # A reader allocates whole chunks, however little of one the array needs.
        claimed = max(prod(shape), prod(_chunks(array))) * _itemsize(array)
    except (TypeError, ValueError, KeyError) as error:
        raise FileFormatError(
            f"{place.name} in {root.name} has a damaged shape", "copy or export it again"
        ) from error
    if claimed > FREE_BYTES:  # only then is it worth looking at every chunk
        stored = sum(item.stat().st_size for item in place.rglob("*") if item.is_file())
        _refuse_excess(root, str(place.name), shape, claimed, stored)


def _chunks(array: dict[str, Any]) -> tuple[int, ...]:
    grid = array["chunk_grid"]["configuration"]["chunk_shape"] if "chunk_grid" in array else None
    return tuple(int(n) for n in (array["chunks"] if grid is None else grid))


def _itemsize(array: dict[str, Any]) -> int:
    import numpy as np

    kind = array.get("dtype", array.get("data_type"))
    try:
        return np.dtype(kind).itemsize or 8
    except TypeError:  # strings and structures: one pointer each is what is allocated first
        return 8
