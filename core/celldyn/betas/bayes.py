"""Bayesian ridge and ARD regression, one update at a time, so that a fit can be stopped."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular

from celldyn.betas.gram import Gram, gram_job
from celldyn.betas.lasso import ConvergenceWarning
from celldyn.betas.neighbours import Floats, Ints
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Pace, Progress

_MAX_UPDATES = 300
_TOL = 1e-3
_PRIOR = 1e-6
"""Shape and rate of the Gamma priors of all precisions."""


def bayesian_ridge_job(X: ArrayLike, y: ArrayLike) -> Job[tuple[float, Floats]]:
    """Fit a ridge regression that finds its own penalty, yielding between updates.

    The model, priors and stopping rule of scikit-learn's `BayesianRidge` with its defaults: a
    noise precision α and one weight precision λ, both with Gamma(1e-6, 1e-6) priors, taken to
    their evidence maximum by MacKay's updates (1992, Neural Comput. 4:415).

    Parameters
    ----------
    X
        (n_cells, p) modulators.
    y
        (n_cells,) target.

    Returns
    -------
    intercept, (p,) coefficients.

    Raises
    ------
    DataError
        If the shapes differ, there are no cells, or values are not finite.

    Warns
    -----
    ConvergenceWarning
        If after 300 updates the coefficients still moved by 1e-3 or more, summed.

    Notes
    -----
    One eigendecomposition of the smaller of X'X and XX' (50 ms for 460) cannot be divided.
    """
    data = yield from _centre_job(X, y)
    posterior = _RidgePosterior.build(data)
    alpha, lam = data.first_alpha, 1.0
    old, pace = None, Pace()
    for update in range(_MAX_UPDATES):
        coef = posterior.mean(alpha, lam)
        used = posterior.effective_parameters(alpha, lam)
        lam = (used + 2 * _PRIOR) / (float(coef @ coef) + 2 * _PRIOR)
        alpha = (data.n - used + 2 * _PRIOR) / (data.sse(coef) + 2 * _PRIOR)
        if old is not None and np.abs(old - coef).sum() < _TOL:
            break
        old = coef
        if pace.due():
            yield Progress("Bayesian ridge", update + 1, _MAX_UPDATES)
    else:
        _warn("Bayesian ridge")
    return data.with_intercept(posterior.mean(alpha, lam))


def ard_job(
    X: ArrayLike, y: ArrayLike, threshold_lambda: float = 1e4
) -> Job[tuple[float, Floats]]:
    """Fit a regression that switches off the modulators it has no evidence for.

    The model, priors, order of updates and stopping rule of scikit-learn's `ARDRegression`: as the
    Bayesian ridge, with a precision λ_j for each weight (MacKay 1994, ASHRAE Trans. 100:1053).

    Parameters
    ----------
    X
        (n_cells, p) modulators.
    y
        (n_cells,) target.
    threshold_lambda
        A weight whose precision reaches this is set to 0 for good. Precisions of weights that
        matter are of the order of 1 / weight², so a small threshold prunes everything.

    Returns
    -------
    intercept, (p,) coefficients, those that were pruned exactly 0.

    Raises
    ------
    DataError, ConfigError
        If the arrays do not fit each other, or the threshold is not positive.

    Warns
    -----
    ConvergenceWarning
        If after 300 updates the coefficients still moved by 1e-3 or more, summed.

    Notes
    -----
    One update, a Cholesky factor and its inverse (20 ms for 460 weights), cannot be divided. It is
    of the smaller of the weights' and the cells' matrix.
    """
    if not threshold_lambda > 0:
        raise ConfigError(f"threshold_lambda is {threshold_lambda}", "give a positive number")
    data = yield from _centre_job(X, y)
    alpha, lam = data.first_alpha, np.ones(data.gram.n_columns)
    kept = np.arange(data.gram.n_columns)
    old, pace = None, Pace()
    for update in range(_MAX_UPDATES):
        coef, determined = _ard_posterior(data, alpha, lam, kept)
        alpha_rate = data.sse(coef) + 2 * _PRIOR
        lam[kept] = (determined + 2 * _PRIOR) / (coef[kept] ** 2 + 2 * _PRIOR)
        alpha = (data.n - float(determined.sum()) + 2 * _PRIOR) / alpha_rate
        coef[lam >= threshold_lambda] = 0.0
        kept = np.flatnonzero(lam < threshold_lambda)
        if not len(kept) or (old is not None and np.abs(old - coef).sum() < _TOL):
            break
        old = coef
        if pace.due():
            yield Progress("ARD", update + 1, _MAX_UPDATES, f"{len(kept)} modulators left")
    else:
        _warn("ARD")
    return data.with_intercept(_ard_posterior(data, alpha, lam, kept)[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Centred:
    """Centred data and their cross products."""

    X: Floats
    y: Floats
    gram: Gram

    @property
    def n(self) -> int:
        return self.gram.n

    @property
    def first_alpha(self) -> float:
        """Noise precision to begin with: that of a model that explains nothing."""
        return 1.0 / (float(self.gram.yty[0]) / self.n + np.finfo(np.float64).eps)

    def sse(self, coef: Floats) -> float:
        """Return the residual sum of squares, from the data: a Gram would cancel."""
        residual = self.y - self.X @ coef
        return float(residual @ residual)

    def with_intercept(self, coef: Floats) -> tuple[float, Floats]:
        """Return (intercept, coefficients) on the uncentred data; constant columns have none."""
        coef = np.where(self.gram.scale > 0, coef, 0.0)
        return float(self.gram.y_means[0] - self.gram.means @ coef), coef


@dataclass(frozen=True, slots=True, eq=False)
class _RidgePosterior:
    """The ridge posterior in the eigenbasis, where an update costs no more than a product."""

    values: Floats
    map_back: Floats
    seen: Floats

    @classmethod
    def build(cls, data: _Centred) -> _RidgePosterior:
        """Decompose X'X, or XX' where there are no more cells than modulators."""
        if data.n > data.gram.n_columns:
            values, vectors = eigh(data.gram.XtX, check_finite=False)
            return cls(np.maximum(values, 0.0), vectors, vectors.T @ data.gram.Xty[:, 0])
        values, vectors = eigh(data.X @ data.X.T, check_finite=False)
        return cls(np.maximum(values, 0.0), data.X.T @ vectors, vectors.T @ data.y)

    def mean(self, alpha: float, lam: float) -> Floats:
        """Return the posterior mean of the weights, (X'X + λ/α)⁻¹ X'y."""
        weights: Floats = self.map_back @ (self.seen / (self.values + lam / alpha))
        return weights

    def effective_parameters(self, alpha: float, lam: float) -> float:
        """Return how many parameters the data determine."""
        return float(np.sum(alpha * self.values / (lam + alpha * self.values)))


def _ard_posterior(data: _Centred, alpha: float, lam: Floats, kept: Ints) -> tuple[Floats, Floats]:
    """Return the (p,) posterior mean and, in 0 .. 1, how far the data determine kept weights."""
    coef, precision = np.zeros(len(lam)), lam[kept]
    if len(kept) <= data.n:
        matrix = alpha * data.gram.XtX[np.ix_(kept, kept)]
        matrix[np.diag_indices(len(kept))] += precision
        root = _inverse_root(matrix)
        coef[kept] = alpha * (root.T @ (root @ data.gram.Xty[kept, 0]))
        return coef, 1.0 - precision * np.einsum("ij,ij->j", root, root)
    # By Woodbury's identity the cells' matrix does, when there are fewer cells than weights.
    X = data.X[:, kept]
    matrix = (X / precision) @ X.T
    matrix[np.diag_indices(data.n)] += 1.0 / alpha
    root = _inverse_root(matrix)
    projected = root @ X
    coef[kept] = projected.T @ (root @ data.y) / precision
    return coef, np.einsum("ij,ij->j", projected, projected) / precision


def _inverse_root(matrix: Floats) -> Floats:
    """Return R with R'R = matrix⁻¹; what rounding made singular is left out, as in `pinvh`."""
    if not len(matrix):
        return matrix
    try:
        lower = cholesky(matrix, lower=True, check_finite=False)
    except LinAlgError:
        values, vectors = eigh(matrix, check_finite=False)
        good = values > len(matrix) * np.finfo(np.float64).eps * values[-1]
        root: Floats = vectors[:, good].T / np.sqrt(values[good])[:, None]
        return root
    inverse: Floats = solve_triangular(lower, np.eye(len(matrix)), lower=True, check_finite=False)
    return inverse


def _centre_job(X: ArrayLike, y: ArrayLike) -> Job[_Centred]:
    gram = yield from gram_job(X, y)
    design = np.asarray(X, dtype=np.float64) - gram.means
    design[:, gram.scale == 0] = 0.0
    return _Centred(design, np.asarray(y, dtype=np.float64).ravel() - gram.y_means[0], gram)


def _warn(method: str) -> None:
    message = f"{method} still moved after {_MAX_UPDATES} updates; its coefficients may be off."
    warnings.warn(message, ConvergenceWarning, stacklevel=3)
