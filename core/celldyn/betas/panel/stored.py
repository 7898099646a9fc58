"""One gene in a store: a zarr group that is written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats
from celldyn.betas.panel.record import GeneRecord
from celldyn.betas.results import BetasResult
from celldyn.betas.stored import describe, restore
from celldyn.errors import DataError, FileFormatError
from celldyn.persist import atomic_path

_VALUES_PER_CHUNK = 1 << 21
_ALL_THAT_READING_RAISES = (
    OSError, KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError,
    MemoryError, ArithmeticError,
)  # fmt: skip


@contextmanager
def damage(path: Path, what: str) -> Iterator[None]:
    """Turn whatever reading a damaged store raises into one sentence."""
    try:
        yield
    except (DataError, FileFormatError):  # sentences of their own: a later version, a part of it
        raise
    except _ALL_THAT_READING_RAISES as error:
        raise FileFormatError(
            f"{path.name} is damaged or was not written by celldyn: {what} cannot be read",
            "take it out of the folder and fit it again, or fit the panel anew",
        ) from error


def folder_of(gene: str) -> str:
    """Return the name of a gene's group: no character that a file system or zarr reads."""
    name = quote(gene, safe="")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def gene_of(folder: str) -> str:
    """Return the gene of a group's name."""
    return unquote(folder)


def write_gene(folder: Path, record: GeneRecord) -> None:
    """Write a gene to its group; a kill on the way leaves nothing of it."""
    import zarr

    result = record.result
    attributes: dict[str, Any] = {**describe(result), "digest": record.digest}
    with atomic_path(folder) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        group = zarr.open_group(draft, mode="w-", zarr_format=3)
        group.create_array("coefficients", data=result.coefficients)
        if any(result.states):
            group.create_array("states", data=_packed(result))
        if record.dense is not None:
            columns = np.flatnonzero(record.dense.any(axis=0))
            values = np.ascontiguousarray(record.dense[:, columns])
            rows = max(min(_VALUES_PER_CHUNK // max(len(columns), 1), len(values)), 1)
            chunks = (rows, max(len(columns), 1))
            group.create_array("dense", data=values, chunks=chunks)
            attributes["dense_columns"] = columns.tolist()
        group.update_attributes(attributes)  # last: without it the group is no gene


def read_info(folder: Path) -> dict[str, Any]:
    """Return all of a gene but its arrays."""
    import zarr

    with damage(folder.parent.parent, gene_of(folder.name)):
        info = dict(zarr.open_group(folder, mode="r", zarr_format=3).attrs)
        if str(info["gene"]) != gene_of(folder.name):
            raise ValueError(info["gene"])
        return info


def read_gene(folder: Path, n_obs: int, n_fits: int) -> GeneRecord:
    """Read a gene from its group.

    Raises
    ------
    FileFormatError
        If it is damaged or does not fit the store.
    DataError
        If a later version wrote it.
    """
    import zarr

    info = read_info(folder)
    with damage(folder.parent.parent, gene_of(folder.name)):
        group: Any = zarr.open_group(folder, mode="r", zarr_format=3)
        shape = group["coefficients"].shape
        # Before anything is read: a column has a name of at least one letter.
        if shape[0] != n_fits or shape[1] > 1 + len(str(info["modulators"])):
            raise ValueError("shapes differ")
        coefficients: Floats = np.asarray(group["coefficients"][:], np.float64)
        result = restore(info, coefficients, np.empty((0, shape[1])))
        if "states" in group:
            result = _unpacked(result, np.asarray(group["states"][:], np.uint8))
        dense = None
        if "dense" in group:
            dense = _dense(
                group["dense"], np.array(info["dense_columns"], np.intp), n_obs, shape[1]
            )
        return GeneRecord(result, str(info["digest"]), dense)


def _dense(array: Any, columns: NDArray[np.intp], n_obs: int, width: int) -> NDArray[np.float32]:  # noqa: ANN401
    if array.shape != (n_obs, len(columns)) or len(columns) > width:
        raise ValueError("shapes differ")
    dense = np.zeros((n_obs, width), np.float32)
    dense[:, columns] = array[:]
    return dense


def _packed(result: BetasResult) -> NDArray[np.uint8]:
    """Return the tensors of all fits as the bytes of one safetensors file."""
    from safetensors.numpy import save

    tensors = {
        f"{k}/{name}": np.ascontiguousarray(array)
        for k, state in enumerate(result.states)
        for name, array in state.items()
    }
    return np.frombuffer(save(tensors), np.uint8)


def _unpacked(result: BetasResult, packed: NDArray[np.uint8]) -> BetasResult:
    from dataclasses import replace

    from safetensors import SafetensorError
    from safetensors.numpy import load

    states: list[dict[str, NDArray[Any]]] = [{} for _ in result.fits]
    try:
        tensors = load(packed.tobytes())
    except SafetensorError as error:
        raise ValueError("states") from error
    for path, array in tensors.items():
        fit, _, name = path.partition("/")
        states[int(fit)][name] = array
    return replace(result, states=tuple(states))
