"""Cells on embeddings whose flow is known."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree


def disc(n=1500, radius=5.0, seed=0):
    """Cells evenly in a disc."""
    rng = np.random.default_rng(seed)
    r, angle = radius * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n)
    return np.column_stack([r * np.cos(angle), r * np.sin(angle)])


def turning(xy):
    """A rotation, counter-clockwise: one turn takes 2π."""
    return np.column_stack([-xy[:, 1], xy[:, 0]])


def fork(n=1500, d=10, seed=0):
    """States along a trunk that forks at time 1, with noise, their times, and their velocity."""
    rng = np.random.default_rng(seed)
    time = rng.uniform(0, 2, n)
    side = np.where(time > 1, rng.choice([-1.0, 1.0], n), 0.0)
    z, velocity = np.zeros((n, d)), np.zeros((n, d))
    late = np.maximum(time - 1, 0)
    z[:, 0], z[:, 1] = np.minimum(time, 1) + 0.6 * late, 0.8 * side * late
    velocity[:, 0], velocity[:, 1] = np.where(time > 1, 0.6, 1.0), 0.8 * side
    return z + rng.normal(scale=0.1, size=z.shape), velocity, time


def nearest(z, k=15):
    """The symmetric graph of nearest neighbours."""
    near = cKDTree(z).query(z, k + 1)[1][:, 1:]
    row = np.repeat(np.arange(len(z)), k)
    half = sparse.csr_array((np.ones(row.size), (row, near.ravel())), shape=(len(z), len(z)))
    return sparse.csr_array(half.maximum(half.T))


def cosines(a, b):
    """Cosine of the angle between rows."""
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
