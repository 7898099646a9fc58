"""Every random number of a step, by name, so that a loss can be made again exactly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Noise = Mapping[str, "Tensor | int"]
"""What is given instead of drawn: "z/<modality>", "library/<modality>", "theta/<modality>",
"library_weight/<modality>", and "dropout/<modality>", a seed."""


class Draws:
    """Draws, or hands out what is given.

    Parameters
    ----------
    noise
        Given values; what is not in it is drawn.
    generator
        Source of what is drawn; None is torch's own.
    training
        Whether there is dropout, and θ and the library's weight are drawn.
    """

    def __init__(
        self, noise: Noise | None, generator: torch.Generator | None, *, training: bool
    ) -> None:
        self._noise, self._generator, self.training = noise or {}, generator, training

    @property
    def samples_theta(self) -> bool:
        """Whether θ is drawn from its posterior."""
        return self.training

    def normal(self, name: str, like: Tensor) -> Tensor:
        """Return standard normal numbers of the shape and device of `like`."""
        if name in self._noise:
            return torch.as_tensor(self._noise[name], dtype=like.dtype, device=like.device)
        return torch.randn(
            like.shape, dtype=like.dtype, device=like.device, generator=self._generator
        )

    def seed(self, name: str) -> int:
        """Return the seed of a dropout mask."""
        if name in self._noise:
            return int(self._noise[name])
        device = self._generator.device if self._generator is not None else "cpu"
        high = torch.iinfo(torch.int64).max
        return int(torch.randint(high, (), generator=self._generator, device=device))

    def masked(self, name: str, x: Tensor, p: float) -> Tensor:
        """Return `x` with values dropped, the others scaled up."""
        if not p:
            return x
        key = f"dropout/{name}"
        if key in self._noise:
            keep = torch.as_tensor(self._noise[key], device=x.device)
        else:
            keep = torch.rand(x.shape, device=x.device, generator=self._generator) >= p
        return x * keep / (1 - p)
