"""Millions of ends, each to the cell nearest to it among some thousands.

Shapes: n cells, d dimensions of the cell state, l landmarks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from celldyn.landscape.graph import Floats, Ints

_LANDMARKS = 4096
"""Cells that ends are held against: all where there are fewer, else so many at random."""
_AT_ONCE = 1 << 20
"""Distances that are held at once."""


class Landmarks:
    """Cells that stand for all in a search for the nearest.

    In ten dimensions a tree looks at a large part of all cells for every end, some 0.3 ms of
    them; a product of matrices with 4,096 cells takes 0.01 ms.

    Parameters
    ----------
    z_cells
        (n, d) states.
    seed
        Of the choice, where there are more than `most` cells.
    most
        l at most.
    """

    def __init__(self, z_cells: Tensor, seed: int, *, most: int = _LANDMARKS) -> None:
        n = z_cells.shape[0]
        chosen = np.arange(n)
        if n > most:
            chosen = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
        self.cells: Ints = chosen
        at = z_cells[torch.as_tensor(chosen, device=z_cells.device)]
        self._centre = at.mean(dim=0)
        at = at - self._centre
        self._at, self._half_square = at.T.contiguous(), at.square().sum(dim=1) / 2
        self._rows = max(1, _AT_ONCE // len(chosen))

    def nearest(self, z: Tensor) -> Ints:
        """Return the number, among the landmarks, of the one nearest to each state (m, d)."""
        found = np.empty(z.shape[0], dtype=np.int64)
        for first in range(0, z.shape[0], self._rows):
            rows = slice(first, first + self._rows)
            # |z − a|² / 2 less what is the same for all landmarks.
            far = torch.addmm(self._half_square, z[rows] - self._centre, self._at, alpha=-1.0)
            found[rows] = far.argmin(dim=1).cpu().numpy()
        return found

    def distance(self, z: Tensor, nearest: Ints) -> Floats:
        """Return how far states (m, d) are from their landmarks, (m,)."""
        at = self._at.T[torch.as_tensor(nearest, device=z.device)] + self._centre
        return np.asarray((z - at).norm(dim=1).double().cpu().numpy())

    def spacing(self, most: int) -> Floats:
        """Return how far some landmarks, at most so many, are from the next one."""
        n = self._at.shape[1]
        some = torch.arange(0, n, max(1, -(-n // most)))
        at = self._at.T[some]
        far = torch.cdist(at, self._at.T)
        far[torch.arange(len(some)), some] = torch.inf
        found = far.amin(dim=1).double().cpu().numpy()
        return np.asarray(found[np.isfinite(found)] if n > 1 else np.zeros(1))
