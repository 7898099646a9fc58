"""Sparse group lasso where columns are collinear: a proximal point method, solved in its dual."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

from celldyn.betas.neighbours import Floats
from celldyn.betas.sparse_group import SparseGroupProblem

_RANK = 1e-15
_FIRST_REACH = 100.0
_GROWTH = 4.0
_LONGEST_REACH = 1e12
_INNER_STEPS = 40
_EXACT = 1e-6
_BLIND = 1e-4
_FAILURES = 3
_HALVINGS = 30


@dataclass(frozen=True, slots=True, eq=False)
class _Subproblem:
    """min over b of the objective + ‖b − centre‖² / (2 reach), seen from its dual.

    With G = A'A the dual variable is ξ = A b, and b(ξ) = prox(centre − reach (A'ξ − c)). The dual
    objective is strongly convex and once differentiable, with gradient ξ − A b(ξ); its generalised
    Hessian I + reach A V A', V the Jacobian of the proximal map, is never singular, however
    collinear the columns are. (Li, Sun and Toh 2018, SIAM J. Optim. 28:433, for the lasso; Zhang
    et al. 2020, Math. Program. 179:223, for groups.)
    """

    problem: SparseGroupProblem
    A: Floats
    centre: Floats
    reach: float

    def primal(self, xi: Floats) -> tuple[Floats, Floats]:
        """Return b(ξ) and the point whose proximal map it is."""
        point = self.centre - self.reach * (self.A.T @ xi - self.problem.c)
        return self.problem.prox(point, self.reach), point

    def value(self, xi: Floats, b: Floats, point: Floats) -> float:
        """Return the dual objective, to be minimised."""
        penalty = self.problem.group_weight @ self.problem.norms(b) + self.problem.l1 @ np.abs(b)
        pull = (self.centre - point) / self.reach
        inner = penalty + pull @ b + (b - self.centre) @ (b - self.centre) / (2.0 * self.reach)
        return float(0.5 * xi @ xi - inner)

    def direction(self, gradient: Floats, b: Floats, point: Floats) -> Floats:
        """Return the semismooth Newton direction."""
        problem = self.problem
        alive = np.flatnonzero(b)
        columns, group = self.A[:, alive], problem.codes[alive]
        norms = problem.norms(b)
        # ‖S(v_g)‖ = ‖b_g‖ + reach w_g: the proximal map shortened it by that much.
        weight = self.reach * problem.group_weight
        shorter = np.where(norms > 0, weight / np.where(norms > 0, norms + weight, 1.0), 0.0)
        hessian = self.reach * ((columns * (1.0 - shorter[group])) @ columns.T)
        for k in np.unique(group[shorter[group] > 0]):
            inside = group == k
            along = columns[:, inside] @ (b[alive[inside]] / norms[k])
            hessian += (self.reach * shorter[k]) * np.outer(along, along)
        hessian[np.diag_indices(len(hessian))] += 1.0
        factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
        step: Floats = cho_solve(factor, -gradient, check_finite=False)
        return step


def proximal_points(
    problem: SparseGroupProblem, start: Floats, bound: float
) -> Iterator[tuple[Floats, bool]]:
    """Yield (b, whether a proximal point was finished) while approaching the minimum.

    The reach of the proximal term grows fourfold from point to point, so that the points converge
    superlinearly; it falls back where rounding stops the search for a point. Ends when it can grow
    no further.

    Parameters
    ----------
    problem
        What to minimise.
    start
        (p,) where to begin.
    bound
        Largest eigenvalue of G.
    """
    values, vectors = eigh(problem.G, check_finite=False)
    kept = values > _RANK * len(values) * values[-1]
    A = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    centre, xi, reach, n_failed = start, A @ start, _FIRST_REACH / bound, 0
    while reach * bound <= _LONGEST_REACH and n_failed < _FAILURES:
        sub = _Subproblem(problem, A, centre, reach)
        found = yield from _proximal_point(sub, xi)
        if found is None:
            reach, n_failed = reach / _GROWTH**2, n_failed + 1
            continue
        centre, xi = found
        reach *= _GROWTH
        yield centre, True


def _proximal_point(
    sub: _Subproblem, xi: Floats
) -> Generator[tuple[Floats, bool], None, tuple[Floats, Floats] | None]:
    """Minimise the dual from ξ; return the proximal point and its ξ, None if not reached."""
    b, point = sub.primal(xi)
    for _ in range(_INNER_STEPS):
        gradient = xi - sub.A @ b
        moved = float(np.linalg.norm(b - sub.centre)) / np.sqrt(sub.reach)
        if np.linalg.norm(gradient) <= min(0.1 * moved, _EXACT * np.linalg.norm(xi)):
            return b, xi
        found = _line_search(sub, xi, b, point, gradient)
        if found is None:
            blind = np.linalg.norm(gradient) <= _BLIND * np.linalg.norm(xi)
            return (b, xi) if blind else None
        xi, b, point = found
        yield b, False
    return None


def _line_search(
    sub: _Subproblem, xi: Floats, b: Floats, point: Floats, gradient: Floats
) -> tuple[Floats, Floats, Floats] | None:
    """Return the next (ξ, b, point), or None where rounding leaves no way down."""
    step = sub.direction(gradient, b, point)
    slope, value = float(gradient @ step), sub.value(xi, b, point)
    length = 1.0
    for _ in range(_HALVINGS):
        new = xi + length * step
        new_b, new_point = sub.primal(new)
        change = sub.value(new, new_b, new_point) - value
        if change <= 1e-4 * length * slope:
            return new, new_b, new_point
        # Close to the minimum the value is blind; a shorter gradient says as much.
        shorter = np.linalg.norm(new - sub.A @ new_b) <= 0.5 * np.linalg.norm(gradient)
        if shorter and change <= 1e-12 * abs(value):
            return new, new_b, new_point
        length *= 0.5
    return None
