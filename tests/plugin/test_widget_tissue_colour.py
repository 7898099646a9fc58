"""The tissue dock, what colours the cells and what the colours mean."""

from __future__ import annotations

import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog
from scipy.sparse import csr_matrix
from tissue_dock import CTRL, LEFT, click_row, open_dock, tissue, type_colour

from celldyn.data import Source
from napari_celldyn.session import session
from napari_celldyn.widgets.category_list import (
    Category,
    CategoryDelegate,
    CategoryList,
    chip_rect,
)
from napari_celldyn.widgets.colour_box import ColourSearch, GeneTable


@pytest.fixture
def dock(qtbot):
    return open_dock(qtbot)


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
