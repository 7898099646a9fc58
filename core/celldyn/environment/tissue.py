"""The cells that environments draw from.

Shapes: N cells, F features that cells see, F_k of a target.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tissue:
    """What environments draw their cells from.

    Parameters
    ----------
    features
        (N, F) input modalities, one after the other, preprocessed.
    targets
        (N, F_k) of every target.
    spatial
        Which targets are coordinates.
    partition
        (N,) numbers of partitions; cells of different ones never meet.
    """

    features: Tensor
    targets: tuple[Tensor, ...]
    spatial: tuple[bool, ...]
    partition: Tensor

    squares: Tensor = field(init=False)
    """(N, F) of the features."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "squares", self.features.square())

    @property
    def n_cells(self) -> int:
        """N."""
        return len(self.features)

    def moments(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and mean squares of features over cells, (F,) each; numbers may repeat."""
        at = cells.flatten()
        if len(at) < self.n_cells:
            return self.features[at].mean(0), self.squares[at].mean(0)
        share = torch.bincount(at, minlength=self.n_cells).to(self.features.dtype) / len(at)
        return share @ self.features, share @ self.squares

    def to(self, device: torch.device | str) -> Tissue:
        """Return the same on a device."""
        return Tissue(
            self.features.to(device), tuple(each.to(device) for each in self.targets),
            self.spatial, self.partition.to(device),
        )  # fmt: skip
