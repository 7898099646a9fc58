"""What is held in a run: which features of which modality, at what, in which cells, until when.

Shapes: n cells, F preprocessed features of a modality, g raw features that are held ("genes").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from celldyn.environment.clamping import Clamping


@dataclass(frozen=True, eq=False)
class Clamp:
    """Features that are held from some time on.

    Parameters
    ----------
    features
        (g,) names of raw features.
    modality
        Whose they are.
    kind
        "pre", "post" or "action"; see `celldyn.environment.clamping`.
    basis
        (g, F) directions of the features; (B, g, F) of one set per environment.
    levels
        Seconds since the clamp began to preprocessed targets, (g,), (n, g) or (B, n or 1, g).
    changing
        Whether these depend on time.
    factor
        How strong a push is ("action").
    cells
        (n,) which cells are held; None: all.
    began
        Time of the environment from which seconds are counted.
    released_at
        Seconds after that at which they are let go: what was changed is taken back.
    relative
        Whether targets were made of what the cells are, and so are only for these.
    said
        What is done, in a line.
    token
        What stays the same where only the clock begins anew.
    """

    features: tuple[str, ...]
    modality: int
    kind: Clamping
    basis: Tensor
    levels: Callable[[float], Tensor]
    changing: bool = False
    factor: float = 1.0
    cells: NDArray[np.bool_] | None = None
    began: float = 0.0
    released_at: float | None = None
    relative: bool = False
    said: str = ""
    token: object = field(default_factory=object, repr=False)

    @property
    def of_these_cells(self) -> bool:
        """Whether it makes sense only for as many cells as there are."""
        if self.cells is not None or self.changing or self.relative:
            return True
        shape = self.levels(0.0).shape
        return len(shape) > 1 and shape[-2] > 1

    def same(self, other: Clamp) -> bool:
        """Whether both are one, whenever their clocks began."""
        return self.token is other.token

    def active(self, time: float) -> bool:
        """Whether features are held at a time of the environment."""
        return self.released_at is None or time - self.began < self.released_at - 1e-6

    def targets(self, time: float) -> Tensor:
        """Return the preprocessed values to hold at a time of the environment."""
        return self.levels(time - self.began)

    def __str__(self) -> str:
        return self.said


@dataclass(frozen=True, eq=False)
class Held:
    """What a clamp changed so far of what cells see: o = w A.

    Parameters
    ----------
    clamp
        The clamp, with its directions A.
    weight
        (n, g) coefficients w, or (B, n, g).
    """

    clamp: Clamp
    weight: Tensor = field(repr=False)

    def offset(self) -> Tensor:
        """Return the offset itself, (n, F) or (B, n, F)."""
        return self.weight @ self.clamp.basis.to(self.weight)
