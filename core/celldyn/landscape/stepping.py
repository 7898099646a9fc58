"""Steps of random walks as numpy does them, and the random numbers that steps are drawn by.

A number depends on the seed, the walk and the step alone: walks are the same in whatever blocks
and on however many threads they are drawn. `walk_kernels.py` holds the compiled twin.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.landscape.graph import Csr, Floats, Ints

Bits: TypeAlias = NDArray[np.uint64]

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Of splitmix64 (Steele et al. 2014)."""


def mixed(bits: ArrayLike) -> Bits:
    """Scramble 64 bits, of any shape (splitmix64's finaliser)."""
    found = np.atleast_1d(np.asarray(bits, dtype=np.uint64))
    found = (found ^ (found >> np.uint64(30))) * np.uint64(FIRST)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(SECOND)
    return found ^ (found >> np.uint64(31))


def walk_keys(seed: int, first: int, n_walks: int) -> Bits:
    """Return the key of walks `first`, `first` + 1, ...: (n_walks,)."""
    stream = mixed(np.uint64(seed % 2**64))
    return mixed(stream + np.arange(first, first + n_walks, dtype=np.uint64) * np.uint64(GOLDEN))


def uniforms(keys: Bits, step: int) -> Floats:
    """Return the number in (0, 1) that each walk takes at a step, (n_walks,)."""
    bits = mixed(keys + np.uint64(step * GOLDEN % 2**64))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def first_cells(keys: Bits, n_cells: int) -> NDArray[np.int32]:
    """Return where walks begin: any cell, alike; (n_walks,)."""
    return (uniforms(keys, 0) * n_cells).astype(np.int32)


def cumulated(transition: Csr) -> Floats:
    """Return chances summed up along every row, (nnz,): the last of a row is exactly 1.

    All rows' k-th entries are added at once. A single sum over all rows would lose what is small
    in a row beside all that came before it.
    """
    per_row = np.diff(transition.indptr)
    summed: Floats = transition.data.copy()
    longest = np.argsort(-per_row, kind="stable")
    begin, sizes = transition.indptr[:-1][longest], per_row[longest]
    for k in range(1, int(sizes[0])):
        at = begin[: np.searchsorted(-sizes, -k, side="left")] + k
        summed[at] += summed[at - 1]
    summed /= np.repeat(summed[transition.indptr[1:] - 1], per_row)
    return summed


def step_walks(
    indptr: Ints,
    indices: NDArray[np.int32],
    chance: Floats,
    keys: Bits,
    walks: NDArray[np.int32],
) -> None:
    """Fill walks from their first cell on.

    Parameters
    ----------
    indptr, indices
        Of the transition matrix, int64 and int32.
    chance
        (nnz,) chances summed up along every row.
    keys
        (n_walks,) from `walk_keys`.
    walks
        (n_walks, path_len); column 0 is read, the others are written.
    """
    for step in range(1, walks.shape[1]):
        drawn, cell = uniforms(keys, step), walks[:, step - 1]
        low, high = indptr[cell], indptr[cell + 1] - 1
        while (low < high).any():
            middle = (low + high) >> 1
            beyond = chance[middle] <= drawn
            open_ = low < high
            low = np.where(open_ & beyond, middle + 1, low)
            high = np.where(open_ & ~beyond, middle, high)
        walks[:, step] = indices[low]
