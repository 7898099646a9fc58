"""Minimising the sparse group lasso: FISTA finds the support, Newton steps the numbers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from celldyn.betas.group_norms import near_minimum
from celldyn.betas.neighbours import Floats
from celldyn.betas.semismooth import proximal_points
from celldyn.betas.sparse_group import SparseGroupProblem, spectral_bound
from celldyn.jobs import Job, Pace, Progress

_FIRST_BURST = 40
_LONGEST_BURST = 2000
_NEWTON_STEPS = 12
_POLISHING_STEPS = 5
_NEAR = 1e-3
_CHECK_EVERY = 10


@dataclass(slots=True)
class State:
    """Where the solver stands."""

    b: Floats
    residual: float
    iterations: int = 0


def solve_job(problem: SparseGroupProblem, first: Floats, tol: float, max_iter: int) -> Job[State]:
    """Minimise to a relative KKT residual of `tol`, yielding while it works.

    Where single columns are hardly penalised, ridge regressions find the groups' norms. A burst of
    FISTA and Newton steps on the support that it found settle most other problems. Where
    collinear columns leave the support open, proximal points find it. What is left is done by
    longer and longer bursts of FISTA, which alone would converge, with Newton steps between.

    Parameters
    ----------
    problem
        What to minimise.
    first
        (p,) where to begin.
    tol
        Relative KKT residual to reach (`SparseGroupProblem.residual`).
    max_iter
        Most proximal gradient steps; the state returned then has a residual above `tol`.
    """
    state = State(first, problem.residual(first, problem.gradient(first)))
    if state.residual <= tol:
        return state
    pace = Pace()
    yield from _norms(problem, state, tol, pace)
    if state.residual <= tol:
        return state
    bound, burst = spectral_bound(problem.G), _FIRST_BURST
    while state.residual > tol and state.iterations < max_iter:
        steps = min(burst, max_iter - state.iterations)
        yield from _fista(problem, state, bound, steps, tol, pace)
        if state.residual > tol:
            yield from _newton(problem, state, tol, pace, _NEWTON_STEPS)
        if state.residual > tol and burst == _FIRST_BURST:
            yield from _proximal(problem, state, bound, tol, pace)
        burst = min(2 * burst, _LONGEST_BURST)
    return state


def _norms(
    problem: SparseGroupProblem, state: State, tol: float, pace: Pace
) -> Generator[Progress, None, None]:
    """Find the groups' norms; Newton steps add what the columns' own penalties change."""
    best = state.b
    for b in near_minimum(problem, state.b, tol):
        best = b
        if pace.due():
            yield _progress(state)
    if best is state.b or problem.objective(best) > problem.objective(state.b):
        return
    state.b, state.residual = best, problem.residual(best, problem.gradient(best))
    if state.residual > tol:
        yield from _newton(problem, state, tol, pace, _NEWTON_STEPS)


def _proximal(
    problem: SparseGroupProblem, state: State, bound: float, tol: float, pace: Pace
) -> Generator[Progress, None, None]:
    """Follow proximal points to the support; Newton steps from each sharpen it."""
    value = problem.objective(state.b)
    for b, finished in proximal_points(problem, state.b, bound):
        if pace.due():
            yield _progress(state)
        if not finished:
            continue
        trial = State(b, problem.residual(b, problem.gradient(b)), state.iterations)
        if trial.residual <= _NEAR:
            yield from _newton(problem, trial, tol, pace, _POLISHING_STEPS)
        reached = problem.objective(trial.b)
        if reached < value or trial.residual <= tol:
            value, state.b, state.residual = reached, trial.b, trial.residual
        if state.residual <= tol:
            return


def _fista(
    problem: SparseGroupProblem,
    state: State,
    bound: float,
    n_steps: int,
    tol: float,
    pace: Pace,
) -> Generator[Progress, None, None]:
    """Accelerated proximal gradient with the momentum dropped whenever it points uphill."""
    b = ahead = state.b
    momentum = 1.0
    for step in range(1, n_steps + 1):
        new = problem.prox(ahead - problem.gradient(ahead) / bound, 1.0 / bound)
        if (ahead - new) @ (new - b) > 0:
            momentum = 1.0
        following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
        ahead = new + ((momentum - 1.0) / following) * (new - b)
        b, momentum = new, following
        state.iterations += 1
        if step % _CHECK_EVERY == 0 or step == n_steps:
            state.b, state.residual = b, problem.residual(b, problem.gradient(b))
            if state.residual <= tol:
                return
        if pace.due():
            yield _progress(state)


def _newton(
    problem: SparseGroupProblem, state: State, tol: float, pace: Pace, n_steps: int
) -> Generator[Progress, None, None]:
    """Newton steps on the support, while they help."""
    for _ in range(n_steps):
        gradient = problem.gradient(state.b)
        slope, free, hessian = problem.newton_system(state.b, gradient)
        if not len(free):
            return
        step = np.zeros_like(state.b)
        step[free] = _solve_positive(hessian, -slope[free])
        if not _take_step(problem, state, gradient, slope, step):
            return
        if pace.due():
            yield _progress(state)
        if state.residual <= tol:
            return


def _take_step(
    problem: SparseGroupProblem, state: State, gradient: Floats, slope: Floats, step: Floats
) -> bool:
    """Go along the step, halved until it is downhill; say whether it was of any use."""
    b, value = state.b, problem.objective(state.b, gradient)
    noise = 1e-14 * abs(value)
    # A column with its own penalty stops at 0, where the objective has its kink.
    side = np.where(b != 0, np.sign(b), -np.sign(slope))
    for halving in range(12):
        trial = b + 0.5**halving * step
        trial = np.where((problem.l1 > 0) & (trial * side < 0), 0.0, trial)
        new_gradient = problem.gradient(trial)
        gain = value - problem.objective(trial, new_gradient)
        residual = problem.residual(trial, new_gradient)
        downhill = gain >= 1e-4 * abs(slope @ (trial - b)) and gain > noise
        if downhill or (gain >= -noise and residual < 0.9 * state.residual):
            state.b, state.residual = trial, residual
            return True
    return False


def _solve_positive(matrix: Floats, right: Floats) -> Floats:
    """Solve with a positive semi-definite matrix, by the smallest ridge that lets it factor."""
    diagonal = np.diag_indices(len(matrix))
    ridge = 1e-15 * max(float(np.trace(matrix)) / len(matrix), np.finfo(float).tiny)
    own = matrix[diagonal].copy()
    while True:
        matrix[diagonal] = own + ridge
        try:
            factor = cho_factor(matrix, lower=True, check_finite=False)
        except LinAlgError:
            ridge *= 100.0
            continue
        solution: Floats = cho_solve(factor, right, check_finite=False)
        return solution


def _progress(state: State) -> Progress:
    return Progress(
        "group lasso",
        state.iterations,
        message=f"KKT residual {state.residual:.1e}",
        metrics={"kkt_residual": state.residual},
    )
