"""How open a cell's fate is: the entropy of its fates between 0 and 1, and how well it is known.

Shapes: n cells, f fates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from celldyn.errors import DataError
from celldyn.landscape.graph import Floats

_REACHED = 0.01
"""Share of all votes from which on a fate counts as one that cells reach."""


@dataclass(frozen=True, slots=True)
class Plasticity:
    """Entropy of fates over the log of the number of fates that are reached.

    Parameters
    ----------
    value
        (n,) from the shares of votes: 0 where all go one way, 1 where all reached fates are alike.
    low, high
        (n,) 95 % interval.
    n_reachable
        Fates that at least one in a hundred of all votes went to; the same for all cells, so that
        cells can be compared.
    """

    value: Floats
    low: Floats
    high: Floats
    n_reachable: int


def plasticity_of_votes(votes: ArrayLike, *, level: float = 0.95) -> Plasticity:
    """Return the calibrated plasticity of cells whose fates were voted on.

    Given votes c_i of a cell, its chances have a Dirichlet posterior of parameters c_i + 1/f
    (Perks' prior, which weighs one vote in all, so that it hardly pulls towards high entropy).
    Mean and variance of the entropy are known in closed form (Wolpert and Wolf 1995);
    the interval is that of a beta distribution with those moments.

    Parameters
    ----------
    votes
        (n, f) votes, 0 or more; they need not be whole, as when votes are pooled.
    level
        Of the interval.

    Raises
    ------
    DataError
        If they are not (n, f), finite and 0 or more.

    Notes
    -----
    What sclsd calls entropy is another quantity, and its sign changes from seed to seed. This one
    is a function of the fates alone.
    """
    counts = np.asarray(votes, dtype=np.float64)
    if counts.ndim != 2 or not np.isfinite(counts).all() or (counts < 0).any():
        raise DataError("votes are not a table of numbers of 0 or more", "give (n, n_fates)")
    total = counts.sum()
    reached = counts.sum(axis=0) >= _REACHED * total if total else np.zeros(counts.shape[1], bool)
    n_reachable = int(reached.sum())
    if n_reachable < 2:
        nothing = np.zeros(len(counts))
        return Plasticity(nothing, nothing.copy(), nothing.copy(), n_reachable)
    most = np.log(n_reachable)
    value = np.minimum(entropy(_shares(counts)) / most, 1.0)
    # Cells with the same votes have the same interval, and there are few different votes.
    distinct, of_cell = np.unique(counts, axis=0, return_inverse=True)
    mean, variance = entropy_moments(distinct + np.where(reached, 1.0 / n_reachable, 0.0))
    low, high = _beta_interval(mean / most, variance / most**2, level)
    of_cell = of_cell.reshape(-1)
    return Plasticity(
        value, np.minimum(low[of_cell], value), np.maximum(high[of_cell], value), n_reachable
    )


def entropy(probabilities: Floats) -> Floats:
    """Return the entropy in nats of every row of chances, (n, f) to (n,)."""
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return np.asarray(np.abs((probabilities * logs).sum(axis=1)))


def entropy_moments(alpha: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the variance of the entropy of chances that are Dirichlet.

    Parameters
    ----------
    alpha
        (n, f) parameters of the Dirichlet distributions; a fate of parameter 0 has no chance.
    """
    from scipy.special import digamma, polygamma

    total = alpha.sum(axis=1, keepdims=True)
    mean = digamma(total[:, 0] + 1) - (alpha / total * digamma(alpha + 1)).sum(axis=1)
    one = digamma(alpha + 1) - digamma(total + 2)
    spread = polygamma(1, total + 2)
    crossed = (alpha * one).sum(axis=1) ** 2 - (alpha**2 * one**2).sum(axis=1)
    crossed -= (total**2 - (alpha**2).sum(axis=1, keepdims=True))[:, 0] * spread[:, 0]
    two = digamma(alpha + 2) - digamma(total + 2)
    own = (alpha * (alpha + 1) * (two**2 + polygamma(1, alpha + 2) - spread)).sum(axis=1)
    square = (crossed + own) / (total * (total + 1))[:, 0]
    return np.asarray(mean), np.maximum(square - mean**2, 0.0)


def _shares(counts: Floats) -> Floats:
    """Return shares of each row; a row without votes is alike for all."""
    total = counts.sum(axis=1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1.0), 1.0 / counts.shape[1])


def _beta_interval(mean: Floats, variance: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the middle `level` of beta distributions of given moments on [0, 1]."""
    from scipy.special import betaincinv

    mean = np.clip(mean, 1e-9, 1 - 1e-9)
    weight = np.maximum(mean * (1 - mean) / np.maximum(variance, 1e-12) - 1, 1e-3)
    a, b = mean * weight, (1 - mean) * weight
    tail = (1 - level) / 2
    low, high = betaincinv(a, b, tail), betaincinv(a, b, 1 - tail)
    return np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
