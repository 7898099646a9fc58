"""The simulator's dock, clicked: preset, preview, wrong values, drawing, running, writing."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QMessageBox

import celldyn
from celldyn.data import samples
from celldyn.simulate import SimulationConfig
from celldyn.simulate.presets import preset, preset_names
from napari_celldyn.jobs import JobState
from napari_celldyn.opening import open_path, session
from napari_celldyn.widgets.figure_window import FigureWindow
from napari_celldyn.widgets.simulate import SimulateWidget
from napari_celldyn.widgets.simulate_preview import MOST_CELLS, sketch_config

LEFT = Qt.MouseButton.LeftButton
SQUARE = [(100.0, 50.0), (300.0, 50.0), (300.0, 350.0), (100.0, 350.0)]


@pytest.fixture
def dock(qtbot) -> SimulateWidget:
    """The dock on the screen, over a viewer that has no window of its own."""
    viewer = ViewerModel()
    widget = SimulateWidget(viewer)
    qtbot.addWidget(widget)
    widget.viewer = viewer
    widget.show()
    qtbot.waitExposed(widget)
    qtbot.waitUntil(lambda: len(widget.preview.layers) == 2, timeout=10_000)
    yield widget
    session(viewer).runner.shutdown()


def type_in(qtbot, form, name, text):
    editor = form.editor(name)
    line = editor.lineEdit() if hasattr(editor, "lineEdit") else editor
    line.setFocus()
    line.selectAll()
    qtbot.keyClick(line, Qt.Key.Key_Delete)
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)


def small(dock, qtbot, name="blank", n_cells=300):
    """Choose a preset of few cells, so that a run is short."""
    dock.preset.box.setCurrentText(name)
    type_in(qtbot, dock.form, "n_cells", str(n_cells))


def click_run(dock, qtbot):
    qtbot.mouseClick(dock.run_button, LEFT)
    handle = dock._runner.handles[-1]
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert handle.state is JobState.DONE, handle.error
    return handle


def workspace(dock):
    return session(dock.viewer).workspace


def draw(dock, name, corners):
    """Draw a polygon of (x, y) corners as the canvas would."""
    dock.drawing.name.setCurrentText(name)
    dock.drawing.name.lineEdit().editingFinished.emit()
    dock.drawing.layer.add_polygons(np.array(corners)[:, ::-1])


# --- preset and preview -----------------------------------------------------------------------


def test_a_preset_fills_the_form_and_is_previewed_within_a_second(dock, qtbot):
    made = []
    dock._sketcher.made.connect(made.append)
    for name in ("layers", "gradient"):
        made.clear()
        start = time.perf_counter()
        dock.preset.box.setCurrentText(name)
        assert dock.config() == preset(name)
        qtbot.waitUntil(lambda: len(made) == 1, timeout=5000)
        spent = time.perf_counter() - start
        assert len(made[0].cells) == 2000
        assert made[0].config.domain_names == preset(name).domain_names
    assert spent < 1.0
    cells, nuclei = dock.preview.layers
    assert len(cells.data[0]) == len(nuclei.data[0]) == 2000 * 17
    assert cells.contrast_limits == [-0.5, 2.5]
    assert dock.preview_state.text() == "2,000 cells"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_previewed(dock, qtbot, name):
    made, failed = [], []
    dock._sketcher.made.connect(made.append)
    dock._sketcher.failed.connect(failed.append)
    dock.choose_preset(name)
    qtbot.waitUntil(lambda: bool(made or failed), timeout=10_000)
    assert not failed
    assert dock.preset.what.text()


def test_many_changes_make_one_preview(dock, qtbot):
    made = []
    dock._sketcher.made.connect(made.append)
    for n_cells in (500, 600, 700):
        type_in(qtbot, dock.form, "n_cells", str(n_cells))
    qtbot.waitUntil(lambda: bool(made), timeout=5000)
    qtbot.wait(400)
    assert [len(sketch.cells) for sketch in made] == [700]


def test_the_preview_stands_beside_a_tissue_and_does_not_replace_it(dock, qtbot):
    open_path(workspace(dock), samples.path("two_niches"))
    before = workspace(dock).adata
    made = []
    dock._sketcher.made.connect(made.append)
    dock.choose_preset("layers")
    qtbot.waitUntil(lambda: bool(made), timeout=5000)
    assert workspace(dock).adata is before
    right = session(dock.viewer).tissue.display_xy[:, 0].max()
    for layer in dock.preview.layers:
        assert layer.translate[-1] > right
        assert layer.name.startswith("preview: ")
    qtbot.mouseClick(dock.preview_box, LEFT, pos=QPoint(8, dock.preview_box.height() // 2))
    assert not dock.preview_box.isChecked()
    assert dock.preview.layers == []
    assert session(dock.viewer).tissue.layer in dock.viewer.layers


def test_a_large_tissue_is_sketched_thinned_on_its_own_canvas():
    config = preset("tumour-immune", n_cells=50_000, n_sections=2)
    sketch = sketch_config(config)
    assert (sketch.n_cells, sketch.n_sections) == (MOST_CELLS, 1)
    assert sketch.canvas_um == config.canvas_um
    assert len(sketch.placed_prototypes) == len(config.placed_prototypes)
    spec = config.placed_prototypes[0].model_dump()
    spec["spec"]["n_cells"] = 2500
    asked = sketch_config(config.replace(prototypes=[spec]))
    assert asked.placed_prototypes[0].spec.n_cells == 200


def test_canvas_and_structures_follow_the_number_of_cells(dock, qtbot):
    dock.preset.box.setCurrentText("tumour-immune")
    type_in(qtbot, dock.form, "n_cells", "20000")
    assert dock.config() == preset("tumour-immune", n_cells=20_000)
    dock.preset.box.setCurrentText("crypt")
    type_in(qtbot, dock.form, "n_cells", "100000")
    assert dock.config() == preset("crypt", n_cells=100_000)
    type_in(qtbot, dock.form, "canvas_size", "[5000, 4500]")
    type_in(qtbot, dock.form, "n_cells", "90000")
    assert dock.form.raw()["canvas_size"] == [5000, 4500], "what the user set stays"


def test_the_estimate_follows(dock, qtbot):
    small(dock, qtbot, n_cells=400)
    assert dock.estimate.text().startswith("400 cells × 300 genes, about ")
    type_in(qtbot, dock.form, "n_cells", "4000000")
    assert dock.estimate.text().startswith("4,000,000 cells × 300 genes, about 2")
    assert "GB on disk" in dock.estimate.text()


# --- wrong values -----------------------------------------------------------------------------


def test_a_bad_value_is_a_sentence_and_nothing_can_be_run(dock, qtbot):
    assert dock.run_button.isEnabled()
    type_in(qtbot, dock.form, "celltype_proportion", "[0.5, 0.6]")
    assert "celltype_proportion must" in dock.form.sentence.text()
    assert not dock.run_button.isEnabled()
    assert dock.estimate.text() == ""
    before = len(dock._runner.handles)
    qtbot.mouseClick(dock.run_button, LEFT)
    assert len(dock._runner.handles) == before
    type_in(qtbot, dock.form, "celltype_proportion", "")
    assert dock.form.sentence.text() == ""
    assert dock.run_button.isEnabled()


# --- running ----------------------------------------------------------------------------------


def test_in_a_window_run_opens_the_tissue_and_its_dock(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    _, dock = viewer.window.add_plugin_dock_widget("napari-celldyn", "Simulator")
    small(dock, qtbot)
    click_run(dock, qtbot)
    assert session(viewer).workspace.adata.n_obs == 300
    drawn = {"tissue", "cells", "nuclei"}
    qtbot.waitUntil(lambda: drawn <= {layer.name for layer in viewer.layers}, timeout=10_000)
    assert any("Tissue" in name for name in viewer.window.dock_widgets)
    assert dock.minimumSizeHint().width() <= 340


def test_run_puts_the_tissue_in_view(dock, qtbot):
    small(dock, qtbot)
    config = dock.config()
    handle = click_run(dock, qtbot)
    adata = workspace(dock).adata
    assert adata is dock.simulation.adata
    assert adata.n_obs == 300
    assert session(dock.viewer).tissue.layer is not None
    assert workspace(dock).colour.key == "cell_type"
    assert dock.preview.layers == []
    assert dock.card.card.handle is handle
    assert dock.run_button.isEnabled()
    headless = celldyn.run(celldyn.simulate.simulate_job(config), bar=False)
    np.testing.assert_array_equal(adata.X.toarray(), headless.adata.X.toarray())


def test_unsaved_work_is_asked_for_before_it_is_replaced(dock, qtbot, monkeypatch):
    open_path(workspace(dock), samples.path("two_niches"))
    mine = workspace(dock).adata
    workspace(dock).annotate(np.arange(5), "niche A", "niche")
    small(dock, qtbot)
    asked = []

    def answer(*words):
        asked.append(words[2])
        return QMessageBox.StandardButton.Cancel

    monkeypatch.setattr(QMessageBox, "question", answer)
    click_run(dock, qtbot)
    assert "changes that are not saved" in asked[0]
    assert workspace(dock).adata is mine
    assert "stays in view" in dock.sentence.text()
    assert dock.simulation.adata.n_obs == 300
    assert not dock.show_button.isHidden()
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Discard)
    dock.show_button.click()
    assert workspace(dock).adata is dock.simulation.adata
    assert dock.show_button.isHidden()


# --- drawn domains ----------------------------------------------------------------------------


def test_drawn_domains_come_out_in_the_cells(dock, qtbot):
    dock.preset.box.setCurrentText("blank")
    qtbot.mouseClick(dock.drawing_fold.toggleButton(), LEFT)
    dock.ensureWidgetVisible(dock.drawing)
    qtbot.waitUntil(lambda: dock.drawing.draw_button.height() > 10)
    qtbot.mouseClick(dock.drawing.draw_button, LEFT)
    assert dock.viewer.layers.selection.active is dock.drawing.layer
    assert dock.drawing.layer.mode == "add_polygon"
    draw(dock, "lesion", SQUARE)
    draw(dock, "vessel", [(400, 400), (500, 400), (500, 500), (400, 500)])
    qtbot.waitUntil(lambda: len(dock.config().domain_polygons) == 2, timeout=3000)
    config = dock.config()
    assert config.domain_pattern == "drawn"
    assert config.domain_names == ["outside", "lesion", "vessel"]
    assert config.domain_polygons["lesion"] == [SQUARE]
    assert dock.form.editor("domain_pattern").currentText() == "drawn"
    click_run(dock, qtbot)
    obs, xy = workspace(dock).adata.obs, workspace(dock).adata.obsm["spatial"]
    inside = (xy[:, 0] > 100) & (xy[:, 0] < 300) & (xy[:, 1] > 50) & (xy[:, 1] < 350)
    assert inside.sum() > 100
    np.testing.assert_array_equal((obs["domain"] == "lesion").to_numpy(), inside)
    assert set(obs["domain"]) == {"outside", "lesion", "vessel"}


def test_selected_polygons_are_renamed_and_removed_ones_forgotten(dock, qtbot):
    dock.preset.box.setCurrentText("blank")
    dock.drawing.draw()
    draw(dock, "a", SQUARE)
    draw(dock, "a", [(400, 400), (500, 400), (500, 500)])
    qtbot.waitUntil(lambda: "a" in dock.config().domain_polygons, timeout=3000)
    layer = dock.drawing.layer
    layer.mode = "select"
    layer.selected_data = {1}
    line = dock.drawing.name.lineEdit()
    line.selectAll()
    qtbot.keyClicks(line, "b")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.config().domain_names == ["outside", "a", "b"], timeout=3000)
    layer.selected_data = {0}
    assert dock.drawing.name.currentText() == "a"
    layer.remove_selected()
    qtbot.waitUntil(lambda: dock.config().domain_names == ["outside", "b"], timeout=3000)
    dock.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: dock.config().domain_polygons == {}, timeout=3000)
    assert dock.config().domain_pattern == "voronoi"


def test_an_ellipse_is_a_domain_and_a_line_is_none(dock, qtbot):
    dock.drawing.draw()
    dock.drawing.layer.add_ellipses(np.array([[100, 100], [100, 200], [160, 200], [160, 100]]))
    dock.drawing.layer.add_lines(np.array([[0, 0], [50, 50]]))
    ((ring,),) = dock.drawing.polygons().values()
    corners = np.array(ring)
    reach = np.hypot((corners[:, 0] - 150) / 50, (corners[:, 1] - 130) / 30)
    np.testing.assert_allclose(reach, 1, atol=1e-3)


def test_a_wrong_composition_of_domains_that_are_gone_does_not_stay(dock, qtbot):
    dock.preset.box.setCurrentText("layers")
    dock.drawing.draw()
    draw(dock, "L4", SQUARE)
    qtbot.waitUntil(lambda: bool(dock.drawing.polygons()), timeout=3000)
    qtbot.waitUntil(lambda: dock.form.raw()["domain_pattern"] == "drawn", timeout=3000)
    assert list(dock.config().domain_composition) == ["L4"]


# --- files ------------------------------------------------------------------------------------


def test_yaml_goes_out_and_comes_back(dock, qtbot, tmp_path):
    dock.preset.box.setCurrentText("tumour-immune")
    type_in(qtbot, dock.form, "n_cells", "700")
    dock.drawing.draw()
    draw(dock, "lesion", SQUARE)
    qtbot.waitUntil(lambda: "lesion" in dock.form.raw().get("domain_polygons", {}), timeout=3000)
    config = dock.config()
    dock.save_yaml(tmp_path / "mine.yaml")
    assert SimulationConfig.from_yaml(tmp_path / "mine.yaml") == config
    dock.preset.box.setCurrentText("gradient")
    assert dock.config() == preset("gradient")
    assert dock.drawing.polygons() == {}
    dock.load_yaml(tmp_path / "mine.yaml")
    assert dock.config() == config
    assert dock.drawing.polygons() == config.domain_polygons
    assert dock.preset.name is None
    (tmp_path / "bad.yaml").write_text("n_cells: many\n")
    dock.load_yaml(tmp_path / "bad.yaml")
    assert "n_cells must be a valid integer" in dock.sentence.text()
    assert dock.config() == config


@pytest.mark.parametrize("name", ["made.h5ad", "made.zarr", "made"])
def test_the_tissue_is_written_in_the_background(dock, qtbot, tmp_path, name):
    small(dock, qtbot, n_cells=120)
    assert dock.write_to(tmp_path / name) is None
    assert "press Run first" in dock.sentence.text()
    click_run(dock, qtbot)
    workspace(dock).annotate(np.arange(4), "mine", "niche")
    handle = dock.write_to(tmp_path / name)
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert handle.state is JobState.DONE, handle.error
    path = tmp_path / name / "table.h5ad" if name == "made" else tmp_path / name
    written = celldyn.read(path)
    assert written.n_obs == 120
    assert (written.obs["niche"] == "mine").sum() == 4
    if name == "made.h5ad":
        assert not workspace(dock).unsaved


# --- plots ------------------------------------------------------------------------------------


def test_the_plots_open_and_their_mistakes_are_sentences(dock, qtbot):
    titles = [action.text() for action in dock.plots.menu().actions()]
    assert titles[-1] == "Cells and molecules"
    for title in titles[:-1]:
        dock.plots.open(title)
        window = dock.plots.findChildren(FigureWindow)[-1]
        assert window.windowTitle() == title
        assert window.figure.axes
        window.close()
    dock.plots.open(titles[-1])
    assert "press Run first" in dock.sentence.text()
    small(dock, qtbot, n_cells=120)
    click_run(dock, qtbot)
    dock.plots.open(titles[-1])
    assert dock.plots.findChildren(FigureWindow)[-1].windowTitle() == titles[-1]


def test_a_dock_that_is_gone_takes_its_preview_along(qtbot):
    for _ in range(2):
        widget = SimulateWidget(ViewerModel())
        widget.show()
        qtbot.wait(300)  # a sketch is under way
        widget.deleteLater()
        del widget
        gc.collect()
        qtbot.wait(200)
