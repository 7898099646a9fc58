"""How far each gene's expression varies between cell states, by moments of pairs of like cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job, Progress

LOWEST, HIGHEST = 0.1, 2.0
"""Spreads are kept in between, on the log scale."""

_BLOCK = 1 << 18
"""Counts that are looked at at once."""


def spread_job(
    counts: Callable[[NDArray[np.int64]], Tensor],
    library: NDArray[np.float32],
    pairs: NDArray[np.int64],
    n_vars: int,
) -> Job[NDArray[np.float64]]:
    """Estimate the log-scale standard deviation of every gene's expected expression.

    Of two cells i, j of like state, with library sizes l and independent noise, the mean of
    (x_i / l_i)(x_j / l_j) is that of m², m the expected share of a gene. So log(mean of m² /
    (mean of m)²) is the variance of log m where that is normal; the noise of counts is not in it.

    Parameters
    ----------
    counts
        Gives rows of counts, (m, n_vars).
    library
        (n,) library sizes.
    pairs
        (n_pairs, 2) neighbours.
    n_vars
        Genes.

    Returns
    -------
    (n_vars,) in [`LOWEST`, `HIGHEST`].
    """
    product, total = np.zeros(n_vars), np.zeros(n_vars)
    step = max(_BLOCK // n_vars, 1)
    for start in range(0, len(pairs), step):
        yield Progress("spread of genes", start, len(pairs))
        i, j = np.ascontiguousarray(pairs[start : start + step].T)
        x, y = (counts(at) / torch.from_numpy(library[at])[:, None] for at in (i, j))
        product += (x * y).sum(0, dtype=torch.float64).numpy()
        total += (0.5 * (x + y)).sum(0, dtype=torch.float64).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(total > 0, len(pairs) * product / total**2, 1.0)
    found: NDArray[np.float64] = np.clip(np.sqrt(np.log(np.maximum(ratio, 1.0))), LOWEST, HIGHEST)
    return found
