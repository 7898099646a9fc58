"""The cells near to where paths end, as a crowd that votes.

Shapes: n cells that vote, m cells whose paths end, r runs, d dimensions of the cell state, f
fates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job, Pace, Progress, scaled
from celldyn.landscape.fates import nearest_vote_job
from celldyn.landscape.landmarks import Landmarks
from celldyn.landscape.noisy_runs import bend_of, noisy_ends_job
from celldyn.landscape.potential import Landscape
from celldyn.landscape.voters import Voters

_FAR = 2.0
"""How many times farther than cells are from each other an end is where it is off the data."""
_SPACED = 512
"""Landmarks that are asked how far the next one is."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Runs with noise: how long, how strong, how many.

    Parameters
    ----------
    time, longest
        How long they last, and the longest step.
    sigma
        σ, in units of z per √time.
    n_runs
        r.
    seed
        Of the noise.
    """

    time: float
    longest: float
    sigma: float
    n_runs: int
    seed: int


class Crowd:
    """Cells that vote on the fates of others.

    Parameters
    ----------
    cells
        (n, d) states.
    voters
        What each votes for.
    near
        How many vote on an end.
    threads
        How many search.
    known
        How far from where it is said to be a cell may be, as the encoder knows; an end within
        that of a cell is not off the data.
    """

    def __init__(
        self, cells: Tensor, voters: Voters, near: int, threads: int = 1, known: float = 0.0
    ) -> None:
        self._cells, self._voters = cells, voters
        self._near, self._threads, self._known = near, threads, known

    def votes_job(self, end: Tensor) -> Job[tuple[NDArray[np.int64], float]]:
        """Return votes (m, f) of the cells near to each of the ends (m, d), and how many are off.

        The second number is the share of ends that are far from every cell.
        """
        found = yield from nearest_vote_job(
            end, self._cells, self._voters.codes, self._near, threads=self._threads
        )
        votes = np.zeros((end.shape[0], len(self._voters.names)), dtype=np.int64)
        # Labels that were numbers are named by them.
        votes[:, [int(name) for name in found.names]] = np.rint(found.probabilities * self._near)
        reach = self._reach(Landmarks(self._cells, 0))
        return votes, float((found.distance > reach).mean())

    def noisy_votes_job(
        self, potential: Landscape, start: Tensor, scale: Tensor | None, met: Tensor, noise: Noise
    ) -> Job[tuple[NDArray[np.int64], float]]:
        """Return votes (m, f), one of every run, and the share of runs that end off the data.

        Parameters
        ----------
        start, scale
            (m, d) where runs begin, and with what standard deviation.
        met
            (any, d) other states that runs come near to; curvature is looked up there.
        """
        marks = Landmarks(self._cells, noise.seed)
        at = torch.as_tensor(marks.cells, device=self._cells.device)
        said = yield from scaled(self.votes_job(self._cells[at]), 0, 10)
        code = said[0].argmax(axis=1)
        reach, n_fates = self._reach(marks), len(self._voters.names)
        votes = np.zeros((start.shape[0], n_fates), dtype=np.int64)
        off = 0

        def take(rows: slice, ends: Tensor) -> None:
            nonlocal off
            flat = ends.reshape(-1, ends.shape[-1])
            nearest = marks.nearest(flat)
            off += int((marks.distance(flat, nearest) > reach).sum())
            own = np.repeat(np.arange(ends.shape[0]) * n_fates, ends.shape[1])
            counted = np.bincount(own + code[nearest], minlength=ends.shape[0] * n_fates)
            votes[rows] = counted.reshape(-1, n_fates)

        bend = max(bend_of(potential, part) for part in (start, met, self._cells))
        runs = noisy_ends_job(
            potential, start, noise.time, noise.sigma, noise.n_runs, noise.seed, take,
            start_scale=scale, longest=noise.longest, bend=bend,
        )  # fmt: skip
        yield from scaled(runs, 1, 10, units=9)
        return votes, off / max(start.shape[0] * noise.n_runs, 1)

    def _reach(self, marks: Landmarks) -> float:
        """Return how far from every cell an end is off the data."""
        spacing = float(np.quantile(marks.spacing(_SPACED), 0.99))
        return max(_FAR * spacing, self._known)


def nearest_cells_job(cells: Tensor, paths: Tensor) -> Job[NDArray[np.int32]]:
    """Return the cell nearest to each path at every time, (n_times, m), for (n_times, m, d)."""
    marks, pace = Landmarks(cells, 0, most=cells.shape[0]), Pace()
    flat = paths.reshape(-1, paths.shape[-1])
    found = np.empty(flat.shape[0], dtype=np.int32)
    step = max(1, 20_000_000 // cells.shape[0])
    for first in range(0, flat.shape[0], step):
        rows = slice(first, first + step)
        found[rows] = marks.nearest(flat[rows])
        if pace.due():
            yield Progress("cells along paths", min(rows.stop, flat.shape[0]), flat.shape[0])
    return found.reshape(paths.shape[:2])
