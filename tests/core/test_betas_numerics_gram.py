"""Sufficient statistics against the data that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.betas.gram import Gram, gram_job
from celldyn.errors import DataError


def many(n=200, p=12, q=3):
    rng = np.random.default_rng(2)
    return 1e4 + rng.normal(size=(n, p)), 500 + rng.normal(size=(n, q)), rng.integers(0, 4, n)


def assert_same(left, right):
    assert left.n == right.n
    for name in ("means", "y_means", "XtX", "Xty", "yty"):
        value = getattr(right, name)
        np.testing.assert_allclose(
            getattr(left, name), value, rtol=1e-9, atol=1e-9 * np.abs(value).max()
        )


def test_gram_is_exact_though_means_are_large():
    X, y, _ = many()
    gram = Gram.from_data(X, y)
    small = Gram.from_data(X - 1e4, y - 500)
    np.testing.assert_allclose(gram.XtX, 200 * np.cov(X.T, bias=True), rtol=1e-9)
    np.testing.assert_allclose(gram.Xty, small.Xty, rtol=1e-8)
    np.testing.assert_allclose(gram.scale, X.std(axis=0), rtol=1e-12)


def test_folds_add_up_and_a_fold_can_be_set_aside():
    X, y, folds = many()
    whole = Gram.from_data(X, y)
    parts = [Gram.from_data(X[folds == k], y[folds == k]) for k in np.unique(folds)]
    assert_same(sum(parts[1:], start=parts[0]), whole)
    for k, part in enumerate(parts):
        assert_same(whole - part, Gram.from_data(X[folds != k], y[folds != k]))
    with pytest.raises(DataError, match="200 of 200 cells"):
        whole - whole


def test_what_is_constant_outside_a_fold_is_constant_there_to_the_last_bit():
    X, y, folds = many()
    X[folds != 1, 4] = 0.3
    y[folds != 1, 2] = 0.7
    rest = Gram.from_data(X, y) - Gram.from_data(X[folds == 1], y[folds == 1])
    assert rest.scale[4] == 0.0
    assert rest.yty[2] == 0.0
    assert np.count_nonzero(rest.scale) == 11


def test_gram_selects_standardises_and_scores():
    X, y, _ = many()
    gram = Gram.from_data(X, y)
    picked = [7, 0, 3]
    assert_same(gram.select(picked, target=1), Gram.from_data(X[:, picked], y[:, 1]))
    mask = np.isin(np.arange(12), picked)
    assert_same(gram.select(mask), Gram.from_data(X[:, mask], y))
    view, scale = gram.standardised()
    assert_same(view, Gram.from_data(X / X.std(axis=0), y))
    np.testing.assert_allclose(np.diag(view.XtX), 200)
    coef = np.linspace(-1, 1, 12)
    sse = ((y[:, 2] - 4.0 - X @ coef) ** 2).sum()
    assert gram.sse(4.0, coef, target=2) == pytest.approx(sse, rel=1e-9)
    total = ((y[:, 2] - y[:, 2].mean()) ** 2).sum()
    assert gram.r2(4.0, coef, target=2) == pytest.approx(1 - sse / total, rel=1e-9)
    assert scale.shape == (12,)


def test_gram_job_goes_by_blocks():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 400)), rng.normal(size=4000)
    job = gram_job(X, y)
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as end:
            gram = end.value
            break
    assert len(steps) > 3
    assert steps[-1].fraction == 1.0
    centred = X - X.mean(axis=0)
    np.testing.assert_allclose(gram.XtX, centred.T @ centred, atol=1e-9)
