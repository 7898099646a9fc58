"""Whether a data set can serve as a tissue, in one sentence when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from celldyn.data.words import reason
from celldyn.errors import DataError

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCK = 1 << 22


def check_tissue(adata: AnnData) -> None:
    """Refuse what is not a tissue: no cells, no genes, doubled names, no usable coordinates.

    Raises
    ------
    DataError
        Naming the first thing at fault.
    """
    from celldyn.data.spatial import coordinates

    check_table(adata)
    coordinates(adata)


def check_table(adata: AnnData) -> None:
    """Refuse a table without cells or genes, with doubled names, or with a damaged matrix.

    Raises
    ------
    DataError
        Naming the first thing at fault.
    """
    if adata.n_obs == 0:
        raise DataError("the data set has no cells", "check the filters that were applied to it")
    if adata.n_vars == 0:
        raise DataError("the data set has no genes", "check the filters that were applied to it")
    _check_unique(adata.obs_names, "cell", "obs_names_make_unique")
    _check_unique(adata.var_names, "gene", "var_names_make_unique")
    if adata.X is not None:
        check_matrix(adata.X, "X")
    for name, layer in adata.layers.items():
        check_matrix(layer, f"layers[{name!r}]")
    if adata.raw is not None:
        check_matrix(adata.raw.X, "raw.X")


def _check_unique(names: pd.Index, what: str, remedy: str) -> None:
    if names.is_unique:
        return
    twice = names[names.duplicated()].unique()
    others = f", as do {len(twice) - 1:,} others" if len(twice) > 1 else ""
    raise DataError(
        f"the {what} name {str(twice[0])!r} stands more than once{others}",
        f"call adata.{remedy}() and save the file again",
    )


def check_matrix(matrix: Any, name: str) -> None:  # noqa: ANN401
    """Refuse a matrix whose type or whose sparse structure would break whoever uses it.

    A sparse matrix on disk has only its row (or column) pointers looked at, since the rest is not
    in memory; what is read of it later is looked at then.

    Raises
    ------
    DataError
        If the values are no numbers, or the pointers or indices point outside.
    """
    dtype = getattr(matrix, "dtype", None)
    if dtype is not None and np.dtype(dtype).kind not in "biuf":
        raise DataError(f"{name} holds {dtype} instead of numbers", "write it as float32")
    indptr = getattr(matrix, "indptr", getattr(matrix, "_indptr", None))
    if indptr is None:
        return
    try:
        if hasattr(matrix, "check_format"):
            matrix.check_format(full_check=True)
        else:
            _check_pointers(matrix, np.asarray(indptr))
    except ValueError as error:
        raise DataError(
            f"the sparse matrix {name} is damaged ({reason(error)})", "export the file again"
        ) from error


def _check_pointers(matrix: Any, indptr: NDArray[Any]) -> None:  # noqa: ANN401
    group = matrix.group
    n_major = matrix.shape[0 if matrix.format == "csr" else 1]
    if len(indptr) != n_major + 1:
        raise ValueError(f"indptr has {len(indptr):,} entries, not {n_major + 1:,}")
    n_stored = group["data"].shape[0]
    if indptr[0] != 0 or indptr[-1] != n_stored or group["indices"].shape[0] != n_stored:
        raise ValueError(f"indptr does not span the {n_stored:,} stored values")
    if np.any(np.diff(indptr) < 0):
        raise ValueError("indptr goes backwards")


def require_counts(adata: AnnData, layer: str | None = None) -> None:
    """Refuse a matrix that does not hold raw counts.

    Parameters
    ----------
    adata
        The data set.
    layer
        Which layer; None is X.

    Raises
    ------
    MissingKeyError
        If there is no such layer.
    DataError
        If a value is negative, not finite, or not a whole number.
    """
    from celldyn.data.genes import blocks, matrix_of

    name = "X" if layer is None else f"layers[{layer!r}]"
    for block in blocks(matrix_of(adata, layer)):
        values = block.data if hasattr(block, "indptr") else np.asarray(block).ravel()
        for start in range(0, values.size, _BLOCK):
            require_whole(values[start : start + _BLOCK], name)


def require_whole(values: NDArray[Any], name: str) -> None:
    """Raise DataError if a value is negative, not finite, or not a whole number."""
    if values.dtype.kind in "bu":
        return
    wrong = ~np.isfinite(values) | (values < 0) | (values != np.floor(values))
    if wrong.any():
        raise DataError(
            f"{name} holds {values[wrong][0]:g}, which is not a raw count",
            "name the layer that holds the counts, or use the data before normalisation",
        )
