"""The means that counts are drawn about, before anything technical."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.simulate.measure.means import MeanBlock
from celldyn.simulate.parallel import blocks_job

Floats = NDArray[np.float64]

_VALUES = 1 << 20
"""Means that are made at once."""


def joined(blocks: Sequence[MeanBlock]) -> MeanBlock:
    """Return the means of all groups side by side."""
    if len(blocks) == 1:
        return blocks[0]

    def block(rows: slice) -> tuple[Floats, Floats]:
        pairs = [some(rows) for some in blocks]
        means = [mean for mean, _ in pairs]
        thetas = [np.broadcast_to(theta, mean.shape) for mean, theta in pairs]
        return np.concatenate(means, axis=1), np.concatenate(thetas, axis=1)

    return block


def expected_job(
    means: MeanBlock, shape: tuple[int, int], *, threads: int | None = None
) -> Job[NDArray[np.float32]]:
    """Return the native means of all cells and genes, (n_cells, n_vars), dense float32.

    They are what the counts are drawn about: without library, batch and ambient, and without the
    excess zeros of `zero_inflation`. Of a target they are its mean given what regulates it.
    """
    n_cells, n_genes = shape
    whole = np.empty(shape, dtype=np.float32)
    height = max(1, _VALUES // max(n_genes, 1))

    def work(k: int) -> None:
        rows = slice(k * height, min((k + 1) * height, n_cells))
        whole[rows] = means(rows)[0]

    yield from blocks_job(work, -(-n_cells // height), "expected counts", threads=threads)
    return whole
