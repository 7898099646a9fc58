"""Sparse group lasso where single columns are hardly penalised: convex in the groups' norms."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls

from celldyn.betas.neighbours import Floats
from celldyn.betas.sparse_group import SparseGroupProblem

FAINT = 1e-5
"""Penalties of single columns up to this share of the largest |c| are left to later steps."""

_STEPS = 16
_HALVINGS = 4
_ENOUGH = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """The best b for given norms η, and how the objective changes with them.

    With w ‖b‖ = min over η of w/2 (‖b‖²/η + η) the objective is jointly convex in b and η, and for
    a given η a ridge regression: b = (G + w/η)⁻¹ c. What is left is convex in the few η_g, with
    gradient w_g/2 (1 − r_g²), r_g = ‖∇_g‖ / w_g, and Hessian a'Ta, a = ∇/w within each group and
    T = (G⁻¹ + η/w)⁻¹. All of it is finite at η_g = 0, where a group is asleep if r_g <= 1.
    """

    eta: Floats
    b: Floats
    ratio: Floats
    hessian: Floats
    value: float


def near_minimum(
    problem: SparseGroupProblem, first: Floats, tol: float
) -> Generator[Floats, None, None]:
    """Yield better and better b, the last one the minimum but for the columns' own penalties.

    A few ridge regressions of the problem's size, however collinear the columns are. Nothing is
    yielded where the columns' own penalties are no trifle (`FAINT`), or there is no group.

    Parameters
    ----------
    problem
        What to minimise.
    first
        (p,) where to begin; its norms are the first guess.
    tol
        Relative KKT residual that will do.
    """
    weight = problem.group_weight
    top = float(np.abs(problem.c).max(initial=0.0))
    if not weight.any() or problem.l1.max(initial=0.0) > FAINT * top:
        return
    try:
        at = _profile(problem, _first_norms(problem, first))
        yield at.b
        at = _profile(problem, problem.norms(at.b))
        yield at.b
        for _ in range(_STEPS):
            wrong = np.where(at.eta > 0, np.abs(1.0 - at.ratio), np.maximum(at.ratio - 1.0, 0.0))
            if (weight * wrong).max() <= _ENOUGH * tol * top:
                return
            better = _newton(problem, at)
            if better is None:
                return
            at = better
            yield at.b
    except LinAlgError:  # a column so collinear that rounding leaves nothing: others must solve it
        return


def _first_norms(problem: SparseGroupProblem, first: Floats) -> Floats:
    """Return the norms of `first`, or, if it is 0, what each column alone would ask for."""
    norms = problem.norms(first)
    if not norms.any():
        power = np.diag(problem.G)
        alone = np.divide(problem.c, power, out=np.zeros_like(power), where=power > 0)
        norms = np.full(len(norms), np.sqrt(np.mean(alone**2)))
    # A group that slept where this came from may be awake here.
    return np.where(norms > 0, norms, 1e-2 * norms.max())


def _newton(problem: SparseGroupProblem, at: _Profile) -> _Profile | None:
    """Go along Newton's direction as far as the objective falls; None if it does not."""
    step = _direction(problem.group_weight, at)
    for _ in range(_HALVINGS):
        eta = np.maximum(at.eta + step, 0.0)
        eta[eta < 1e-9 * eta.max(initial=0.0)] = 0.0
        if eta[problem.group_weight > 0].any():
            new = _profile(problem, eta)
            if new.value <= at.value + 1e-15 * abs(at.value):
                return new
        step *= 0.3
    return None


def _direction(weight: Floats, at: _Profile) -> Floats:
    """Return the step to the minimum of the quadratic model among norms that are not below 0."""
    used = np.flatnonzero(weight > 0)
    gradient = 0.5 * (weight * (1.0 - at.ratio**2))[used]
    curve, eta = at.hessian[np.ix_(used, used)], at.eta[used]
    unit = 1.0 / np.sqrt(np.maximum(np.diag(curve), np.finfo(float).tiny))
    # Half x'Hx + (g − Hη)'x over x >= 0 is least squares in the root of H.
    root = cholesky(curve * unit[:, None] * unit + 1e-9 * np.eye(len(used)), lower=True)
    right = solve_triangular(root, unit * (curve @ eta - gradient), lower=True)
    step = np.zeros_like(weight)
    step[used] = unit * nnls(root.T, right)[0] - eta
    return step


def _profile(problem: SparseGroupProblem, eta: Floats) -> _Profile:
    """Solve the ridge regression of these norms; columns of groups of norm 0 are left out."""
    codes, weight, G = problem.codes, problem.group_weight, problem.G
    grouped = weight > 0
    root = np.sqrt(np.where(grouped, eta, 1.0))[codes]
    on = np.flatnonzero(root > 0)
    every, scale = len(on) == len(codes), root[on]
    # In b = √η z the matrix is √η G √η + w: sound however small a norm is.
    matrix = (G if every else G[np.ix_(on, on)]) * scale[:, None]
    matrix *= scale
    diagonal = np.einsum("ii->i", matrix)
    diagonal += np.maximum(weight[codes[on]], 1e-15 * diagonal.mean())
    factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    b = np.zeros(len(codes))
    b[on] = scale * cho_solve(factor, scale * problem.c[on], check_finite=False)
    gradient = problem.gradient(b)
    along = np.zeros((len(codes), len(weight)))
    pull = np.divide(gradient, weight[codes], out=np.zeros(len(codes)), where=grouped[codes])
    along[np.arange(len(codes)), codes] = pull
    seen = G @ along
    through = scale[:, None] * seen[on]
    hessian = along.T @ seen - through.T @ cho_solve(factor, through, check_finite=False)
    value = 0.5 * float(weight @ np.where(grouped, eta, 0.0) - problem.c @ b)
    return _Profile(eta, b, problem.norms(pull), hessian, value)
