"""Ambient that a batch's own cells spill: their mean expression, as a share of the counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from celldyn.jobs import Job
from celldyn.simulate.measure.effects import MeanEffects
from celldyn.simulate.measure.means import MeanBlock
from celldyn.simulate.parallel import blocks_job

Floats = NDArray[np.float64]

_VALUES = 1 << 20
"""Means that are made at once."""


def soup_job(
    native: MeanBlock, effects: MeanEffects, *, threads: int | None = None
) -> Job[MeanEffects]:
    """Give each batch the ambient that makes up the share of its counts that was asked for.

    With m_bg = sum_n l_n rho_ng / sum_n l_n over the cells n of batch b, the ambient is s_bg =
    f_b / (1 - f_b) m_bg: of the expected counts of the batch, and of each of its genes, the share
    f_b is ambient, and the profile of the ambient is that of all its cells together.

    Parameters
    ----------
    native
        The native means rho of all genes.
    effects
        Batches, library sizes and `ambient_share`; without the latter they are returned as they
        are.
    threads
        How many.

    Returns
    -------
    The effects with (B, G) ambient.
    """
    if effects.ambient_share is None:
        return effects
    n_cells, n_genes = len(effects.batch), effects.y.shape[1]
    height = max(1, _VALUES // max(n_genes, 1))

    def work(k: int) -> Floats:
        rows = slice(k * height, min((k + 1) * height, n_cells))
        weights = np.zeros((len(effects.batch_names), rows.stop - rows.start))
        weights[effects.batch[rows], np.arange(weights.shape[1])] = effects.library[rows]
        sums: Floats = weights @ native(rows)[0]
        return sums

    sums = yield from blocks_job(work, -(-n_cells // height), "ambient profiles", threads=threads)
    whole = np.bincount(effects.batch, effects.library, minlength=len(effects.batch_names))
    mean = sum(sums, np.zeros_like(effects.y)) / np.where(whole > 0, whole, 1.0)[:, None]
    odds = effects.ambient_share / (1.0 - effects.ambient_share)
    return replace(effects, ambient=odds[:, None] * mean)
