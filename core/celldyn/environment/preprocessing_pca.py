"""Moments and principal components of a modality, read in blocks and centred without a copy.

Shapes: n cells, m of them in a sample, G features, k components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np

from celldyn.devices import aside_job
from celldyn.environment.preprocessing_blocks import Floats
from celldyn.jobs import Job, Progress

Blocks: TypeAlias = Callable[[], Iterator[Floats]]
"""Gives the rows of a sample, standardised and centred, from the first block to the last."""

MOST_EXACT = 3000
"""Up to so many features (or cells, if they are fewer) the spectrum is computed exactly."""

_OVERSAMPLE, _PASSES = 32, 5
_FLOPS = 5e8
"""Multiplications between two words of a job."""
_NULL = 1e-9
"""Components below this share of the largest variance are rounding errors."""


@dataclass(slots=True)
class Moments:
    """Mean and population variance of features over blocks, by Chan's pairwise update."""

    n: int = 0
    mean: Floats = field(default_factory=lambda: np.zeros(0))
    squares: Floats = field(default_factory=lambda: np.zeros(0))

    def update(self, block: Floats) -> None:
        """Take (m, G) values in."""
        m = len(block)
        mean = block.mean(axis=0)
        squares = np.square(block - mean).sum(axis=0)
        if self.n == 0:
            self.n, self.mean, self.squares = m, mean, squares
            return
        apart, n = mean - self.mean, self.n + m
        self.mean = self.mean + apart * (m / n)
        self.squares = self.squares + squares + np.square(apart) * (self.n * m / n)
        self.n = n

    @property
    def std(self) -> Floats:
        """(G,) population standard deviations; 0 where all that varies is rounding."""
        std = np.sqrt(self.squares / max(self.n, 1))
        return np.where(std > 1e-7 * np.abs(self.mean), std, 0.0)


def principal_components(
    blocks: Blocks, m: int, n_features: int, k: int, seed: int, stage: str
) -> Job[Floats]:
    """Return the first principal components, at most as many as the rank; a job.

    The spectrum is that of XᵀX (few features) or of XXᵀ (few cells); where both are many, it is
    found by subspace iteration from random directions (Halko, Martinsson & Tropp 2011). None of
    these holds X dense. The sign is such that the largest entry of each component is positive.

    Parameters
    ----------
    blocks
        Gives X, (m, G), in blocks, centred.
    m, n_features
        Its shape.
    k
        Components wanted.
    seed
        Seed of the random directions.
    stage
        What progress is called.

    Returns
    -------
    (k', G) orthonormal rows, k' ≤ k; none where X does not vary.
    """
    k = min(k, m, n_features)
    if n_features <= min(m, MOST_EXACT):
        components = yield from _of_covariance(blocks, m, n_features, k, stage)
    elif m <= MOST_EXACT:
        components = yield from _of_gram(blocks, m, n_features, k, stage)
    else:
        components = yield from _of_subspace(blocks, m, n_features, k, seed, stage)
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.ascontiguousarray(components * signs[:, None])


def _of_covariance(blocks: Blocks, m: int, n_features: int, k: int, stage: str) -> Job[Floats]:
    covariance = np.zeros((n_features, n_features))
    done = 0
    rows = max(int(_FLOPS / n_features**2), 1)
    for block in blocks():
        for start in range(0, len(block), rows):
            part = block[start : start + rows]
            covariance += part.T @ part
            done += len(part)
            yield Progress(stage, done, m, "covariance")
    _, vectors = yield from _spectrum(covariance, k, stage)
    return vectors.T


def _of_gram(blocks: Blocks, m: int, n_features: int, k: int, stage: str) -> Job[Floats]:
    gram = np.zeros((m, m))
    start = 0
    for block in blocks():
        rows = slice(start, start + len(block))
        before = 0
        for other in blocks():
            if before > start:
                break
            gram[rows, before : before + len(other)] = block @ other.T
            before += len(other)
            yield Progress(stage, start, m, "products of cells")
        start += len(block)
    lower = np.tril(gram)
    values, vectors = yield from _spectrum(lower + np.tril(lower, -1).T, k, stage)
    components = np.zeros((len(values), n_features))
    start = 0
    for block in blocks():
        components += vectors[start : start + len(block)].T @ block
        start += len(block)
        yield Progress(stage, start, m, "components")
    return components / np.sqrt(values)[:, None]


def _spectrum(square: Floats, k: int, stage: str) -> Job[tuple[Floats, Floats]]:
    """Return the k largest eigenvalues that are not rounding, falling, and their vectors.

    NumPy's solver, unlike SciPy's, lets other threads go on meanwhile.
    """
    values, vectors = yield from aside_job(partial(np.linalg.eigh, square), stage, "spectrum")
    values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
    real = values > _NULL * max(float(values[0]), 0.0)
    return values[real], vectors[:, real]


def _of_subspace(
    blocks: Blocks, m: int, n_features: int, k: int, seed: int, stage: str
) -> Job[Floats]:
    width = min(k + _OVERSAMPLE, m, n_features)
    basis = np.random.default_rng(seed).standard_normal((n_features, width))
    total = m * (_PASSES + 1)
    done = 0
    small = np.zeros((0, 0))
    for _ in range(_PASSES + 1):
        basis, _ = yield from aside_job(partial(np.linalg.qr, basis), stage, "subspace",
                                        done=done, total=total)  # fmt: skip
        onward, small = np.zeros((n_features, width)), np.zeros((width, width))
        for block in blocks():
            seen = block @ basis
            onward += block.T @ seen
            small += seen.T @ seen
            done += len(block)
            yield Progress(stage, done, total, "subspace")
        before, basis = basis, onward
    # Rayleigh-Ritz on the last basis: XᵀX seen within it.
    values, vectors = yield from _spectrum(small, k, stage)
    del values
    return (before @ vectors).T
