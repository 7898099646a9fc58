"""Fates of very many ends: shares of the cells near each of them.

Shapes: n ends, m voters, d dimensions of z, f fates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.errors import ConfigError
from celldyn.landscape.voters import voters_of_clusters

MOST_VOTERS = 8192
"""Cells that vote: of more than that, these many, by chance."""
_DISTANCES = 1 << 22
"""Distances that are held at once: 16 MB."""


class EndVotes:
    """Cells that say what a path that ends near them has come to.

    Distances are made by a product of matrices: for hundreds of thousands of ends that is an order
    of magnitude faster than a tree, and the vote is that of `celldyn.landscape.nearest_vote`.

    Parameters
    ----------
    z_cells
        (n_cells, d).
    labels
        (n_cells,) their clusters.
    k
        How many vote on an end.
    terminal
        Clusters that are fates; cells of others vote for none ("undecided"). None: all are.
    seed
        Of the choice, where there are more cells than vote.

    Raises
    ------
    ConfigError
        If a terminal cluster is not there, or fewer than k cells may vote.
    """

    def __init__(
        self,
        z_cells: Tensor,
        labels: ArrayLike,
        k: int,
        terminal: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        voters = voters_of_clusters(labels, len(z_cells), terminal)
        self.names, self.n_of, self.k = voters.names, len(z_cells), k
        at = np.arange(self.n_of)
        if self.n_of > MOST_VOTERS:
            rng = np.random.default_rng([seed, 2])
            at = np.sort(rng.choice(self.n_of, MOST_VOTERS, replace=False))
        if k > len(at):
            raise ConfigError(f"k is {k}", f"give 1 to {len(at)}, the number of cells that vote")
        self._cells = z_cells[torch.from_numpy(at)]
        self._half = self._cells.square().sum(dim=1) / 2
        self._fate = torch.from_numpy(voters.codes[at])

    @property
    def n_voters(self) -> int:
        """How many cells vote, of `n_of` that might."""
        return len(self._fate)

    def shares(self, ends: Tensor) -> Tensor:
        """Return shares of the votes, (n, f), of ends (n, d)."""
        out = ends.new_zeros(len(ends), len(self.names))
        one = ends.new_tensor(1.0 / self.k)
        for part, into in zip(
            torch.split(ends, max(1, _DISTANCES // self.n_voters)),
            torch.split(out, max(1, _DISTANCES // self.n_voters)),
            strict=True,
        ):
            # −|e − c|² / 2, less what is the same for all voters.
            near = torch.addmm(self._half, part, self._cells.T, beta=-1.0)
            at = near.topk(self.k, dim=1, sorted=False).indices
            votes = self._fate[at]
            into.scatter_add_(1, votes, one.expand(votes.shape))
        return out
