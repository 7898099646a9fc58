"""A batch of walks: every cell of it once, and which rows' counts are looked at.

Shapes: W walks of L cells, N = W L rows, row (w, s) being number w L + s; m cells that the walks
meet; r rows whose counts are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.landscape.walks import Walks

Cells = NDArray[np.int64]


class Expression(Protocol):
    """Where a batch takes expression, counts and library sizes of cells from."""

    def expression(self, cells: Cells) -> Tensor:
        """Return log-normalised expression, (len(cells), G)."""
        ...

    def counts(self, cells: Cells) -> Tensor:
        """Return raw counts, (len(cells), G)."""
        ...

    @property
    def library(self) -> NDArray[np.float32]:
        """Library size of every cell."""
        ...


@dataclass(frozen=True, slots=True)
class WalkBatch:
    """What one step of training looks at.

    Parameters
    ----------
    index
        (W, L) which of the m cells each row is.
    times
        (m,) how many rows are that cell, float.
    x
        (m, G) log-normalised expression.
    log_library
        (m,) log of the observed library size.
    rows
        (r,) rows whose counts are looked at, or None for all, in their order.
    counts
        (r, G) their raw counts.
    """

    index: Tensor
    times: Tensor
    x: Tensor
    log_library: Tensor
    rows: Tensor | None
    counts: Tensor

    @property
    def n_walks(self) -> int:
        """W."""
        return self.index.shape[0]

    @property
    def path_len(self) -> int:
        """L."""
        return self.index.shape[1]


def make_batch(
    data: Expression,
    walks: Walks,
    device: torch.device,
    *,
    rows: NDArray[np.int64] | None = None,
) -> WalkBatch:
    """Gather a batch.

    Parameters
    ----------
    data
        Where expression and counts are.
    walks
        (W, L) numbers of cells.
    device
        Where the batch is to be.
    rows
        (r,) rows whose counts are looked at; None is all.
    """
    flat = walks.reshape(-1).astype(np.int64)
    cells, index, times = np.unique(flat, return_inverse=True, return_counts=True)
    looked_at = flat if rows is None else flat[rows]
    return WalkBatch(
        index=torch.from_numpy(index.reshape(walks.shape)).to(device),
        times=torch.from_numpy(times.astype(np.float32)).to(device),
        x=data.expression(cells).to(device),
        log_library=torch.from_numpy(np.log(data.library[cells])).to(device),
        rows=None if rows is None else torch.from_numpy(rows).to(device),
        counts=data.counts(looked_at).to(device),
    )


def rows_to_look_at(
    walks: Walks, share: float, usable: NDArray[np.bool_] | None, random: np.random.Generator
) -> NDArray[np.int64] | None:
    """Draw the rows of a batch whose counts are looked at, rising.

    Parameters
    ----------
    walks
        (W, L).
    share
        Of the usable rows, drawn without replacement; 2 rows at least.
    usable
        (n,) which cells' counts may be looked at; None is all.
    random
        Draws.

    Returns
    -------
    (r,), or None for all rows.
    """
    rows = np.arange(walks.size)
    if usable is not None:
        rows = rows[usable[walks.reshape(-1)]]
    if share < 1:
        n_rows = min(max(2, round(share * rows.size)), rows.size)
        return np.sort(random.choice(rows, n_rows, replace=False, shuffle=False))
    return None if rows.size == walks.size else rows
