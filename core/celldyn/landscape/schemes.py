"""One step of the flow, by scheme; all without a graph, in buffers that are made once.

Shapes: n cells, d dimensions of the cell state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from celldyn.landscape.fused import Into

Scheme: TypeAlias = Literal["rk4", "heun", "euler"]
Noise = Callable[[], Tensor]
"""Gives √h-less standard normal numbers, (n, d)."""
Step = Callable[[Tensor, float], None]
"""Moves states (n, d) on by h, in place."""


def rk4_step(gradient: Into, z: Tensor) -> Step:
    """Return steps of the 3/8 rule of order 4: torchdiffeq's "rk4"."""
    k1, k2, k3, k4, at = (torch.empty_like(z) for _ in range(5))

    def step(z: Tensor, h: float) -> None:
        gradient(z, k1)
        gradient(torch.add(z, k1, alpha=-h / 3, out=at), k2)
        torch.add(z, k2, alpha=-h, out=at)
        gradient(at.add_(k1, alpha=h / 3), k3)
        torch.add(z, k1, alpha=-h, out=at)
        gradient(at.add_(k2, alpha=h).add_(k3, alpha=-h), k4)
        k2.add_(k3)
        z.add_(k1.add_(k4).add_(k2, alpha=3.0), alpha=-h / 8)

    return step


def heun_step(gradient: Into, z: Tensor, sigma: float = 0.0, noise: Noise | None = None) -> Step:
    """Return steps of Heun's scheme; with noise the stochastic one, of order 2 in the mean."""
    k1, k2, at = (torch.empty_like(z) for _ in range(3))

    def step(z: Tensor, h: float) -> None:
        gradient(z, k1)
        torch.add(z, k1, alpha=-h, out=at)
        kick = None if noise is None else noise().mul_(sigma * math.sqrt(h))
        if kick is not None:
            at.add_(kick)
        gradient(at, k2)
        z.add_(k1.add_(k2), alpha=-h / 2)
        if kick is not None:
            z.add_(kick)

    return step


def euler_step(gradient: Into, z: Tensor, sigma: float = 0.0, noise: Noise | None = None) -> Step:
    """Return steps of Euler's scheme; with noise that of Euler and Maruyama."""
    k1 = torch.empty_like(z)

    def step(z: Tensor, h: float) -> None:
        z.add_(gradient(z, k1), alpha=-h)
        if noise is not None:
            z.add_(noise(), alpha=sigma * math.sqrt(h))

    return step


FINEST: Mapping[Scheme, float] = {"rk4": 1.0, "heun": 0.1, "euler": 0.05}
"""Largest curvature · h that a step of each scheme is given where steps are chosen: rk4 is then
wrong by 1e-5 of what cells move, in the mean."""


def make_step(
    scheme: Scheme, gradient: Into, z: Tensor, sigma: float, noise: Noise | None
) -> Step:
    """Return the steps of a scheme for states like `z`."""
    if scheme == "rk4":
        return rk4_step(gradient, z)
    make = heun_step if scheme == "heun" else euler_step
    return make(gradient, z, sigma, noise)


def normal_noise(like: Tensor, seed: int, block: int) -> Noise:
    """Return a stream of standard normal numbers for one block of cells.

    They are drawn on the cpu, so that a path is the same wherever it is integrated.
    """
    from celldyn.landscape.stepping import walk_keys

    source = torch.Generator().manual_seed(int(walk_keys(seed, block, 1)[0]) >> 1)

    def draw() -> Tensor:
        numbers = torch.randn(like.shape, generator=source, dtype=like.dtype)
        return numbers.to(like.device)

    return draw
