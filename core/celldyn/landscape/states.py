"""Where every cell stands on a trained landscape.

Shapes: n cells, d dimensions of the cell state z, b of the differentiation state B.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from celldyn.devices import few_threads
from celldyn.jobs import Job, Progress
from celldyn.landscape.batching import Expression
from celldyn.landscape.networks import Networks

Floats32 = NDArray[np.float32]

_BLOCK_NUMBERS = 1 << 19
"""Numbers of expression that are made dense at once."""
_SPAN = 1e-8
"""Added to the range of V, so that a flat landscape has a pseudotime."""


@dataclass(frozen=True, slots=True, eq=False)
class CellStates:
    """Posterior means and standard deviations of cells, none of them drawn.

    Parameters
    ----------
    z, z_scale
        (n, d) cell state.
    B, B_scale
        (n, b) differentiation state.
    V
        (n,) potential.
    """

    z: Floats32
    z_scale: Floats32
    B: Floats32
    B_scale: Floats32
    V: Floats32

    @property
    def entropy(self) -> Floats32:
        """Σ_k log B_scale_k, (n,): LSD's entropy, whose sign training does not determine.

        See `plasticity` for a quantity that it does.
        """
        return np.asarray(np.log(self.B_scale).sum(axis=1))

    @property
    def pseudotime(self) -> Floats32:
        """(V_max − V) brought to [0, 1], (n,): LSD's pseudotime."""
        down = self.V.max() - self.V
        return np.asarray((down - down.min()) / (down.max() - down.min() + _SPAN))


def encode_cells_job(
    networks: Networks,
    data: Expression,
    n_cells: int,
    *,
    cells: NDArray[np.int64] | None = None,
    device: torch.device | None = None,
) -> Job[CellStates]:
    """Encode cells block by block.

    Parameters
    ----------
    networks
        Trained, in evaluation mode; they are on `device` meanwhile and on the CPU afterwards.
    data
        Where expression is.
    n_cells
        n.
    cells
        Which cells, in which order; None is all.
    device
        Where it runs; None is the CPU.
    """
    which = np.arange(n_cells) if cells is None else np.asarray(cells, dtype=np.int64)
    block = max(16, _BLOCK_NUMBERS // networks.n_genes)
    parts: list[tuple[torch.Tensor, ...]] = []
    networks.to(device or "cpu").eval()
    try:
        with few_threads():
            for first in range(0, len(which), block):
                parts.append(_block(networks, data, which[first : first + block], device))
                yield Progress("cell states", min(first + block, len(which)), len(which))
    finally:
        networks.to("cpu")
    whole = [torch.cat(each).numpy() for each in zip(*parts, strict=True)]
    return CellStates(*whole)


@torch.no_grad()
def _block(
    networks: Networks,
    data: Expression,
    cells: NDArray[np.int64],
    device: torch.device | None,
) -> tuple[torch.Tensor, ...]:
    z, z_scale = networks.encode(data.expression(cells).to(device or "cpu"))
    B, B_scale = networks.encode_B(z)
    return tuple(part.cpu() for part in (z, z_scale, B, B_scale, networks.potential(z)))
