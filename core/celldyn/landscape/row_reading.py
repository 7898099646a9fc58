"""Matrices of a data set looked at and kept as rows, sparse or dense, whatever is smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.data.check import check_matrix
from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.landscape.rows import BLOCK, DENSE_BYTES, SPARSE_BYTES, DenseRows, SparseRows

Check: TypeAlias = Callable[[NDArray[Any]], None]
"""Looks at the stored values of a block, and raises where they cannot be used."""


def rows_job(matrix: Any, name: str, check: Check) -> Job[DenseRows | SparseRows]:  # noqa: ANN401
    """Look at every value of a matrix, and keep it as float32, sparse or dense.

    Parameters
    ----------
    matrix
        (n, G) dense or sparse, in memory or as anndata leaves it on disk; nothing is copied of
        one that is float32 and stored by rows already.
    name
        What an error calls it.
    check
        Looks at the stored values of every block.

    Raises
    ------
    DataError
        If it is damaged or not of numbers, or `check` says so.
    """
    if matrix.shape[1] > np.iinfo(np.int32).max:
        raise DataError(f"{name} has {matrix.shape[1]} genes", "take fewer")
    yield Progress("reading", 0, 1, name)
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    elif not hasattr(matrix, "tocsr") and not isinstance(matrix, np.ndarray):
        matrix = np.asarray(matrix[:])
    check_matrix(matrix, name)
    if hasattr(matrix, "tocsr"):
        return (yield from _sparse_job(matrix, name, check))
    return (yield from _dense_job(np.asarray(matrix), name, check))


def _sparse_job(matrix: Any, name: str, check: Check) -> Job[DenseRows | SparseRows]:  # noqa: ANN401
    values = np.asarray(matrix.data)
    for start in range(0, len(values), BLOCK):
        yield Progress("reading", start, len(values), name)
        check(values[start : start + BLOCK])
    by_row = matrix.tocsr()
    if not by_row.has_canonical_format:
        by_row = by_row.copy()
        by_row.sum_duplicates()
    rows = SparseRows(
        by_row.indptr.astype(np.int64, copy=False),
        by_row.indices.astype(np.int32, copy=False),
        by_row.data.astype(np.float32, copy=False),
        by_row.shape[1],
    )
    n, n_columns = rows.shape
    if rows.n_bytes <= DENSE_BYTES * n * n_columns:
        return rows
    yield Progress("reading", len(values), len(values), name)
    return rows.dense_on(torch.device("cpu"))


def _dense_job(matrix: NDArray[Any], name: str, check: Check) -> Job[DenseRows | SparseRows]:
    from scipy import sparse

    n, n_columns = matrix.shape
    step, filled = max(BLOCK // n_columns, 1), 0
    for start in range(0, n, step):
        yield Progress("reading", start, n, name)
        check(matrix[start : start + step].ravel())
        filled += int(np.count_nonzero(matrix[start : start + step]))
    if SPARSE_BYTES * (filled + n) >= DENSE_BYTES * n * n_columns:
        values = np.ascontiguousarray(matrix, np.float32)
        # torch holds no array that may not be written into.
        return DenseRows(torch.from_numpy(values if values.flags.writeable else values.copy()))
    parts = []
    for start in range(0, n, step):
        yield Progress("reading", start, n, name)
        parts.append(sparse.csr_array(matrix[start : start + step], dtype=np.float32))
    whole = sparse.vstack(parts, format="csr", dtype=np.float32)
    return SparseRows(
        whole.indptr.astype(np.int64), whole.indices.astype(np.int32), whole.data, n_columns
    )
