"""The sparse group lasso against its optimality conditions, closed forms and slower solvers."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso
from threadpoolctl import threadpool_limits

from celldyn.betas.gram import Gram
from celldyn.betas.lasso import (
    ConvergenceWarning,
    group_lasso,
    group_lasso_job,
    group_reg_max,
)
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Progress, run


def design(n=90, p=24, seed=0, collinear=False):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 4)) @ rng.normal(size=(4, p))
    X = (common + rng.normal(size=(n, p))) * np.geomspace(0.01, 30, p) + rng.normal(size=p) * 20
    if collinear:
        X[:, 1] = 2 * X[:, 0] - X[:, 2]
        X[:, 4] = X[:, 5]
    weights = np.where(rng.uniform(size=p) < 0.4, rng.normal(size=p), 0) / X.std(axis=0)
    y = 3.0 + X @ weights + rng.normal(size=n)
    return X, y, np.arange(p) % 3


def penalised(X, *, standardise):
    return (X - X.mean(axis=0)) / (X.std(axis=0) if standardise else 1.0)


def worst_violation(X, y, groups, lam, l1, intercept, coef, *, standardise=True):
    """Relative violation of the conditions of optimality, group by group, from the data."""
    scale = X.std(axis=0) if standardise else np.ones(X.shape[1])
    Z = (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    b = coef * scale
    gradient = -Z.T @ (y - intercept - X @ coef) / len(y)
    violations = [abs((y - intercept - X @ coef).mean())]
    for name in np.unique(groups):
        inside = groups == name
        weight, own, pull = lam / np.sqrt(inside.sum()), b[inside], gradient[inside]
        norm = np.linalg.norm(own)
        if norm == 0:
            soft = np.maximum(np.abs(pull) - l1, 0)
            violations.append(max(np.linalg.norm(soft) - weight, 0))
            continue
        total = pull + weight * own / norm
        alive = own != 0
        violations.extend(np.abs(total + l1 * np.sign(own))[alive])
        violations.extend(np.maximum(np.abs(total) - l1, 0)[~alive])
    return max(violations) / np.abs(Z.T @ (y - y.mean()) / len(y)).max()


def objective(Z, y, groups, lam, l1, b):
    residual = y - y.mean() - Z @ b
    sizes = {name: (groups == name).sum() for name in np.unique(groups)}
    grouped = sum(np.linalg.norm(b[groups == k]) / np.sqrt(size) for k, size in sizes.items())
    return residual @ residual / (2 * len(y)) + lam * grouped + l1 * np.abs(b).sum()


def plain_proximal_gradient(Z, y, groups, lam, l1, n_steps):
    step = len(y) / np.linalg.norm(Z, 2) ** 2
    b = np.zeros(Z.shape[1])
    for _ in range(n_steps):
        b = b + step * Z.T @ (y - y.mean() - Z @ b) / len(y)
        b = np.sign(b) * np.maximum(np.abs(b) - step * l1, 0)
        for name in np.unique(groups):
            inside = groups == name
            norm = np.linalg.norm(b[inside])
            weight = step * lam / np.sqrt(inside.sum())
            b[inside] *= max(1 - weight / norm, 0) if norm > 0 else 0
    return b


PENALTIES = [(1e-6, 1e-9), (1e-9, 1e-9), (1e-3, 0.0), (0.0, 0.05), (0.1, 0.02), (0.5, 0.1)]


@pytest.mark.parametrize(("lam", "l1"), PENALTIES)
@pytest.mark.parametrize("shape", [(90, 24), (30, 60)])
@pytest.mark.parametrize("collinear", [False, True])
@pytest.mark.parametrize("standardise", [False, True])
def test_solutions_are_optimal(lam, l1, shape, collinear, standardise):
    X, y, groups = design(*shape, collinear=collinear)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        intercept, coef = group_lasso(X, y, groups, lam, l1, standardise=standardise)
    found = worst_violation(X, y, groups, lam, l1, intercept, coef, standardise=standardise)
    assert found <= 3e-8
    Z, scale = penalised(X, standardise=standardise), X.std(axis=0) if standardise else 1.0
    slow = plain_proximal_gradient(Z, y, groups, lam, l1, 2000)
    ours = objective(Z, y, groups, lam, l1, coef * scale)
    assert ours <= objective(Z, y, groups, lam, l1, slow) * (1 + 1e-12) + 1e-12


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 60),
    p=st.integers(1, 40),
    lam=st.sampled_from([0.0, 1e-6, 1e-2, 0.3]),
    l1=st.sampled_from([0.0, 1e-9, 1e-3, 0.1]),
    n_groups=st.integers(1, 6),
    standardise=st.booleans(),
)
def test_random_cases_are_optimal(seed, n, p, lam, l1, n_groups, standardise):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) @ rng.normal(size=(p, p))
    y, groups = rng.normal(size=n), rng.integers(0, n_groups, p)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        intercept, coef = group_lasso(X, y, groups, lam, l1, standardise=standardise)
    found = worst_violation(X, y, groups, lam, l1, intercept, coef, standardise=standardise)
    assert found <= 3e-8


def test_without_penalty_it_is_least_squares():
    X, y, groups = design()
    intercept, coef = group_lasso(X, y, groups, 0.0, 0.0, tol=1e-12)
    truth = np.linalg.lstsq(np.column_stack((np.ones(len(y)), X)), y)[0]
    np.testing.assert_allclose(coef, truth[1:], rtol=1e-7)
    assert intercept == pytest.approx(truth[0], rel=1e-7)


def test_one_group_of_orthonormal_columns_is_shrunk_as_a_whole():
    rng = np.random.default_rng(5)
    centred = rng.normal(size=(50, 6))
    Z = np.linalg.qr(centred - centred.mean(axis=0))[0] * np.sqrt(50)  # Z'Z / n = 1
    y = rng.normal(size=50) + 2 * Z[:, 0]
    z = Z.T @ (y - y.mean()) / 50
    lam = 0.7
    weight = lam / np.sqrt(6)
    _, coef = group_lasso(Z, y, np.zeros(6), lam, 0.0, standardise=False)
    np.testing.assert_allclose(coef, max(1 - weight / np.linalg.norm(z), 0) * z, atol=1e-9)
    _, coef = group_lasso(Z, y, np.zeros(6), 0.0, 0.2, standardise=False)
    soft = np.sign(z) * np.maximum(np.abs(z) - 0.2, 0)
    np.testing.assert_allclose(coef, soft, atol=1e-9)
    # Both: columns first, then the group.
    _, coef = group_lasso(Z, y, np.zeros(6), lam, 0.2, standardise=False)
    norm = np.linalg.norm(soft)
    np.testing.assert_allclose(coef, max(1 - weight / norm, 0) * soft, atol=1e-9)


def test_groups_of_one_are_the_lasso():
    X, y, _ = design()
    Z = penalised(X, standardise=True)
    reference = Lasso(alpha=0.07 + 0.03, tol=1e-14, max_iter=200_000).fit(Z, y)
    intercept, coef = group_lasso(Z, y, np.arange(24), 0.07, 0.03, standardise=False)
    np.testing.assert_allclose(coef, reference.coef_, atol=1e-8)
    assert (coef == 0).tolist() == (reference.coef_ == 0).tolist()
    assert intercept == pytest.approx(reference.intercept_)


def test_units_do_not_matter_when_columns_are_standardised():
    X, y, groups = design()
    units = np.random.default_rng(0).uniform(0.01, 100, 24)
    intercept, coef = group_lasso(X, y, groups, 0.05, 0.01)
    other_intercept, other = group_lasso(X * units + 7, y, groups, 0.05, 0.01)
    np.testing.assert_allclose(other * units, coef, rtol=1e-6, atol=1e-9 * np.abs(coef).max())
    assert other_intercept + 7 * other.sum() == pytest.approx(intercept, rel=1e-6)
    _, named = group_lasso(X, y, np.array(["TF", "LR", "LTF"])[groups], 0.05, 0.01)
    np.testing.assert_allclose(named, coef, atol=1e-9)


@pytest.mark.parametrize("standardise", [False, True])
def test_everything_is_zero_from_the_largest_penalty_on_and_not_below(standardise):
    X, y, groups = design()
    top = group_reg_max(Gram.from_data(X, y), groups, 0.01, standardise=standardise)
    for factor in (1.0, 1.5):
        intercept, coef = group_lasso(X, y, groups, top * factor, 0.01, standardise=standardise)
        assert not coef.any()
        assert intercept == pytest.approx(y.mean())
    assert group_lasso(X, y, groups, top * 0.99, 0.01, standardise=standardise)[1].any()


def test_columns_that_do_not_vary_get_nothing_and_change_nothing():
    X, y, groups = design()
    wide = np.column_stack((X, np.full(90, 0.1), np.zeros(90)))
    for standardise in (False, True):
        options = {"standardise": standardise, "tol": 1e-12}
        intercept, coef = group_lasso(wide, y, np.r_[groups, 3, 3], 0.05, 0.01, **options)
        without = group_lasso(X, y, groups, 0.05, 0.01, **options)
        assert coef[24:].tolist() == [0.0, 0.0]
        np.testing.assert_allclose(coef[:24], without[1], rtol=1e-6, atol=1e-9)
        assert intercept == pytest.approx(without[0], rel=1e-6)
    constant = group_lasso(X, np.full(90, 4.5), groups, 1e-6, 1e-9)
    assert constant[0] == 4.5
    assert not constant[1].any()
    assert group_lasso(np.ones((90, 2)), y, [0, 1], 0.1, 0.1)[0] == pytest.approx(y.mean())


def test_the_limit_of_steps_is_said_aloud():
    X, y, groups = design(30, 60, collinear=True)
    gram = Gram.from_data(X, y)
    with pytest.warns(ConvergenceWarning, match="relative KKT residual of .*asked for: 1.0e-30"):
        run(group_lasso_job(gram, groups, 1e-6, 1e-9, tol=1e-30, max_iter=60), bar=False)


def test_a_start_nearby_leads_to_the_same_place():
    X, y, groups = design()
    gram = Gram.from_data(X, y)
    cold = run(group_lasso_job(gram, groups, 0.05, 0.01, tol=1e-11), bar=False)
    near = run(group_lasso_job(gram, groups, 0.06, 0.01), bar=False)[1]
    warm = run(group_lasso_job(gram, groups, 0.05, 0.01, tol=1e-11, start=near), bar=False)
    np.testing.assert_allclose(warm[1], cold[1], atol=1e-9 * np.abs(cold[1]).max())


def test_wrong_input_is_refused_in_a_sentence():
    X, y, groups = design()
    with pytest.raises(DataError, match=r"groups has shape \(3,\) for 24 columns"):
        group_lasso(X, y, [0, 1, 2], 0.1, 0.1)
    with pytest.raises(ConfigError, match="l1_reg is -1"):
        group_lasso(X, y, groups, 0.1, -1.0)
    with pytest.raises(DataError, match="one row per cell"):
        group_lasso(X[:5], y, groups, 0.1, 0.1)
    with pytest.raises(DataError, match="not finite"):
        group_lasso(np.where(X > 40, np.nan, X), y, groups, 0.1, 0.1)
    with pytest.raises(DataError, match="no cells"):
        group_lasso(X[:0], y[:0], groups, 0.1, 0.1)


def test_the_job_yields_while_it_works_and_can_be_closed():
    X, y, groups = design(120, 300)
    X[:, 150:] = X[:, :150] + 1e-7 * X[:, 150:]
    gram = Gram.from_data(X, y)
    job = group_lasso_job(gram, groups, 1e-9, 1e-9, tol=1e-30, standardise=False)
    silences = []
    # CPU seconds of one thread, so that a busy machine does not matter: two would spin.
    with threadpool_limits(1):
        last = time.process_time()
        for _ in range(4):
            step = next(job)
            silences.append(time.process_time() - last)
            last = time.process_time()
            assert isinstance(step, Progress)
            assert step.metrics["kkt_residual"] > 0
    job.close()
    assert np.median(silences) < 0.3
