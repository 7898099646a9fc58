"""Figures of the landscape: what is drawn is what was given, in its colours and its order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from landscape_stream_cases import disc
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import FancyArrowPatch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from celldyn.data.palette import PALETTE
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.landscape import PotentialSurface, Streamlines
from celldyn.plots import landscape as plots


def streams():
    along = np.linspace(0, 1, 40)
    lines = [np.column_stack([4 * along, 0 * along]), np.column_stack([along, 1 + 0 * along])]
    speeds = [np.linspace(0.1, 2.0, 40), np.full(40, 0.5)]
    return Streamlines(lines, speeds, [along, along])


def of_kind(axes, kind):
    return [one for one in axes.get_children() if isinstance(one, kind)]


def test_streamlines_are_drawn_whole_wider_where_they_are_fast_with_heads_along():
    xy = disc(80)
    axes = plots.plot_streamlines(xy, streams(), ["a", "b"] * 40, title="side",
                                  palette={"a": "#ff0000"})  # fmt: skip
    (lines,) = of_kind(axes, LineCollection)
    pieces = np.array(lines.get_segments())
    np.testing.assert_allclose(pieces[:39, 0], streams().lines[0][:-1])
    np.testing.assert_allclose(pieces[39:, 1], streams().lines[1][1:])
    widths = lines.get_linewidths()
    assert (np.diff(widths[:36]) > 0).all()
    assert np.ptp(widths[39:]) < 1e-9
    heads = of_kind(axes, FancyArrowPatch)
    assert len(heads) == 4  # three on the long line, one on the short
    (dots,) = [one for one in axes.collections if one is not lines]
    assert {to_hex(c) for c in dots.get_facecolors()} == {"#ff0000", PALETTE[1]}
    assert axes.get_title() == "side"
    assert not axes.yaxis_inverted()


def test_a_field_without_lines_shows_cells_alone_and_the_tissue_grows_downwards():
    xy = disc(50)
    axes = plots.plot_streamlines(xy, Streamlines([], [], []), tissue=True)
    assert not of_kind(axes, LineCollection)
    assert axes.yaxis_inverted()
    assert len(axes.collections[0].get_offsets()) == 50
    with pytest.raises(DataError, match="3 values do not fit 50 cells"):
        plots.plot_streamlines(xy, streams(), ["a", "b", "c"])


def test_figures_are_saved_by_the_end_of_their_name(tmp_path):
    axes = plots.plot_streamlines(disc(20), streams())
    for end in ("png", "svg", "pdf"):
        written = plots.save_figure(axes.figure, tmp_path / f"flow.{end}")
        assert written.stat().st_size > 1000
    with pytest.raises(ConfigError, match=r"cannot be saved as flow.txt; use a name that ends"):
        plots.save_figure(axes.figure, tmp_path / "flow.txt")
    with pytest.raises(ConfigError, match="there is no folder"):
        plots.save_figure(axes.figure, tmp_path / "nowhere" / "flow.png")


def test_axes_that_are_given_are_drawn_on():
    first = plots.plot_streamlines(disc(20), streams())
    assert plots.plot_walks(disc(20), [[0, 1, 2]], axes=first) is first


def test_arrows_stand_at_their_places():
    at = np.stack(np.meshgrid(np.arange(3.0), np.arange(3.0)), axis=-1).reshape(-1, 2)
    axes = plots.plot_arrows(disc(30), at, at + 1)
    (quiver,) = [one for one in axes.collections if hasattr(one, "U")]
    np.testing.assert_array_equal(quiver.get_offsets(), at)
    np.testing.assert_array_equal(np.column_stack([quiver.U, quiver.V]), at + 1)
    assert plots.plot_arrows(disc(30), np.zeros((0, 2)), np.zeros((0, 2))).collections
    with pytest.raises(DataError, match=r"arrows \(3, 2\) and places \(9, 2\)"):
        plots.plot_arrows(disc(30), at, np.ones((3, 2)))


def test_walks_go_from_cell_to_cell_and_a_few_are_chosen():
    xy, walks = disc(30), np.random.default_rng(0).integers(0, 30, (100, 5))
    axes = plots.plot_walks(xy, walks, n_walks=7)
    (lines,) = of_kind(axes, LineCollection)
    pieces = np.array(lines.get_segments())
    assert len(pieces) == 7 * 4
    np.testing.assert_array_equal(pieces[1:4, 0], pieces[:3, 1])
    np.testing.assert_allclose(lines.get_array()[:4], [0.5, 1.5, 2.5, 3.5])
    assert axes.get_title() == "7 random walks"
    with pytest.raises(DataError, match="do not go over 30 cells"):
        plots.plot_walks(xy, [[0, 30]])


def test_ways_to_fates_have_the_colours_of_their_fates():
    xy = disc(40)
    film = np.stack([xy, 0.5 * xy, 0.1 * xy])
    fates = np.where(xy[:, 0] > 0, "right", "left")
    axes = plots.plot_fate_paths(xy, film, fates, ["left", "right"], n_paths=10,
                                 palette={"right": "#123456"})  # fmt: skip
    left, right = of_kind(axes, LineCollection)
    assert len(left.get_segments()) + len(right.get_segments()) == 10
    assert to_hex(right.get_color()[0]) == "#123456"
    for way in right.get_segments():
        np.testing.assert_allclose(way[2], 0.1 * way[0])
        assert way[0, 0] > 0
    with pytest.raises(DataError, match="do not fit 40 cells"):
        plots.plot_fate_paths(xy, film[:, :3], fates, ["left", "right"])


def test_states_over_time_are_medians_with_their_band():
    paths = np.random.default_rng(1).normal(size=(6, 50, 3)) * np.arange(6)[:, None, None]
    paths[..., 1] = 0.0  # never moves
    figure = plots.plot_states_over_time(np.arange(6.0), paths, ["a"] * 25 + ["b"] * 25, most=2)
    assert [axes.get_title() for axes in figure.axes if axes.axison] == ["z1", "z3"]
    first = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(first["b"].get_ydata(), np.median(paths[:, 25:, 0], axis=1))
    with pytest.raises(DataError, match=r"times \(5,\) and paths"):
        plots.plot_states_over_time(np.arange(5.0), paths)


# --- the surface ---------------------------------------------------------------------------------


def hill():
    axis = np.linspace(-1, 1, 9)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    V = 1 - (x**2 + y**2) / 2
    vertices = np.column_stack([x.ravel(), y.ravel(), 0.5 * V.ravel()])
    nodes = np.arange(81).reshape(9, 9)
    a, b, c, d = nodes[:-1, :-1], nodes[1:, :-1], nodes[1:, 1:], nodes[:-1, 1:]
    faces = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return PotentialSurface(vertices, faces, V.ravel(), (axis, axis), V, 0.5)


def test_the_landscape_has_all_its_triangles_and_cells_lie_on_it():
    xy = np.array([[0.0, 0.0], [0.5, 0.5], [np.nan, 0.0]])
    figure = plots.plot_landscape(hill(), xy, ["a", "b", "a"], streams=None, path=xy[:2])
    axes = figure.axes[0]
    (ground,) = of_kind(axes, Poly3DCollection)
    assert len(ground.get_facecolor()) == len(hill().faces)
    dots = next(one for one in axes.collections if one is not ground)
    x, y, z = dots._offsets3d
    np.testing.assert_allclose(np.column_stack([x, y]), xy[:2])
    np.testing.assert_allclose(z, hill().heights(xy[:2]) + 0.012 * 2)
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"a", "b"}


def test_without_cells_the_landscape_is_coloured_by_its_potential():
    figure = plots.plot_landscape(hill(), streams=Streamlines([np.zeros((3, 2))], [], []))
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylabel() == "potential V"
    numbers = plots.plot_landscape(hill(), np.zeros((5, 2)), np.arange(5.0))
    assert len(numbers.axes) == 2
    with pytest.raises(DataError, match="no cell has a place"):
        plots.plot_landscape(hill(), np.full((3, 2), np.nan))


# --- training ------------------------------------------------------------------------------------


def test_terms_of_held_out_walks_share_the_panel_of_their_term():
    history = pd.DataFrame({"epoch": [0, 1, 2], "loss": [3.0, 2, 1], "kl_z": [1.0, 1, 1],
                            "held_out_loss": [3.0, 2.5, 2]})  # fmt: skip
    figure = plots.plot_training(history, best_epoch=1)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == ["loss", "kl z"]
    lines = {line.get_label(): line for line in shown[0].get_lines()}
    np.testing.assert_array_equal(lines["training"].get_ydata(), [3, 2, 1])
    np.testing.assert_array_equal(lines["held-out cells"].get_ydata(), [3, 2.5, 2])


# --- fates ---------------------------------------------------------------------------------------

CHANCES = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])


def test_bars_of_fates_are_mean_chances_and_add_up():
    certain = [True, False, True, True]
    figure = plots.plot_fates(
        CHANCES, ["A", "B"], list("sstt"), certain=certain, palette={"B": "#00ff00"}
    )
    axes = figure.axes[0]
    a, b = axes.containers
    np.testing.assert_allclose([bar.get_width() for bar in a], [75, 10])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in b], [100, 100])
    assert to_hex(b[0].get_facecolor()) == "#00ff00"
    assert [text.get_text() for text in axes.texts] == ["50 % certain", "100 % certain"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["s  (2)", "t  (2)"]
    with pytest.raises(DataError, match=r"chances of shape \(4, 2\) do not fit 3 fates"):
        plots.plot_fates(CHANCES, ["A", "B", "C"], ["s"] * 4)


def test_every_fate_has_a_panel_in_one_scale():
    figure = plots.plot_fate_chances(disc(4), CHANCES, ["A", "B"])
    first, second = figure.axes[:2]
    assert [first.get_title(), second.get_title()] == ["A", "B"]
    np.testing.assert_allclose(np.sort(second.collections[0].get_array()), np.sort(CHANCES[:, 1]))
    assert first.collections[0].get_clim() == second.collections[0].get_clim() == (0, 1)


def test_fates_that_nobody_has_take_no_room():
    table = np.column_stack([CHANCES, np.zeros(4)])
    names = ["A", "B", "nobody's"]
    bars = plots.plot_fates(table, names, list("sstt")).axes[0]
    assert [text.get_text() for text in bars.get_legend().get_texts()] == ["A", "B"]
    maps = plots.plot_fate_chances(disc(4), table, names)
    assert [axes.get_title() for axes in maps.axes if axes.get_title()] == ["A", "B"]


def test_plasticity_is_drawn_with_its_interval_and_along_time():
    value = np.linspace(0, 1, 60)
    figure = plots.plot_plasticity(disc(60), value, value / 2, np.minimum(value * 1.5, 1), value)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["plasticity", "width of its 95 % interval", "along pseudotime"]
    mean = next(a for a in figure.axes if a.get_title() == "along pseudotime").get_lines()[0]
    assert len(mean.get_xdata()) == 20
    np.testing.assert_allclose(mean.get_xdata(), mean.get_ydata())
    with pytest.raises(DataError, match="do not fit 60 cells"):
        plots.plot_plasticity(disc(60), value[1:], value, value)


# --- perturbations -------------------------------------------------------------------------------


def test_effects_stand_in_their_intervals_over_the_null():
    given = [["A", "B"], [0.2, -0.1], [0.1, -0.3], [0.3, 0.1]]
    figure = plots.plot_effect(*given, null=np.zeros((9, 2)), p=[0.01, 0.5], title="knock-out")
    axes = figure.axes[0]
    points = [line for line in axes.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose([float(point.get_xdata()[0]) for point in points], [20, -10])
    assert points[0].get_alpha() == 1 > points[1].get_alpha()
    bars = [line for line in axes.get_lines() if len(line.get_xdata()) == 2][:2]
    np.testing.assert_allclose([bar.get_xdata() for bar in bars], [[10, 30], [-30, 10]])
    assert [text.get_text() for text in axes.texts] == ["p = 0.01", "p = 0.5"]
    assert len(axes.collections[0].get_offsets()) == 18
    with pytest.raises(DataError, match="do not fit 2 fates"):
        plots.plot_effect(["A", "B"], [0.2], [0.1], [0.3])


def screen(n=40):
    effect = np.linspace(-0.3, 0.3, n)
    p = np.where(np.abs(effect) > 0.25, 1e-4, 0.5)
    columns = {"effect": effect, "low": effect - 0.05, "high": effect + 0.05, "p": p, "q": 5 * p}
    one = pd.DataFrame({"gene": [f"g{k}" for k in range(n)], "fate": "A", **columns})
    return pd.concat([one, one.assign(fate="B", effect=-effect)])


def test_a_screen_names_the_surest_and_ranks_all():
    figure = plots.plot_screen(screen(), "A", n_named=3, highlight=["g20"])
    volcano, ranks = figure.axes
    dots = volcano.collections[0]
    np.testing.assert_allclose(np.sort(dots.get_offsets()[:, 0]), np.linspace(-30, 30, 40))
    assert {to_hex(c) for c in dots.get_facecolors()} == {"#bbbbbb", "#b2182b", "#2166ac"}
    for axes in (volcano, ranks):
        said = {text.get_text(): text.get_color() for text in axes.texts}
        assert said["g20"] == "#b2182b"
        assert {"g0", "g39"} & set(said)
    order = ranks.collections[1].get_offsets()
    assert (np.diff(order[:, 1]) <= 0).all()
    with pytest.raises(MissingKeyError, match="no fate 'C'; there are A, B"):
        plots.plot_screen(screen(), "C")
    with pytest.raises(DataError, match="the table has no p"):
        plots.plot_screen(screen().drop(columns="p"), "A")


def test_the_module_loads_neither_matplotlib_nor_torch():
    script = (
        "import celldyn.plots.landscape, sys; print({'matplotlib', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
