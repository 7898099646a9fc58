"""Figures of virtual cells: what is drawn is what was given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from celldyn.environment import Quality, biological_time
from celldyn.environment.screened import Screen
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.plots import environment as plots


def history(n=30):
    steps = np.arange(1.0, n + 1)
    return [
        {
            "timesteps": 1e5 * k, "reward": 0.1 * k, "reward/pinning": 0.08 * k,
            "reward/velocity": 0.02 * k, "loss/total": 2 / k, "loss/critic": 1 / k,
            "loss/pinning_0": 3 / k, "loss/pinning_1": 2 / k, "speed": 2 / k, "std": 1.0,
        }
        for k in steps
    ]  # fmt: skip


def tables():
    methods = pd.Index(["environment", "mean", "kNN"], name="method")
    return {
        1: pd.DataFrame({"r": [0.97, 0.0, 0.99], "mse": [0.06, 1.0, 0.02]}, index=methods),
        2: pd.DataFrame({"r": [0.5, 0.0, 0.4], "mse": [0.7, 1.0, 0.8], "mse_aligned": [0.6] * 3},
                        index=methods),
    }  # fmt: skip


def shown(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.axison}


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def widths(axes):
    return [bar.get_width() for bar in axes.patches]


def test_rewards_losses_and_speed_have_panels_over_cell_steps():
    panels = shown(plots.plot_training(history()))
    assert list(panels) == [
        "reward per cell and episode", "loss of what places tell", "loss, critic", "speed",
    ]  # fmt: skip
    drawn = lines(panels["reward per cell and episode"])
    assert list(drawn) == ["in all", "pinning", "velocity"]
    table = pd.DataFrame(history())
    np.testing.assert_array_equal(drawn["pinning"].get_xdata(), table["timesteps"])
    np.testing.assert_array_equal(drawn["pinning"].get_ydata(), table["reward/pinning"])
    few = lines(shown(plots.plot_training(history(), 25))["speed"])
    assert len(next(iter(few.values())).get_xdata()) == 5
    with pytest.raises(ConfigError, match="skip_updates is 30, and there are 30 updates"):
        plots.plot_training(history(), 30)


def test_figures_stand_beside_those_of_simple_methods():
    panels = shown(plots.plot_quality(tables()))
    assert list(panels) == [
        "modality 1: Pearson's r", "modality 1: MSE / variance", "modality 2: Pearson's r",
        "modality 2: MSE / variance", "modality 2: MSE / variance, aligned",
    ]  # fmt: skip
    axes = panels["modality 1: MSE / variance"]
    assert widths(axes) == [0.06, 1.0, 0.02]
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] != colours[1] == colours[2]
    found = Quality(tables(), None, 200, held_out=True)
    assert len(shown(plots.plot_quality(found, ["r"]))) == 2
    with pytest.raises(MissingKeyError, match="no figures 'auc'"):
        plots.plot_quality(tables(), ["auc"])
    with pytest.raises(DataError, match="no figures to draw"):
        plots.plot_quality({})


def test_ways_go_from_where_held_out_cells_are_to_where_they_are_told_to_be():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=(40, 2))
    told, train = truth + 0.1, np.arange(40) < 30
    figure = plots.plot_told(told, truth, train, colour=["a", "b"] * 20)
    ways = shown(figure)["from one to the other, 10 cells held out"].collections[0]
    drawn = np.array(ways.get_segments())
    np.testing.assert_allclose(drawn[:, 0], truth[30:])
    np.testing.assert_allclose(drawn[:, 1], told[30:])
    assert "from one to the other, 40 cells trained on" in shown(plots.plot_told(told, truth))
    with pytest.raises(DataError, match="not of the same cells"):
        plots.plot_told(told, truth[1:])


def test_features_are_drawn_told_against_measured_of_held_out_cells():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(50, 3)) * [1, 3, 2]
    train = np.arange(50) < 20
    panels = shown(plots.plot_features(2 * truth, truth, ["a", "b", "c"], train, 2))
    assert list(panels) == ["b, r 1.00", "c, r 1.00"]
    dots = panels["b, r 1.00"].collections[0].get_offsets()
    np.testing.assert_allclose(dots, np.column_stack([truth[20:, 1], 2 * truth[20:, 1]]))
    assert list(shown(plots.plot_features(truth * 0, truth, "abc", features=["c"]))) == [
        "c, r nan"
    ]
    with pytest.raises(MissingKeyError, match="no feature 'd'"):
        plots.plot_features(truth, truth, "abc", features=["d"])
    with pytest.raises(DataError, match="do not fit"):
        plots.plot_features(truth, truth, "ab")


def screen():
    shift = np.array([[3.0, 1.0, 5.0], [4.0, 6.0, 2.0], [1.0, 1.0, 1.0]])
    return Screen(
        ("A", "B", "C"), ("all cells", "t1", "t2"), np.array([9, 5, 4]), effect=shift + 1,
        length=shift, shift=shift, size=np.ones((3, 3)), control=np.full((4, 3), 0.5),
        null=np.ones((4, 3)), change="knock-out",
    )  # fmt: skip


def test_genes_are_ranked_by_how_far_they_move_cells_of_a_group():
    figure = plots.plot_screen(screen())
    bars, heat = figure.axes[0], figure.axes[1]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["B", "A", "C"]
    assert widths(bars) == [4, 3, 1]
    np.testing.assert_array_equal(heat.images[0].get_array(), [[6, 2], [1, 5], [1, 1]])
    by = plots.plot_screen(screen(), "effect", group="t2", n_genes=2).axes[0]
    assert [label.get_text() for label in by.get_yticklabels()] == ["A", "B"]
    assert lines(by)["no change"].get_xdata()[0] == 0.5
    with pytest.raises(DataError, match="no gene has a number for z"):
        plots.plot_screen(screen(), "z")
    with pytest.raises(MissingKeyError):
        plots.plot_screen(screen(), group="t9")


def test_the_clock_is_drawn_with_what_it_was_fitted_to():
    times = np.arange(0, 32, 0.5)
    speed = 0.3 * np.exp(-times / 10)
    clock = biological_time(times, speed, start=10, end=20)
    figure = plots.plot_clock(times, speed, clock, [15.0])
    drawn = lines(figure.axes[0])
    np.testing.assert_array_equal(drawn["cells"].get_ydata(), speed)
    np.testing.assert_allclose(
        drawn["gamma density"].get_ydata(), 0.3 * np.exp(-np.linspace(0, 31.5, 400) / 10),
        atol=1e-4,
    )  # fmt: skip
    mark = figure.axes[1].get_lines()[1]
    np.testing.assert_allclose(mark.get_xdata()[1], 10 * np.log(2), atol=1e-2)
    assert figure.axes[1].get_title() == "96 % of the way covered"
    with pytest.raises(DataError, match="not one speed per time"):
        plots.plot_clock(times, speed[1:], clock)


def test_stages_stand_beside_straight_ways_and_what_could_be_reached():
    table = pd.DataFrame(
        {"emd": [1.0, 2.0, 3.0, 0.5], "mmd": [0.1, 0.2, 0.3, 0.05]},
        index=["environment", "straight lines", "origin", "measured, halves"],
    )
    figure = plots.plot_stages(table)
    assert widths(figure.axes[0]) == [1, 2, 3]
    assert lines(figure.axes[1])["measured, halves"].get_xdata()[0] == 0.05
    with pytest.raises(DataError, match="no distances"):
        plots.plot_stages(table.iloc[3:])


def test_figures_need_no_pyplot():
    code = (
        "import sys, celldyn.plots.environment; "
        "print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
