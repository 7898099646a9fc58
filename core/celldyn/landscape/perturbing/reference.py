"""A perturbation as sclsd 0.3.0 does it: jumps to the nearest cell, then let go.

Shapes: n cells, m followed, G genes, d dimensions of z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from celldyn.jobs import Job, Progress, scaled
from celldyn.landscape.flowing import flow_job
from celldyn.landscape.graph import Ints
from celldyn.landscape.perturbing.edits import Edit
from celldyn.landscape.perturbing.preparing import Subjects
from celldyn.landscape.perturbing.shift import ShiftEncoder


@dataclass(frozen=True, slots=True)
class Jumps:
    """How sclsd perturbs.

    Parameters
    ----------
    dt_pert
        Time of the flow of one jump.
    t_unpert
        Time of the flow after the last.
    n_jumps
        How many: as many are made, whether cells still move or not.
    """

    dt_pert: float = 0.2
    t_unpert: float = 15.0
    n_jumps: int = 10


class Snapper:
    """Follows cells that jump to the nearest cell of the data.

    Parameters
    ----------
    subjects
        The model and the data.
    jumps
        How.
    """

    def __init__(self, subjects: Subjects, jumps: Jumps) -> None:
        from scipy.spatial import cKDTree

        self._of, self._jumps = subjects, jumps
        self._encoder = ShiftEncoder(subjects.networks)
        self._tree: Any = cKDTree(subjects.z_cells.double().numpy())

    def job(self, x: Tensor, edit: Edit | None, done: float, total: float) -> Job[Ints]:
        """Return the cells that cells of expression x, (m, G), end at, (m,).

        Parameters
        ----------
        edit
            What is done before every jump; None is the control.
        """
        n_legs, cells = self._jumps.n_jumps + 1, None
        for jump in range(self._jumps.n_jumps):
            z = self._encoded(x, cells, edit)
            leg = self._flown_job(z, self._jumps.dt_pert)
            z = yield from scaled(leg, done + jump / n_legs, total, units=1 / n_legs)
            cells = self._nearest(z)
        # The level is not set once more before the cells are let go.
        z = self._encoded(x, cells, None)
        leg = self._flown_job(z, self._jumps.t_unpert)
        z = yield from scaled(leg, done + 1 - 1 / n_legs, total, units=1 / n_legs)
        return self._nearest(z)

    def _encoded(self, x: Tensor, cells: Ints | None, edit: Edit | None) -> Tensor:
        """Return states of x, or of the cells jumped to, with the change if there is any."""
        if cells is not None and edit is None:
            return self._of.z_cells[torch.from_numpy(cells)]
        # Many come to the same cell: each is read once.
        once, back = (None, None) if cells is None else np.unique(cells, return_inverse=True)
        rows = (x if once is None else self._of.expression(once)).detach().cpu()
        if edit is not None:
            rows = rows.clone()
            at = torch.from_numpy(edit.genes)
            rows[:, at] += torch.from_numpy(edit.added(rows[:, at].numpy())).to(rows)
        z = self._encoder.state(self._encoder.first(rows))
        return z if back is None else z[torch.from_numpy(back)]

    def _flown_job(self, z: Tensor, time: float) -> Job[Tensor]:
        yield Progress("flow", 0, 1)
        paths = yield from flow_job(self._of.networks.potential, z, [0.0, time])
        return paths[-1]

    def _nearest(self, z: Tensor) -> Ints:
        return np.asarray(self._tree.query(z.double().numpy())[1], dtype=np.int64)


def reference_job(
    subjects: Subjects, x: Tensor, edit: Edit, jumps: Jumps
) -> Job[tuple[Ints, Ints]]:
    """Return the cells that perturbed cells and the same unperturbed come to, (m,) each.

    The change is made; cells flow for `dt_pert`; each becomes the nearest cell of the data; and
    so on. Then they flow for `t_unpert` from the last cell, and become the nearest to where
    they end. Both chains begin at x.

    Parameters
    ----------
    subjects
        The model and the data.
    x
        (m, G) log-normalised expression of the cells that are followed.
    edit
        What is done.
    jumps
        How often, and for how long.
    """
    snapper = Snapper(subjects, jumps)
    perturbed = yield from snapper.job(x, edit, 0, 2)
    return perturbed, (yield from snapper.job(x, None, 1, 2))
