"""How far a held gene moves any state: what it does to the cells near there.

Shapes: L landmarks, m anchors, q perturbations at once, n states of each, d dimensions of z.
"""

from __future__ import annotations

import torch
from torch import Tensor

from celldyn.jobs import Job, Pace, Progress
from celldyn.landscape.perturbing.anchors import Anchors
from celldyn.landscape.perturbing.edits import Edit

_SWEEPS = 10
"""Of Lloyd's algorithm: groups need not be the best, only compact."""


class ShiftField:
    """Shifts of the anchors, as means of groups of them alike in state.

    A single cell's shift is noisy: where a gene was missed in it, a knock-out does nothing. The
    mean over cells near a state is what a cell there is expected to feel. Between the centres of
    groups shifts are mixed by a Gaussian of the distance, as wide as centres are apart, so that
    they vary smoothly.

    Parameters
    ----------
    anchors
        Cells that are asked.
    n_landmarks
        Groups, at most.
    seed
        Of the groups.
    """

    def __init__(self, anchors: Anchors, n_landmarks: int, seed: int) -> None:
        self._anchors = anchors
        self.centres, self._member = _groups(anchors.state, n_landmarks, seed)
        L = len(self.centres)
        self._size = torch.bincount(self._member, minlength=L).to(self.centres)
        apart = torch.cdist(self.centres, self.centres)
        apart.fill_diagonal_(torch.inf)
        near = float(apart.amin(dim=1).mean()) if L > 1 else 1.0
        self._sharp = 1.0 / max(near, 1e-12) ** 2
        self._level = self.centres.square().sum(dim=1)

    def table_job(self, edits: list[Edit], done: float, total: float) -> Job[Tensor]:
        """Return the mean shift at every landmark, (q, L, d)."""
        L, d = self.centres.shape
        table = self.centres.new_zeros(len(edits), L, d)
        pace = Pace()
        for k, edit in enumerate(edits):
            rows, shifts = self._anchors.shifts(edit)
            table[k].index_add_(0, self._member[torch.from_numpy(rows)], shifts)
            if pace.due():
                yield Progress("changes of expression", done, total)
        return table.div_(self._size[:, None])

    def at(self, table: Tensor, states: Tensor) -> Tensor:
        """Return shifts (q, n, d) at states (q, n, d), or (n, d) that all have in common."""
        # |u − c|² / 2 s², less what is the same for all centres.
        logits = torch.matmul(states, self.centres.T).sub_(self._level / 2).mul_(self._sharp)
        return torch.matmul(torch.softmax(logits, dim=-1), table)


def _groups(states: Tensor, n_groups: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return centres of groups of states alike, (L, d), and the group of every state."""
    random = torch.Generator().manual_seed(seed)
    n = states.shape[0]
    if n <= n_groups:
        return states.clone(), torch.arange(n)
    centres = states[torch.randperm(n, generator=random)[:n_groups]].clone()
    member = torch.zeros(n, dtype=torch.int64)
    for _ in range(_SWEEPS):
        member = torch.cdist(states, centres).argmin(dim=1)
        size = torch.bincount(member, minlength=n_groups)
        total = torch.zeros_like(centres).index_add_(0, member, states)
        met = size > 0
        centres[met] = total[met] / size[met, None]
    member = torch.cdist(states, centres).argmin(dim=1)
    kept, member = torch.unique(member, return_inverse=True)
    return centres[kept], member
