"""Fate probabilities by many short runs of each cell."""

from __future__ import annotations

import numpy as np

from celldyn.jobs import Job
from celldyn.simulate.dynamics.potentials import Floats, Potential
from celldyn.simulate.dynamics.sde import (
    Walkers,
    arrived,
    longest_steps,
    nearest_fate,
    time_step,
)
from celldyn.simulate.parallel import blocks_job
from celldyn.simulate.streams import Bits, mix_in_place, spread, stream_key

STAGE = "dynamics/rollouts"
_WIDE = 1 << 14
"""Runs at once."""
_WORD = 64


def rollouts_job(
    potential: Potential,
    walkers: Walkers,
    sigma: float,
    n_rollouts: int,
    seed: int,
    *,
    threads: int | None = None,
) -> Job[Floats]:
    """Return the shares of short noisy runs from each cell that end in each fate.

    Increments are ±sigma √dt by chance: in the weak sense as exact as normal ones at the order of
    the scheme (Kloeden and Platen 1992, section 14.1), and one random word serves 64 runs. The
    standard error of a share p is √(p (1 - p) / n_rollouts). Runs of a cell depend on the seed and
    the cell alone, so that a perturbed cell shares them with its control.

    Parameters
    ----------
    potential, walkers
        V and the cells; their own noise and `steps` play no part.
    sigma
        Noise.
    n_rollouts
        Runs per cell.
    seed
        The simulation's seed.
    threads
        How many.

    Returns
    -------
    (n, n_fates) rows that sum to 1.
    """
    n = len(walkers.z)
    size = max(1, _WIDE // n_rollouts)
    starts = list(range(0, n, size))
    counts = np.zeros((n, potential.n_fates))

    def work(block: int) -> Floats:
        rows = np.arange(starts[block], min(starts[block] + size, n))
        return _block(potential, walkers.take(rows), sigma, n_rollouts, seed)

    def keep(block: int, shares: Floats) -> None:
        counts[starts[block] : starts[block] + len(shares)] = shares

    yield from blocks_job(work, len(starts), "fate runs", consume=keep, threads=threads)
    return counts


def _block(
    potential: Potential, walkers: Walkers, sigma: float, n_rollouts: int, seed: int
) -> Floats:
    n_cells, dt, d = len(walkers.z), time_step(potential, sigma), potential.n_core
    cell, run = np.divmod(np.arange(n_cells * n_rollouts), n_rollouts)
    word, bit = np.divmod(run, _WORD)
    n_words = int(word[-1]) + 1 if run.size else 0
    keys = spread(walkers.cell_ids.astype(np.uint64), stream_key(seed, STAGE))
    z = np.ascontiguousarray(walkers.z[:, :d].T)[:, cell]
    heights = potential.heights(walkers.raised)
    kick = sigma * np.sqrt(dt)
    ended = np.zeros((n_cells, potential.n_fates))
    for k in range(longest_steps(potential, dt)):
        fate = arrived(potential, z)
        done = fate >= 0
        np.add.at(ended, (cell[done], fate[done]), 1.0)
        left = np.flatnonzero(~done)
        if not left.size:
            return ended / n_rollouts
        if left.size < cell.size:
            z, cell = np.take(z, left, axis=1), cell[left]
            word, bit = word[left], bit[left]
        own = heights[:, cell] if heights.shape[1] > 1 else heights
        z -= dt * potential.core_gradient(z, own)
        for i in range(d):
            words = _words(keys, k * d + i, n_words)
            sign = (words[cell, word] >> bit.astype(np.uint64)) & np.uint64(1)
            z[i] += np.where(sign, kick, -kick)
    np.add.at(ended, (cell, nearest_fate(potential, z)), 1.0)
    return ended / n_rollouts


def _words(keys: Bits, counter: int, n_words: int) -> Bits:
    """Return (n_cells, n_words) random words of one dimension of one step."""
    bits = keys[:, None] + spread(counter * (1 << 20) + np.arange(n_words))
    mix_in_place(bits, np.empty_like(bits))
    return bits
