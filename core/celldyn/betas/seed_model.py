"""The linear model of one cluster, and how well it predicts tissue that it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.bayes import ard_job, bayesian_ridge_job
from celldyn.betas.config import BetasConfig
from celldyn.betas.folds import spatial_folds
from celldyn.betas.gram import Gram, gram_job
from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.lasso import group_lasso_job
from celldyn.jobs import Job, Progress, scaled

Linear = tuple[float, Floats]


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
    """

    intercept: float
    coef: Floats
    r2: float
    heldout_r2: float


def r_squared(y: Floats, predicted: Floats) -> float:
    """Return the share of the variance that is explained; 0 where there is none to explain."""
    total = float(np.sum((y - y.mean()) ** 2))
    return 1.0 - float(np.sum((y - predicted) ** 2)) / total if total > 0 else 0.0


def seed_job(X: Floats, y: Floats, groups: Ints, xy: Floats, config: BetasConfig) -> Job[SeedFit]:
    """Fit the linear model of the config and hold out blocks of tissue to test it.

    Parameters
    ----------
    X
        (n_cells, n_modulators) design.
    y
        (n_cells,) target.
    groups
        (n_modulators,) lasso groups.
    xy
        (n_cells, 2) coordinates.
    config
        `estimator`, its penalties, `heldout_folds` and `seed` are read.

    Yields
    ------
    Progress over the cross products, the model, and one model for each fold.
    """
    folds = spatial_folds(xy, config.heldout_folds, config.seed)
    total = 2 + len(folds)  # the cross products, the model, and one model a fold
    if config.estimator == "lasso":
        trainer = yield from _lasso(X, y, groups, folds, config)
    else:
        trainer = _on_rows(X, y, folds, config)
    intercept, coef = yield from scaled(trainer(None, None), 1, total)
    predicted = np.empty(len(y))
    for k, fold in enumerate(folds):
        yield Progress("held-out folds", 2 + k, total)  # many short fits are a long silence too
        b0, b = yield from scaled(trainer(k, coef), 2 + k, total)
        predicted[fold] = b0 + X[fold] @ b
    heldout = r_squared(y, predicted) if folds else float("nan")
    return SeedFit(intercept, coef, r_squared(y, intercept + X @ coef), heldout)


_Trainer = Callable[[int | None, Floats | None], Job[Linear]]


def _lasso(
    X: Floats, y: Floats, groups: Ints, folds: list[NDArray[np.intp]], config: BetasConfig
) -> Job[_Trainer]:
    """Return what fits the lasso on all cells, or on all but a fold, from one pass over them."""
    parts: list[Gram] = []
    pieces = folds or [np.arange(len(y))]
    for k, rows in enumerate(pieces):
        job = scaled(gram_job(X[rows], y[rows]), k, len(pieces))
        part = yield from scaled(job, 0, 2 + len(folds))
        parts.append(part)
        yield Progress("cross products", (k + 1) / len(pieces), 2 + len(folds))
    whole = sum(parts[1:], start=parts[0])

    def train(fold: int | None, start: Floats | None) -> Job[Linear]:
        gram = whole if fold is None else whole - parts[fold]
        if not (gram.scale > 0).any():
            return float(gram.y_means[0]), np.zeros(X.shape[1])
        fitted = yield from group_lasso_job(
            gram,
            groups,
            config.threshold_lambda,
            config.l1_reg,
            standardise=config.standardise,
            start=start,
        )
        return fitted

    return train


def _on_rows(X: Floats, y: Floats, folds: list[NDArray[np.intp]], config: BetasConfig) -> _Trainer:
    """Return what fits a Bayesian model on all cells, or on all but a fold."""

    def train(fold: int | None, start: Floats | None) -> Job[Linear]:
        del start  # these models have one solution, found from anywhere
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
