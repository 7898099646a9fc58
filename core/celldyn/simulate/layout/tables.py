"""How many cells of each type live in each domain: shares, purity, exact margins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.streams import uniforms

Codes = NDArray[np.intp]
Floats = NDArray[np.float64]

_BALANCING_STEPS = 200


def celltype_codes(
    domain: Codes, proportions: Floats, purity: float, seed: int, stage: str
) -> Codes:
    """Return the type of every cell: overall shares as asked, each type mostly in its domain.

    Type k prefers domain k modulo the number of domains (and a domain that no type would prefer
    gets type d modulo the number of types). The expected table of domains and types has exactly
    the wanted margins; it is rounded so that each type is off by less than about a cell.

    Parameters
    ----------
    domain
        (n_cells,) domain codes.
    proportions
        (n_types,) shares that sum to 1.
    purity
        0: every domain has the same mixture; 1: as separate as the shares allow.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells,) codes in 0 .. n_types - 1.
    """
    sizes = np.bincount(domain)
    expected = balanced(affinity(sizes.size, proportions.size, purity), sizes, proportions)
    return dealt(domain, rounded(expected, sizes), uniforms(seed, stage, domain.size)[:, 0])


def dealt(stratum: Codes, numbers: NDArray[np.intp], chance: Floats) -> Codes:
    """Deal the types of each stratum out among its cells, at random.

    Parameters
    ----------
    stratum
        (n_cells,) codes.
    numbers
        (n_strata, n_types) cells of each; rows sum to the sizes of the strata.
    chance
        (n_cells,) uniform numbers.
    """
    order = np.lexsort((chance, stratum))
    types = np.empty(stratum.size, dtype=np.intp)
    n_strata, n_types = numbers.shape
    types[order] = np.repeat(np.tile(np.arange(n_types), n_strata), numbers.ravel())
    return types


def affinity(n_domains: int, n_types: int, purity: float) -> Floats:
    """Return (n_domains, n_types): 1 where a type prefers a domain, less elsewhere."""
    prefers = np.zeros((n_domains, n_types), dtype=bool)
    for k in range(max(n_domains, n_types)):
        prefers[k % n_domains, k % n_types] = True
    return np.where(prefers, 1.0, max(1.0 - purity, 1e-6))


def balanced(affinities: Floats, sizes: NDArray[np.intp], proportions: Floats) -> Floats:
    """Scale rows and columns until both margins hold (Sinkhorn and Knopp 1967)."""
    table, types = affinities.copy(), proportions * sizes.sum()
    for _ in range(_BALANCING_STEPS):
        for axis, margin in ((0, types), (1, sizes)):
            total = table.sum(axis=axis)
            factor = np.divide(margin, total, out=np.zeros(total.shape), where=total > 0)
            table *= np.expand_dims(factor, axis)
    return table


def rounded(expected: Floats, sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Round row by row to the row's size, handing each column's rounding error on."""
    numbers = np.zeros(expected.shape, dtype=np.intp)
    owed = np.zeros(expected.shape[1])
    for row, size in enumerate(sizes):
        wanted = np.maximum(expected[row] + owed, 0.0)
        base = np.floor(wanted).astype(np.intp)
        short = int(size - base.sum())
        by_remainder = np.argsort(base - wanted, kind="stable")
        if short >= 0:
            base += np.bincount(np.resize(by_remainder, short), minlength=base.size)
        else:
            base[by_remainder[::-1][base[by_remainder[::-1]] > 0][:-short]] -= 1
        numbers[row] = base
        owed += expected[row] - base
    return numbers
