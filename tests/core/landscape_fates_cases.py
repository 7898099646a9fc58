"""A landscape of one dimension whose noise is solved by quadrature, and cells along it."""

from __future__ import annotations

import numpy as np
import torch


class TiltedWell:
    """V = a (x² − 1)² + b x in one dimension."""

    def __init__(self, a=1.0, b=0.0):
        self.a, self.b = a, b

    def __call__(self, z):
        x = z[..., 0]
        return self.a * (x * x - 1) ** 2 + self.b * x

    def gradient(self, z):
        return 4 * self.a * z * (z * z - 1) + self.b

    def density(self, x, sigma):
        """Stationary density e^{−2V/σ²} on a grid."""
        weight = np.exp(-2 * self(torch.as_tensor(x)[:, None]).numpy() / sigma**2)
        return weight / (weight.sum() * (x[1] - x[0]))

    def committor(self, x, left, right, sigma):
        """Chance to come to `right` before `left`: ∫ e^{2V/σ²} from the left, over all of it."""
        grid = np.linspace(left, right, 20_001)
        up = np.exp(2 * self(torch.as_tensor(grid)[:, None]).numpy() / sigma**2)
        summed = np.concatenate([[0], np.cumsum((up[1:] + up[:-1]) / 2)])
        return np.interp(x, grid, summed / summed[-1])


def cells_on_a_line(n, seed=0, reach=1.5):
    """Cells evenly spread along x, (n, 1), and on which side of the hill they are."""
    x = np.linspace(-reach, reach, n)
    np.random.default_rng(seed).shuffle(x)
    return x[:, None].astype(np.float64), np.where(x < 0, "left", "right")
