"""The linear model of one cluster, and how well it predicts tissue that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.bayes import ard_job, bayesian_ridge_job
from celldyn.betas.config import ModelConfig
from celldyn.betas.folds import spatial_folds
from celldyn.betas.gram import Gram, gram_job
from celldyn.betas.group_norms import FAINT
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.lasso import group_lasso_job
from celldyn.betas.partial_pooling import Lent, pooled_fit_job
from celldyn.betas.penalty_path import Chosen, Penalties, choose_penalty_job
from celldyn.jobs import Job, Progress, scaled

Linear = tuple[float, Floats]
Folds = list[NDArray[np.intp]]

_TOL, _FAINT_TOL = 1e-8, 1e-6
"""Relative KKT residual of a lasso with given penalties, and of one whose columns are hardly
penalised: with fewer cells than columns a smaller one would cost ten times as much, and move
nothing that can be told from noise."""

_BESIDE_FOLDS = 2
"""Units of work beside the folds: the cross products and the model."""


@dataclass(frozen=True, slots=True, eq=False)
class SeedFit:
    """A fitted linear model.

    Parameters
    ----------
    intercept, coef
        b0 and the (n_modulators,) coefficients, on the scale of the data.
    r2
        R² on the cells it was fitted on.
    heldout_r2
        R² on blocks of cells held out in turn; NaN if there are too few cells.
    fold_linear
        (intercept, coefficients) fitted without each fold; empty without folds.
    l1
        The lasso penalty that was chosen on held-out blocks; NaN where it was given.
    """

    intercept: float
    coef: Floats
    r2: float
    heldout_r2: float
    fold_linear: tuple[Linear, ...] = ()
    l1: float = float("nan")

    def over(self, columns: Ints, n_columns: int) -> SeedFit:
        """Return the same model over more modulators, with 0 for those that it was not given."""
        if len(columns) == n_columns:
            return self

        def spread(coef: Floats) -> Floats:
            whole = np.zeros(n_columns)
            whole[columns] = coef
            return whole

        folds = tuple((intercept, spread(coef)) for intercept, coef in self.fold_linear)
        return replace(self, coef=spread(self.coef), fold_linear=folds)


def r_squared(y: Floats, predicted: Floats) -> float:
    """Return the share of the variance that is explained; 0 where there is none to explain."""
    total = float(np.sum((y - y.mean()) ** 2))
    return 1.0 - float(np.sum((y - predicted) ** 2)) / total if total > 0 else 0.0


def seed_job(
    X: Floats,
    y: Floats,
    groups: Ints,
    folds: Folds,
    config: ModelConfig,
    *,
    parts: list[Gram] | None = None,
    lent: Lent | None = None,
    parents: Ints | None = None,
) -> Job[SeedFit]:
    """Fit the linear model of the config and hold out blocks of tissue to test it.

    Parameters
    ----------
    X
        (n_cells, n_modulators) design.
    y
        (n_cells,) target.
    groups
        (n_modulators,) lasso groups.
    folds
        Positions of the blocks that are held out in turn (`folds_of`); empty for none.
    config
        `estimator`, its penalties and `penalty` are read.
    parts
        The statistics of each fold, where they are known (`parts_job`).
    lent, parents
        As in `seed_from_grams_job`.

    Yields
    ------
    Progress over the cross products, the model, and one model for each fold.
    """
    if config.estimator != "lasso":
        fitted = yield from _on_rows_job(X, y, folds, config)
        return fitted
    total = _BESIDE_FOLDS + len(folds)
    if parts is None:
        parts = yield from scaled(parts_job(X, y, folds), 0, total)
    job = seed_from_grams_job(parts, groups, config, lent=lent, parents=parents)
    fitted = yield from scaled(job, 1, total)
    return fitted


def parts_job(X: Floats, y: Floats, folds: Folds) -> Job[list[Gram]]:
    """Return the statistics of each fold; of all cells together if there are no folds."""
    parts: list[Gram] = []
    pieces = folds or [np.arange(len(y))]
    for k, rows in enumerate(pieces):
        part = yield from scaled(gram_job(X[rows], y[rows]), k, len(pieces))
        parts.append(part)
        yield Progress("cross products", k + 1, len(pieces))
    return parts


def folds_of(xy: Floats, config: ModelConfig) -> Folds:
    """Return the blocks of tissue that a config holds out; empty if there are too few cells."""
    return spatial_folds(xy, config.heldout_folds, config.seed)


def penalties_of(groups: Ints, config: ModelConfig, parents: Ints | None = None) -> Penalties:
    """Return what the config penalises a lasso by; `parents` as in `Modulators`."""
    own = parents if parents is not None and (parents >= 0).any() else None
    return Penalties(groups, config.threshold_lambda, config.l1_reg, config.standardise, own)


def parents_among(parents: Ints, columns: Ints) -> Ints:
    """Return the parents of some columns, by their positions among these; −1 where left out."""
    place = np.full(len(parents) + 1, -1, np.intp)
    place[columns] = np.arange(len(columns))
    place[-1] = -1
    found: Ints = place[parents[columns]]
    return found


def seed_from_grams_job(
    parts: list[Gram],
    groups: Ints,
    config: ModelConfig,
    *,
    target: int = 0,
    lent: Lent | None = None,
    parents: Ints | None = None,
) -> Job[SeedFit]:
    """Fit the group lasso of one target from cross products alone.

    Parameters
    ----------
    parts
        The statistics of each fold; a single one if nothing is held out.
    groups
        (n_modulators,) lasso groups.
    config
        The penalties, and whether they are given or chosen, are read.
    target
        Which target of the statistics.
    lent
        What all cell types of the section know together (`lent_job`), where the penalty is
        chosen; None for nothing.
    parents
        (n_modulators,) the regulator that each ligand-TF pair acts through (`Modulators`).
    """
    whole = sum(parts[1:], start=parts[0])
    if not (whole.scale > 0).any():
        return _intercept_only(parts, whole, target)
    if config.chooses_penalty and len(parts) > 1:
        penalties = penalties_of(groups, config, parents)
        fitted = yield from _chosen_job(parts, whole, penalties, target, lent)
        return fitted
    total = len(parts) + 1
    intercept, coef = yield from scaled(_lasso_job(whole, groups, config, target, None), 0, total)
    r2 = whole.r2(intercept, coef, target)
    if len(parts) == 1:
        return SeedFit(intercept, coef, r2, float("nan"))
    fold_linear: list[Linear] = []
    for k, part in enumerate(parts):
        yield Progress("held-out folds", 1 + k, total)  # many short fits are a long silence too
        job = _lasso_job(whole - part, groups, config, target, coef)
        model = yield from scaled(job, 1 + k, total)
        fold_linear.append(model)
    heldout = _heldout_r2(parts, whole, fold_linear, target)
    return SeedFit(intercept, coef, r2, heldout, tuple(fold_linear))


def _chosen_job(
    parts: list[Gram],
    whole: Gram,
    penalties: Penalties,
    target: int,
    lent: Lent | None,
) -> Job[SeedFit]:
    """Fit with the penalty that predicts held-out blocks best."""
    importance = None if lent is None else lent.importance
    job = choose_penalty_job(parts, penalties, target=target, importance=importance)
    choice = yield from scaled(job, 0, 3)
    pooled = None
    if lent is not None:
        pooled = yield from scaled(_pooled_job(parts, whole, choice, lent, target), 1, 3)
    intercept, coef = choice.whole if pooled is None else pooled[0]
    folds = choice.folds if pooled is None else pooled[1]
    heldout = _heldout_r2(parts, whole, folds, target)
    if heldout <= 0:  # nothing predicts unseen tissue better than the mean does
        return replace(_intercept_only(parts, whole, target), l1=float("inf"))
    if pooled is None and not choice.relaxed:
        exact = group_lasso_job(
            whole,
            penalties.groups,
            penalties.group_reg,
            choice.l1,
            standardise=penalties.standardise,
            target=target,
            start=coef,
            factor=choice.factor,
        )
        intercept, coef = yield from scaled(exact, 2, 3)
    r2 = whole.r2(intercept, coef, target)
    return SeedFit(intercept, coef, r2, heldout, folds, choice.l1)


def _pooled_job(
    parts: list[Gram], whole: Gram, choice: Chosen, lent: Lent, target: int
) -> Job[tuple[Linear, tuple[Linear, ...]] | None]:
    """Draw the models to those of all cell types; None if that predicts the folds worse.

    Worse is by more than a standard error over the folds.
    """
    folds: list[Linear] = []
    worse = np.empty(len(parts))
    for k, part in enumerate(parts):
        job = pooled_fit_job(whole - part, choice.folds[k], lent.coef[1 + k], target=target)
        fold = yield from scaled(job, k, len(parts) + 1)
        folds.append(fold)
        worse[k] = part.sse(*fold, target) - part.sse(*choice.folds[k], target)
    if worse.mean() > worse.std(ddof=1) / np.sqrt(len(worse)):
        return None
    job = pooled_fit_job(whole, choice.whole, lent.coef[0], target=target)
    every = yield from scaled(job, len(parts), len(parts) + 1)
    return every, tuple(folds)


def _lasso_job(
    gram: Gram, groups: Ints, config: ModelConfig, target: int, start: Floats | None
) -> Job[Linear]:
    if not (gram.scale > 0).any():
        return float(gram.y_means[target]), np.zeros(gram.n_columns)
    unit = gram.scale if config.standardise else np.ones(gram.n_columns)
    pull = np.abs(gram.Xty[:, target]) / gram.n
    strength = float(np.divide(pull, unit, out=np.zeros_like(pull), where=unit > 0).max())
    fitted = yield from group_lasso_job(
        gram,
        groups,
        config.threshold_lambda,
        config.l1_reg,
        tol=_FAINT_TOL if config.l1_reg <= FAINT * strength else _TOL,
        standardise=config.standardise,
        target=target,
        start=start,
    )
    return fitted


def _intercept_only(parts: list[Gram], whole: Gram, target: int) -> SeedFit:
    none = np.zeros(whole.n_columns)
    if len(parts) == 1:
        return SeedFit(float(whole.y_means[target]), none, 0.0, float("nan"))
    means = tuple((float((whole - part).y_means[target]), none) for part in parts)
    heldout = _heldout_r2(parts, whole, means, target)
    return SeedFit(float(whole.y_means[target]), none, 0.0, heldout, means)


def _heldout_r2(
    parts: list[Gram], whole: Gram, models: list[Linear] | tuple[Linear, ...], target: int
) -> float:
    """Return the pooled R² of models, each on the fold that it has not seen."""
    total = float(whole.yty[target])
    if not total > 0:
        return 0.0
    pairs = zip(parts, models, strict=True)
    return 1.0 - sum(part.sse(*model, target) for part, model in pairs) / total


def _on_rows_job(X: Floats, y: Floats, folds: Folds, config: ModelConfig) -> Job[SeedFit]:
    """Fit a Bayesian model, which needs the cells themselves, on all and on all but each fold."""
    total = _BESIDE_FOLDS + len(folds)
    train = _trainer(X, y, folds, config)
    intercept, coef = yield from scaled(train(None), 1, total)
    r2 = r_squared(y, intercept + X @ coef)
    if not folds:
        return SeedFit(intercept, coef, r2, float("nan"))
    predicted, fold_linear = np.empty(len(y)), []
    for k, fold in enumerate(folds):
        yield Progress("held-out folds", 2 + k, total)
        b0, b = yield from scaled(train(k), 2 + k, total)
        predicted[fold] = b0 + X[fold] @ b
        fold_linear.append((b0, b))
    return SeedFit(intercept, coef, r2, r_squared(y, predicted), tuple(fold_linear))


def _trainer(
    X: Floats, y: Floats, folds: Folds, config: ModelConfig
) -> Callable[[int | None], Job[Linear]]:
    """Return what fits a Bayesian model on all cells, or on all but a fold."""

    def train(fold: int | None) -> Job[Linear]:
        kept = np.ones(len(y), bool)
        if fold is not None:
            kept[folds[fold]] = False
        rows, target = X[kept], y[kept]
        if not np.ptp(rows, axis=0).any() or not np.ptp(target):
            return float(target.mean()), np.zeros(X.shape[1])
        job = (
            bayesian_ridge_job(rows, target)
            if config.estimator == "bayesian"
            else ard_job(rows, target, threshold_lambda=config.ard_threshold)
        )
        fitted = yield from job
        return fitted

    return train
