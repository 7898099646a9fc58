"""The dock of virtual cells, clicked: modalities, training, and a life that is watched."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest
from environment_dock_cases import TINY, field_tissue, trained
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from celldyn.environment.config import EnvironmentConfig
from celldyn.jobs import run
from napari_celldyn.jobs import JobState
from napari_celldyn.session import session
from napari_celldyn.widgets.environment import NOTHING_OPEN, EnvironmentWidget
from napari_celldyn.widgets.environment_data import GROUP
from napari_celldyn.widgets.environment_living import Until, living_job
from napari_celldyn.widgets.environment_look import AS_TISSUE, SHIFT, SPACE
from napari_celldyn.widgets.environment_training import Learned

LEFT = Qt.MouseButton.LeftButton
SOURCES = ("X", "obsm/spatial")


@pytest.fixture(scope="module")
def tissue():
    return field_tissue()


@pytest.fixture(scope="module")
def fitted(tissue):
    return trained(tissue)


@pytest.fixture
def dock(qtbot):
    """The dock over an empty viewer without a window of its own."""
    viewer = ViewerModel()
    widget = EnvironmentWidget(viewer)
    qtbot.addWidget(widget)
    widget.resize(320, 2400)
    widget.show()
    qtbot.waitExposed(widget)
    widget.viewer, widget.place = viewer, session(viewer)
    yield widget
    widget.place.runner.shutdown()


@pytest.fixture
def lived(dock, tissue, fitted, qtbot):
    """The dock with an environment, and the cells of one section in it."""
    dock.place.workspace.open(tissue.copy())
    dock._put(Learned(fitted, SOURCES))
    results = dock.results
    results.who.setCurrentText("s1")
    finish(click(dock, results.enter_button, qtbot), qtbot)
    for drawer in results.drawers.values():
        drawer.open()
    qtbot.wait(1)
    return dock


def click(dock, button, qtbot):
    runner = dock.place.runner
    before = len(runner.handles)
    qtbot.mouseClick(button, LEFT)
    return runner.handles[-1] if len(runner.handles) > before else None


def finish(handle, qtbot) -> None:
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error


def step(dock, qtbot, n: int = 1) -> None:
    for _ in range(n):
        finish(click(dock, dock.results.player.step_button, qtbot), qtbot)


def type_gene(dock, gene: str, qtbot) -> None:
    edit = dock.results.perturb.changes.gene
    edit.clear()
    edit.setFocus()
    qtbot.keyClicks(edit, gene)
    qtbot.keyClick(edit, Qt.Key.Key_Return)


# --- data and training ------------------------------------------------------------------------


def test_without_a_tissue_it_says_so(dock):
    assert dock.sentence.text() == NOTHING_OPEN
    assert not dock.run_button.isEnabled()
    assert not dock.results.isVisible()


def test_expression_is_seen_and_places_are_told_by_sections(dock, tissue):
    dock.place.workspace.open(tissue.copy())
    chosen = dock.data.modalities.chosen()
    assert [(m.source, m.role, m.kind) for m in chosen] == [
        ("X", "seen", "counts"), ("obsm/spatial", "told", "places"),
    ]  # fmt: skip
    config = dock.config()
    assert (config.input_modalities, config.target_modalities) == ([0], [1])
    assert (config.spatial, config.log_modalities, config.pca_dim[1]) == ([1], [0], 0)
    assert config.partition_cols == ["section"]
    sums = np.asarray(tissue.X.sum(axis=1)).ravel()
    assert config.sample_counts == [round(np.median(sums)), 0.0]


def test_a_section_is_held_out(dock, tissue, qtbot):
    dock.place.workspace.open(tissue.copy())
    dock.data.hold.setCurrentText(GROUP)
    dock.data.column.setCurrentText("section")
    dock.data.category.setCurrentText("s2")
    n = int((tissue.obs["section"] == "s1").sum())
    assert dock.data.words.text() == f"{n} of 120 cells are trained on"
    order = dock._order()
    assert order.config.train_mask is not None
    assert int(order.tables[0].obs[order.config.train_mask].sum()) == n
    assert order.config.train_mask not in dock.place.workspace.adata.obs


def test_a_choice_that_tells_nothing_is_refused_in_a_sentence(dock, tissue, qtbot):
    dock.place.workspace.open(tissue.copy())
    away = dock.data.modalities.rows[1][3]
    qtbot.mouseClick(away, LEFT)
    assert click(dock, dock.run_button, qtbot) is None
    assert dock.sentence.text() == "no modality is told by positions; choose 'told' for one."


def test_it_trains_with_live_rewards_and_goes_on(dock, tissue, qtbot):
    dock.place.workspace.open(tissue.copy())
    dock.form.set_value(EnvironmentConfig(**TINY))
    finish(click(dock, dock.run_button, qtbot), qtbot)
    fitted = dock.shelf.fitted
    assert fitted.timesteps >= 3000
    assert fitted.config.friction_force == 0.5
    assert fitted.config.checkpoint_iterations == EnvironmentConfig().checkpoint_iterations
    terms = {item.name() for item in dock.curves.plot.listDataItems()}
    assert terms == {"in all", "pinning", "velocity", "action"}
    assert dock.results.isVisible()
    said = dock.results.summary.text()
    assert f"{fitted.timesteps:,} cell-steps" in said
    finish(click(dock, dock.more_button, qtbot), qtbot)
    assert dock.shelf.fitted.timesteps >= fitted.timesteps + 3000
    assert len(dock.shelf.fitted.history) > len(fitted.history)


def test_training_that_is_stopped_is_kept(dock, tissue, qtbot):
    dock.place.workspace.open(tissue.copy())
    dock.form.set_value(EnvironmentConfig(**{**TINY, "max_timesteps": 10**9}))
    handle = click(dock, dock.run_button, qtbot)
    qtbot.waitUntil(lambda: "reward" in handle.metrics, timeout=60_000)
    qtbot.mouseClick(dock.stop_button, LEFT)
    finish(handle, qtbot)
    assert dock.sentence.text().startswith("Stopped after ")
    assert 0 < dock.shelf.fitted.timesteps < 10**9
    assert dock.run_button.isEnabled()
    assert not dock.stop_button.isVisible()


# --- life -------------------------------------------------------------------------------------


def test_cells_of_a_section_enter_and_step_where_they_are_told_to_lie(lived, tissue, qtbot):
    stage, agents = lived.results.stage, lived.place.agents
    at = np.flatnonzero((tissue.obs["section"] == "s1").to_numpy())
    np.testing.assert_array_equal(agents.cells, at)
    assert agents.on_tissue
    step(lived, qtbot)
    shot = stage.shown
    assert shot.time == pytest.approx(0.1)
    expected = lived.place.tissue.display_xy[at] - tissue.obsm["spatial"][at] + shot.plain.place
    np.testing.assert_allclose(agents.places, expected, atol=1e-3)
    layer = agents.movers.layer
    np.testing.assert_allclose(layer.data, agents.places[:, ::-1], rtol=1e-4)
    assert lived.results.player.now.text() == "t = 0.1 s."


def test_they_play_until_paused_and_time_is_dragged_back(lived, qtbot):
    player, stage = lived.results.player, lived.results.stage
    handle = click(lived, player.play_button, qtbot)
    assert "Pause" in player.play_button.text()
    assert not player.step_button.isEnabled()
    qtbot.waitUntil(lambda: stage.shown.time > 0.5, timeout=30_000)
    qtbot.mouseClick(player.play_button, LEFT)
    finish(handle, qtbot)
    qtbot.waitUntil(lambda: not stage.playing, timeout=5_000)
    assert "Play" in player.play_button.text()
    end = stage.shown
    player.place.setValue(0)
    assert stage.shown is stage.reel.shots[0]
    expected = stage.shown.plain.place - end.plain.place
    moved = lived.place.agents.places
    player.place.setValue(player.place.maximum())
    np.testing.assert_allclose(moved - lived.place.agents.places, expected, atol=1e-3)


def test_to_rest_ends_with_a_report_and_anew_begins_where_it_began(lived, qtbot):
    stage, player = lived.results.stage, lived.results.player
    start = stage.shown.plain.position
    finish(click(lived, player.rest_button, qtbot), qtbot)
    assert "Cells came to rest after" in player.now.text()
    assert stage.cells.plain.speed() < 0.01
    assert stage.cells.plain.steady
    qtbot.mouseClick(player.anew_button, LEFT)
    np.testing.assert_array_equal(stage.shown.plain.position, start)
    assert len(stage.reel) == 1


def test_sections_live_side_by_side_and_never_meet(lived, tissue, qtbot):
    results, stage = lived.results, lived.results.stage
    step(lived, qtbot, 2)
    alone = stage.shown.plain
    assert results.who.itemText(results.who.count() - 1) == "all cells"
    results.who.setCurrentText("all cells")
    finish(click(lived, results.enter_button, qtbot), qtbot)
    cells = stage.cells
    assert cells.n_cells == tissue.n_obs
    rows = np.flatnonzero((tissue.obs["section"] == "s1").to_numpy())
    told = cells.placing.told(cells.plain.position[0])
    placed = cells.placing.laid(told, cells.placing.frame(told))
    middle = tissue.obsm["spatial"][rows].mean(axis=0)
    np.testing.assert_allclose(placed[rows].mean(axis=0), middle, rtol=1e-3)
    assert stage.shown.plain.place.shape == (tissue.n_obs, 2)
    assert len(alone.position) == len(rows)


# --- perturbing -------------------------------------------------------------------------------


def perturb(dock, gene: str, value: float, qtbot) -> None:
    changes = dock.results.perturb.changes
    type_gene(dock, gene, qtbot)
    changes.kind.setCurrentText("set to")
    changes.value.setValue(value)
    qtbot.mouseClick(dock.results.perturb.perturb_button, LEFT)
    assert not dock.results.perturb.sentence.text()


def test_chosen_cells_are_perturbed_and_the_difference_is_shown(lived, qtbot):
    stage, panel = lived.results.stage, lived.results.perturb
    agents = lived.place.agents
    step(lived, qtbot, 2)
    lived.place.workspace.selection = agents.cells[:10]
    panel.cells.scope.setCurrentText("the chosen cells")
    perturb(lived, "gene0", 200.0, qtbot)
    assert lived.results.view.colour.currentText() == SHIFT
    assert panel.held.frame["held"].iloc[0] == "gene0 = 200 in 10 cells (pre)"
    np.testing.assert_array_equal(stage.shown.shift(), 0.0)
    step(lived, qtbot, 5)
    shot = stage.shown
    shift = np.linalg.norm(shot.changed.place - shot.plain.place, axis=1)
    np.testing.assert_allclose(shot.shift(), shift)
    assert shift[:10].mean() > 5 * shift[10:].mean() > 0
    assert agents.movers.layer.face_colorbar.visible
    assert f"{shift.max():.3g} µm at most" in panel.words.text()


def test_a_and_b_are_shown_in_turn(lived, qtbot):
    panel, stage = lived.results.perturb, lived.results.stage
    assert not panel.blink_button.isEnabled()
    perturb(lived, "gene0", 200.0, qtbot)
    step(lived, qtbot, 5)
    agents = lived.place.agents
    with_it = agents.places.copy()
    qtbot.mouseClick(panel.a_button, LEFT)
    assert stage.shows_plain
    expected = stage.shown.plain.place - stage.shown.changed.place
    np.testing.assert_allclose(agents.places - with_it, expected, atol=1e-3)
    qtbot.mouseClick(panel.b_button, LEFT)
    np.testing.assert_allclose(agents.places, with_it)
    qtbot.mouseClick(panel.blink_button, LEFT)
    qtbot.waitUntil(lambda: stage.shows_plain, timeout=5_000)
    qtbot.waitUntil(lambda: not stage.shows_plain, timeout=5_000)
    qtbot.mouseClick(panel.blink_button, LEFT)


def test_a_click_while_they_play_acts_at_the_next_step(lived, qtbot):
    player, stage = lived.results.player, lived.results.stage
    handle = click(lived, player.play_button, qtbot)
    qtbot.waitUntil(lambda: stage.shown.time > 0.2, timeout=30_000)
    perturb(lived, "gene1", 100.0, qtbot)
    qtbot.waitUntil(lambda: stage.perturbed and stage.shown.shift().max() > 0, timeout=30_000)
    qtbot.mouseClick(player.play_button, LEFT)
    finish(handle, qtbot)
    assert stage.cells.holding == ("gene1 = 100 (pre)",)


def test_what_is_asked_for_in_the_last_step_is_not_lost(lived, qtbot):
    stage = lived.results.stage
    stage.cells.running = True  # as while its job is in a step
    perturb(lived, "gene1", 100.0, qtbot)
    assert not stage.perturbed
    stop = Event()
    stop.set()
    run(living_job(stage.cells, stage.reel, stage.pace, Until(), stop), bar=False)
    assert stage.reel.shots[-1].changed is not None
    stage.cells.running = False


def test_b_after_going_back_equals_b_alone_bit_for_bit(lived, qtbot):
    stage, states = lived.results.stage, lived.results.states
    step(lived, qtbot, 3)
    states.name.setText("steady")
    qtbot.mouseClick(states.keep_button, LEFT)
    perturb(lived, "gene1", 50.0, qtbot)
    step(lived, qtbot, 3)
    alone = stage.shown.changed.position
    qtbot.mouseClick(states.back_button, LEFT)
    assert not stage.perturbed
    assert stage.cells.holding == ()
    assert lived.results.view.colour.currentText() == AS_TISSUE
    perturb(lived, "gene0", 90.0, qtbot)
    step(lived, qtbot, 3)
    assert not np.array_equal(stage.shown.changed.position, alone)
    qtbot.mouseClick(states.back_button, LEFT)
    perturb(lived, "gene1", 50.0, qtbot)
    step(lived, qtbot, 3)
    np.testing.assert_array_equal(stage.shown.changed.position, alone)


def test_letting_go_brings_back_what_cells_see(lived, qtbot):
    stage, panel = lived.results.stage, lived.results.perturb
    perturb(lived, "gene0", 200.0, qtbot)
    step(lived, qtbot, 3)
    assert stage.cells.changed.held
    qtbot.mouseClick(panel.let_go_button, LEFT)
    assert stage.cells.holding == ()
    step(lived, qtbot)
    assert stage.cells.changed.held == ()
    assert stage.perturbed  # they are still where it took them
    qtbot.mouseClick(panel.forget_button, LEFT)
    assert not stage.perturbed


@pytest.mark.parametrize(
    ("gene", "scope", "sentence"),
    [
        ("nothing", "all cells", "gene 'nothing' is not among the 16 genes"),
        ("gene0", "the chosen cells", "no cell is chosen"),
    ],
)
def test_what_cannot_be_perturbed_is_a_sentence_and_changes_nothing(
    lived, qtbot, gene, scope, sentence
):
    panel, stage = lived.results.perturb, lived.results.stage
    panel.cells.scope.setCurrentText(scope)
    panel.changes.gene.setText(gene)
    qtbot.mouseClick(panel.perturb_button, LEFT)
    assert sentence in panel.sentence.text()
    assert stage.cells.holding == ()
    assert not stage.perturbed


def test_in_their_own_space_with_velocities(lived, qtbot):
    view, agents = lived.results.view, lived.place.agents
    step(lived, qtbot)
    view.where.setCurrentText(SPACE)
    view.velocities.setChecked(True)
    assert not agents.on_tissue
    assert agents.dress.velocities is not None
    assert agents.dress.velocities.key.text.values[0].endswith("per s")


def test_another_tissue_ends_their_life(lived, tissue, qtbot):
    handle = click(lived, lived.results.player.play_button, qtbot)
    lived.place.workspace.open(tissue.copy())
    qtbot.waitUntil(lambda: handle.state.over, timeout=10_000)
    assert lived.results.stage.cells is None
    assert not lived.place.agents.shown
    assert not lived.results.isVisible()
