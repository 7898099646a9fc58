"""The negative binomial quantile, element by element: exact, and monotone in the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammainccinv

Floats = NDArray[np.float64]

STEPS = 24
"""Terms that are summed one by one before the tail function takes over."""
SUMMED_MEAN = 24.0
"""Above this mean the sum would be long, and the tail function is cheaper."""
FAR_TAIL = 1e-6
"""Below this, sums of probabilities lose the digits that the tail function keeps."""


def detection_probability(mean: Floats, theta: Floats) -> Floats:
    """Return the probability of at least one count, 1 - (theta / (theta + mean))^theta."""
    probability: Floats = -np.expm1(-theta * np.log1p(mean / theta))
    return probability


def quantile(tail: Floats, mean: Floats, theta: Floats) -> NDArray[np.int64]:
    """Return the smallest k with P(K > k) < tail, for K negative binomial.

    How an element is computed depends on that element alone, so results do not depend on how the
    elements are batched.

    Parameters
    ----------
    tail
        (n,) in (0, 1): one minus the quantile's level.
    mean
        (n,) means m >= 0; the variance is m + m² / theta.
    theta
        (n,) inverse dispersion > 0.

    Returns
    -------
    (n,) counts. A larger mean never gives a smaller count at the same `tail`.
    """
    counts = np.zeros(tail.shape, dtype=np.int64)
    rest = detection_probability(mean, theta)
    found = np.flatnonzero(tail <= rest)
    tail, mean, theta, rest = tail[found], mean[found], theta[found], rest[found]
    far = (mean > SUMMED_MEAN) | (tail < FAR_TAIL)
    near = ~far
    summed = _by_sum(tail[near], mean[near], theta[near], rest[near])
    counts[found[near]] = summed
    far[np.flatnonzero(near)[summed < 0]] = True
    counts[found[far]] = _by_tail(tail[far], mean[far], theta[far])
    return counts


def _by_sum(tail: Floats, mean: Floats, theta: Floats, rest: Floats) -> NDArray[np.int64]:
    """Subtract one probability after another; -1 where `STEPS` of them were not enough."""
    counts = np.full(tail.shape, -1, dtype=np.int64)
    where = np.arange(tail.size)
    ratio = mean / (theta + mean)
    term = 1.0 - rest
    for k in range(1, STEPS + 1):
        term = term * (ratio * ((theta + (k - 1)) / k))
        rest = rest - term
        above = rest >= tail
        counts[where[~above]] = k
        where = where[above]
        if not where.size:
            break
        term, rest, tail = term[above], rest[above], tail[above]
        ratio, theta = ratio[above], theta[above]
    return counts


def _by_tail(tail: Floats, mean: Floats, theta: Floats) -> NDArray[np.int64]:
    """Bracket and bisect P(K > k) = I_q(k + 1, theta), q = mean / (theta + mean)."""
    ratio = mean / (theta + mean)
    spread = 1.0 + mean / theta
    guess = np.floor(gammainccinv(mean / spread, tail) * spread)
    guess = np.where(np.isfinite(guess), guess, np.floor(mean))
    step = np.maximum(1.0, np.floor(0.01 * np.sqrt(mean * spread)))
    low, high = np.full(tail.shape, -1.0), np.full(tail.shape, np.inf)
    where = np.arange(tail.size)
    while where.size:
        probe = guess[where]
        above = betainc(probe + 1.0, theta[where], ratio[where]) >= tail[where]
        low[where[above]] = probe[above]
        high[where[~above]] = probe[~above]
        where = where[high[where] - low[where] > 1.0]
        below, upper, stride = low[where], high[where], step[where]
        middle = np.where(np.isinf(upper), below + stride, np.floor(0.5 * (below + upper)))
        guess[where] = np.where(
            np.isinf(upper), below + stride, np.maximum(upper - stride, middle)
        )
        step[where] = 2.0 * stride
    return high.astype(np.int64)
