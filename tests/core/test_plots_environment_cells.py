"""Figures of cells in their space and of perturbations: what is drawn is what was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from environment_manager_cases import N, manager
from matplotlib.quiver import Quiver

from celldyn.environment.viewing import LatentView
from celldyn.errors import DataError
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
    return made, effect, groups


def arrows(axes):
    return [one for one in axes.collections if isinstance(one, Quiver)]


def test_cells_stand_where_they_are_with_arrows_of_their_velocities(asked):
    made, _, groups = asked
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
    _, effect, _ = asked
    axes = plots.plot_cells(effect.positions[-1], control=effect.control[-1])
    (quiver,) = arrows(axes)
    np.testing.assert_allclose(quiver.X, effect.control[-1][:, 0], rtol=1e-5)
    np.testing.assert_allclose(quiver.U, effect.move[:, 0], atol=1e-5)
    with pytest.raises(DataError, match="not both"):
        plots.plot_cells(effect.move, control=effect.move, velocities=effect.move)
    with pytest.raises(DataError, match="24 cells"):
        plots.plot_cells(effect.move, control=effect.move[:3])


def test_rest_and_course_are_drawn_over_time(asked):
    made, effect, _ = asked
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
    _, effect, groups = asked
    table = effect.table(groups)
    (axes,) = plots.plot_effect(table).axes
    assert sorted(bar.get_width() for bar in axes.patches) == pytest.approx(sorted(table["shift"]))
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert set(names) == {f"all ({N})", f"top ({N // 2})", f"bottom ({N // 2})"}
    with pytest.raises(DataError, match="no n_cells"):
        plots.plot_effect(pd.DataFrame({"group": ["all"], "shift": [1.0]}))
