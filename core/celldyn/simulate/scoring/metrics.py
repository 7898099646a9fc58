"""Measures of agreement between a truth and an estimate; NaN where a measure is not defined."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_EPS = 1e-12


def pearson(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the correlation of two (n,) arrays; NaN if one of them does not vary."""
    a, b = (np.asarray(v, dtype=np.float64).ravel() for v in (truth, estimate))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > _EPS else float("nan")


def spearman(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the rank correlation of two (n,) arrays."""
    from scipy.stats import rankdata

    return pearson(rankdata(np.ravel(truth)), rankdata(np.ravel(estimate)))


def slope(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the least-squares slope of the estimate over the truth, through the origin.

    1 is calibrated, below 1 is shrunken; NaN if the truth is 0.
    """
    a, b = (np.asarray(v, dtype=np.float64).ravel() for v in (truth, estimate))
    power = float(a @ a)
    return float(a @ b) / power if power > _EPS else float("nan")


def sign_agreement(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the share of non-zero truths whose estimate has the same sign."""
    a, b = (np.asarray(v, dtype=np.float64).ravel() for v in (truth, estimate))
    there = np.abs(a) > _EPS
    return float((np.sign(a[there]) == np.sign(b[there])).mean()) if there.any() else float("nan")


def relative_error(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the root mean square error over the root mean square of the truth."""
    a, b = (np.asarray(v, dtype=np.float64).ravel() for v in (truth, estimate))
    power = float(np.sqrt((a**2).mean()))
    return float(np.sqrt(((a - b) ** 2).mean())) / power if power > _EPS else float("nan")


def mean_cosine(truth: Floats, estimate: Floats) -> float:
    """Return the mean cosine between the rows of two (n, d) arrays, without rows of length 0."""
    lengths = np.linalg.norm(truth, axis=1) * np.linalg.norm(estimate, axis=1)
    there = lengths > _EPS
    if not there.any():
        return float("nan")
    return float(((truth * estimate).sum(axis=1)[there] / lengths[there]).mean())


def matched_accuracy(truth: ArrayLike, estimate: ArrayLike) -> float:
    """Return the share of equal labels after the best one-to-one renaming (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment

    a, b = (
        np.unique(np.asarray(v).astype(str), return_inverse=True)[1] for v in (truth, estimate)
    )
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    rows, columns = linear_sum_assignment(-table)
    return float(table[rows, columns].sum() / len(a))


def average_precision(is_true: ArrayLike, strength: ArrayLike) -> float:
    """Return the area under precision and recall when the strongest are called first."""
    truth = np.asarray(is_true, dtype=bool)
    if truth.all() or not truth.any():
        return float("nan")
    order = np.argsort(-np.asarray(strength, dtype=np.float64), kind="stable")
    hit = truth[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    return float(precision[hit].mean())
