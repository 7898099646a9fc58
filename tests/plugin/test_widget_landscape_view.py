"""The landscape's view, really clicked: 3-D, colours, streamlines, cells on their way, a path."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from landscape_view_cases import tree, with_model
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scipy import sparse

from celldyn.data import Source
from napari_celldyn.session import session
from napari_celldyn.widgets.landscape_view import OTHER, LandscapeView
from napari_celldyn.widgets.landscape_view_lines import BY_SPEED, CHANCES, FIELD
from napari_celldyn.widgets.landscape_view_play import PAUSE, PLAY, STEPS
from napari_celldyn.widgets.landscape_view_surface import BACK, LEARNED, OF_CELLS, SHOW

LEFT = Qt.MouseButton.LeftButton
KEY = "X_diff_state"
JOB_MS = 120_000


@pytest.fixture
def view(qtbot) -> LandscapeView:
    """The widget on the screen, over a viewer that has no window of its own; nothing is open."""
    viewer = ViewerModel()
    place = session(viewer)
    _ = place.tissue
    widget = LandscapeView(place)
    qtbot.addWidget(widget)
    widget.resize(300, 700)
    widget.show()
    qtbot.waitExposed(widget)
    widget.kept = viewer
    return widget


def open_in(view: LandscapeView, adata: ad.AnnData) -> ad.AnnData:
    view.source._workspace.open(adata)
    return adata


def place_of(view: LandscapeView):
    return view.surface.session


def choose(box, text: str) -> None:
    """Choose an item as a person does."""
    place = box.findText(text)
    assert place >= 0, [box.itemText(i) for i in range(box.count())]
    box.setCurrentIndex(place)
    box.activated.emit(place)


# --- in 3-D -----------------------------------------------------------------------------------


def test_without_a_landscape_every_part_says_why_it_is_shut(view):
    for opened in (False, True):
        if opened:
            bare = tree(40)
            del bare.obs["potential"], bare.obsm["X_cell_state"]
            open_in(view, bare)
        assert not view.surface.button.isEnabled()
        assert "no potential" in view.surface.button.toolTip()
        assert not view.play.button.isEnabled()
        assert "has not" in view.play.button.toolTip()
        assert not view.path.button.isEnabled()
        assert not view.lines.states.isEnabled()


def test_a_click_shows_the_landscape_and_another_goes_back(view, qtbot):
    place = place_of(view)
    open_in(view, tree(200))
    qtbot.mouseClick(view.surface.button, LEFT)
    qtbot.waitUntil(lambda: place.landscape.shown, timeout=JOB_MS)
    assert place.landscape.relief.surface.kind == "smoothed"  # there is no model
    assert view.surface.button.text() == BACK
    assert view.surface.card_place.card is None
    qtbot.mouseClick(view.surface.button, LEFT)
    assert not place.landscape.shown
    assert view.surface.button.text() == SHOW
    n_jobs = len(place.runner.handles)
    qtbot.mouseClick(view.surface.button, LEFT)
    assert place.landscape.shown  # at once: it is known
    assert len(place.runner.handles) == n_jobs
    place.viewer.dims.ndisplay = 2  # napari's own button
    assert view.surface.button.text() == SHOW


def test_with_a_model_heights_are_decoded_unless_those_of_cells_are_asked_for(view, qtbot):
    place = place_of(view)
    open_in(view, with_model(tree(200)))
    assert view.surface.kind.currentText() == LEARNED
    qtbot.mouseClick(view.surface.button, LEFT)
    qtbot.waitUntil(lambda: place.landscape.shown, timeout=JOB_MS)
    assert place.landscape.relief.surface.kind == "decoded"
    choose(view.surface.kind, OF_CELLS)
    qtbot.waitUntil(lambda: place.landscape.relief.surface.kind == "smoothed", timeout=JOB_MS)
    choose(view.surface.plane, "X_umap")
    qtbot.waitUntil(lambda: place.landscape.key == "X_umap", timeout=JOB_MS)
    assert not view.surface.kind.isEnabled()  # places of a UMAP cannot be decoded


def test_where_the_differentiation_state_is_a_line_another_plane_is_offered_first(view):
    adata = tree(60)
    open_in(view, adata)
    assert [view.surface.plane.itemData(i) for i in range(2)] == [KEY, "X_umap"]
    adata.obsm[KEY] = adata.obsm[KEY] * np.float32([0.05, 1.0])
    view.source._workspace.open(adata)
    assert view.surface.plane.itemData(0) == view.source.planes[0] == "X_umap"


def test_the_slider_makes_it_steeper_and_the_tick_leaves_the_tissue_out(view, qtbot):
    place = place_of(view)
    open_in(view, tree(200))
    qtbot.mouseClick(view.surface.button, LEFT)
    qtbot.waitUntil(lambda: place.landscape.shown, timeout=JOB_MS)
    view.surface.steepness.setValue(250)
    qtbot.waitUntil(lambda: place.landscape.exaggeration == 2.5, timeout=2000)
    zoom = place.viewer.scene.camera.zoom
    view.surface.tissue.click()
    assert place.viewer.scene.camera.zoom > zoom


def test_a_surface_of_a_tissue_that_was_closed_meanwhile_is_not_drawn(view, qtbot):
    place = place_of(view)
    open_in(view, tree(200))
    qtbot.mouseClick(view.surface.button, LEFT)
    handle = view.surface.running
    open_in(view, tree(60))
    qtbot.waitUntil(lambda: handle.state.over, timeout=JOB_MS)
    qtbot.wait(100)
    assert not place.landscape.shown
    assert view.surface.button.isEnabled()


def test_a_damaged_model_is_one_sentence(view, qtbot):
    adata = with_model(tree(80))
    adata.uns["celldyn"]["landscape"]["tensors"] = np.zeros(5, np.uint8)
    open_in(view, adata)
    qtbot.mouseClick(view.surface.button, LEFT)
    assert "damaged" in view.surface.sentence.text()
    assert not place_of(view).landscape.shown


def test_a_new_landscape_takes_the_old_one_away(view, qtbot):
    place = place_of(view)
    adata = open_in(view, tree(200))
    qtbot.mouseClick(view.surface.button, LEFT)
    qtbot.waitUntil(lambda: place.landscape.shown, timeout=JOB_MS)
    with_model(adata)
    place.workspace.announce({"uns/landscape", "obs/potential", f"obsm/{KEY}"})
    assert not place.landscape.shown
    qtbot.mouseClick(view.surface.button, LEFT)
    qtbot.waitUntil(lambda: place.landscape.shown, timeout=JOB_MS)
    assert place.landscape.relief.surface.kind == "decoded"


# --- colours ----------------------------------------------------------------------------------


def test_cells_are_coloured_by_what_there_is(view):
    place = place_of(view)
    open_in(view, tree(60))
    offered = [view.colour.itemText(i) for i in range(view.colour.count())]
    assert offered == ["potential", "pseudotime", "fate", "fates, blended", "entropy",
                       "chance of Left", "chance of Right"]  # fmt: skip
    choose(view.colour, "fates, blended")
    assert place.workspace.colour == Source("obsm", "fate_probabilities")
    assert place.tissue.column.rgba is not None
    choose(view.colour, "chance of Right")
    assert place.tissue.column.values is not None
    place.workspace.colour = Source("obs", "cell_type")
    assert view.colour.currentIndex() == -1
    assert view.colour.placeholderText() == OTHER


# --- streamlines ------------------------------------------------------------------------------


def with_flow(adata: ad.AnnData) -> ad.AnnData:
    """Cells go along the tree, at the same speed in the state as in its plane."""
    B = np.asarray(adata.obsm[KEY])
    velocity = np.zeros_like(adata.obsm["X_cell_state"])
    velocity[:, 0] = np.where(B[:, 1] > 0.8, np.sign(B[:, 0]), 0.0)
    velocity[:, 1] = 1.0
    adata.obsm["lsd_velocity"] = velocity
    return adata


def test_a_click_draws_lines_among_the_states_and_another_takes_them_away(view, qtbot):
    place = place_of(view)
    open_in(view, with_flow(tree(500)))
    view.lines.states.click()
    lines = place.streamlines["embedding"]
    qtbot.waitUntil(lambda: lines.layer is not None, timeout=JOB_MS)
    assert place.embedding.key == KEY
    assert view.lines.speed.text().startswith("Speed, thin to wide: ")
    choose(view.lines.colour, BY_SPEED)
    assert "pale to red" in view.lines.speed.text()
    n = len(lines.layer.data[0])
    view.lines.density.setValue(25)
    qtbot.waitUntil(lambda: len(lines.layer.data[0]) > n, timeout=JOB_MS)
    view.lines.breadth.setValue(20)
    assert lines.style.width == 2.0
    view.lines.states.click()
    assert lines.layer is None
    assert not view.lines.speed.isVisible()


def test_lines_follow_to_the_landscape_and_back(view, qtbot):
    place = place_of(view)
    open_in(view, with_flow(tree(500)))
    view.lines.states.click()
    qtbot.waitUntil(lambda: place.streamlines["embedding"].layer is not None, timeout=JOB_MS)
    qtbot.mouseClick(view.surface.button, LEFT)
    qtbot.waitUntil(lambda: place.streamlines["landscape"].layer is not None, timeout=JOB_MS)
    assert place.streamlines["embedding"].layer is None
    qtbot.mouseClick(view.surface.button, LEFT)
    assert place.streamlines["embedding"].layer is not None
    assert place.streamlines["landscape"].layer is None


def test_chances_of_transitions_serve_where_there_is_no_field(view, qtbot):
    place = place_of(view)
    adata = tree(300)
    B = np.asarray(adata.obsm[KEY], float)
    away = ((B[:, None] - B[None]) ** 2).sum(axis=-1)
    ahead = (away < 0.05) & (B[None, :, 1] > B[:, None, 1])
    chances = ahead / np.maximum(ahead.sum(axis=1, keepdims=True), 1)
    adata.obsp["transitions"] = sparse.csr_array(chances.astype(np.float32))
    open_in(view, adata)
    assert [view.lines.way.itemText(i) for i in range(view.lines.way.count())] == [CHANCES]
    view.lines.states.click()
    lines = place.streamlines["embedding"]
    qtbot.waitUntil(lambda: lines.layer is not None, timeout=JOB_MS)
    open_in(view, with_flow(adata))
    assert view.lines.way.itemText(0) == FIELD


def test_in_a_tissue_whose_cells_lie_in_no_order_it_says_that_there_is_no_line(view, qtbot):
    adata = with_flow(tree(400))
    adata.obsm["spatial"] = np.random.default_rng(1).uniform(0, 500, (400, 2))
    open_in(view, adata)
    view.lines.tissue.click()
    qtbot.waitUntil(lambda: view.lines.sentence.text() != "", timeout=JOB_MS)
    assert view.lines.sentence.text().startswith("No line: cells near each other on the tissue")


# --- cells on their way -----------------------------------------------------------------------


def test_play_lets_cells_flow_until_it_is_paused_and_back_puts_them_where_they_are(view, qtbot):
    place = place_of(view)
    open_in(view, with_model(tree(150)))
    assert view.play.button.text() == PLAY
    qtbot.mouseClick(view.play.button, LEFT)
    qtbot.waitUntil(lambda: place.journey.time > 0, timeout=JOB_MS)
    assert place.embedding.key == KEY
    assert view.play.button.text() == PAUSE
    qtbot.mouseClick(view.play.button, LEFT)
    at = place.journey.time
    qtbot.wait(80)
    assert place.journey.time == at
    moving = place.journey.movers("embedding").layer
    expected = place.embedding.points_on_canvas(place.journey.film.at(at))
    np.testing.assert_allclose(moving.data, expected[:, ::-1], rtol=1e-4, atol=1e-3)
    view.play.place.setValue(STEPS)
    assert place.journey.time == place.journey.film.times[-1] == 15.0
    assert view.play.now.text() == "t = 15.00 of 15"
    qtbot.mouseClick(view.play.stop, LEFT)
    assert place.journey.film is None
    assert view.play.place.value() == 0
    assert not view.play.place.isEnabled()


def test_at_its_end_a_film_begins_again_or_stops(view, qtbot):
    place = place_of(view)
    open_in(view, with_model(tree(60)))
    qtbot.mouseClick(view.play.button, LEFT)
    qtbot.waitUntil(lambda: place.journey.film is not None, timeout=JOB_MS)
    view.play.place.setValue(STEPS)
    qtbot.waitUntil(lambda: view.play.place.value() < STEPS, timeout=10_000)
    view.play.again.setChecked(False)
    view.play.place.setValue(STEPS)
    qtbot.waitUntil(lambda: not view.play.playing, timeout=5000)
    assert place.journey.time == 15.0
    qtbot.mouseClick(view.play.button, LEFT)  # from the start
    assert view.play.place.value() < STEPS


def test_another_time_is_another_film(view, qtbot):
    place = place_of(view)
    open_in(view, with_model(tree(60)))
    qtbot.mouseClick(view.play.button, LEFT)
    qtbot.waitUntil(lambda: place.journey.film is not None, timeout=JOB_MS)
    view.play.pause()
    view.play.until.setValue(4.0)
    qtbot.mouseClick(view.play.button, LEFT)
    qtbot.waitUntil(lambda: place.journey.film.times[-1] == 4.0, timeout=JOB_MS)


# --- a path -----------------------------------------------------------------------------------


def test_a_path_between_two_chosen_cells_is_drawn_and_told_of(view, qtbot):
    place = place_of(view)
    adata = open_in(view, with_model(tree(150)))
    place.embedding.show(KEY)
    assert not view.path.button.isEnabled()
    assert "second one with Shift" in view.path.told.text()
    place.workspace.selection = np.array([3, 90])
    qtbot.mouseClick(view.path.button, LEFT)
    qtbot.waitUntil(lambda: place.route.flat.layer is not None, timeout=JOB_MS)
    V = adata.obs["potential"].to_numpy()
    high, low = (3, 90) if V[3] > V[90] else (90, 3)
    assert view.path.told.text().startswith(f"cell{high} → cell{low}: it climbs ")
    assert place.route.cells[0] == high
    assert place.route.cells[-1] == low
    ends = place.route.flat._lines[0][[0, -1]]
    np.testing.assert_allclose(ends, adata.obsm[KEY][[high, low]], atol=1e-3)
    view.path.uphill.click()
    qtbot.waitUntil(lambda: place.route.cells[0] == low, timeout=JOB_MS)
    qtbot.mouseClick(view.path.clear, LEFT)
    assert place.route.flat.layer is place.route.stops is None


def test_it_needs_no_more_than_300_pixels(view):
    open_in(view, with_model(with_flow(tree(60))))
    assert view.minimumSizeHint().width() <= 300
