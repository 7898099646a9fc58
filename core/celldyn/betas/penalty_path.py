"""The penalty that predicts tissue it has not seen: paths of lassos, tried on held-out blocks.

First a plain lasso. Then an adaptive one (Zou 2006, J. Am. Stat. Assoc. 101:1418), in which a
modulator is penalised the less, the more it counted in the first, or in the cell types of the
section taken together: they share most of their regulation, and each alone has few cells.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from celldyn.betas.coordinate_descent import descend_path
from celldyn.betas.gram import Gram
from celldyn.betas.neighbours import Floats, Ints
from celldyn.betas.sparse_group import group_codes
from celldyn.jobs import Job, Progress, scaled

N_PENALTIES = 14
"""Penalties of a path, from the one at which nothing is left."""

LEAST_IMPORTANCE = 0.02
"""What a modulator without any importance counts, beside the most important one's 1."""

_SMALLEST = 2e-3
_MOST_SHARE = 0.5
_PATIENCE = 3
"""A path is left when the best so far lies so many steps back, and all since was clearly worse."""

_CLEARLY = 1.02
"""Errors are clearly worse from this multiple of the best."""
_RIDGE = 1e-9
_OF_PARENT = 0.5

Linear = tuple[float, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Penalties:
    """What a lasso is penalised by.

    Parameters
    ----------
    groups
        (p,) groups of the columns.
    group_reg, l1_reg
        λ of the groups, and the smallest l1 that is tried.
    standardise
        Whether penalties act on columns of variance 1.
    parents
        (p,) the column that an interaction is one of, −1 for none; None if there are none.
    """

    groups: Ints
    group_reg: float
    l1_reg: float
    standardise: bool
    parents: Ints | None = None

    def inherited(self, importance: Floats) -> Floats:
        """Return (n, p) importances in which families hold together.

        A regulator counts no less than its interactions: they are nearly its multiples, and a
        lasso would take some of them in its place. And its interactions count half of it.
        """
        if self.parents is None:
            return importance
        child = np.flatnonzero(self.parents >= 0)
        parent, whole = self.parents[child], importance.copy()
        for own, row in zip(whole, importance, strict=True):
            np.maximum.at(own, parent, row[child])
        whole[:, child] = np.maximum(whole[:, child], _OF_PARENT * whole[:, parent])
        return whole


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The penalty that was chosen, and what was held out to choose it.

    Parameters
    ----------
    l1
        The penalty, on the scale of the lasso.
    factor
        (p,) what it is multiplied by, column by column.
    relaxed
        Whether the modulators that it leaves are fitted without it.
    folds
        (intercept, coefficients) of each fold, fitted without it by a penalty that was chosen
        without it.
    sse
        Squared errors on all folds, each by its own such model.
    whole
        The model of all cells, to the accuracy of a path.
    """

    l1: float
    factor: Floats
    relaxed: bool
    folds: tuple[Linear, ...]
    sse: float
    whole: Linear


def choose_penalty_job(
    parts: list[Gram],
    penalties: Penalties,
    *,
    target: int = 0,
    importance: Floats | None = None,
) -> Job[Chosen]:
    """Try a path of penalties on each fold, held out in turn, plain and then adaptive.

    Parameters
    ----------
    parts
        The statistics of each fold.
    penalties
        The groups, and what stays the same along the path.
    target
        Which target of the Grams.
    importance
        (n_folds + 1, p) what counts in all cell types together (`Lent`); None for none.

    Returns
    -------
    The best of `N_PENALTIES` adaptive lassos and of as many relaxed ones, in which the modulators
    that are left have their least-squares coefficients. A fold is scored by a model whose
    penalty, and whose factors, were found on the other folds, so that the choice flatters none.
    """
    ones = np.ones((len(parts) + 1, parts[0].n_columns))
    plain = yield from scaled(best_of_path_job(parts, penalties, ones, target), 0, 2)
    mine = importance_of(parts, plain, penalties)
    if importance is not None:
        mine = np.maximum(mine, importance)
    factors = factors_of(penalties.inherited(mine))
    chosen = yield from scaled(best_of_path_job(parts, penalties, factors, target), 1, 2)
    return chosen


def factors_of(importance: Floats) -> Floats:
    """Return what the penalty of each modulator is multiplied by: 1 for the most important."""
    factors: Floats = 1.0 / (importance + LEAST_IMPORTANCE)
    factors /= factors.min(axis=1, keepdims=True)
    return factors


def importance_of(parts: list[Gram], chosen: Chosen, penalties: Penalties) -> Floats:
    """Return (n_folds + 1, p) |coefficient| · sd over the largest, in 0 .. 1."""
    whole = sum(parts[1:], start=parts[0])
    scale = whole.scale if penalties.standardise else np.ones(whole.n_columns)
    size = np.array([np.abs(model[1]) * scale for model in (chosen.whole, *chosen.folds)])
    top = size.max(axis=1, keepdims=True)
    share: Floats = np.divide(size, top, out=np.zeros_like(size), where=top > 0)
    return share


def relaxed_fit(gram: Gram, support: NDArray[np.bool_], target: int = 0) -> Linear:
    """Return the least-squares model on some columns, 0 elsewhere."""
    coef = np.zeros(gram.n_columns)
    scale = gram.scale
    at = np.flatnonzero(support & (scale > 0))
    if len(at):
        unit = scale[at]
        G = gram.XtX[np.ix_(at, at)] / (gram.n * np.outer(unit, unit))
        G[np.diag_indices(len(at))] += _RIDGE
        try:
            factor = cho_factor(G, lower=True, check_finite=False)
        except LinAlgError:
            G[np.diag_indices(len(at))] += 1e3 * _RIDGE * len(at)
            factor = cho_factor(G, lower=True, check_finite=False)
        right = gram.Xty[at, target] / (gram.n * unit)
        coef[at] = cho_solve(factor, right, check_finite=False) / unit
    return float(gram.y_means[target] - gram.means @ coef), coef


def best_of_path_job(
    parts: list[Gram],
    penalties: Penalties,
    factors: Floats,
    target: int,
    *,
    generous: float = 0.0,
) -> Job[Chosen]:
    """Run the path of all cells and of all but each fold; choose by the errors on the folds.

    Parameters
    ----------
    parts, penalties, target
        As in `choose_penalty_job`.
    factors
        (n_folds + 1, p) what l1 is multiplied by, of all cells and of all but each fold.
    generous
        Take the least penalty whose error is within so many standard errors of the best.
    """
    whole = sum(parts[1:], start=parts[0])
    l1 = _path_of_l1(whole, penalties, factors[0], target)
    paths = [
        _Path.of(whole - part, penalties, factor, target)
        for part, factor in zip(parts, factors[1:], strict=True)
    ]
    errors = np.full((len(parts), 2 * len(l1)), np.inf)
    at, of_others = 0, [0] * len(parts)
    for step in range(len(l1)):
        for k, (part, path) in enumerate(zip(parts, paths, strict=True)):
            yield Progress("penalties", step * len(parts) + k, (len(l1) + 1) * len(parts))
            for model in path.next(l1[step]):
                errors[k, len(path.models)] = part.sse(*model, target)
                path.models.append(model)
        at = _best(errors, generous)
        of_others = [_best(np.delete(errors, k, axis=0), generous) for k in range(len(parts))]
        if step - max(at, *of_others) // 2 >= _PATIENCE and _rises(errors, step):
            break
    folds, sse = [], 0.0
    for part, path, best in zip(parts, paths, of_others, strict=True):
        folds.append(path.models[min(best, len(path.models) - 1)])
        sse += part.sse(*folds[-1], target)
    every = _Path.of(whole, penalties, factors[0], target)
    for step in range(at // 2 + 1):
        yield Progress("penalties", len(l1), len(l1) + 1)
        every.models += every.next(l1[step])
    model = every.models[min(at, len(every.models) - 1)]
    return Chosen(float(l1[at // 2]), factors[0], bool(at % 2), tuple(folds), sse, model)


def _rises(errors: Floats, step: int) -> bool:
    """Whether in the last steps all errors were clearly above the best, without any fold, too.

    `errors` are those of (n_folds, n_models) folds and models, two models a step. Where they stay
    the same, a modulator may be waiting that helps.
    """
    here = errors[:, : 2 * step + 2]
    totals = np.vstack([here.sum(axis=0), *(np.delete(here, k, axis=0).sum(axis=0)
                                            for k in range(len(here)))])  # fmt: skip
    best = totals.min(axis=1, keepdims=True)
    return bool((totals[:, -2 * _PATIENCE :] > _CLEARLY * best).all())


def _best(errors: Floats, generous: float) -> int:
    """Return the last of the path that is no worse than the best, by `generous` standard errors.

    `errors` are those of (n_folds, n_models) folds and models.
    """
    total = errors.sum(axis=0)
    best = int(total.argmin())
    if not generous or len(errors) < 2:
        return best
    reached = np.isfinite(total)
    worse = np.where(reached, errors - errors[:, [best]], 0.0)
    margin = generous * worse.std(axis=0, ddof=1) * np.sqrt(len(errors))
    return int(np.flatnonzero(reached & (worse.sum(axis=0) <= margin)).max())


def _path_of_l1(gram: Gram, penalties: Penalties, factor: Floats, target: int) -> Floats:
    """Return the path: from just above what leaves nothing, down to a small share of it."""
    view = gram.standardised()[0] if penalties.standardise else gram
    pull = np.abs(view.Xty[:, target]) / (gram.n * factor)
    top = float(pull.max(initial=0.0))
    low = max(_SMALLEST * top, penalties.l1_reg)
    if not top > low:
        return np.array([max(top, low)])
    return np.geomspace(top * 1.001, low, N_PENALTIES)


@dataclass(slots=True, eq=False)
class _Path:
    """A lasso and a relaxed model of one penalty after another.

    Parameters
    ----------
    gram
        What they are fitted to.
    G, c, codes, weight, factor
        As in `descend_path`.
    unit
        (p,) what a column was divided by.
    target
        Which target of the Gram.
    b
        (p,) where the path is.
    models
        Those so far.
    ended
        Whether the path leads no further.
    """

    gram: Gram
    G: Floats
    c: Floats
    codes: Ints
    weight: Floats
    factor: Floats
    unit: Floats
    target: int
    b: Floats
    models: list[Linear] = field(default_factory=list)
    ended: bool = False

    @classmethod
    def of(cls, gram: Gram, penalties: Penalties, factor: Floats, target: int) -> _Path:
        """Stand before the first penalty."""
        view, scale = gram.standardised() if penalties.standardise else (gram, gram.scale)
        codes, sizes = group_codes(np.asarray(penalties.groups))
        unit = np.where(scale > 0, scale, 1.0) if penalties.standardise else np.ones(len(scale))
        return cls(
            gram,
            view.XtX / gram.n,
            view.Xty[:, target] / gram.n,
            codes,
            penalties.group_reg / np.sqrt(sizes),
            factor,
            unit,
            target,
            np.zeros(len(scale)),
        )

    def next(self, l1: float) -> list[Linear]:
        """Return the two models of the next penalty; none if the path has ended."""
        power = float(self.gram.yty[self.target]) / self.gram.n
        mean = float(self.gram.y_means[self.target])
        if not power > 0:
            return [(mean, np.zeros(len(self.b)))] * 2
        if self.ended:
            return []
        most = int(_MOST_SHARE * self.gram.n)
        path, _ = descend_path(
            self.G,
            self.c,
            self.codes,
            self.weight,
            np.array([l1]),
            self.factor,
            power=power,
            most=most,
            first=self.b,
        )
        same = bool(self.models) and np.array_equal(path[0] != 0, self.b != 0)
        self.b = path[0]
        self.ended = int(np.count_nonzero(self.b)) > most
        coef = self.b / self.unit
        lasso = (float(mean - self.gram.means @ coef), coef)
        relaxed = self.models[-1] if same else relaxed_fit(self.gram, self.b != 0, self.target)
        return [lasso, relaxed]
