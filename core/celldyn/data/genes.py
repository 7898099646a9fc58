"""The expression of named genes, taken out of any matrix without making the whole dense."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.check import check_matrix
from celldyn.data.words import listed
from celldyn.errors import MissingKeyError

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCK_BYTES = 1 << 26


def find_gene(adata: AnnData, name: str) -> str:
    """Return the gene of that name as the data set spells it: exact, else unique but for case.

    Raises
    ------
    MissingKeyError
        If there is none, or several that differ only in case; it names the closest.
    """
    return find_name(adata.var_names, name)


def find_name(names: pd.Index, name: str) -> str:
    """Return a name as it is spelt among `names`; see `find_gene`."""
    if name in names:
        return name
    folded = names.astype(str).str.casefold()
    same = names[folded == name.casefold()]
    if len(same) == 1:
        return str(same[0])
    if len(same) > 1:
        raise MissingKeyError(
            f"gene {name!r} could be any of {listed(same, 5)}", "write it with the right case"
        )
    near = difflib.get_close_matches(name.casefold(), list(folded), n=5, cutoff=0.6)
    close = list(dict.fromkeys(str(names[folded.get_loc(item)]) for item in _single(folded, near)))
    raise MissingKeyError(
        f"gene {name!r} is not among the {len(names):,} genes of the data set",
        f"did you mean {listed(close, 5)}" if close else "check its spelling and the species",
    )


def _single(folded: pd.Index, near: Sequence[str]) -> list[str]:
    return [item for item in near if isinstance(folded.get_loc(item), int)]


def matrix_of(adata: AnnData, layer: str | None = None) -> Any:  # noqa: ANN401
    """Return X, or a layer, as it is held.

    Raises
    ------
    MissingKeyError
        If there is no such layer, or no X.
    """
    if layer is None:
        if adata.X is None:
            raise MissingKeyError("the data set has no X", "name one of its layers")
        return adata.X
    if layer not in adata.layers:
        remedy = f"the layers are {listed(adata.layers)}" if adata.layers else "there are none"
        raise MissingKeyError(f"layer {layer!r} is not there", f"{remedy}; no layer means X")
    return adata.layers[layer]


def expression(
    adata: AnnData, genes: Sequence[str], layer: str | None = None
) -> NDArray[np.float64]:
    """Return the expression of some genes in every cell.

    Parameters
    ----------
    adata
        The data set, in memory or backed.
    genes
        Names as `find_gene` takes them.
    layer
        Which layer; None is X.

    Returns
    -------
    (n_obs, len(genes)) float64, dense, in the unit of the matrix.

    Raises
    ------
    MissingKeyError
        If a gene or the layer is not there.
    """
    at = _positions(adata.var_names, genes)
    return columns_of(matrix_of(adata, layer), at)


def _positions(names: pd.Index, genes: Sequence[str]) -> NDArray[np.intp]:
    at = names.get_indexer(pd.Index(list(genes), dtype=object))
    for missing in np.flatnonzero(at < 0):
        at[missing] = position(names, genes[int(missing)])
    return np.asarray(at, np.intp)


def position(names: pd.Index, name: str) -> int:
    """Return where a name stands among unique `names`; see `find_gene`."""
    at = names.get_indexer(pd.Index([find_name(names, name)], dtype=object))
    return int(at[0])


def columns_of(matrix: Any, at: NDArray[np.intp]) -> NDArray[np.float64]:  # noqa: ANN401
    """Return some columns of any matrix, dense: (n_rows, len(at)) float64."""
    out = np.empty((matrix.shape[0], len(at)))
    if _is_stored_by_column(matrix):
        for place, column in enumerate(at):
            part = matrix[:, [column]]
            check_matrix(part, "X")
            out[:, place] = part.toarray().ravel()
        return out
    start = 0
    for block in blocks(matrix):
        stop = start + block.shape[0]
        part = block[:, at]
        out[start:stop] = part.toarray() if hasattr(part, "toarray") else part
        start = stop
    return out


def _is_stored_by_column(matrix: Any) -> bool:  # noqa: ANN401
    return getattr(matrix, "format", "") == "csc" and not hasattr(matrix, "check_format")


def blocks(matrix: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield a matrix: whole if it is in memory, else in blocks along the axis of its storage."""
    if isinstance(matrix, np.ndarray) or hasattr(matrix, "check_format"):
        yield matrix
        return
    n_rows, n_columns = matrix.shape
    by_column = _is_stored_by_column(matrix)
    n_major, n_minor = (n_columns, n_rows) if by_column else (n_rows, n_columns)
    step = max(_BLOCK_BYTES // (8 * max(n_minor, 1)), 1)
    for start in range(0, n_major, step):
        part = slice(start, start + step)
        block = matrix[:, part] if by_column else matrix[part]
        check_matrix(block, "X")
        yield block


def gene_column(adata: AnnData, gene: str, layer: str | None = None) -> NDArray[np.float32]:
    """Return the expression of one gene in every cell, fast enough to colour by it.

    Parameters
    ----------
    adata
        The data set, in memory or backed (then only this gene is kept in memory).
    gene
        A name as `find_gene` takes it.
    layer
        Which layer; None is X.

    Returns
    -------
    (n_obs,) float32.

    Raises
    ------
    MissingKeyError
        If the gene or the layer is not there.
    """
    at = position(adata.var_names, gene)
    return single_column(matrix_of(adata, layer), at)


def single_column(matrix: Any, at: int) -> NDArray[np.float32]:  # noqa: ANN401
    """Return one column of any matrix: (n_rows,) float32."""
    if isinstance(matrix, np.ndarray):
        return np.array(matrix[:, at], np.float32)
    in_memory, layout = hasattr(matrix, "check_format"), getattr(matrix, "format", "")
    if layout == "csr" and in_memory:
        return _scan(matrix.indices, matrix.data, matrix.indptr, at, piece=1 << 18)
    if layout == "csr":
        group = matrix.group
        return _scan(group["indices"], group["data"], group["indptr"][:], at, piece=1 << 22)
    if in_memory:
        return _dense_column(matrix.tocsc(), at)
    if layout:
        return columns_of(matrix, np.array([at])).ravel().astype(np.float32)
    return np.asarray(matrix[:, at], np.float32)


def _dense_column(csc: Any, at: int) -> NDArray[np.float32]:  # noqa: ANN401
    part = slice(csc.indptr[at], csc.indptr[at + 1])
    out = np.zeros(csc.shape[0], np.float32)
    np.add.at(out, csc.indices[part], csc.data[part].astype(np.float32))
    return out


def _scan(
    indices: Any,  # noqa: ANN401
    data: Any,  # noqa: ANN401
    indptr: NDArray[np.integer],
    at: int,
    *,
    piece: int,
) -> NDArray[np.float32]:
    """Return one column of a matrix stored by rows, from looking through its column indices.

    In memory, pieces that stay in the processor's cache make that as fast as memory is read,
    which spares a copy of the matrix stored by columns; on disk they bound the memory.
    """
    places, values = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
    for start in range(0, indices.shape[0], piece):
        found = np.flatnonzero(indices[start : start + piece] == at)
        if found.size:
            places.append(found + start)
            values.append(data[start : start + piece][found])
    rows = np.searchsorted(indptr, np.concatenate(places), side="right") - 1
    return np.bincount(rows, np.concatenate(values), len(indptr) - 1).astype(np.float32)
