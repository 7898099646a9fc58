"""Blocks of tissue to hold out: neighbouring cells stay together, so that none leaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_CELLS_PER_FOLD = 5
_CELLS_PER_BLOCK = 20
_BLOCKS_PER_FOLD = 4


def spatial_folds(xy: NDArray[np.float64], n_folds: int, seed: int = 0) -> list[NDArray[np.intp]]:
    """Divide cells into folds, each made of a few compact blocks of neighbouring cells.

    The cells are halved again and again across their longer side; the blocks, of 20 cells or
    more where there are enough, are dealt to the folds by the seed.

    Parameters
    ----------
    xy
        (n_cells, 2) coordinates.
    n_folds
        How many; 0 for none.
    seed
        Which blocks share a fold.

    Returns
    -------
    The positions of each fold's cells, ascending; empty if there are fewer than 5 cells a fold.
    """
    if n_folds == 0 or len(xy) < MIN_CELLS_PER_FOLD * n_folds:
        return []
    per_fold = int(np.clip(len(xy) // (_CELLS_PER_BLOCK * n_folds), 1, _BLOCKS_PER_FOLD))
    n_blocks = n_folds * per_fold
    fold = np.empty(len(xy), np.intp)
    dealt = np.random.default_rng(seed).permutation(n_blocks) % n_folds
    for which, block in zip(dealt, _blocks(xy, np.arange(len(xy)), n_blocks), strict=True):
        fold[block] = which
    return [np.flatnonzero(fold == k) for k in range(n_folds)]


def _blocks(
    xy: NDArray[np.float64], cells: NDArray[np.intp], n_blocks: int
) -> list[NDArray[np.intp]]:
    if n_blocks == 1:
        return [cells]
    here = xy[cells]
    axis = int(np.argmax(np.ptp(here, axis=0)))
    cells = cells[np.argsort(here[:, axis], kind="stable")]
    left = n_blocks // 2
    cut = round(len(cells) * left / n_blocks)
    return _blocks(xy, cells[:cut], left) + _blocks(xy, cells[cut:], n_blocks - left)
