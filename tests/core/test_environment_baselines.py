"""Simple methods beside an environment: by hand, and on the page's synthetic task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from environment_data_cases import coordinates, counts, smooth_fields, table

from celldyn.environment import (
    baseline_predictions,
    displacement_interpolation,
    gather,
    lerp,
    linear_perturbation,
)
from celldyn.environment.baselines import IMPUTERS, impute_job
from celldyn.environment.config import DataConfig
from celldyn.environment.scores import imputation_table
from celldyn.environment.transport import distances
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run


def gathered():
    config = DataConfig(target_modalities=[1], spatial=[1], pca_dim=[6, 0], train_split=0.7)
    return gather([table(counts()), coordinates()], config)


def test_the_synthetic_task_of_the_page():
    """Figures of the page: ridge .959 / .081, kNN .991 / .019, MLP .973 / .053."""
    genes, xy, train = smooth_fields()
    config = DataConfig(target_modalities=[1], spatial=[1], pca_dim=[16, 0], train_mask="train")
    data = gather([table(genes, train=train), xy], config)
    told = {name: parts[0] for name, parts in baseline_predictions(data, list(IMPUTERS)).items()}
    scores = imputation_table(told, data.modalities[1], data.train)
    assert scores.loc["mean", "r"] == 0
    assert scores.loc["mean", "mse"] == pytest.approx(1, abs=0.1)
    for name, r, mse in (("ridge", 0.94, 0.1), ("PLS", 0.94, 0.1), ("MLP", 0.95, 0.08)):
        assert r < scores.loc[name, "r"] < scores.loc["kNN", "r"]
        assert scores.loc["kNN", "mse"] < 0.03 < scores.loc[name, "mse"] < mse


def test_neighbours_and_means_by_hand():
    seen, told = np.arange(12.0)[:, None], np.arange(12.0)[:, None] ** 2
    train = np.arange(12) < 11
    out = run(impute_job(seen, [told], train, ["mean", "kNN"]), bar=False)
    np.testing.assert_allclose(out["mean"][0], np.full((12, 1), np.mean(np.arange(11.0) ** 2)))
    np.testing.assert_allclose(out["kNN"][0][11], np.mean(np.arange(1, 11.0) ** 2))


def test_a_linear_truth_is_found_by_ridge_and_pls():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(80, 5))
    told = seen @ rng.normal(size=(5, 3)) + 2
    out = run(impute_job(seen, [told[:, :1], told[:, 1:]], np.arange(80) < 50, ["ridge", "PLS"]),
              bar=False)  # fmt: skip
    for name in ("ridge", "PLS"):
        assert [part.shape for part in out[name]] == [(80, 1), (80, 2)]
        np.testing.assert_allclose(np.hstack(out[name])[50:], told[50:], atol=0.02)


def test_held_out_targets_are_not_looked_at():
    data = gathered()
    poisoned = data.modalities[1].clone()
    poisoned[torch.from_numpy(~data.train)] = 1e6
    other = replace(data, modalities=(data.modalities[0], poisoned))
    for mine, theirs in zip(
        baseline_predictions(data).values(), baseline_predictions(other).values(), strict=True
    ):
        np.testing.assert_array_equal(mine[0], theirs[0])


def test_linear_perturbation_is_what_ridge_says_of_the_change():
    data = gathered()
    change = np.zeros(6)
    change[2] = 0.7
    (moved,) = linear_perturbation(data, {0: change})
    seen = data.seen.numpy().astype(float)
    both = [
        IMPUTERS["ridge"](seen[data.train], data.modalities[1].numpy()[data.train], x, 0)
        for x in (seen, seen + change)
    ]
    np.testing.assert_allclose(moved, both[1] - both[0], atol=1e-5)
    with pytest.raises(ConfigError, match="modality 1 is not seen"):
        linear_perturbation(data, {1: np.zeros(2)})


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"methods": ["GEARS"]}, ConfigError, "no baseline 'GEARS'"),
        ({"train": np.ones(3, bool)}, DataError, "3 of 3 cells"),
        ({"train": np.arange(9) < 1}, DataError, "1 of 9 cells"),
        ({"targets": [np.zeros((8, 1))]}, DataError, "not of the same cells"),
        ({"targets": []}, DataError, "not of the same cells"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, error, says):
    given = {"seen": np.zeros((9, 2)), "targets": [np.zeros((9, 1))], "train": np.arange(9) < 5}
    with pytest.raises(error, match=says):
        run(impute_job(**{**given, **change}), bar=False)


def test_straight_lines_by_hand():
    x, y = np.array([[0.0, 0.0], [4.0, 0.0]]), np.array([[2.0, 4.0], [4.0, 8.0]])
    way = lerp(x, y, [0, 0.25, 1])
    np.testing.assert_allclose(way[0], x)
    np.testing.assert_allclose(way[1], [[0.5, 1], [4, 2]])
    np.testing.assert_allclose(way[2], y)
    with pytest.raises(DataError, match="not paired"):
        lerp(x, y[:1], 0.5)
    with pytest.raises(DataError, match="outside 0 to 1"):
        lerp(x, y, 1.5)


def test_displacement_begins_and_ends_in_the_stages_and_takes_the_cheapest_way():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(5, 3)) + 4
    way = displacement_interpolation(x, y, [0, 0.5, 1])
    assert way.weights.sum() == pytest.approx(1)
    for cells, stage in ((way.cells[0], x), (way.cells[2], y)):
        nearest = distances(cells, stage).argmin(1)
        np.testing.assert_allclose(cells, stage[nearest], atol=1e-12)
        np.testing.assert_allclose(np.bincount(nearest, way.weights), 1 / len(stage))
    np.testing.assert_allclose(way.cells[1], (way.cells[0] + way.cells[2]) / 2)
    moved = displacement_interpolation(
        x, x[::-1] + 3, [1.0]
    )  # the cheapest way of a shift is the shift
    np.testing.assert_allclose(np.sort(moved.cells[0], 0), np.sort(x + 3, 0))


def test_large_stages_are_drawn_from_repeatably():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2)), rng.normal(size=(200, 2))
    first, again = (displacement_interpolation(x, y, [0.5], most=50, seed=4) for _ in range(2))
    assert first.cells.shape == (1, 50, 2)
    np.testing.assert_array_equal(first.cells, again.cells)
    with pytest.raises(DataError, match="no way from cells"):
        displacement_interpolation(x, y[:, :1], [0.5])
