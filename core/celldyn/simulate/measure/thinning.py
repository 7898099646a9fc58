"""Binomial thinning of counts: which molecules stay, go, or are of the ambient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import betainc

from celldyn.jobs import Job
from celldyn.simulate.measure.effects import MeanEffects
from celldyn.simulate.measure.entries import CountTable, Entries, map_entries_job, stage_key
from celldyn.simulate.measure.means import MeanBlock

Floats = NDArray[np.float64]

_SUMMED = 32
"""Up to this many molecules probabilities are summed one by one."""


def binomial_quantile(tail: Floats, n: NDArray[Any], p: Floats) -> NDArray[np.int64]:
    """Return the smallest k with P(K > k) < tail, for K binomial.

    Parameters
    ----------
    tail
        (m,) in (0, 1): one minus the quantile's level.
    n
        (m,) numbers of molecules, at least 0.
    p
        (m,) probabilities in [0, 1].

    Returns
    -------
    (m,) counts between 0 and n. A larger p never gives a smaller count at the same `tail`.
    """
    many = np.asarray(n, dtype=np.int64)
    counts = np.where((many == 1) & (tail <= p), 1, 0)
    # The rarer outcome is counted, so that the probability of none of it does not underflow.
    common = p > 0.5
    for where, work in (
        (np.flatnonzero((many > 1) & (many <= _SUMMED)), _by_sum),
        (np.flatnonzero(many > _SUMMED), _by_tail),
    ):
        turned, size = common[where], many[where]
        rare = np.where(turned, 1.0 - p[where], p[where])
        found = work(np.where(turned, 1.0 - tail[where], tail[where]), size, rare)
        counts[where] = np.where(turned, size - found, found)
    return counts


def split_ambient_job(
    counts: sparse.csr_matrix,
    native: MeanBlock,
    effects: MeanEffects,
    *,
    gene_names: Sequence[str],
    cell_ids: ArrayLike,
    seed: int,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Split counts into native and ambient molecules.

    Given its rate, a negative binomial count is Poisson, and both parts share the rate's gamma
    factor, library and batch factor: given the count, the ambient is binomial with share
    s / (rho + s), exactly.

    Parameters
    ----------
    counts
        (n, G) CSR drawn with the means of `with_effects(native, effects)`.
    native
        The native means rho.
    effects
        The ambient s.
    gene_names, cell_ids
        (G,) and (n,).
    seed
        The simulation's seed.
    threads
        How many.

    Returns
    -------
    (n, G) CSR of the ambient molecules; `counts` less these are the native ones.
    """
    table = CountTable.of(counts, cell_ids, gene_names)
    key = stage_key(seed, "native or ambient")

    def work(entries: Entries) -> NDArray[np.int64]:
        rho = native(entries.rows)[0][entries.row - entries.rows.start, entries.column]
        ambient = effects.ambient[effects.batch[entries.row], entries.column]
        share = np.divide(ambient, rho + ambient, out=np.zeros_like(rho), where=ambient > 0)
        return binomial_quantile(entries.uniforms(key), entries.count, share)

    return (yield from map_entries_job(table, work, "ambient molecules", threads=threads))


def _by_sum(tail: Floats, n: NDArray[np.int64], p: Floats) -> NDArray[np.int64]:
    """Subtract one probability after another; p is at most 1/2."""
    counts = n.copy()
    where = np.arange(n.size)
    odds = p / (1.0 - p)
    term = (1.0 - p) ** n
    rest = 1.0 - term
    for k in range(int(n.max(initial=0))):
        above = (rest >= tail) & (n > k)
        counts[where[~above]] = k
        where = where[above]
        if not where.size:
            break
        term, tail, n, odds = term[above], tail[above], n[above], odds[above]
        term = term * odds * (n - k) / (k + 1)
        rest = rest[above] - term
    return counts


def _by_tail(tail: Floats, n: NDArray[np.int64], p: Floats) -> NDArray[np.int64]:
    """Bisect P(K > k) = I_p(k + 1, n - k)."""
    low, high = np.full(n.size, -1, dtype=np.int64), n.copy()
    where = np.flatnonzero(high - low > 1)
    while where.size:
        probe = (low[where] + high[where]) // 2
        above = betainc(probe + 1.0, (n[where] - probe).astype(float), p[where]) >= tail[where]
        low[where[above]] = probe[above]
        high[where[~above]] = probe[~above]
        where = where[high[where] - low[where] > 1]
    return high
