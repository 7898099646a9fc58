"""How features are held at values: pulled there, put there, or steered there by a push on cells.

Shapes: n cells, F preprocessed features of a modality, g raw features that are held ("genes"),
d dimensions; leading axes, such as environments, are free. What a cell sees is z = M + o, its
modality with an offset. A gene is a direction A (g, F) in the space of features: z Aᵀ is what the
modality says of it, t is where it is to be (specs/environment.md C). Offsets only ever move
along A, so that o = w A with coefficients w (n, g).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Clamping: TypeAlias = Literal["pre", "post", "action"]
CLAMPINGS: tuple[Clamping, ...] = ("pre", "post", "action")

PULL_TIME = 0.1
"""Seconds in which 'pre' does what the reference does in one step, whatever the step is here."""
_LEAST = 1e-8
"""Keeps the push finite where the gradient vanishes."""
_RANK = 1e-6
"""Directions that are shorter than this share of the longest are none."""


def pull_gain(basis: Tensor, dt: float) -> Tensor:
    """Return how much of a miss 'pre' takes away in dt seconds.

    The reference takes z Aᵀ − t off along A at every step, which leaves (1 − λ) of the miss along
    an eigenvector of A Aᵀ with eigenvalue λ. This is the same thing in continuous time: in dt
    seconds (1 − λ)^(dt/0.1) of it is left, so that two half steps do what one step does, and a
    step of 0.1 s what the reference does.

    Parameters
    ----------
    basis
        (..., g, F) directions A; rows of orthonormal components have λ ≤ 1.
    dt
        Seconds.

    Returns
    -------
    (..., g, g) symmetric G: coefficients fall by (z Aᵀ − t) G.
    """
    values, vectors = torch.linalg.eigh(_gram(basis))
    left = (1.0 - values).clamp(0.0, 1.0)
    power = dt / PULL_TIME
    # (1 − (1 − λ)^p) / λ, which is p where λ is 0.
    small = values.abs() < 1e-12
    share = torch.where(small, power, (1.0 - left**power) / torch.where(small, 1.0, values))
    return _spanned(vectors, share).to(basis.dtype)


def put_gain(basis: Tensor) -> Tensor:
    """Return how 'post' takes a whole miss away: (A Aᵀ)⁺, (..., g, g)."""
    values, vectors = torch.linalg.eigh(_gram(basis))
    usable = values > _RANK * values.amax(dim=-1, keepdim=True).clamp_min(1e-30)
    share = torch.where(usable, 1.0 / torch.where(usable, values, 1.0), 0.0)
    return _spanned(vectors, share).to(basis.dtype)


def gain(kind: Clamping, basis: Tensor, dt: float) -> Tensor:
    """Return the gain of 'pre' or 'post' for a step of dt seconds."""
    return pull_gain(basis, dt) if kind == "pre" else put_gain(basis)


def _spanned(vectors: Tensor, values: Tensor) -> Tensor:
    return (vectors * values[..., None, :]) @ vectors.mT


def _gram(basis: Tensor) -> Tensor:
    wide = basis.double() if basis.device.type != "mps" else basis
    return wide @ wide.mT


def clamped_offset(
    modality: Tensor, offset: Tensor, basis: Tensor, target: Tensor, by: Tensor
) -> Tensor:
    """Return the offset after one step of 'pre' or 'post'.

    Parameters
    ----------
    modality, offset
        (..., n, F).
    basis
        (..., g, F) directions A.
    target
        (..., n or 1, g) preprocessed values t, less what the centre says of the genes.
    by
        (..., g, g) from `gain`.
    """
    miss = (modality + offset) @ basis.mT - target
    return offset - (miss @ by) @ basis


def push(
    position: Tensor,
    velocity: Tensor,
    action: Tensor,
    told: Callable[[Tensor], Tensor],
    basis: Tensor,
    target: Tensor,
    *,
    factor: float,
    delta: float,
    cells: Tensor | None = None,
) -> Tensor:
    """Return actions with a push that brings what positions tell nearer to the targets.

    a − factor · δ · g / (‖g‖² + 1e-8), where g is the gradient, by x' = x + δ v + δ² a, of the
    mean squared miss over cells and genes, and ‖g‖ is its length over all cells, so that the push
    on one cell does not depend on how many there are.

    Parameters
    ----------
    position, velocity, action
        (..., n, d).
    told
        Positions to preprocessed features, (..., n, d) to (..., n, F): a pinning network.
    basis, target
        (..., g, F) and (..., n or 1, g), as for `clamped_offset`.
    factor
        How strong.
    delta
        Seconds of a step.
    cells
        (n,) which cells are held; None: all.
    """
    with torch.enable_grad():
        ahead = (position + delta * velocity + delta**2 * action).detach().requires_grad_()
        miss = (told(ahead) @ basis.detach().mT - target).square().mean(dim=-1)
        if cells is None:
            loss = miss.mean(dim=-1)
        else:
            weight = cells.to(miss.dtype)
            loss = (miss * weight).sum(dim=-1) / weight.sum(dim=-1)
        (slope,) = torch.autograd.grad(loss.sum(), ahead)
    length = slope.square().sum(dim=(-2, -1), keepdim=True)
    return action - factor * delta * slope / (length + _LEAST)
