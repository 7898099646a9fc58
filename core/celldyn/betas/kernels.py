"""How what a cell secretes thins out with distance: kernels and their normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from celldyn.betas.neighbours import Floats, within
from celldyn.errors import ConfigError

Kernel: TypeAlias = Literal["truncated", "gaussian"]
Normalisation: TypeAlias = Literal["weights", "n_cells", "none"]

GAUSSIAN_CUT = 1e-6
"""Weight under which the Gaussian kernel counts as 0: beyond 5.26 radii."""

_EDGE = 0.001
"""Weight of the truncated kernel at its radius."""


def kernel_reach(kernel: Kernel, radius: float) -> float:
    """Return the distance beyond which the kernel's weight is 0."""
    if kernel == "truncated":
        return radius
    if kernel == "gaussian":
        return radius * float(np.sqrt(-2.0 * np.log(GAUSSIAN_CUT)))
    raise ConfigError(f"kernel {kernel!r} is not known", "use 'truncated' or 'gaussian'")


@dataclass(frozen=True, slots=True)
class KernelRule:
    """How distances become weights; refuses unknown names when it is made.

    Parameters are those of `received_ligands`.
    """

    kernel: Kernel
    normalisation: Normalisation
    scale_factor: float
    include_self: bool

    def __post_init__(self) -> None:
        kernel_reach(self.kernel, 1.0)
        if self.normalisation not in ("weights", "n_cells", "none"):
            raise ConfigError(
                f"normalisation {self.normalisation!r} is not known",
                "use 'weights', 'n_cells' or 'none'",
            )
        if not np.isfinite(self.scale_factor):
            raise ConfigError("scale_factor is not finite", "give a number")

    def weights(
        self, distances: csr_array, radius: float, first: int, section_size: Floats
    ) -> csr_array:
        """Return the weights of rows `first`, `first` + 1, ... of a distance graph."""
        near = within(distances, kernel_reach(self.kernel, radius))
        exponent = np.log(_EDGE) if self.kernel == "truncated" else -0.5
        weight = np.exp(exponent * (near.data / radius) ** 2)
        n_rows = near.shape[0]
        row = np.repeat(np.arange(n_rows), np.diff(near.indptr))
        if not self.include_self:
            weight[near.indices == row + first] = 0.0
        if self.normalisation == "weights":
            total = np.bincount(row, weight, minlength=n_rows)
            divisor = np.where(total > 0, total, 1.0)
        else:
            divisor = section_size if self.normalisation == "n_cells" else np.ones(n_rows)
        weight *= (self.scale_factor / divisor)[row]
        return csr_array((weight, near.indices, near.indptr), shape=near.shape)
