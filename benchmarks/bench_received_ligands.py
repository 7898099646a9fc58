"""Received ligands on a sparse neighbourhood beside the dense formula over all pairs of cells.

CPU seconds of one thread; prints one ratio line, and what 20,000 cells x 300 ligands take.
"""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
from threadpoolctl import threadpool_limits

from celldyn.betas.diffusion import received_ligands

RADIUS = 100.0
NEIGHBOURS = 31


def tissue(n_cells, n_ligands):
    rng = np.random.default_rng(0)
    side = np.sqrt(n_cells * np.pi * RADIUS**2 / NEIGHBOURS)
    return rng.uniform(0, side, (n_cells, 2)), rng.gamma(1.0, 1.0, (n_cells, n_ligands))


def dense(xy, levels):
    """Compute W L / sum W with W over all pairs, as one would write it down."""
    squared = ((xy[:, None, 0] - xy[None, :, 0]) ** 2) + (xy[:, None, 1] - xy[None, :, 1]) ** 2
    weights = np.where(squared <= RADIUS**2, 0.001 ** (squared / RADIUS**2), 0.0)
    return weights @ levels / weights.sum(axis=1, keepdims=True)


def seconds(work, *arguments, repeats=3):
    """Return the best CPU seconds of a few runs, and the last result."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        result = work(*arguments)
        taken.append(time.process_time() - started)
    return min(taken), result


def peak_mb(work, *arguments):
    """Return the peak of newly allocated memory in MB."""
    tracemalloc.start()
    work(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def sparse(xy, levels):
    """Run the shipped function."""
    return received_ligands(xy, levels, RADIUS)


def main():
    xy, levels = tissue(4000, 300)
    with threadpool_limits(limits=1):
        slow, truth = seconds(dense, xy, levels)
        fast, result = seconds(sparse, xy, levels)
        np.testing.assert_allclose(result, truth, rtol=1e-10)
        print(
            f"received_ligands 4000 cells x 300 ligands: dense {slow:.3f} s, "
            f"{peak_mb(dense, xy, levels):.0f} MB; sparse {fast:.3f} s, "
            f"{peak_mb(sparse, xy, levels):.0f} MB; ratio {slow / fast:.1f}"
        )
        large = tissue(20_000, 300)
        alone = seconds(sparse, *large)[0]
        print(f"20000 cells x 300 ligands: {alone:.3f} s, {peak_mb(sparse, *large):.0f} MB")


if __name__ == "__main__":
    main()
