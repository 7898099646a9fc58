"""Running scales of what networks see and say, changed without changing what they compute.

Source: specs/environment.md B ("adaptive input rescaling"): PopArt for outputs, and its mirror
image for inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST, MOST = 1e-4, 1e6
"""Bounds of a standard deviation."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and standard deviation, (F,) each."""

    mean: Tensor
    std: Tensor

    def standardised(self, x: Tensor) -> Tensor:
        """Return (x − μ)/σ, (..., F)."""
        return (x - self.mean) / self.std


class RunningScale(nn.Module):
    """Moments that follow what is seen: μ ← (1 − β) μ + β x̄, and the same for squares.

    Parameters
    ----------
    beta
        β.
    n_features
        F.
    """

    mean: Tensor
    square: Tensor

    def __init__(self, beta: float, n_features: int = 1) -> None:
        super().__init__()
        self.beta = beta
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("square", torch.ones(n_features))

    @property
    def std(self) -> Tensor:
        """σ = √(s − μ²), within bounds."""
        variance = (self.square - self.mean.square()).clamp_min(0)
        return variance.sqrt().clamp(LEAST, MOST)

    def now(self) -> Scale:
        """Return the present scale, a copy."""
        return Scale(self.mean.clone(), self.std)

    @torch.no_grad()
    def update(self, x: Tensor, mask: Tensor | None = None) -> tuple[Scale, Scale]:
        """Follow values; return the scales before and after.

        Parameters
        ----------
        x
            (..., F).
        mask
            (...) bool, which rows count; None is all. Where none does, nothing changes.
        """
        old = self.now()
        rows = x.reshape(-1, x.shape[-1])
        if mask is None:
            share = None
            n_rows = float(len(rows))
        else:
            share = mask.reshape(-1, 1).to(rows.dtype)
            n_rows = float(share.sum())
        if n_rows:
            seen = rows if share is None else rows * share
            squares = (seen * rows).sum(0) / n_rows
            self.mean.lerp_(seen.sum(0) / n_rows, self.beta)
            self.square.lerp_(squares, self.beta)
        return old, self.now()

    def follow(self, mean: Tensor, square: Tensor) -> tuple[Scale, Scale]:
        """Follow moments that were taken elsewhere; return the scales before and after."""
        old = self.now()
        self.mean.lerp_(mean, self.beta)
        self.square.lerp_(square, self.beta)
        return old, self.now()

    def rescale_input(self, linear: nn.Linear, old: Scale, new: Scale) -> None:
        """See `rescale_input`."""
        rescale_input(linear, old, new)

    def rescale_output(self, linear: nn.Linear, old: Scale, new: Scale) -> None:
        """See `rescale_output`."""
        rescale_output(linear, old, new)


@torch.no_grad()
def rescale_input(linear: nn.Linear, old: Scale, new: Scale) -> None:
    """Change a layer of standardised inputs so that it says the same of a new standardisation.

    W ← W σ'/σ by columns; bias ← bias + W_old (μ' − μ)/σ.
    """
    if linear.bias is not None:
        linear.bias += linear.weight @ ((new.mean - old.mean) / old.std)
    linear.weight *= new.std / old.std


@torch.no_grad()
def rescale_output(linear: nn.Linear, old: Scale, new: Scale) -> None:
    """Change a layer whose output is scaled back so that the scaled output stays the same.

    W ← W σ/σ' by rows; bias ← (bias σ + μ − μ')/σ'.
    """
    linear.weight *= (old.std / new.std)[:, None]
    linear.bias.copy_((linear.bias * old.std + old.mean - new.mean) / new.std)
