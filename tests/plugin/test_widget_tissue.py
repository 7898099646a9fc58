"""The tissue dock, really clicked and typed into."""

from __future__ import annotations

import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog
from scipy.sparse import csr_matrix

from celldyn.data import Source, section_key, um_per_unit
from napari_celldyn.session import session
from napari_celldyn.widgets.category_list import (
    Category,
    CategoryDelegate,
    CategoryList,
    chip_rect,
)
from napari_celldyn.widgets.colour_box import ColourSearch, GeneTable
from napari_celldyn.widgets.tissue import TissueWidget

LEFT, CTRL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier


def tissue(n: int = 60) -> ad.AnnData:
    rng = np.random.default_rng(0)
    genes = ["Cxcl12", "Cxcr4", "Acxc", "Myc", *(f"Gene{i}" for i in range(20))]
    adata = ad.AnnData(
        rng.poisson(2.0, (n, len(genes))).astype(np.float32),
        obs=pd.DataFrame(
            {
                "cell_type": pd.Categorical(np.array(["A", "B", "C"])[np.arange(n) % 3]),
                "slice": pd.Categorical(np.array(["s1", "s2"])[np.arange(n) % 2]),
                "depth": rng.random(n),
            },
            index=[f"cell{i}" for i in range(n)],
        ),
        var=pd.DataFrame(index=genes),
        obsm={"spatial": rng.random((n, 2)) * 100},
        layers={"logged": rng.random((n, len(genes))).astype(np.float32)},
    )
    adata.obsm["betas_Myc"] = rng.normal(size=(n, 2))
    adata.uns["celldyn"] = {"betas_Myc": {"columns": np.array(["intercept", "Cxcl12$Cxcr4"])}}
    return adata


@pytest.fixture
def dock(qtbot):
    """The dock on the screen, over a viewer that has no window of its own."""
    viewer = ViewerModel()
    widget = TissueWidget(viewer)
    qtbot.addWidget(widget)
    widget.resize(widget.sizeHint())
    widget.show()
    qtbot.waitExposed(widget)
    place = session(viewer)
    place.workspace.open(tissue())
    return viewer, widget, place.workspace


def type_colour(qtbot, widget, text):
    edit = widget.colour.edit
    edit.setFocus()
    edit.clear()
    qtbot.keyClicks(edit, text)
    qtbot.keyClick(edit, Qt.Key.Key_Return)


def click_row(qtbot, legend, row, *, modifier=Qt.KeyboardModifier.NoModifier):
    view = legend.categories
    rect = view.visualRect(view.model().index(row, 0))
    spot = QPoint(rect.left() + 60, rect.center().y())
    qtbot.mouseClick(view.viewport(), LEFT, modifier, spot)


# --- colour -----------------------------------------------------------------------------------


def test_typing_a_gene_and_enter_recolours_the_layer(dock, qtbot):
    viewer, widget, workspace = dock
    before = session(viewer).tissue.layer.face_color.copy()
    type_colour(qtbot, widget, "cxc")
    assert workspace.colour == Source("X", column="Cxcl12")
    assert widget.colour.edit.text() == "Cxcl12"
    after = session(viewer).tissue.layer.face_color
    values = workspace.require()[:, "Cxcl12"].X.ravel()
    assert not np.array_equal(before, after)
    lowest, highest = after[values.argmin()], after[values.argmax()]
    assert not np.allclose(lowest, highest)
    assert np.allclose(after[values == values.min()], lowest)


def test_arrow_keys_choose_another_hit(dock, qtbot):
    _, widget, workspace = dock
    edit, popup = widget.colour.edit, widget.colour.completer.popup()
    edit.setFocus()
    qtbot.keyClicks(edit, "cxc")
    qtbot.waitUntil(popup.isVisible)
    qtbot.keyClick(popup, Qt.Key.Key_Down)
    qtbot.keyClick(popup, Qt.Key.Key_Down)
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    assert workspace.colour == Source("X", column="Cxcr4")


def test_results_and_columns_are_found_too(dock, qtbot):
    viewer, widget, workspace = dock
    type_colour(qtbot, widget, "cxcl12$")
    assert workspace.colour == Source("obsm", "betas_Myc", "Cxcl12$Cxcr4")
    assert session(viewer).tissue.column.diverging
    assert widget.legend.range.symmetric.isChecked()
    type_colour(qtbot, widget, "depth")
    assert workspace.colour == Source("obs", "depth")


def test_unknown_text_is_answered_with_near_names(dock, qtbot):
    _, widget, workspace = dock
    type_colour(qtbot, widget, "Mycq")
    assert workspace.colour is None
    assert widget.colour.message.isVisible()
    assert "Mycq" in widget.colour.message.text()
    assert "Myc" in widget.colour.message.text().split(";")[1]


def test_the_gene_moves_to_another_table(dock, qtbot):
    _, widget, workspace = dock
    type_colour(qtbot, widget, "myc")
    assert workspace.colour == Source("X", column="Myc")
    widget.colour.table.setCurrentIndex(widget.colour.table.findText("logged"))
    assert workspace.colour == Source("layers", "logged", "Myc")
    workspace.colour = Source("X", column="Acxc")
    assert widget.colour.table.currentText() == "X"
    assert widget.colour.edit.text() == "Acxc"


