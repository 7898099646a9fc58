"""The parts of a test by permutation: who may change places, and what chance would give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.inputs import PerturbInputs
from celldyn.errors import ConfigError

_MOST_CELLS = 4000
"""Cells of a stratum that are looked at; more would not change a verdict."""
_VALUES_AT_ONCE = 1 << 21


def benjamini_hochberg(p: Floats) -> Floats:
    """Return the false discovery rate at which each p is still called."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / ranks), 1.0)
    return q


def chi2_scale(share: Any, n_directions: int, freedom: int) -> Any:  # noqa: ANN401
    """Put an explained share on the scale of χ² with as many degrees as it has directions.

    What the other modulators explain is missing from the gene but not from the gene permuted, so
    that the two shares are not on the same scale themselves.
    """
    from scipy.special import chdtri, fdtrc

    rest = max(freedom - n_directions, 1)
    ratio = np.minimum(share, 1.0) / n_directions / np.maximum((1.0 - share) / rest, 1e-300)
    return chdtri(n_directions, np.maximum(fdtrc(n_directions, rest, ratio), 1e-300))


def permutations(
    blocks: Ints, n_permutations: int, rng: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.int32]]]:
    """Yield (n_cells, some) permutations of cells that leave each in its block."""
    places = np.argsort(blocks, kind="stable")
    at_once = max(_VALUES_AT_ONCE // max(len(blocks), 1), 1)
    for start in range(0, n_permutations, at_once):
        stop = min(start + at_once, n_permutations)
        keys = rng.random((stop - start, len(blocks))) + blocks
        order = np.empty((len(blocks), stop - start), np.int32)
        order[places] = np.argsort(keys, axis=1).T
        yield slice(start, stop), order


def strata_of(
    inputs: PerturbInputs, order: Ints, block_um: float | None, rng: np.random.Generator
) -> list[tuple[Ints, Ints]]:
    """Return cells, as positions in the circuit, of each type and section, and their blocks."""
    tissue = inputs.tissue
    if block_um is not None and not block_um > 0:
        raise ConfigError(f"squares of {block_um:g} hold no cell", "give a side above 0")
    codes = np.column_stack([tissue.section_codes, tissue.cluster_codes])[order]
    of_cell = np.unique(codes, axis=0, return_inverse=True)[1].ravel()
    square = np.zeros((len(order), 2), np.intp)
    if block_um is not None:
        square = np.floor(tissue.xy[order][:, :2] / block_um).astype(np.intp)
    strata = []
    for code in range(int(of_cell.max(initial=-1)) + 1):
        cells = np.flatnonzero(of_cell == code)
        if len(cells) > _MOST_CELLS:
            cells = np.sort(rng.permutation(cells)[:_MOST_CELLS])
        blocks = np.unique(square[cells], axis=0, return_inverse=True)[1].ravel()
        strata.append((cells, blocks))
    return strata
