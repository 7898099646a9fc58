"""Cells followed with perturbations and without, on the same paths of noise.

Shapes: m cells, R runs of each, q perturbations, f fates, d dimensions of z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job, Progress
from celldyn.landscape.fused import BLOCK
from celldyn.landscape.perturbing.edits import Edit
from celldyn.landscape.perturbing.field import ShiftField
from celldyn.landscape.perturbing.flow import Schedule, held_flow_job
from celldyn.landscape.perturbing.voting import EndVotes
from celldyn.landscape.potential import Landscape
from celldyn.landscape.step_size import curvature

Shares = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """What is followed, and how.

    Parameters
    ----------
    potential
        What cells flow down.
    field
        How far changes move states.
    voters
        Say what an end has come to.
    starts
        (m, R, d) states at time 0.
    schedule
        When what happens.
    """

    potential: Landscape
    field: ShiftField
    voters: EndVotes
    starts: Tensor
    schedule: Schedule

    def bend(self) -> float:
        """Return the largest curvature of the ground that cells are on."""
        states = torch.cat([self.starts.flatten(0, 1), self.field.centres])
        return curvature(self.potential, states)

    def _blocks(self) -> list[slice]:
        """Return slices of the cells whose runs fit in a block."""
        m, R, _ = self.starts.shape
        n_cells = max(1, BLOCK // R)
        return [slice(a, min(a + n_cells, m)) for a in range(0, m, n_cells)]

    def control_job(self, done: float = 0.0, total: float = 1.0) -> Job[Shares]:
        """Return shares of fates without a perturbation, (m, R, f)."""
        parts, bend = [], self.bend()
        for number, cells in enumerate(self._blocks()):
            said = Progress("flow without a change", done, total)
            part = self.starts[cells].flatten(0, 1)
            ends = yield from held_flow_job(
                self.potential, part, self.schedule, None, bend=bend, stream=number, progress=said
            )
            parts.append(self._voted(ends)[0])
        return np.concatenate(parts)

    def perturbed_job(self, edits: list[Edit], done: float, total: float) -> Job[Shares]:
        """Return shares of fates with each perturbation, (q, m, R, f)."""
        table = yield from self.field.table_job(edits, done, total)
        m, R, _ = self.starts.shape
        out = np.empty((len(edits), m, R, len(self.voters.names)), np.float32)
        bend = self.bend()
        for number, cells in enumerate(self._blocks()):
            part = self.starts[cells].flatten(0, 1)
            at_once = max(1, BLOCK // len(part))
            for first in range(0, len(edits), at_once):
                some = slice(first, first + at_once)
                share = (number + first / len(edits)) / len(self._blocks())
                said = Progress("flow with changes", done + share * len(edits), total)
                held = (self.field, table[some])
                ends = yield from held_flow_job(
                    self.potential, part, self.schedule, held, bend=bend, stream=number,
                    progress=said,
                )  # fmt: skip
                out[some, cells] = self._voted(ends)
        return out

    def _voted(self, ends: Tensor) -> Shares:
        """Return shares, (q, cells, R, f), of ends (q, cells · R, d)."""
        q, n, d = ends.shape
        R = self.starts.shape[1]
        shares = self.voters.shares(ends.reshape(q * n, d))
        return shares.reshape(q, n // R, R, -1).numpy()


def starts_of(z: Tensor, scale: Tensor | None, n_runs: int, seed: int) -> Tensor:
    """Return states at time 0, (m, R, d): z, or draws of N(z, scale²) where a scale is given."""
    starts = z[:, None].expand(-1, n_runs, -1)
    if scale is None:
        return starts.contiguous()
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(starts.shape, generator=random, dtype=z.dtype)
    return starts + noise * scale[:, None]
