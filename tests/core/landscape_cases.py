"""Small graphs and landscapes whose answers are known."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse


def ring(n, reach=2, seed=0):
    """A ring of cells, each a neighbour of the `reach` next on both sides, with random weights."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(n), reach)
    column = (row + np.tile(np.arange(1, reach + 1), n)) % n
    half = sparse.csr_array((rng.uniform(0.1, 1, row.size), (row, column)), shape=(n, n))
    return sparse.csr_array(half + half.T)


def chain(n, up):
    """A walk on 0 ... n − 1 that goes up with chance `up`, else down, and stays at its ends."""
    inner = np.arange(1, n - 1)
    row = np.concatenate([inner, inner, [0, n - 1]])
    column = np.concatenate([inner + 1, inner - 1, [0, n - 1]])
    chance = np.concatenate([np.full(n - 2, up), np.full(n - 2, 1 - up), [1.0, 1.0]])
    return sparse.csr_array((chance, (row, column)), shape=(n, n))


class Bowl:
    """V = ½ k |z|²: its flow is z e^{−kt}."""

    def __init__(self, k=1.0):
        self.k = k

    def __call__(self, z):
        return 0.5 * self.k * (z * z).sum(-1)

    def gradient(self, z):
        return self.k * z

    def hessian_max_eigenvalue(self, z):
        return torch.full(z.shape[:-1], float(self.k), dtype=z.dtype)


class DoubleWell:
    """V = (x² − 1)² + ½ k (y − c (1 − x²))²: wells at (±1, 0), a saddle at (0, c), of height 1."""

    def __init__(self, k=4.0, bend=0.0):
        self.k, self.bend = k, bend

    def __call__(self, z):
        x, y = z[..., 0], z[..., 1]
        return (x * x - 1) ** 2 + 0.5 * self.k * (y - self.bend * (1 - x * x)) ** 2

    def gradient(self, z):
        x, y = z[..., 0], z[..., 1]
        off = self.k * (y - self.bend * (1 - x * x))
        return torch.stack([4 * x * (x * x - 1) + 2 * self.bend * x * off, off], dim=-1)
