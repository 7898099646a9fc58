"""What positions tell where no network was trained: least squares, fitted anew at every step.

Shapes: B environments, n cells, d dimensions, F_k features. Source: specs/environment.md A
("Pinning prediction without networks").
"""

from __future__ import annotations

import torch
from torch import Tensor

from celldyn.environment.world import World

_RIDGE = 1e-6
"""Keeps the fit of fewer cells than dimensions defined."""


class LineFit:
    """Tells a target of an environment's own cells from their positions, as a line would.

    Parameters
    ----------
    world
        Environments whose cells are asked about.
    target
        Which of its targets.
    """

    def __init__(self, world: World, target: int) -> None:
        self._world, self._target = world, target

    def __call__(self, position: Tensor) -> Tensor:
        """Return (B, n, F_k) of positions (B, n, d): M ≈ [x, 1] β with the least squared error."""
        held = self._world.mask
        target = self._world.targets()[self._target].to(torch.float64)
        one = position.new_ones((*position.shape[:-1], 1))
        x = torch.cat([position, one], dim=-1).to(torch.float64)
        seen = x if held is None else x * held[..., None]
        square = seen.mT @ x
        square.diagonal(dim1=-2, dim2=-1).add_(_RIDGE)
        told: Tensor = x @ torch.linalg.solve(square, seen.mT @ target)
        return told.to(position.dtype)
