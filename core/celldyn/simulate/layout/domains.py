"""Domains of a tissue, and which cell types live in them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from celldyn.simulate.fields import smooth_field
from celldyn.simulate.streams import uniforms

Codes = NDArray[np.intp]

_WAVE = 0.05
"""How far borders wander, as a share of the canvas."""
_CANDIDATES = 64
_BALANCING_STEPS = 200


def domain_codes(
    xy: NDArray[np.float64],
    canvas_um: tuple[float, float],
    n_domains: int,
    pattern: Literal["voronoi", "layers"],
    seed: int,
    stage: str,
) -> Codes:
    """Return the domain of every cell, with wavy borders between domains.

    Parameters
    ----------
    xy
        (n_cells, 2) positions in µm.
    canvas_um
        Width and height.
    n_domains
        How many.
    pattern
        "voronoi": patches around a few centres; "layers": bands of equal depth, from y = 0 on.
    seed, stage
        The random stream.

    Returns
    -------
    (n_cells,) codes in 0 .. n_domains - 1.
    """
    size = np.array(canvas_um)
    wave, warped = _WAVE * size.min(), xy.copy()
    for axis, name in enumerate("xy"):
        warped[:, axis] += wave * smooth_field(xy, 0.15 * size.min(), seed, f"{stage}/{name}")
    if pattern == "layers":
        depth = np.floor(warped[:, 1] / size[1] * n_domains)
        band: Codes = np.clip(depth, 0, n_domains - 1).astype(np.intp)
        return band
    from scipy.spatial import cKDTree

    nearest = cKDTree(_centres(size, n_domains, seed, stage)).query(warped)[1]
    codes: Codes = np.asarray(nearest, dtype=np.intp)
    return codes


def celltype_codes(
    domain: Codes,
    proportions: NDArray[np.float64],
    purity: float,
    seed: int,
    stage: str,
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
    expected = _balanced(_affinity(sizes.size, proportions.size, purity), sizes, proportions)
    numbers = _rounded(expected, sizes)
    order = np.lexsort((uniforms(seed, stage, domain.size)[:, 0], domain))
    types = np.empty(domain.size, dtype=np.intp)
    types[order] = np.repeat(np.tile(np.arange(proportions.size), sizes.size), numbers.ravel())
    return types


def _centres(
    size: NDArray[np.float64], n_domains: int, seed: int, stage: str
) -> NDArray[np.float64]:
    """Choose centres that keep apart: each the best of many candidates."""
    candidates = (
        0.1 + 0.8 * uniforms(seed, f"{stage}/centres", _CANDIDATES * n_domains, 2)
    ) * size
    chosen = [0]
    distance = np.full(len(candidates), np.inf)
    for _ in range(n_domains - 1):
        latest = candidates[chosen[-1]]
        distance = np.minimum(distance, ((candidates - latest) ** 2).sum(axis=1))
        chosen.append(int(distance.argmax()))
    return candidates[chosen]


def _affinity(n_domains: int, n_types: int, purity: float) -> NDArray[np.float64]:
    prefers = np.zeros((n_domains, n_types), dtype=bool)
    for k in range(max(n_domains, n_types)):
        prefers[k % n_domains, k % n_types] = True
    return np.where(prefers, 1.0, max(1.0 - purity, 1e-6))


def _balanced(
    affinity: NDArray[np.float64], sizes: NDArray[np.intp], proportions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Scale rows and columns until both margins hold (Sinkhorn and Knopp 1967)."""
    table, types = affinity.copy(), proportions * sizes.sum()
    for _ in range(_BALANCING_STEPS):
        for axis, margin in ((0, types), (1, sizes)):
            total = table.sum(axis=axis)
            factor = np.divide(margin, total, out=np.zeros(total.shape), where=total > 0)
            table *= np.expand_dims(factor, axis)
    return table


def _rounded(expected: NDArray[np.float64], sizes: NDArray[np.intp]) -> NDArray[np.intp]:
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
