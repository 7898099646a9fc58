"""Ridge regression in which each group of coefficients finds its own penalty from the evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from celldyn.betas.inputs import Floats, Ints
from celldyn.errors import DataError
from celldyn.jobs import Job, Pace, Progress

N_UPDATES = 12
"""Most updates; by then the penalties of a field have settled to some percent."""

_FIRST_PRECISION, _FIRST_NOISE = 30.0, 2.0
_OFF = 1e7
_LEAST = 1e-8
_SETTLED = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Penalties that a regression found, to begin another one with.

    Parameters
    ----------
    precision
        (n_groups,) of the coefficients of each group; infinite where a group is off.
    noise
        Precision of the residuals.
    weights
        (n_columns,) posterior mean of the coefficients.
    """

    precision: Floats
    noise: float
    weights: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What a regression needs to know of its rows.

    Parameters
    ----------
    gram, cross
        (p, p) Z'Z and (p,) Z'r.
    power
        r'r.
    n
        Number of rows.
    """

    gram: Floats
    cross: Floats
    power: float
    n: int

    @classmethod
    def of(cls, Z: Floats, r: Floats) -> Moments:
        """Return the moments of (n, p) columns and an (n,) target."""
        return cls(Z.T @ Z, Z.T @ r, float(r @ r), len(r))


def evidence_job(
    moments: Moments,
    groups: Ints,
    n_groups: int,
    *,
    start: Evidence | None = None,
    n_updates: int = N_UPDATES,
) -> Job[Evidence]:
    """Fit r ≈ Z w with w_j ~ N(0, 1/α_group) and noise 1/β, all at their evidence maximum.

    MacKay's updates (1992, Neural Comput. 4:415), α_g = γ_g / ‖w_g‖² and β = (n − Σ γ) / SSE, with
    γ_g the number of coefficients of the group that the data determine. A group whose α grows
    beyond 1e7 is switched off.

    Parameters
    ----------
    moments
        Of the columns, on such a scale that coefficients of order 1 are sensible, and of a target
        of variance about 1.
    groups
        (p,) group of each column, 0 .. n_groups − 1.
    n_groups
        How many groups there are.
    start
        What a similar regression found.
    n_updates
        Most updates.

    Raises
    ------
    DataError
        If values are not finite.
    """
    gram, cross, power = moments.gram, moments.cross, moments.power
    if not np.isfinite(cross).all():
        raise DataError("the design has values that are not finite", "mend them")
    alpha = np.full(n_groups, _FIRST_PRECISION) if start is None else start.precision
    beta = _FIRST_NOISE if start is None else start.noise
    pace = Pace()
    seen = gram.diagonal() > 0
    for update in range(n_updates):
        live = np.flatnonzero(np.isfinite(alpha[groups]) & seen)
        weights, spread = _posterior(gram, cross, alpha[groups], beta, live)
        share = 1.0 - alpha[groups[live]] * spread
        known = np.bincount(groups[live], share, minlength=n_groups).astype(float)
        squares = np.bincount(groups, weights**2, minlength=n_groups).astype(float)
        new_alpha = _precision(known, squares)
        sse = power - 2 * weights @ cross + weights @ (gram @ weights)
        new_beta = max(moments.n - known.sum(), 1.0) / max(sse, _LEAST * power, _LEAST)
        moved = max(_moved(new_alpha, alpha), abs(np.log(new_beta / beta)))
        alpha, beta = new_alpha, float(new_beta)
        if moved < _SETTLED:
            break
        if pace.due():
            yield Progress("smooth field", update, n_updates)
    live = np.flatnonzero(np.isfinite(alpha[groups]) & seen)
    weights, _ = _posterior(gram, cross, alpha[groups], beta, live)
    return Evidence(alpha, beta, weights)


def _precision(known: Floats, squares: Floats) -> Floats:
    """Return α of each group: what is known of it over what it weighs; infinite when off."""
    there = squares > 0
    alpha = np.maximum(known, _LEAST) / np.where(there, squares, 1.0)
    return np.where(there & (alpha < _OFF), np.maximum(alpha, _LEAST), np.inf)


def _moved(new: Floats, old: Floats) -> float:
    """Return the largest change of log α among the groups that are still on."""
    on = np.isfinite(new)
    return float(np.abs(np.log(new[on] / old[on])).max(initial=0.0))


def _posterior(
    gram: Floats, cross: Floats, precision: Floats, noise: float, live: NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Return the (p,) posterior mean and the (n_live,) posterior variances."""
    weights = np.zeros(len(cross))
    if not len(live):
        return weights, np.empty(0)
    matrix = noise * gram[np.ix_(live, live)]
    matrix[np.diag_indices(len(live))] += precision[live]
    factor, failed = dpotrf(matrix, lower=1, overwrite_a=1)
    if failed:
        matrix = noise * gram[np.ix_(live, live)]
        matrix[np.diag_indices(len(live))] += precision[live] + 1e-8 * np.trace(matrix)
        factor, _ = dpotrf(matrix, lower=1, overwrite_a=1)
    solution, _ = dpotrs(factor, noise * cross[live], lower=1)
    weights[live] = solution
    inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
    return weights, inverse.diagonal().copy()