def test_search_puts_the_exact_name_first_and_stays_short():
    adata = tissue()
    search = ColourSearch(adata)
    labels = [label for label, _ in search.hits("cxc", GeneTable("X"))]
    assert labels[:2] == ["Cxcl12", "Cxcr4"]
    assert set(labels[2:]) == {"Acxc", "betas_Myc: Cxcl12$Cxcr4"}
    assert len(search.hits("e", GeneTable("X"), limit=5)) == 5
    assert search.hits("GENE7", GeneTable("X"))[0][0] == "Gene7"


def test_a_key_takes_less_than_10_ms_among_36_000_genes():
    genes = [f"{'ABCDEFGHIJ'[i % 10]}xc{i}" for i in range(36_000)]
    adata = ad.AnnData(csr_matrix((3, 36_000), dtype=np.float32), var=pd.DataFrame(index=genes))
    search = ColourSearch(adata)
    search.hits("x", GeneTable("X"))
    took = []
    for text in ("x", "xc", "xc3", "xc35", "xc359", "nothing"):
        start = time.perf_counter()
        search.hits(text, GeneTable("X"))
        took.append(time.perf_counter() - start)
    assert np.median(took) < 0.01


# --- legend -----------------------------------------------------------------------------------


def test_clicking_a_row_isolates_it_and_again_shows_all(dock, qtbot):
    viewer, widget, workspace = dock
    workspace.colour = Source("obs", "cell_type")
    assert [(c.name, c.count) for c in widget.legend.categories.rows.rows] == [
        ("A", 20),
        ("B", 20),
        ("C", 20),
    ]
    click_row(qtbot, widget.legend, 1)
    assert workspace.isolated == {"B"}
    alpha = session(viewer).tissue.layer.face_color[:, 3]
    codes = workspace.require().obs["cell_type"].cat.codes.to_numpy()
    assert alpha[codes == 1].min() > alpha[codes != 1].max()
    click_row(qtbot, widget.legend, 2, modifier=CTRL)
    assert workspace.isolated == {"B", "C"}
    click_row(qtbot, widget.legend, 2)
    assert workspace.isolated == {"C"}
    click_row(qtbot, widget.legend, 2)
    assert workspace.isolated is None
    assert np.allclose(session(viewer).tissue.layer.face_color[:, 3], 1)


def test_double_click_on_a_chip_recolours_under_scanpys_key(dock, qtbot):
    viewer, widget, workspace = dock
    workspace.colour = Source("obs", "cell_type")
    view = widget.legend.categories
    spot = chip_rect(view.visualRect(view.model().index(0, 0))).center()
    qtbot.mouseClick(view.viewport(), LEFT, pos=spot)
    assert workspace.isolated is None
    qtbot.mouseDClick(view.viewport(), LEFT, pos=spot)
    dialog = widget.legend.findChild(QColorDialog)
    dialog.setCurrentColor(QColor("#123456"))
    dialog.accept()
    assert workspace.require().uns["cell_type_colors"][0] == "#123456"
    assert widget.legend.categories.rows.rows[0].colour == "#123456"
    shown = session(viewer).tissue.layer.face_color[0, :3]
    assert np.allclose(shown, np.array([0x12, 0x34, 0x56]) / 255, atol=1e-3)


def test_the_range_moves_the_colour_bar(dock, qtbot):
    viewer, widget, workspace = dock
    workspace.colour = Source("X", column="Myc")
    panel, view = widget.legend.range, session(viewer).tissue
    assert panel.isVisible()
    assert panel.limits == pytest.approx(view.limits)
    panel.low.setFocus()
    panel.low.selectAll()
    qtbot.keyClicks(panel.low, "1.5")
    qtbot.keyClick(panel.low, Qt.Key.Key_Return)
    assert view.limits[0] == pytest.approx(1.5)
    qtbot.mouseClick(panel.whole, LEFT)
    values = np.asarray(workspace.require()[:, "Myc"].X).ravel()
    assert view.limits == pytest.approx((float(values.min()), float(values.max())))
    qtbot.mouseClick(panel.clip, LEFT)
    assert view.limits == pytest.approx(tuple(np.percentile(values, (1, 99))), abs=0.01)
    panel.maps.setCurrentIndex(panel.maps.findData("magma"))
    panel.maps.activated.emit(panel.maps.currentIndex())
    assert view.colormap == "magma"


def test_symmetric_limits_stay_symmetric(dock):
    viewer, widget, workspace = dock
    workspace.colour = Source("obsm", "betas_Myc", "intercept")
    panel, view = widget.legend.range, session(viewer).tissue
    low, high = view.limits
    assert low == pytest.approx(-high)
    panel.high.setValue(0.5)
    assert view.limits == pytest.approx((-0.5, 0.5))


def test_a_thousand_categories_cost_no_more_than_the_rows_in_sight(qtbot):
    view = CategoryList()
    qtbot.addWidget(view)
    view.rows.put([Category(f"c{i}", "#336699", i) for i in range(1000)], None)
    view.setFixedSize(260, 200)
    painted = []

    class Counting(CategoryDelegate):
        def paint(self, painter, option, index):
            painted.append(index.row())
            super().paint(painter, option, index)

    view.setItemDelegate(Counting(view))
    view.grab()
    assert 5 < len(set(painted)) < 20
    with qtbot.waitSignal(view.isolate_asked) as asked:
        rect = view.visualRect(view.model().index(2, 0))
        qtbot.mouseClick(view.viewport(), LEFT, pos=QPoint(60, rect.center().y()))
    assert asked.args == ["c2", False]


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
