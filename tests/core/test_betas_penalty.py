"""The penalty that is chosen on held-out tissue, and what cell types lend each other."""

from __future__ import annotations

import numpy as np
import pytest
from betas_tissue import PAIRS, config, estimator, tissue

from celldyn.betas import fit_job, prepare
from celldyn.betas.coordinate_descent import descend_path
from celldyn.betas.gram import Gram
from celldyn.betas.lasso import group_lasso_job
from celldyn.betas.partial_pooling import lent_job, pool, pooled_fit_job
from celldyn.betas.penalty_path import (
    LEAST_IMPORTANCE,
    Penalties,
    choose_penalty_job,
    relaxed_fit,
)
from celldyn.betas.seed_model import parents_among
from celldyn.errors import ConfigError
from celldyn.jobs import run


def known(n, p=40, seed=0, noise=1.0, strong=(0, 3, 7), weak=0.0):
    """Return X with a shared factor, y of three columns, and the groups."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 0.6 * rng.normal(size=(n, 1))
    X *= rng.uniform(0.2, 5.0, p)
    coef = np.zeros(p)
    coef[list(strong)] = np.array([1.5, -1.0, 0.8]) / X.std(axis=0)[list(strong)]
    coef[20] = weak / X[:, 20].std()
    y = 2.0 + X @ coef + noise * rng.normal(size=n)
    return X, y, np.repeat([1, 2, 3], [10, 20, p - 30]), coef


def folds(X, y, n_folds=5):
    at = np.array_split(np.arange(len(y)), n_folds)
    return [Gram.from_data(X[k], y[k]) for k in at]


# A group that has just woken grows slowly: with heavy groups the path is a rougher guide.
@pytest.mark.parametrize(("group_reg", "near"), [(0.0, 3e-3), (0.05, 3e-3), (0.4, 3e-2)])
def test_the_path_is_that_of_the_exact_solver(group_reg, near):
    X, y, groups, _ = known(300)
    gram = Gram.from_data(X, y)
    view, scale = gram.standardised()
    l1 = np.geomspace(1.0, 0.005, 8)
    factor = np.random.default_rng(1).uniform(0.5, 4.0, X.shape[1])
    codes = groups - 1
    path, reached = descend_path(
        view.XtX / gram.n, view.Xty[:, 0] / gram.n, codes,
        group_reg / np.sqrt(np.bincount(codes)), l1, factor,
        power=float(gram.yty[0]) / gram.n, most=1000,
    )  # fmt: skip
    assert reached == 8
    for penalty, b in zip(l1, path, strict=True):
        job = group_lasso_job(gram, groups, group_reg, penalty, factor=factor)
        _, coef = run(job, bar=False)
        np.testing.assert_allclose(b, coef * scale, atol=near)
        assert np.count_nonzero((np.abs(b) > near) & (coef == 0)) == 0


def test_a_path_ends_where_it_has_too_many_columns():
    X, y, groups, _ = known(60)
    gram = Gram.from_data(X, y)
    view, _ = gram.standardised()
    path, reached = descend_path(
        view.XtX / 60, view.Xty[:, 0] / 60, groups - 1, np.zeros(3), np.geomspace(1, 1e-4, 20),
        np.ones(40), power=float(gram.yty[0]) / 60, most=10,
    )  # fmt: skip
    sizes = np.count_nonzero(path, axis=1)
    assert reached < 20
    assert sizes[reached - 1] > 10
    assert (sizes[: reached - 1] <= 10).all()
    assert not path[reached:].any()


def test_the_relaxed_fit_is_least_squares_on_its_columns():
    X, y, _, _ = known(100)
    support = np.zeros(40, bool)
    support[[0, 3, 12]] = True
    intercept, coef = relaxed_fit(Gram.from_data(X, y), support)
    A = np.column_stack((np.ones(100), X[:, support]))
    best = np.linalg.lstsq(A, y)[0]
    np.testing.assert_allclose([intercept, *coef[support]], best, atol=1e-6)
    assert not coef[~support].any()


def test_what_regulates_is_found_and_little_else():
    X, y, groups, true = known(400)
    penalties = Penalties(groups, 1e-6, 1e-9, standardise=True)
    chosen = run(choose_penalty_job(folds(X, y), penalties), bar=False)
    coef = chosen.whole[1]
    assert set(np.flatnonzero(true)) <= set(np.flatnonzero(coef))
    assert np.count_nonzero(coef) <= 8
    np.testing.assert_allclose(coef[true != 0] / true[true != 0], 1.0, atol=0.2)
    assert len(chosen.folds) == 5
    explained = 1 - chosen.sse / np.sum((y - y.mean()) ** 2)
    assert 0.6 < explained < 0.9


def test_the_choice_flatters_no_fold():
    """Were the best penalty scored on what chose it, noise would seem to be explained."""
    explained = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(60, 40)), rng.normal(size=60)
        penalties = Penalties(np.ones(40, int), 1e-6, 1e-9, standardise=True)
        parts = folds(X, y)
        chosen = run(choose_penalty_job(parts, penalties), bar=False)
        honest = sum(part.sse(*model) for part, model in zip(parts, chosen.folds, strict=True))
        assert chosen.sse == pytest.approx(honest)
        explained.append(1 - chosen.sse / np.sum((y - y.mean()) ** 2))
    assert np.mean(explained) < 0.0


def test_cell_types_lend_each_other_what_counts():
    """A weak regulator that one small cell type alone would miss."""
    found_alone = found_together = 0
    for seed in range(6):
        parts = [known(80, seed=10 * seed + k, weak=0.35) for k in range(6)]
        groups = parts[0][2]
        penalties = Penalties(groups, 1e-6, 1e-9, standardise=True)
        grams = [folds(X, y) for X, y, _, _ in parts]
        pooled: list[Gram] = []
        for each in grams:
            pooled = pool(pooled, each)
        importance = run(lent_job(pooled, penalties), bar=False).importance
        assert importance.shape == (6, 40)
        assert importance.max(axis=1) == pytest.approx(np.ones(6))
        for each in grams:
            alone = run(choose_penalty_job(each, penalties), bar=False)
            job = choose_penalty_job(each, penalties, importance=importance)
            together = run(job, bar=False)
            found_alone += alone.whole[1][20] != 0
            found_together += together.whole[1][20] != 0
            # What counts most is penalised least, in a known ratio.
            factor = together.factor
            assert factor.min() == 1.0
            assert factor.max() <= (1 + LEAST_IMPORTANCE) / LEAST_IMPORTANCE + 1e-9
    assert found_together > found_alone + 3


def test_pooling_knows_nothing_of_the_means_of_cell_types():
    first, second = known(50, seed=1), known(70, seed=2)
    moved = first[0] + 100.0, first[1] - 55.0
    plain = pool(pool([], folds(first[0], first[1])), folds(second[0], second[1]))
    shifted = pool(pool([], folds(*moved)), folds(second[0], second[1]))
    for a, b in zip(plain, shifted, strict=True):
        np.testing.assert_allclose(a.XtX, b.XtX, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(a.Xty, b.Xty, rtol=1e-9, atol=1e-8)


def test_few_cells_are_drawn_to_what_all_cells_say_and_many_are_not():
    X, y, _, true = known(4000, noise=2.0)
    rng = np.random.default_rng(3)
    lent = 0.5 * true  # half of the truth: the share ρ is found, too
    few, many = Gram.from_data(X[:25], y[:25]), Gram.from_data(X, y)
    nothing = (0.0, np.zeros(40))
    _, drawn = run(pooled_fit_job(few, nothing, lent), bar=False)
    _, alone = relaxed_fit(few, lent != 0)
    at = lent != 0
    assert np.linalg.norm((drawn - true)[at]) < np.linalg.norm((alone - true)[at])
    assert not drawn[~at].any()
    wrong = lent * rng.choice([0.2, 1.8], 40)
    _, free = run(pooled_fit_job(many, nothing, wrong), bar=False)
    _, best = relaxed_fit(many, lent != 0)
    np.testing.assert_allclose(free[at] / best[at], 1.0, atol=0.05)


def test_a_pooled_fit_without_anything_in_common_is_the_types_own_ridge():
    X, y, _, true = known(500)
    gram = Gram.from_data(X, y)
    own = relaxed_fit(gram, true != 0)
    _, coef = run(pooled_fit_job(gram, own, np.zeros(40)), bar=False)
    np.testing.assert_allclose(coef[true != 0] / own[1][true != 0], 1.0, atol=0.03)
    assert not coef[true == 0].any()


def test_a_family_of_a_regulator_and_its_interactions_holds_together():
    from celldyn.betas.modulators import Modulators

    m = Modulators(("A", "B"), (("L", "R"),), (("L", "B"), ("K", "B"), ("L", "Z")))
    assert m.parents.tolist() == [-1, -1, -1, 1, 1, -1]
    penalties = Penalties(m.groups, 0.0, 0.0, standardise=True, parents=m.parents)
    importance = np.array([[0.1, 0.0, 0.3, 0.8, 0.0, 0.2], [0.0, 0.6, 0.0, 0.1, 0.9, 0.0]])
    expected = [[0.1, 0.8, 0.3, 0.8, 0.4, 0.2], [0.0, 0.9, 0.0, 0.45, 0.9, 0.0]]
    np.testing.assert_allclose(penalties.inherited(importance), expected)
    assert parents_among(m.parents, np.array([1, 2, 4, 5])).tolist() == [-1, -1, 0, -1]
    assert parents_among(m.parents, np.array([0, 3])).tolist() == [-1, -1]


def test_noise_is_fitted_by_nothing():
    adata = tissue(300)
    rng = np.random.default_rng(4)
    adata.layers["imputed_count"][:, 0] = rng.gamma(2, 1, 300)
    model = estimator(adata)
    model.fit(num_epochs=0, pbar=False)
    assert not model.get_betas().iloc[:, 1:].to_numpy().any()
    assert set(model.scores.values()) == {0.0}
    model.fit(num_epochs=0, pbar=False, penalty="given", score_threshold=0.0)
    assert model.get_betas().iloc[:, 1:].to_numpy().any()


@pytest.mark.parametrize(
    ("parameters", "chooses"),
    [
        ({}, True),
        ({"threshold_lambda": 1e-3}, False),
        ({"l1_reg": 1e-3}, False),
        ({"penalty": "given"}, False),
        ({"penalty": "heldout", "l1_reg": 1e-3}, True),
        ({"heldout_folds": 0}, False),
        ({"estimator": "bayesian"}, False),
    ],
)
def test_auto_chooses_unless_a_penalty_is_given(parameters, chooses):
    assert config(**({"heldout_folds": 5} | parameters)).chooses_penalty is chooses


def test_a_chosen_penalty_needs_blocks_that_are_held_out():
    with pytest.raises(ConfigError, match="heldout_folds"):
        config(penalty="heldout", heldout_folds=0)


def test_l1_reg_is_the_smallest_penalty_that_is_tried():
    adata = tissue(300, noise=0.3)
    settings = config(heldout_folds=4, penalty="heldout", l1_reg=50.0)
    result = run(fit_job(prepare(adata, settings, lr=PAIRS), settings), bar=False)
    assert {fit.status for fit in result.fits} == {"intercept only: R² below threshold"}


def test_a_path_that_is_gone_on_with_is_the_path():
    X, y, groups, _ = known(200)
    gram = Gram.from_data(X, y)
    view, _ = gram.standardised()
    l1 = np.geomspace(1.0, 0.01, 6)
    fixed = (view.XtX / 200, view.Xty[:, 0] / 200, groups - 1, np.full(3, 0.01))
    more = {"power": float(gram.yty[0]) / 200, "most": 1000}
    whole, _ = descend_path(*fixed, l1, np.ones(40), **more)
    b = None
    for penalty, expected in zip(l1, whole, strict=True):
        path, _ = descend_path(*fixed, np.array([penalty]), np.ones(40), first=b, **more)
        b = path[0]
        np.testing.assert_allclose(b, expected, atol=1e-10)


def test_smaller_penalties_are_not_tried_when_several_in_a_row_predicted_worse(monkeypatch):
    X, y, groups, _ = known(150)
    penalties = Penalties(groups, 1e-6, 1e-9, standardise=True)
    found, costs = [], []
    for patience in (3, 99):
        tried = []
        monkeypatch.setattr("celldyn.betas.penalty_path._PATIENCE", patience)
        monkeypatch.setattr(
            "celldyn.betas.penalty_path.descend_path",
            lambda *given, tried=tried, **more: tried.append(1) or descend_path(*given, **more),
        )
        found.append(run(choose_penalty_job(folds(X, y), penalties), bar=False))
        costs.append(len(tried))
    assert costs[0] < 0.8 * costs[1]
    assert found[0].l1 == found[1].l1
    assert found[0].sse == found[1].sse
