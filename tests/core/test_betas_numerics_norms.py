"""The group lasso as a convex problem in the norms of its groups."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.betas.group_norms import _profile, near_minimum
from celldyn.betas.sparse_group import SparseGroupProblem, group_codes
from celldyn.betas.sparse_group_solver import solve_job
from celldyn.jobs import run


def problem(n=40, sizes=(5, 40, 20), lam=1e-6, l1=0.0, seed=0):
    """Correlated columns in groups, fewer cells than columns by default."""
    rng = np.random.default_rng(seed)
    p = sum(sizes)
    X = rng.normal(size=(n, p)) + 2 * rng.normal(size=(n, 4)) @ rng.normal(size=(4, p))
    X = (X - X.mean(0)) / X.std(0)
    y = X @ rng.normal(size=p) + rng.normal(size=n)
    y = (y - y.mean()) / y.std()
    codes, size = group_codes(np.repeat(np.arange(len(sizes)), sizes))
    return SparseGroupProblem.build(X.T @ X / n, X.T @ y / n, codes, lam / np.sqrt(size), l1)


def last(items):
    for item in items:  # noqa: B007
        pass
    return item


def test_gradient_and_hessian_in_the_norms_are_those_of_finite_differences():
    one = problem(lam=1e-2)
    eta = np.array([0.3, 0.8, 0.1])
    at, step = _profile(one, eta), 1e-5
    gradient = 0.5 * one.group_weight * (1 - at.ratio**2)
    for g in range(3):
        ahead = _profile(one, eta + step * np.eye(3)[g])
        behind = _profile(one, eta - step * np.eye(3)[g])
        assert gradient[g] == pytest.approx((ahead.value - behind.value) / (2 * step), rel=1e-5)
        turn = 0.5 * one.group_weight * (behind.ratio**2 - ahead.ratio**2) / (2 * step)
        np.testing.assert_allclose(at.hessian[g], turn, rtol=1e-5)


def test_a_sleeping_group_has_the_limits_of_a_small_one():
    one = problem(lam=1e-2)
    none, little = _profile(one, np.array([0.0, 0.8, 0.1])), _profile(one, [1e-12, 0.8, 0.1])
    assert not none.b[:5].any()
    np.testing.assert_allclose(little.ratio, none.ratio, rtol=1e-8)
    np.testing.assert_allclose(little.hessian, none.hessian, rtol=1e-6)


@pytest.mark.parametrize("n", [20, 40, 64, 300])
@pytest.mark.parametrize("lam", [1e-6, 1e-3, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_it_ends_at_the_minimum_whichever_groups_sleep(n, lam, seed):
    one = problem(n, lam=lam, seed=seed)
    b = last(near_minimum(one, np.zeros(65), 1e-9))
    assert one.residual(b, one.gradient(b)) <= 1e-9


def test_groups_fall_asleep_and_wake_up():
    asleep = [problem(64, lam=lam, seed=1) for lam in (1e-3, 1.0)]
    few = last(near_minimum(asleep[1], np.zeros(65), 1e-9))
    assert 0 < np.count_nonzero(asleep[1].norms(few)) < 3
    all_of_them = last(near_minimum(asleep[0], few, 1e-9))
    assert (asleep[0].norms(all_of_them) > 0).all()


def test_a_known_minimum_costs_two_regressions():
    one = problem(300)
    b = last(near_minimum(one, np.zeros(65), 1e-9))
    again = list(near_minimum(one, b, 1e-9))
    assert len(again) == 2
    np.testing.assert_allclose(again[-1], b, atol=1e-9)


def test_it_leaves_sparse_problems_alone():
    assert not list(near_minimum(problem(l1=0.1), np.zeros(65), 1e-9))
    assert not list(near_minimum(problem(lam=0.0), np.zeros(65), 1e-9))


@pytest.mark.parametrize("n", [30, 200])
def test_the_solver_adds_what_columns_ask_for(n):
    one = problem(n, lam=1e-4, l1=1e-7)
    state = run(solve_job(one, np.zeros(65), 1e-10, 50_000), bar=False)
    assert state.residual <= 1e-10
    assert state.iterations == 0
