"""Bayesian ridge and ARD give scikit-learn's coefficients, step by step."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning as SklearnWarning
from sklearn.linear_model import ARDRegression, BayesianRidge

from celldyn.betas.bayes import ard_job, bayesian_ridge_job
from celldyn.betas.lasso import ConvergenceWarning
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Progress, run


def tall():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 30)) * np.geomspace(0.1, 10, 30) + 5
    return X, X[:, ::3] @ rng.normal(size=10) + rng.normal(size=200)


def wide():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 110))
    return X, X[:, :5] @ [3.0, -2.0, 1.0, 1.0, 0.5] + 0.3 * rng.normal(size=60)


def square():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(50, 50))
    return X, X[:, 0] + 0.5 * rng.normal(size=50)


def collinear():
    X, y = tall()
    X[:, 3] = X[:, 4] + X[:, 5]
    X[:, 7] = X[:, 8]
    return X, y


def noiseless():
    X, _ = tall()
    return X, 2.0 + X[:, 1] - 3 * X[:, 20]


def unrelated():
    rng = np.random.default_rng(3)
    return rng.normal(size=(80, 20)), rng.normal(size=80)


DESIGNS = [tall, wide, square, collinear, noiseless, unrelated]


def fitted(job):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return run(job, bar=False)


@pytest.mark.parametrize("make", DESIGNS)
def test_bayesian_ridge_is_that_of_sklearn(make):
    X, y = make()
    reference = BayesianRidge().fit(X, y)
    intercept, coef = fitted(bayesian_ridge_job(X, y))
    np.testing.assert_allclose(
        coef, reference.coef_, rtol=1e-6, atol=1e-8 * np.abs(reference.coef_).max()
    )
    assert intercept == pytest.approx(reference.intercept_, rel=1e-6)


@pytest.mark.parametrize("threshold", [1e4, 30.0])
@pytest.mark.parametrize("make", DESIGNS)
def test_ard_is_that_of_sklearn(make, threshold):
    X, y = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SklearnWarning)
        reference = ARDRegression(threshold_lambda=threshold).fit(X, y)
    intercept, coef = fitted(ard_job(X, y, threshold_lambda=threshold))
    np.testing.assert_allclose(
        coef, reference.coef_, rtol=1e-6, atol=1e-7 * np.abs(reference.coef_).max()
    )
    assert (coef == 0).tolist() == (reference.coef_ == 0).tolist()
    assert intercept == pytest.approx(reference.intercept_, rel=1e-6, abs=1e-9)


def test_a_tiny_threshold_prunes_everything_and_the_usual_one_what_is_noise():
    X, y = wide()
    intercept, coef = fitted(ard_job(X, y, threshold_lambda=1e-6))
    assert not coef.any()
    assert intercept == pytest.approx(y.mean())
    coef = fitted(ard_job(X, y))[1]
    assert (coef[:4] != 0).all()
    assert np.count_nonzero(coef[5:]) < 70


@pytest.mark.parametrize("method", [bayesian_ridge_job, ard_job])
def test_columns_or_targets_that_do_not_vary_get_nothing(method):
    X, y = tall()
    X[:, 2] = 0.1
    intercept, coef = fitted(method(X, y))
    assert coef[2] == 0.0
    reference = {bayesian_ridge_job: BayesianRidge, ard_job: ARDRegression}[method]().fit(X, y)
    np.testing.assert_allclose(coef, reference.coef_, rtol=1e-6, atol=1e-8)
    assert intercept == pytest.approx(reference.intercept_, rel=1e-6)
    intercept, coef = fitted(method(X, np.full(200, 7.25)))
    assert intercept == 7.25
    assert not coef.any()


@pytest.mark.parametrize("method", [bayesian_ridge_job, ard_job])
def test_data_are_left_as_they_were_and_wrong_data_refused(method):
    X, y = tall()
    before = X.copy(), y.copy()
    fitted(method(X, y))
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    with pytest.raises(DataError, match="one row per cell"):
        fitted(method(X, y[:-1]))
    with pytest.raises(DataError, match="not finite"):
        fitted(method(X, np.where(y > 0, np.nan, y)))


def test_ard_refuses_a_threshold_that_is_not_positive():
    with pytest.raises(ConfigError, match="threshold_lambda is 0"):
        fitted(ard_job(*tall(), threshold_lambda=0.0))


def test_a_fit_that_did_not_settle_says_so():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 100))
    y = 30 * (X @ rng.normal(size=100) * 0.3 + rng.normal(size=100))
    with pytest.warns(ConvergenceWarning, match="ARD still moved after 300 updates"):
        coef = run(ard_job(X, y), bar=False)[1]
    reference = ARDRegression().fit(X, y)
    assert reference.n_iter_ == 300
    np.testing.assert_allclose(coef, reference.coef_, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [bayesian_ridge_job, ard_job])
def test_a_fit_yields_and_can_be_closed(method):
    job = method(*tall())
    assert isinstance(next(job), Progress)
    job.close()
    with pytest.raises(StopIteration):
        next(job)
