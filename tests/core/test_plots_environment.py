"""Figures of virtual cells: what is drawn is what was given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from environment_manager_cases import N, manager
from matplotlib.quiver import Quiver

from celldyn.environment.viewing import LatentView
from celldyn.errors import DataError, MissingKeyError
from celldyn.plots import environment as plots

QUIET = {"progress_bar": False}


@pytest.fixture(scope="module")
def asked():
    made = manager(inputs=(0, 1), targets=(0, 1))
    made.simulate(2.0, 0.5, impute=False, **QUIET)
    made.add_perturbation("gene3", feature_targets=9.0)
    groups = np.repeat(["top", "bottom"], N // 2)
    effect = made.perturbation_effect(1.0, 0.1, impute=False)
    made.clear_perturbations()
    screen = made.screen([f"gene{k}" for k in range(6)], groups=groups, n_random=2, n_control=2,
                         **QUIET)  # fmt: skip
    return made, effect, groups, screen


def arrows(axes):
    return [one for one in axes.collections if isinstance(one, Quiver)]


def test_cells_stand_where_they_are_with_arrows_of_their_velocities(asked):
    made, _, groups, _ = asked
    state = made.get_state(impute=False, include_vel=True)
    view = LatentView.of(state[:, :4])
    places, velocities = view.places(state[:, :4]), view.arrows(state[:, 4:])
    axes = plots.plot_cells(places, groups, velocities=velocities, title="rest")
    (quiver,) = arrows(axes)
    np.testing.assert_allclose(np.column_stack([quiver.X, quiver.Y]), places[:, :2], rtol=1e-6)
    drawn = np.column_stack([quiver.U, quiver.V])
    longest = np.linalg.norm(drawn, axis=1).max()
    assert longest == pytest.approx(0.06 * np.ptp(places[:, :2], axis=0).max(), rel=1e-5)
    cosine = (drawn * velocities[:, :2]).sum(1)
    assert (cosine > 0).all()
    assert axes.get_title() == "rest"


def test_a_change_is_drawn_from_where_cells_are_without(asked):
    _, effect, _, _ = asked
    axes = plots.plot_cells(effect.positions[-1], control=effect.control[-1])
    (quiver,) = arrows(axes)
    np.testing.assert_allclose(quiver.X, effect.control[-1][:, 0], rtol=1e-5)
    np.testing.assert_allclose(quiver.U, effect.move[:, 0], atol=1e-5)
    with pytest.raises(DataError, match="not both"):
        plots.plot_cells(effect.move, control=effect.move, velocities=effect.move)
    with pytest.raises(DataError, match="24 cells"):
        plots.plot_cells(effect.move, control=effect.move[:3])


def test_rest_and_course_are_drawn_over_time(asked):
    made, effect, _, _ = asked
    axes = plots.plot_rest(made.trajectory.speeds, tolerance=0.01)
    line = axes.get_lines()[0]
    np.testing.assert_allclose(line.get_xdata()[[0, -1]], [0.1, 2.0])
    np.testing.assert_allclose(line.get_ydata(), made.trajectory.speeds[:, 0])
    axes = plots.plot_course(effect.times, effect.course)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), effect.course)
    for bad in (lambda: plots.plot_rest([]), lambda: plots.plot_course([0, 1], [0])):
        with pytest.raises(DataError):
            bad()


def test_effects_are_bars_by_group(asked):
    _, effect, groups, _ = asked
    table = effect.table(groups)
    (axes,) = plots.plot_effect(table).axes
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx(sorted(table["shift"]))
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert set(names) == {f"all ({N})", f"top ({N // 2})", f"bottom ({N // 2})"}
    with pytest.raises(DataError, match="no n_cells"):
        plots.plot_effect(pd.DataFrame({"group": ["all"], "shift": [1.0]}))


def test_a_screen_shows_its_first_genes_first(asked):
    screen = asked[3]
    bars, _dots = plots.plot_screen(screen.table(), "top", n_named=4).axes
    first = screen.of_group("top")["gene"].tolist()[:4]
    assert [label.get_text() for label in bars.get_yticklabels()] == first
    with pytest.raises(MissingKeyError, match="no group 'middle'"):
        plots.plot_screen(screen.table(), "middle")


def test_a_training_is_drawn_over_cell_steps():
    history = pd.DataFrame({
        "timesteps": [1e6, 2e6], "reward": [1.0, 2.0], "reward/pinning": [0.5, 1.5],
        "loss/pinning_1": [0.3, 0.2], "speed": [1.0, 0.5],
    })  # fmt: skip
    figure = plots.plot_training(history)
    assert len(figure.axes) == 3
    line = figure.axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata().tolist() == [1, 2]
    with pytest.raises(DataError, match="no update"):
        plots.plot_training(history[:0])
    with pytest.raises(DataError, match="no reward"):
        plots.plot_training(history[["timesteps"]])


def test_stages_are_drawn_with_their_clock_and_beside_straight_ways(asked):
    made = asked[0]
    made.adatas[0].obs["stage"] = np.repeat(["first", "last"], N // 2)
    found = made.recover_stages("first", "last", "stage", time=4.0, rest_time=1.0, **QUIET)
    speed, clock = plots.plot_clock(found).axes
    np.testing.assert_allclose(speed.get_lines()[0].get_ydata(), found.speeds)
    np.testing.assert_allclose(clock.get_lines()[0].get_ydata(), found.biological)
    table = pd.DataFrame({"emd": [1.0, 2.0], "mmd": [0.1, 0.2]}, index=["environment", "origin"])
    figure = plots.plot_recovered(table)
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.1, 0.2]
    with pytest.raises(DataError, match="columns"):
        plots.plot_recovered(pd.DataFrame({"r": [1.0]}))


def test_figures_need_no_pyplot():
    script = (
        "import sys, celldyn.plots.environment as p;"
        "p.plot_course([0, 1], [0, 1]); print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
