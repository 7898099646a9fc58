"""What a landscape is asked, clicked: fates of cells, perturbations, screens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from landscape_dock_cases import FATES, STEM, fitted_tissue
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from celldyn import keys
from celldyn.data import Source
from celldyn.landscape.results import read_effect, read_screen
from napari_celldyn.jobs import JobState
from napari_celldyn.session import session
from napari_celldyn.widgets import landscape_ends, perturb_cells
from napari_celldyn.widgets.export import write_table
from napari_celldyn.widgets.landscape_fate_view import CLICK
from napari_celldyn.widgets.landscape_model import ModelShelf
from napari_celldyn.widgets.landscape_perturb import RELEASED
from napari_celldyn.widgets.landscape_results import LandscapeResults

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def fitted():
    return fitted_tissue(epochs=30)


@pytest.fixture
def results(fitted, qtbot):
    viewer = ViewerModel()
    place = session(viewer)
    _, _ = place.tissue, place.interaction
    place.workspace.open(fitted.copy())
    widget = LandscapeResults(place, ModelShelf(place.workspace))
    for drawer in widget.drawers.values():
        drawer.open()
    qtbot.addWidget(widget)
    widget.resize(300, 2000)
    widget.show()
    qtbot.waitExposed(widget)
    widget.viewer, widget.place = viewer, place
    widget.perturb.form.put(n_null=20, n_bootstrap=50)
    yield widget
    place.runner.shutdown()


def click(results, button, qtbot):
    runner = results.place.runner
    before = len(runner.handles)
    qtbot.mouseClick(button, LEFT)
    return runner.handles[-1] if len(runner.handles) > before else None


def finish(handle, qtbot) -> None:
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error


def find_fates(results, qtbot) -> None:
    results.fates.ends.column.setCurrentText("clusters")
    finish(click(results, results.fates.run_button, qtbot), qtbot)


def choose(box, text, qtbot) -> None:
    """Go to an item of a combo box by the arrow keys."""
    box.setFocus()
    steps = box.findText(text) - box.currentIndex()
    for _ in range(abs(steps)):
        qtbot.keyClick(box, Qt.Key.Key_Down if steps > 0 else Qt.Key.Key_Up)
    assert box.currentText() == text


# --- fates ------------------------------------------------------------------------------------


def test_fates_are_found_and_the_cells_coloured_by_them(results, qtbot):
    assert not results.fates.view.isVisible()
    find_fates(results, qtbot)
    workspace = results.place.workspace
    adata = workspace.adata
    chances = adata.obsm[keys.FATES.name]
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)
    assert workspace.colour == Source("obsm", keys.FATES.name)
    assert workspace.unsaved
    late = adata.obs["true_time"] > 0.85
    right = adata.obs.loc[late, keys.FATE.name].astype(str) == adata.obs.loc[late, "way"]
    assert right.mean() > 0.9
    assert results.fates.notes.text().startswith("After a time of 15")
    assert results.fates.view.words.text() == CLICK


def test_a_click_on_a_cell_shows_its_fates_with_their_intervals(results, qtbot):
    find_fates(results, qtbot)
    workspace, view = results.place.workspace, results.fates.view
    adata = workspace.adata
    workspace.selection = np.array([17])
    names = list(adata.obs[keys.FATE.name].cat.categories)
    assert [bar.name for bar in view.bars.bars] == names
    for k, bar in enumerate(view.bars.bars):
        assert bar.value == pytest.approx(adata.obsm[keys.FATES.name][17, k])
        assert bar.low == pytest.approx(adata.obsm[keys.FATES_LOW.name][17, k])
        assert bar.high == pytest.approx(adata.obsm[keys.FATES_HIGH.name][17, k])
        assert bar.low <= bar.value <= bar.high
    certain = bool(adata.obs[keys.FATE_CERTAIN.name].iloc[17])
    fate = adata.obs[keys.FATE.name].iloc[17]
    assert view.words.text() == f"cell_17: {fate}" + ("." if certain else ", uncertain.")
    workspace.selection = some = np.arange(100, 140)
    n_certain = int(adata.obs[keys.FATE_CERTAIN.name].iloc[some].sum())
    assert view.words.text() == f"40 cells, the fate of {n_certain} is certain."
    mean = adata.obsm[keys.FATES.name][some].mean(axis=0)
    assert [bar.value for bar in view.bars.bars] == pytest.approx(mean.tolist())
    assert view.bars.grab().toImage().pixelColor(150, 10).isValid()  # it can be drawn


def test_only_the_clusters_ticked_are_fates(results, qtbot):
    ends = results.fates.ends
    ends.column.setCurrentText("clusters")
    choose(ends.kind, landscape_ends.SOME, qtbot)
    assert click(results, results.fates.run_button, qtbot) is None
    assert "no cluster is ticked" in results.fates.sentence.text()
    ends.ticks.choose(FATES)
    results.fates.runs.setValue(0)
    finish(click(results, results.fates.run_button, qtbot), qtbot)
    adata = results.place.workspace.adata
    assert set(adata.obs[keys.FATE.name].cat.categories) <= {*FATES, "undecided"}


def test_a_model_from_a_file_is_read_once_for_all_that_is_asked(results, qtbot):
    shelf = results.fates._shelf
    assert shelf.at_hand is None
    find_fates(results, qtbot)
    lsd = shelf.at_hand
    assert lsd is not None
    find_fates(results, qtbot)
    assert shelf.at_hand is lsd
    results.place.workspace.open(fitted_copy := results.place.workspace.adata.copy())
    assert shelf.at_hand is None
    assert keys.FATES.name in fitted_copy.obsm


def test_a_tissue_without_clusters_is_one_sentence(results, fitted, qtbot):
    adata = fitted.copy()
    adata.obs = adata.obs[["potential", "true_time"]]
    results.place.workspace.open(adata)
    for button, sentence in (
        (results.fates.run_button, results.fates.sentence),
        (results.perturb.run_button, results.perturb.sentence),
        (results.screen.run_button, results.screen.sentence),
    ):
        results.perturb.changes.gene.setText("gene_0")
        assert click(results, button, qtbot) is None
        assert "no column of clusters" in sentence.text()


# --- perturbations ----------------------------------------------------------------------------


def perturb(results, qtbot, genes=("gene_0",)):
    widget = results.perturb
    widget.clusters.setCurrentText("clusters")
    for k, gene in enumerate(genes):
        if k:
            qtbot.mouseClick(widget.changes.also, LEFT)
        qtbot.keyClicks(widget.changes.gene, gene)
    handle = click(results, widget.run_button, qtbot)
    finish(handle, qtbot)
    return handle


def test_genes_knocked_out_in_clicked_cells_change_fates_and_that_is_shown(results, qtbot):
    workspace = results.place.workspace
    workspace.selection = cells = np.flatnonzero(workspace.adata.obs["clusters"] == STEM)[40:70]
    results.perturb.cells.scope.setCurrentText(perturb_cells.CHOSEN)
    perturb(results, qtbot, [f"gene_{k}" for k in range(4)])
    widget = results.perturb.results
    name = widget.scenario.currentText()
    effect = read_effect(workspace.adata, name)
    assert set(effect.perturbation.genes) == {f"gene_{k}" for k in range(4)}
    np.testing.assert_array_equal(effect.cells, cells)
    assert widget.view.words.text().startswith(str(effect))
    for bar, row in zip(widget.view.bars.bars, effect.fates().itertuples(), strict=True):
        assert (bar.name, bar.value) == (row.fate, pytest.approx(row.effect))
        assert bar.faint == (row.p >= 0.05)
    fate = effect.fates()["fate"][0]
    key = keys.LANDSCAPE_EFFECT(name=name)
    assert workspace.colour == Source("obsm", key, fate)
    shown = results.place.tissue.column
    assert shown.diverging
    assert np.flatnonzero(np.isfinite(shown.values)).tolist() == cells.tolist()
    low, high = results.place.tissue.limits
    assert low == -high
    assert results.minimumSizeHint().width() <= 296  # what the narrowest dock has
    table = widget.view.fates.frame
    assert list(table["fate"]) == list(effect.fates()["fate"])
    np.testing.assert_allclose(table["change"], 100 * effect.fates()["effect"], atol=0.051)


def test_genes_can_be_let_go(results, qtbot):
    widget = results.perturb
    choose(widget.hold, RELEASED, qtbot)
    assert widget.released_at.isVisible()
    widget.released_at.setValue(2.0)
    perturb(results, qtbot)
    name = widget.results.scenario.currentText()
    assert name.endswith("until t = 2")
    effect = read_effect(results.place.workspace.adata, name)
    assert effect.perturbation.released_at == 2.0


def test_several_perturbations_are_kept_compared_and_taken_away(results, qtbot):
    workspace = results.place.workspace
    workspace.colour = before = Source("obs", "clusters")
    perturb(results, qtbot, ["gene_0"])
    results.perturb.changes.clear()
    perturb(results, qtbot, ["gene_10"])
    widget = results.perturb.results
    names = [widget.scenario.itemText(k) for k in range(widget.scenario.count())]
    assert names == ["knock-out of gene_0", "knock-out of gene_10"]
    choose(widget.scenario, names[0], qtbot)
    assert widget.effect.perturbation.genes.keys() == {"gene_0"}
    qtbot.mouseClick(widget.delete_button, LEFT)
    assert widget.scenario.count() == 1
    assert keys.LANDSCAPE_EFFECT(name=names[0]) not in workspace.adata.obsm
    qtbot.mouseClick(widget.delete_button, LEFT)
    assert not widget.isVisible()
    assert workspace.colour in (before, None)


@pytest.mark.parametrize(
    ("gene", "says"),
    [("", "no gene is to be changed"), ("Nonesuch", "Nonesuch")],
)
def test_a_gene_that_is_not_there_is_one_sentence(results, qtbot, gene, says):
    widget = results.perturb
    widget.clusters.setCurrentText("clusters")
    qtbot.keyClicks(widget.changes.gene, gene)
    handle = click(results, widget.run_button, qtbot)
    if handle is None:
        assert says in widget.sentence.text()
        return
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert says in handle.error
    assert "defect" not in handle.error


def test_no_cell_is_one_sentence(results, qtbot):
    results.perturb.cells.scope.setCurrentText(perturb_cells.CHOSEN)
    qtbot.keyClicks(results.perturb.changes.gene, "gene_0")
    assert click(results, results.perturb.run_button, qtbot) is None
    assert "no cell is chosen" in results.perturb.sentence.text()


# --- screens ----------------------------------------------------------------------------------


def test_every_gene_is_changed_in_turn_and_ranked(results, qtbot, tmp_path, monkeypatch):
    workspace, widget = results.place.workspace, results.screen
    workspace.selection = np.arange(60, 100)
    results.perturb.cells.scope.setCurrentText(perturb_cells.CHOSEN)
    results.perturb.clusters.setCurrentText("clusters")
    assert not widget.found.isVisible()
    finish(click(results, widget.run_button, qtbot), qtbot)
    name = widget.scenario.currentText()
    assert name == "genes knocked out in 40 cells"
    screen = read_screen(workspace.adata, name)
    assert len(screen.genes) == 60
    assert list(widget.table.frame["gene"]) == list(screen.by_gene()["gene"])
    choose(widget.fate, "Alpha", qtbot)
    toward = screen.toward("Alpha")
    assert list(widget.table.frame["gene"]) == list(toward["gene"])
    np.testing.assert_allclose(widget.table.frame["effect %"], 100 * toward["effect"], atol=0.051)
    widget.table.chosen.emit(3)
    assert results.perturb.changes.gene.text() == toward["gene"][3]
    qtbot.keyClicks(widget.filter, "gene_1")
    shown = widget.table.model().rowCount()
    assert shown == sum("gene_1" in gene for gene in toward["gene"])
    target = tmp_path / "screen.csv"
    monkeypatch.setattr(
        "napari_celldyn.widgets.export.QFileDialog.getSaveFileName",
        lambda *_: (str(target), ""),
    )
    qtbot.mouseClick(widget.export_button, LEFT)
    written = pd.read_csv(target)
    assert len(written) == 60 * len(screen.names)
    assert list(written["gene"]) == list(screen.table()["gene"])


def test_a_table_that_cannot_be_written_is_one_sentence(tmp_path):
    from celldyn.errors import DataError

    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"t\.csv cannot be written"):
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "file" / "t.csv")
