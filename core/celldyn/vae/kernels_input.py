"""log(1 + x) of sparse rows, compiled; `encoder_input` on a tensor is its twin."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from celldyn.kernels.bits import narrowed
from celldyn.vae.encoder_input import GOLDEN
from celldyn.vae.kernels_hash import hashed

Longs = NDArray[np.int64]

_ONE, _GOLDEN = np.uint32(1), np.uint32(GOLDEN)


@numba.njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def fill_rows(
    indptr: Longs,
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    at: Longs,
    seed: int,
    limit: int,
    scale: float,
    known: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Write scale · log(1 + x) of the counts that are not left out.

    Parameters
    ----------
    indptr, indices, data, at
        Counts as rows `at` of a sparse matrix.
    seed, limit
        What hashes start from, below 2³²; see `encoder_input.hash_start`.
        Hashes below `limit` are left out; with 0 no hash is made.
    known
        scale · log(1 + x) of x = 0, 1, ..., of the dtype of `out`.
    out
        (B, G) float32, or bfloat16 as uint16, written.
    """
    hashes = np.empty(out.shape[1], np.uint32)
    start, below = np.uint32(seed), np.uint32(limit)
    for b in range(at.size):
        row, lo, hi = out[b], indptr[at[b]], indptr[at[b] + 1]
        row[:] = 0
        nothing, kept = row[0], hashes[: hi - lo]
        kept[:] = below
        if limit > 0:
            _hash_all(hashed(start, np.uint32(at[b]), _ONE), indices[lo:hi], kept)
        for j in range(lo, hi):
            x = data[j]
            k = int(x)
            if k < known.size and k == x:
                value = known[k]
            else:
                value = narrowed(np.float32(scale * np.log1p(x)), nothing)
            row[indices[j]] = value if kept[j - lo] >= below else nothing


@numba.njit(nogil=True, error_model="numpy", no_cpython_wrapper=True)  # type: ignore[untyped-decorator]
def _hash_all(key: int, genes: NDArray[np.int32], hashes: NDArray[np.uint32]) -> None:
    for i in range(genes.size):
        hashes[i] = hashed(key, np.uint32(genes[i]), _GOLDEN)
