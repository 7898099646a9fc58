"""The biological clock: a known gamma is found again, and times go there and back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma

from celldyn.environment import biological_time, mean_speed
from celldyn.errors import DataError

TIMES = np.arange(0, 32, 0.5)


@pytest.mark.parametrize(("shape", "delay", "scale"), [(1.0, 0, 6), (2.5, 0, 3), (4.0, 2, 1.5)])
def test_a_known_clock_is_found(shape, delay, scale):
    speed = 0.7 * gamma.pdf(TIMES, shape, delay, scale)
    clock = biological_time(TIMES, speed, start=8.0, end=16.0)
    expected = 8 + 8 * gamma.cdf(TIMES, shape, delay, scale)
    np.testing.assert_allclose(clock.at(TIMES), expected, atol=1e-3)
    np.testing.assert_allclose(clock.speed(TIMES), speed, atol=1e-4)
    assert clock.explained == pytest.approx(1, abs=1e-6)
    assert clock.covered == pytest.approx(gamma.cdf(31.5, shape, delay, scale), abs=1e-3)


def test_an_exponential_by_hand():
    clock = biological_time(TIMES, 0.3 * np.exp(-TIMES / 10))
    assert clock.at(10.0) == pytest.approx(1 - np.exp(-1), abs=1e-4)
    assert clock.inverse(0.5) == pytest.approx(10 * np.log(2), abs=1e-3)


def test_times_go_there_and_back_in_order_even_from_noisy_speeds():
    rng = np.random.default_rng(0)
    speed = gamma.pdf(TIMES, 2, 0, 4) * rng.uniform(0.8, 1.2, len(TIMES))
    clock = biological_time(TIMES, speed, start=3, end=1)  # backwards is allowed
    stages = np.linspace(3, 1.01, 20)
    back = clock.inverse(stages)
    np.testing.assert_allclose(clock.at(back), stages, atol=1e-6)
    assert (np.diff(back) > 0).all()
    assert 0.8 < clock.explained < 1


def test_mean_speed_by_hand():
    v = np.array([[[1.0, -1.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 1.0]]])
    np.testing.assert_allclose(mean_speed(v), [1.0, 0.25])


@pytest.mark.parametrize(
    ("times", "speed", "options", "says"),
    [
        ([0, 1, 2], [1, 1, 1], {}, "3 times and 3 speeds"),
        (range(6), [1] * 5, {}, "6 times and 5 speeds"),
        ([0, 1, 1, 2, 3], [1] * 5, {}, "do not rise"),
        (range(5), [1, np.nan, 1, 1, 1], {}, "not finite"),
        (range(5), [0] * 5, {}, "never moved"),
        (range(5), [1, -1, 1, 1, 1], {}, "negative"),
        (range(5), [1] * 5, {"start": 2, "end": 2}, "same biological time"),
    ],
)
def test_what_gives_no_clock_is_refused(times, speed, options, says):
    with pytest.raises(DataError, match=says):
        biological_time(times, speed, **options)


@pytest.mark.parametrize("stage", [-0.1, 1.0, np.nan])
def test_times_that_are_never_reached_are_refused(stage):
    clock = biological_time(TIMES, np.exp(-TIMES))
    with pytest.raises(DataError, match="is not from 0 up to"):
        clock.inverse([0.5, stage])
