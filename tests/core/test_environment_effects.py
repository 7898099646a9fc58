"""Effect sizes by hand, and when cells are at rest."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.environment.effects import (
    Effect,
    displacement,
    effect_size,
    path_length,
    trajectory_length,
)
from celldyn.environment.steady import SteadyTest
from celldyn.errors import ConfigError, DataError

# Two cells: one goes 3 right then 4 up; the other goes 1 right and back.
FRAMES = np.array([[[0, 0], [0, 0]], [[3, 0], [1, 0]], [[3, 4], [0, 0]]], float)


def test_effect_size_and_trajectory_length_by_hand():
    assert displacement(FRAMES[0], FRAMES[-1]).tolist() == [5, 0]
    assert effect_size(FRAMES[0], FRAMES[-1]) == 2.5
    assert path_length(FRAMES).tolist() == [7, 2]
    assert trajectory_length(FRAMES) == 4.5
    # The notebooks' mean of |dx| over dimensions: (3/2 + 4/2) and (1/2 + 1/2).
    assert path_length(FRAMES, mean_of_dimensions=True).tolist() == [3.5, 1]


def test_effects_by_group_beside_a_control():
    control = FRAMES.copy()
    control[-1, 0] = [3, 0]
    table = Effect.of(FRAMES, control).table(["b", "a"])
    assert table["group"].tolist() == ["all", "a", "b"]
    assert table["n_cells"].tolist() == [2, 1, 1]
    assert table["effect"].tolist() == [2.5, 0, 5]
    assert table["length"].tolist() == [4.5, 2, 7]
    assert table["shift"].tolist() == [2, 0, 4]


def test_other_cells_and_other_shapes_are_refused():
    with pytest.raises(DataError, match="give the same cells"):
        displacement(FRAMES[0], FRAMES[0, :1])
    with pytest.raises(DataError, match="one per cell"):
        Effect.of(FRAMES).table(["a"])
    with pytest.raises(DataError, match="times, cells, dimensions"):
        path_length(FRAMES[0])


def test_cells_are_at_rest_after_enough_slow_steps_in_a_row():
    test = SteadyTest(tolerance=0.1, patience=3)
    said = [test.update(speed) for speed in (0.05, 0.05, 0.2, 0.05, 0.05, 0.05, 0.05)]
    assert said == [False, False, False, False, False, True, True]


def test_a_speed_that_is_no_number_is_no_rest():
    test = SteadyTest(patience=1)
    assert not test.update(float("nan"))


def test_a_report_says_which():
    test = SteadyTest(tolerance=0.1, patience=3)
    rest = test.report(reached=True, time=12.5, speed=0.05, steps=125)
    assert str(rest).startswith("Cells came to rest after 12.5 s")
    moving = test.report(reached=False, time=512, speed=0.7, steps=5120)
    assert "still move after 512 s, at a mean speed of 0.7" in str(moving)
    assert moving.to_dict()["reached"] is False


@pytest.mark.parametrize("bad", [{"tolerance": 0}, {"patience": 0}, {"tolerance": float("nan")}])
def test_what_is_no_rest_is_refused(bad):
    with pytest.raises(ConfigError):
        SteadyTest(**bad)
