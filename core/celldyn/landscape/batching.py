"""A batch of walks: every cell of it once, and which rows' counts are looked at.

Shapes: W walks of L cells, N = W L rows, row (w, s) being number w L + s; m cells that the walks
meet; r rows whose counts are looked at, c cells of theirs.
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
        (c, G) raw counts of the cells of these rows, each cell once.
    counted
        (r,) which of them each row has.
    """

    index: Tensor
    times: Tensor
    x: Tensor
    log_library: Tensor
    rows: Tensor | None
    counts: Tensor
    counted: Tensor

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
    looked_at, counted = cells, index.reshape(-1)
    if rows is not None:
        seen, counted = np.unique(counted[rows], return_inverse=True)
        looked_at = cells[seen]
    return WalkBatch(
        index=torch.from_numpy(index.reshape(walks.shape)).to(device),
        times=torch.from_numpy(times.astype(np.float32)).to(device),
        x=data.expression(cells).to(device),
        log_library=torch.from_numpy(np.log(data.library[cells])).to(device),
        rows=None if rows is None else torch.from_numpy(rows).to(device),
        counts=data.counts(looked_at).to(device),
        counted=torch.from_numpy(counted).to(device),
    )


def rows_to_look_at(
    walks: Walks,
    share: float,
    usable: NDArray[np.bool_] | None,
    random: np.random.Generator,
    *,
    balanced: bool = False,
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
    balanced
        Whether no cell has a second row before every cell has one. Walks that follow pseudotime
        strictly come to the last cells of a branch again and again: of all rows most are a few
        cells, which would be learned by heart.

    Returns
    -------
    (r,), or None for all rows.
    """
    rows = np.arange(walks.size)
    cells = walks.reshape(-1)
    if usable is not None:
        rows = rows[usable[cells]]
    if share < 1:
        n_rows = min(max(2, round(share * rows.size)), rows.size)
        rows = random.permutation(rows)
        if balanced:
            rows = rows[np.argsort(_how_many_before(cells[rows]), kind="stable")]
        return np.sort(rows[:n_rows])
    return None if rows.size == walks.size else rows


def _how_many_before(cells: Walks) -> NDArray[np.int64]:
    """Return how many times each row's cell was met in rows before, (r,)."""
    order = np.argsort(cells, kind="stable")
    along = cells[order]
    first = np.r_[True, along[1:] != along[:-1]]
    begun = np.maximum.accumulate(np.where(first, np.arange(along.size), 0))
    before = np.empty(along.size, dtype=np.int64)
    before[order] = np.arange(along.size) - begun
    return before
