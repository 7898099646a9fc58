"""Lateral diffusion: molecules that are counted in a neighbour of their cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from celldyn.devices import aside_job
from celldyn.errors import DataError
from celldyn.jobs import Job
from celldyn.simulate.measure.entries import CountTable, Entries
from celldyn.simulate.measure.moving import move_job
from celldyn.simulate.parallel import blocks_job

Floats = NDArray[np.float64]

REACH_SD = 3.0
"""Molecules go no farther than this many standard deviations."""
_MOST_PAIRS = 200_000_000
"""Entries of the spill matrix that one machine can be asked to hold."""
_PAIRS = 1 << 18
"""Pairs of neighbours found at once."""


def spill_job(
    centre: Floats, section: NDArray[Any], sd_um: float, *, threads: int | None = None
) -> Job[sparse.csr_matrix]:
    """Find where the molecules of each cell are counted.

    Parameters
    ----------
    centre
        (n, 2) µm in the canvas of the section.
    section
        (n,) position of each cell's section; no molecule leaves it.
    sd_um
        Standard deviation of the diffusion along an axis, above 0.
    threads
        How many.

    Returns
    -------
    (n, n) CSR; row i holds the probabilities, in proportion to exp(-d² / 2 sd²) up to
    `REACH_SD`, that a molecule of cell i is counted in each cell, itself included.

    Raises
    ------
    DataError
        If the diffusion reaches so far that the matrix would not fit.
    """
    reach = REACH_SD * sd_um
    places = apart(centre, section, reach)
    tree = cKDTree(places)
    n_pairs = yield from aside_job(lambda: int(tree.count_neighbors(tree, reach)), "neighbours")
    if n_pairs > _MOST_PAIRS:
        raise DataError(
            f"diffusion_um = {sd_um:g} joins {n_pairs} pairs of cells",
            f"lower it until there are at most {_MOST_PAIRS}",
        )
    n_cells = len(places)
    height = max(int(_PAIRS * n_cells / max(n_pairs, 1)), 1)

    def one(k: int) -> sparse.csr_matrix:
        own = places[k * height : (k + 1) * height]
        near = cKDTree(own).sparse_distance_matrix(tree, reach, output_type="ndarray")
        weight = np.exp(-0.5 * (near["v"] / sd_um) ** 2)
        part = sparse.csr_matrix((weight, (near["i"], near["j"])), shape=(len(own), n_cells))
        part.data /= np.repeat(np.add.reduceat(part.data, part.indptr[:-1]), np.diff(part.indptr))
        return part

    parts = yield from blocks_job(one, -(-n_cells // height), "neighbours", threads=threads)
    whole: sparse.csr_matrix = yield from aside_job(
        lambda: sparse.vstack(parts, format="csr"), "neighbours"
    )
    return whole


def diffuse_job(
    table: CountTable, spill: sparse.csr_matrix, seed: int, *, threads: int | None = None
) -> Job[sparse.csr_matrix]:
    """Count every molecule where the spill matrix takes it; totals per gene stay."""
    ladder = yield from aside_job(lambda: _Ladder.of(spill), "diffusion")
    return (
        yield from move_job(table, ladder.leaving, ladder.send, seed, "diffusion", threads=threads)
    )


@dataclass(frozen=True, slots=True)
class _Ladder:
    """The spill matrix without its diagonal, so that one search finds any molecule's goal.

    Parameters
    ----------
    leave
        (n,) probability that a molecule of a cell leaves it.
    start, goal
        The other cells that each cell spills into, as in a CSR.
    rung
        Row i takes up (i, i + 1], each goal a piece as long as its share of what leaves.
    """

    leave: Floats
    start: NDArray[np.intp]
    goal: NDArray[Any]
    rung: Floats

    @classmethod
    def of(cls, spill: sparse.csr_matrix) -> _Ladder:
        row = np.repeat(np.arange(spill.shape[0]), np.diff(spill.indptr))
        other = spill.indices != row
        row, goal, share = row[other], spill.indices[other], spill.data[other]
        start = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=spill.shape[0]))])
        total = np.concatenate([[0.0], np.cumsum(share)])
        leave = np.where(np.diff(start) > 0, 1.0 - spill.diagonal(), 0.0)
        below = total[start[row]]
        whole = np.maximum(total[start[row + 1]] - below, np.finfo(float).tiny)
        return cls(leave, start, goal, row + np.minimum((total[1:] - below) / whole, 1.0))

    def leaving(self, entries: Entries) -> Floats:
        probability: Floats = self.leave[entries.row]
        return probability

    def send(
        self, row: NDArray[np.intp], column: NDArray[np.int32], chance: Floats
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        found = np.searchsorted(self.rung, row + chance)
        found = np.clip(found, self.start[row], self.start[row + 1] - 1)
        return self.goal[found], column


def stride_between(centre: Floats, reach: float) -> float:
    """Return how far to move each section, in µm, so that cells of two are beyond `reach`."""
    return float(np.ptp(centre[:, 0]) + 2.0 * reach + 1.0) if len(centre) else 1.0


def apart(centre: Floats, section: NDArray[Any], reach: float) -> Floats:
    """Return the places with the sections side by side, farther from each other than `reach`."""
    places = np.array(centre, dtype=np.float64)
    places[:, 0] += np.asarray(section) * stride_between(places, reach)
    return places
