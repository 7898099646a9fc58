"""The tissue dock, its data and annotations, really clicked."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from tissue_dock import LEFT, open_dock, tissue

from celldyn.data import Source, section_key, um_per_unit
from napari_celldyn.opening import land
from napari_celldyn.session import session
from napari_celldyn.widgets.tissue import TissueWidget


@pytest.fixture
def dock(qtbot):
    return open_dock(qtbot)


# --- data -------------------------------------------------------------------------------------


def test_the_unit_is_asked_for_and_applied(dock, qtbot):
    viewer, widget, workspace = dock
    panel = widget.data
    assert panel.ask.isVisible()
    assert "60 cells × 24 genes" in panel.size.text()
    before = session(viewer).tissue.display_xy.copy()
    panel.um.setValue(0.5)
    qtbot.mouseClick(panel.apply_unit, LEFT)
    assert um_per_unit(workspace.require()) == 0.5
    assert not panel.ask.isVisible()
    assert "0.5 µm" in panel.unit.text()
    assert np.allclose(session(viewer).tissue.display_xy, 0.5 * before)


def test_choosing_a_section_column_lays_sections_side_by_side(dock):
    viewer, widget, workspace = dock
    panel = widget.data
    names = [panel.sections.itemText(i) for i in range(panel.sections.count())]
    assert names == ["none", "cell_type", "slice"]
    panel.sections.setCurrentIndex(2)
    panel.sections.activated.emit(2)
    assert section_key(workspace.require()) == "slice"
    assert "2 sections" in panel.size.text()
    x = session(viewer).tissue.display_xy[:, 0]
    of_first = workspace.require().obs["slice"].to_numpy() == "s1"
    assert x[of_first].max() < x[~of_first].min()


def test_save_writes_the_file_and_clears_the_mark(dock, qtbot, tmp_path):
    _, widget, workspace = dock
    panel, path = widget.data, tmp_path / "out.h5ad"
    panel.save_to(path)
    assert ad.read_h5ad(path).n_obs == 60
    assert not panel.save_button.isEnabled()
    workspace.annotate(np.array([0, 1]), "niche", "region")
    assert panel.mark.isVisible()
    assert panel.save_button.isEnabled()
    qtbot.mouseClick(panel.save_button, LEFT)
    assert not panel.mark.isVisible()
    held = ad.read_h5ad(path).obs["region"]
    assert list(np.flatnonzero(held == "niche")) == [0, 1]
    panel.open_path(path)
    assert workspace.path == path
    assert workspace.colour == Source("obs", "cell_type")


def test_what_cannot_be_saved_or_opened_is_said_in_the_panel(dock, tmp_path):
    _, widget, workspace = dock
    before = workspace.adata
    (tmp_path / "bad.h5ad").write_text("nothing")
    widget.data.open_path(tmp_path / "bad.h5ad")
    assert "bad.h5ad" in widget.data.message.text()
    assert workspace.adata is before
    widget.data.save_to(tmp_path / "tissue.docx")
    assert ".h5ad" in widget.data.message.text()
    assert workspace.path is None


# --- annotating -------------------------------------------------------------------------------


def test_annotate_and_undo_by_click(dock, qtbot):
    _, widget, workspace = dock
    panel = widget.annotate
    assert not panel.annotate.isEnabled()
    workspace.selection = np.array([3, 4, 5])
    assert panel.chosen.text() == "3 cells chosen"
    panel.column.setText("region")
    qtbot.keyClicks(panel.category, "niche A")
    qtbot.mouseClick(panel.annotate, LEFT)
    held = workspace.require().obs["region"]
    assert list(np.flatnonzero(held == "niche A")) == [3, 4, 5]
    qtbot.waitUntil(panel.undo.isEnabled)
    assert "niche A in region" in panel.undo.toolTip()
    qtbot.mouseClick(panel.undo, LEFT)
    assert "region" not in workspace.require().obs
    qtbot.mouseClick(panel.clear, LEFT)
    assert len(workspace.selection) == 0


def test_numbers_are_not_overwritten_by_an_annotation(dock, qtbot):
    _, widget, workspace = dock
    before = workspace.require().obs["depth"].copy()
    workspace.selection = np.array([0])
    widget.annotate.column.setText("depth")
    qtbot.keyClicks(widget.annotate.category, "x")
    qtbot.mouseClick(widget.annotate.annotate, LEFT)
    assert "depth" in widget.annotate.message.text()
    assert workspace.require().obs["depth"].equals(before)


def test_the_lasso_button_follows_the_lasso(dock, qtbot):
    viewer, widget, _ = dock
    interaction = session(viewer).interaction
    qtbot.mouseClick(widget.annotate.lasso, LEFT)
    assert interaction.lassoing
    assert widget.annotate.lasso.isChecked()
    interaction.stop_lasso()
    qtbot.waitUntil(lambda: not widget.annotate.lasso.isChecked())


# --- life -------------------------------------------------------------------------------------


def test_two_docks_share_one_layer_and_closing_one_keeps_it(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(strict_qt="raise")
    workspace = session(viewer).workspace
    widget = TissueWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Tissue")
    workspace.open(tissue())
    second = TissueWidget(viewer)
    viewer.window.add_dock_widget(second, name="Tissue again")
    assert [layer.name for layer in viewer.layers] == ["tissue"]
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.wait(20)
    workspace.colour = Source("obs", "cell_type")
    workspace.annotate(np.array([0]), "x", "region")
    assert [layer.name for layer in viewer.layers] == ["tissue"]
    assert second.legend.categories.rows.rowCount() == 3


def test_the_dock_fits_a_small_screen(dock):
    _, widget, workspace = dock
    adata = workspace.require()
    adata.obs["name" * 30] = pd.Categorical([f"{'long' * 20} {i % 2}" for i in range(60)])
    workspace.open(adata, Path("file" * 30 + ".h5ad"))
    workspace.colour = Source("obs", "name" * 30)
    workspace.annotate(np.array([0]), "category" * 20, "region")
    widget.colour.message.say("A sentence " + "with many words " * 10)
    assert widget.minimumSizeHint().width() <= 320
    assert widget.minimumWidth() <= 320
    assert widget.widget().minimumSizeHint().width() <= 320


def test_a_session_goes_with_its_viewer():
    import gc
    import weakref

    viewer = ViewerModel()
    place = session(viewer)
    place.workspace.open(tissue())
    assert place.tissue.layer in viewer.layers
    assert not place.interaction.lassoing
    assert session(viewer) is place
    gone = weakref.ref(place)
    del viewer, place
    gc.collect()
    assert gone() is None


def test_sections_on_top_of_each_other_are_noticed_and_laid_out_by_a_click(
    make_napari_viewer, qtbot
):
    rng = np.random.default_rng(0)
    adata = ad.AnnData(np.ones((200, 2), np.float32))
    adata.obs["batch"] = pd.Categorical(np.where(np.arange(200) % 2, "one", "two"))
    adata.obsm["spatial"] = rng.uniform(0, 100, (200, 2))
    viewer = make_napari_viewer(show=True)
    land(viewer, adata, None)
    dock = next(w for w in viewer.window.dock_widgets.values() if isinstance(w, TissueWidget))
    assert "batch" in dock.data.hint_text.text()
    assert dock.data.hint.isVisible()
    qtbot.mouseClick(dock.data.take_hint, LEFT)
    assert section_key(adata) == "batch"
    assert not dock.data.hint.isVisible()
    assert dock.data.sections.currentText() == "batch"
    assert np.ptp(session(viewer).tissue.display_xy[:, 0]) > 190
