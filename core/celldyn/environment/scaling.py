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

    def update(self, x: Tensor, mask: Tensor | None = None) -> tuple[Scale, Scale]:
        """Follow values; return the scales before and after.

        Parameters
        ----------
        x
            (..., F).
        mask
            (...) bool, which rows count; None is all. Where none does, nothing changes.
        """
        found = moments(x, mask)
        return (self.now(), self.now()) if found is None else self.follow(*found)

    @torch.no_grad()
    def follow(self, mean: Tensor, square: Tensor) -> tuple[Scale, Scale]:
        """Follow means and mean squares, (F,) each; return the scales before and after."""
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
def moments(x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor] | None:
    """Return means and mean squares over rows, (F,) each; None where no row counts."""
    rows = x.reshape(-1, x.shape[-1])
    if mask is not None:
        rows = rows[mask.reshape(-1)]
    if not len(rows):
        return None
    return rows.mean(0), torch.linalg.vecdot(rows, rows, dim=0) / len(rows)


@torch.no_grad()
def rescale_input(linear: nn.Linear, old: Scale, new: Scale) -> None:
    """Change a layer of standardised inputs so that it says the same of a new standardisation.

    W ← W σ'/σ by columns; bias ← bias + W_old (μ' − μ)/σ.
    """
    if linear.bias is not None:
        linear.bias.add_(linear.weight @ ((new.mean - old.mean) / old.std))
    linear.weight.mul_(new.std / old.std)


@torch.no_grad()
def rescale_output(linear: nn.Linear, old: Scale, new: Scale) -> None:
    """Change a layer whose output is scaled back so that the scaled output stays the same.

    W ← W σ/σ' by rows; bias ← (bias σ + μ − μ')/σ'.
    """
    linear.weight.mul_((old.std / new.std)[:, None])
    linear.bias.copy_((linear.bias * old.std + old.mean - new.mean) / new.std)
