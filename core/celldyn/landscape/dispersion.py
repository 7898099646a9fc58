"""How noisy each gene's counts are beyond Poisson, by moments of pairs of like cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job, Progress
from celldyn.landscape.graph import Csr

LOWEST, HIGHEST = 0.05, 100.0
"""Inverse dispersions are kept in between: noise of a factor of 5, and all but Poisson."""

_MOST_PAIRS = 20_000
_BLOCK = 1 << 18
"""Counts that are looked at at once."""

Pairs = NDArray[np.int64]


def partners(graph: Csr | None, cells: NDArray[np.int64], n_obs: int) -> Pairs:
    """Pair cells with a neighbour of theirs, or with any other where there is no graph.

    Parameters
    ----------
    graph
        (n_obs, n_obs) neighbours; None: any two cells are a pair.
    cells
        Those that have counts; others are in no pair.
    n_obs
        Cells.

    Returns
    -------
    (n_pairs, 2) numbers of cells, at most 20,000 pairs.
    """
    rng = np.random.default_rng(0)
    first = cells
    if len(first) > _MOST_PAIRS:
        first = np.sort(rng.choice(first, _MOST_PAIRS, replace=False))
    if graph is None or not graph.nnz:
        other = rng.permutation(first)
    else:
        n_near = np.diff(graph.indptr)[first]
        first, n_near = first[n_near > 0], n_near[n_near > 0]
        # Any of them: the nearest is near for its noise, too.
        other = graph.indices[graph.indptr[first] + rng.integers(n_near)].astype(np.int64)
    has_counts = np.zeros(n_obs, np.bool_)
    has_counts[cells] = True
    kept = (first != other) & has_counts[other]
    pairs: Pairs = np.column_stack([first[kept], other[kept]])
    return pairs


def dispersion_job(
    counts: Callable[[NDArray[np.int64]], Tensor],
    library: NDArray[np.float32],
    pairs: Pairs,
    n_vars: int,
) -> Job[NDArray[np.float64]]:
    """Estimate inverse dispersions θ, of variance m + m²/θ, from pairs of cells of like state.

    Of two cells i, j with library sizes l and the same share of a gene, the expectation of
    (x_i √(l_j/l_i) − x_j √(l_i/l_j))² − x_i − x_j is 2 m_i m_j/θ, and that of x_i x_j is m_i m_j;
    1/θ is the ratio of their sums. What differs between cell types is so not taken for noise.

    Parameters
    ----------
    counts
        Gives rows of counts, (m, n_vars).
    library
        (n,) library sizes.
    pairs
        (n_pairs, 2) cells.
    n_vars
        Genes.

    Returns
    -------
    (n_vars,) in [`LOWEST`, `HIGHEST`]; `HIGHEST` of a gene that no pair has in both cells.
    """
    beyond, product = np.zeros(n_vars), np.zeros(n_vars)
    step = max(_BLOCK // n_vars, 1)
    for start in range(0, len(pairs), step):
        yield Progress("dispersions", start, len(pairs))
        i, j = np.ascontiguousarray(pairs[start : start + step].T)
        x, y = counts(i), counts(j)
        scale = torch.from_numpy(np.sqrt(library[j] / library[i]))[:, None]
        product += (x * y).sum(0, dtype=torch.float64).numpy()
        square = (x * scale - y / scale).square_()
        beyond += (square - x - y).sum(0, dtype=torch.float64).numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = np.where((beyond > 0) & (product > 0), 2 * product / beyond, HIGHEST)
    found: NDArray[np.float64] = np.clip(theta, LOWEST, HIGHEST)
    return found
