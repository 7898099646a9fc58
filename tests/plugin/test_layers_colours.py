from __future__ import annotations

import numpy as np
import pytest

from napari_celldyn.layers.colours import (
    DIVERGING,
    FADED_ALPHA,
    MISSING,
    category_table,
    colormap,
    shade,
    value_limits,
)


def test_limits_are_the_percentiles() -> None:
    values = np.arange(101, dtype=np.float32)
    assert value_limits(values) == (1.0, 99.0)
    assert value_limits(values, percentiles=(5, 90)) == (5.0, 90.0)


def test_diverging_limits_are_symmetric_about_zero() -> None:
    values = np.linspace(-1, 3, 401)
    low, high = value_limits(values, diverging=True)
    assert low == -high
    assert high == pytest.approx(np.percentile(np.abs(values), 99))


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([0.0] * 500 + [7.0], (0.0, 7.0)),  # a rare gene: both percentiles are 0
        ([4.0] * 10, (4.0, 5.0)),
        ([np.nan, np.nan], (0.0, 1.0)),
        ([], (0.0, 1.0)),
        ([np.nan, 0.0, np.inf, 0.0], (0.0, 1.0)),
    ],
)
def test_limits_always_have_a_width(values: list[float], limits: tuple[float, float]) -> None:
    assert value_limits(np.array(values, np.float32)) == limits


@pytest.mark.parametrize("values", [[], [np.nan], [0.0, 0.0]])
def test_diverging_limits_of_nothing(values: list[float]) -> None:
    assert value_limits(np.array(values, np.float32), diverging=True) == (-1.0, 1.0)


def test_shade_ends_clip_and_missing_is_grey() -> None:
    viridis = colormap("viridis")
    rgba = shade(np.array([-9, 0, 10, 99, np.nan, np.inf]), (0.0, 10.0), viridis)
    assert rgba.shape == (6, 4)
    assert rgba.dtype == np.float32
    ends = viridis.map(np.array([0.0, 1.0]))
    np.testing.assert_allclose(rgba[[0, 1]], ends[[0, 0]], atol=1e-6)
    np.testing.assert_allclose(rgba[[2, 3, 5]], ends[[1, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(rgba[4], MISSING)


def test_shade_agrees_with_the_colormap_everywhere() -> None:
    values = np.random.default_rng(0).uniform(-2, 5, 1000)
    viridis = colormap("viridis")
    exact = viridis.map((values + 2) / 7)
    np.testing.assert_allclose(shade(values, (-2.0, 5.0), viridis), exact, atol=0.02)


def test_diverging_is_blue_light_red() -> None:
    low, middle, high = colormap(DIVERGING).map(np.array([0.0, 0.5, 1.0]))[:, :3]
    assert low.argmax() == 2
    assert high.argmax() == 0
    assert middle.min() > 0.9
    assert np.ptp(middle) < 0.02


def test_category_table_indexes_by_code() -> None:
    table = category_table(["#ff0000", "#00ff00"])
    codes = np.array([1, -1, 0])
    np.testing.assert_allclose(table[codes], [[0, 1, 0, 1], MISSING, [1, 0, 0, 1]])


def test_isolating_fades_the_others_and_the_missing() -> None:
    table = category_table(["red", "lime", "blue"], isolated=[1])
    np.testing.assert_allclose(table[:, 3], [FADED_ALPHA, 1, FADED_ALPHA, FADED_ALPHA])
    np.testing.assert_allclose(table[:3, :3], np.eye(3))
    assert category_table(["red"], isolated=[])[:, 3].max() == np.float32(FADED_ALPHA)


def test_no_category_at_all() -> None:
    np.testing.assert_allclose(category_table([]), [MISSING])
