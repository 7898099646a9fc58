"""The penalty that predicts tissue it has not seen: a path of lassos, tried on held-out blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from celldyn.betas.coordinate_descent import descend_path
from celldyn.betas.gram import Gram
from celldyn.betas.neighbours import Floats, Ints
from celldyn.betas.sparse_group import group_codes
from celldyn.jobs import Job, Progress

N_PENALTIES = 14
"""Penalties of a path, from the one at which nothing is left."""

_SMALLEST = 2e-3
_MOST_SHARE = 0.5
_RIDGE = 1e-9

Linear = tuple[float, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The penalty that was chosen, and what was held out to choose it.

    Parameters
    ----------
    l1
        The penalty, on the scale of the lasso; infinite if nothing predicts better than the mean.
    relaxed
        Whether the modulators that it leaves are fitted without it.
    folds
        (intercept, coefficients) of each fold, fitted without it by a penalty that was chosen
        without it.
    sse
        Squared errors on all folds, each by its own such model.
    """

    l1: float
    relaxed: bool
    folds: tuple[Linear, ...]
    sse: float


def choose_penalty_job(
    parts: list[Gram],
    groups: Ints,
    group_reg: float,
    l1_reg: float,
    *,
    standardise: bool,
    target: int = 0,
) -> Job[Chosen]:
    """Try a path of penalties on each fold, held out in turn.

    Parameters
    ----------
    parts
        The statistics of each fold.
    groups
        (p,) groups of the columns.
    group_reg, l1_reg
        λ of the groups, the same along the path, and the smallest l1 that is tried.
    standardise
        Whether penalties act on columns of variance 1.
    target
        Which target of the Grams.

    Returns
    -------
    The best of `N_PENALTIES` lassos and of as many relaxed ones, in which the modulators that
    are left have their least-squares coefficients. The score of a fold comes from a model whose
    penalty was chosen on the other folds, so that the choice flatters none.
    """
    whole = sum(parts[1:], start=parts[0])
    codes, sizes = group_codes(np.asarray(groups))
    weight = group_reg / np.sqrt(sizes)
    penalties = _penalties(whole, l1_reg, target, standardise=standardise)
    errors = np.full((len(parts), 2 * len(penalties)), np.inf)
    models: list[list[Linear]] = []
    for k, part in enumerate(parts):
        training = whole - part
        models.append(
            _path_models(training, codes, weight, penalties, target, standardise=standardise)
        )
        errors[k, : len(models[k])] = [part.sse(*model, target) for model in models[k]]
        yield Progress("penalties", k + 1, len(parts))
    # What was not reached for some fold cannot be chosen.
    others = errors.sum(axis=0) - np.where(np.isfinite(errors), errors, 0.0)
    best_of_fold = others.argmin(axis=1)
    at = int(errors.sum(axis=0).argmin())
    folds = tuple(
        models[k][min(int(best), len(models[k]) - 1)] for k, best in enumerate(best_of_fold)
    )
    sse = float(sum(part.sse(*fold, target) for part, fold in zip(parts, folds, strict=True)))
    return Chosen(float(penalties[at // 2]), bool(at % 2), folds, sse)


def relaxed_fit(gram: Gram, support: NDArray[np.bool_], target: int = 0) -> Linear:
    """Return the least-squares model on some columns, 0 elsewhere."""
    coef = np.zeros(gram.n_columns)
    at = np.flatnonzero(support & (gram.scale > 0))
    if len(at):
        scale = gram.scale[at]
        G = gram.XtX[np.ix_(at, at)] / (gram.n * np.outer(scale, scale))
        G[np.diag_indices(len(at))] += _RIDGE
        try:
            factor = cho_factor(G, lower=True, check_finite=False)
        except LinAlgError:
            G[np.diag_indices(len(at))] += 1e3 * _RIDGE * len(at)
            factor = cho_factor(G, lower=True, check_finite=False)
        right = gram.Xty[at, target] / (gram.n * scale)
        coef[at] = cho_solve(factor, right, check_finite=False) / scale
    return float(gram.y_means[target] - gram.means @ coef), coef


def _penalties(gram: Gram, smallest: float, target: int, *, standardise: bool) -> Floats:
    """Return the path: from just above what leaves nothing, down to a small share of it."""
    view = gram.standardised()[0] if standardise else gram
    top = float(np.abs(view.Xty[:, target]).max(initial=0.0)) / gram.n
    low = max(_SMALLEST * top, smallest)
    if not top > low:
        return np.array([max(top, low)])
    return np.geomspace(top * 1.001, low, N_PENALTIES)


def _path_models(
    gram: Gram, codes: Ints, weight: Floats, penalties: Floats, target: int, *, standardise: bool
) -> list[Linear]:
    """Return lasso and relaxed model of each penalty in turn, as far as the path leads."""
    view, scale = gram.standardised() if standardise else (gram, gram.scale)
    power = float(gram.yty[target]) / gram.n
    if not power > 0:
        return [(float(gram.y_means[target]), np.zeros(gram.n_columns))] * (2 * len(penalties))
    path, reached = descend_path(
        view.XtX / gram.n,
        view.Xty[:, target] / gram.n,
        codes,
        weight,
        penalties,
        power=power,
        most=int(_MOST_SHARE * gram.n),
    )
    found: list[Linear] = []
    unit = np.where(scale > 0, scale, 1.0) if standardise else np.ones(len(scale))
    known: dict[bytes, Linear] = {}
    for b in path[:reached]:
        coef = b / unit
        support = b != 0
        key = np.packbits(support).tobytes()
        if key not in known:
            known[key] = relaxed_fit(gram, support, target)
        found += [(float(gram.y_means[target] - gram.means @ coef), coef), known[key]]
    return found
