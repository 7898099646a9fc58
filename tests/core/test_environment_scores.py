"""Figures of quality: hand values, laws, and that held-out cells have no say in an alignment."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from environment_data_cases import coordinates, counts, table

from celldyn.environment import (
    gather,
    imputation_report,
    imputation_table,
    perturbation_table,
    stage_report_job,
)
from celldyn.environment.config import DataConfig
from celldyn.environment.score_distances import e_distance, emd, median_distance, mmd
from celldyn.environment.scores import (
    aligned_by_training,
    discrimination,
    imputation_scores,
    label_accuracy,
    neighbour_recall,
    pearson,
    pearson_delta,
)
from celldyn.errors import DataError
from celldyn.jobs import run


def turned(points, angle, *, mirror=False):
    R = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return points @ (R * [1, -1] if mirror else R)


def test_correlation_by_hand():
    truth = np.array([[1.0, 0, 5], [2, 0, 6], [3, 0, 7]])
    told = np.array([[2.0, 1, 3], [4, 2, 3], [6, 3, 3]])
    assert pearson(told, truth) == pytest.approx(0.5)  # 1, left out, 0
    assert np.isnan(pearson(told, np.ones((3, 3))))
    same = np.full((3, 3), 0.1) + 1e-16 * told  # told the same but for rounding
    assert pearson(same, truth) == 0


def test_error_is_over_the_variance_of_training_cells():
    truth = np.array([[0.0], [2.0], [9.0], [4.0]])
    scores = imputation_scores(truth + 3, truth, [True, True, False, False])
    assert scores["mse"] == pytest.approx(9.0)  # variance of 0 and 2 is 1
    assert scores["r"] == pytest.approx(1.0)


def test_neighbours_by_hand():
    truth = np.array([[0.0], [1.0], [3.0], [3.5]])
    assert neighbour_recall(truth * -2, truth, 1) == 1
    assert neighbour_recall([[0.0], [3.0], [1.0], [0.6]], truth, 1) == 0.5


def test_labels_are_those_of_the_nearest_training_cell():
    truth = np.array([[0.0], [10.0], [1.0], [9.0]])
    labels, train = ["a", "b", "a", "b"], [True, True, False, False]
    assert label_accuracy(truth, truth, labels, train) == 1
    assert label_accuracy([[0.0], [10.0], [9.0], [8.0]], truth, labels, train) == 0.5


def test_alignment_is_by_training_cells_alone():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 2))
    train = np.arange(60) < 40
    told = turned(truth, 0.8) + np.array([3.0, -1.0])
    np.testing.assert_allclose(aligned_by_training(told, truth, train), truth, atol=1e-9)
    wrong = told.copy()
    wrong[~train] = turned(told[~train], 2.0)  # held-out cells turned otherwise stay wrong
    result = aligned_by_training(wrong, truth, train)
    np.testing.assert_allclose(result[train], truth[train], atol=1e-9)
    assert np.abs(result[~train] - truth[~train]).mean() > 0.5
    scores = imputation_scores(told, truth, train, spatial=True)
    assert scores["mse_aligned"] < 1e-12 < 1 < scores["mse"]
    mirrored = turned(truth, 0.8, mirror=True)
    assert imputation_scores(mirrored, truth, train, spatial=True)["mse_aligned"] > 0.5
    free = imputation_scores(mirrored, truth, train, spatial=True, reflection=True)
    assert free["mse_aligned"] < 1e-12


def test_partitions_are_aligned_each_by_its_own_training_cells():
    rng = np.random.default_rng(1)
    truth, group = rng.normal(size=(60, 2)), np.repeat([0, 1], 30)
    told = np.concatenate([turned(truth[:30], 1.0), turned(truth[30:], -2.0) + 5])
    train = np.tile([True, True, False], 20)
    np.testing.assert_allclose(aligned_by_training(told, truth, train, group), truth, atol=1e-9)
    held = aligned_by_training(told, truth, group == 0, group)  # no cell of the second trains
    np.testing.assert_allclose(held[:30], truth[:30], atol=1e-9)
    assert np.abs(held[30:] - truth[30:]).mean() > 0.5


def test_all_cells_are_scored_where_none_is_held_out():
    truth = np.random.default_rng(0).normal(size=(20, 3))
    scores = imputation_scores(truth, truth, np.ones(20, bool), labels=["a"] * 20)
    assert scores == {"r": pytest.approx(1), "mse": 0, "neighbour_recall": 1}


@pytest.mark.parametrize(
    ("told", "train", "says"),
    [
        (np.zeros((4, 2)), np.ones(4, bool), "do not fit each other"),
        (np.full((4, 1), np.nan), np.ones(4, bool), "not finite"),
        (np.zeros((4, 1)), np.zeros(4, bool), "no cell was trained on"),
        (np.zeros((4, 1)), np.ones(3, bool), "do not fit each other"),
    ],
)
def test_what_cannot_be_scored_is_refused(told, train, says):
    with pytest.raises(DataError, match=says):
        imputation_scores(told, np.arange(4.0)[:, None], train)


def test_an_environment_stands_beside_its_baselines():
    config = DataConfig(target_modalities=[1], spatial=[1], pca_dim=[6, 0], train_split=0.7)
    data = gather([table(counts()), coordinates()], config)
    tables = imputation_report(data, [data.modalities[1]], name="mine")
    assert list(tables) == [1]
    assert list(tables[1].index) == ["mine", "mean", "ridge", "kNN"]
    assert tables[1].loc["mine", "mse"] == 0
    assert list(tables[1].columns) == ["r", "mse", "r_aligned", "mse_aligned", "neighbour_recall"]
    alone = imputation_table({"mine": data.modalities[1]}, data.modalities[1], data.train)
    assert alone.loc["mine", "r"] == tables[1].loc["mine", "r"]
    with pytest.raises(DataError, match="2 arrays were told for 1 targets"):
        imputation_report(data, [data.modalities[1]] * 2)


def test_distances_of_populations_by_hand():
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [5.0]])
    assert emd(x, y) == pytest.approx(3.0)
    assert e_distance(x, y) == pytest.approx(2 * 3 - 0.5 - 1.5)
    k = np.exp(-np.array([1.0, 9, 4, 25, 1, 16]) / 2)
    within = (2 + 2 * k[0]) / 4 + (2 + 2 * k[1]) / 4
    assert mmd(x, y, bandwidth=1.0) == pytest.approx(within - 2 * k[2:].sum() / 4)
    assert median_distance(y) == 3.0


@pytest.mark.parametrize("measure", [emd, e_distance, mmd])
def test_distances_of_populations_are_distances(measure):
    rng = np.random.default_rng(0)
    x, y, far = rng.normal(size=(30, 2)), rng.normal(size=(25, 2)), rng.normal(5, 1, (25, 2))
    assert measure(y, y) == pytest.approx(0, abs=1e-7)
    h = {"bandwidth": 2.0} if measure is mmd else {}
    assert measure(x, far, **h) == pytest.approx(measure(far, x, **h))
    assert 0 < measure(x, y) < measure(far, y)
    doubled = np.concatenate([x[:1], x])
    weights = np.full(31, 1 / 30)
    weights[:2] = 0.5 / 30  # a cell that stands twice at half the weight
    assert measure(doubled, y, weights) == pytest.approx(measure(x, y))
    with pytest.raises(DataError, match="not comparable"):
        measure(x, y[:, :1])
    with pytest.raises(DataError, match="holds what is not a number"):
        measure(x * np.nan, y)


def test_earth_movers_distance_is_that_of_pot():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(5, 3))
    exact = ot.emd2(np.full(8, 1 / 8), np.full(5, 0.2), ot.dist(x, y, metric="euclidean"))
    assert emd(x, y) == pytest.approx(exact)


def test_large_populations_are_drawn_from(monkeypatch):
    monkeypatch.setattr("celldyn.environment.score_distances.MOST_CELLS", 40)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
    assert emd(x, y, seed=1) == emd(x, y, seed=1) != emd(x, y, seed=2)


def test_a_recovered_stage_stands_beside_straight_ways():
    rng = np.random.default_rng(0)
    origin = rng.normal(size=(40, 2))
    right = np.array([4.0, 0.0])
    terminal, truth = origin + 2 * right, rng.normal(size=(30, 2)) + right
    table_ = run(
        stage_report_job({"mine": truth}, truth, origin, terminal, 0.5, paired=(origin, terminal)),
        bar=False,
    )
    assert list(table_.index) == [
        "mine", "straight lines", "optimal transport", "origin", "terminal", "measured, halves",
    ]  # fmt: skip
    assert (table_.loc["mine"] < 1e-7).all()
    for straight in ("straight lines", "optimal transport"):
        assert (table_.loc[straight] < 0.5 * table_.loc["origin"]).all()
    assert (table_.loc["measured, halves"] < 0.5 * table_.loc["terminal"]).all()


def test_changes_by_hand():
    control, truth = np.zeros((3, 3)), np.array([[1.0, 2.0, 3.0]])
    assert pearson_delta(2 * truth + 1, truth, control) == pytest.approx(1)
    assert pearson_delta(-truth, truth, control) == pytest.approx(-1)
    assert pearson_delta(control, truth, control) == 0


def test_discrimination_by_hand():
    truth = np.array([[0.0], [1.0], [5.0]])
    assert discrimination(truth, truth) == 1
    assert discrimination(np.zeros((3, 1)), truth) == pytest.approx((1 + 0.5 + 0) / 3)
    assert discrimination(truth, np.ones((3, 1))) == 0.5
    with pytest.raises(DataError, match="fewer than two"):
        discrimination(truth[:1], truth[:1])


def test_perturbations_stand_beside_no_effect_and_mean_effect():
    rng = np.random.default_rng(0)
    control = rng.normal(size=(50, 4))
    effects = np.array([[2.0, 0, 0, 1], [0, 3, 0, 1], [0, 0, 2, 1]])
    truth = [rng.normal(size=(40, 4)) + e for e in effects]
    scores = perturbation_table({"mine": truth}, truth, control, known=[control + 1.0])
    assert list(scores.index) == ["mine", "mean effect", "no effect"]
    assert scores.loc["mine", "pearson_delta"] == pytest.approx(1)
    assert scores.loc["mine", "mse"] == scores.loc["mine", "e_distance"] == 0
    assert scores.loc["mine", "discrimination"] == 1
    assert scores.loc["no effect", "pearson_delta"] == 0
    assert scores.loc["mean effect", "discrimination"] == pytest.approx(0.5)
    with pytest.raises(DataError, match="tells another number"):
        perturbation_table({"mine": truth[:2]}, truth, control)
