"""A panel of genes, clicked: run, stopped, gone on with, browsed, saved and opened again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from celldyn.betas.panel import BetaStore, fit_panel
from celldyn.data import Source, samples
from napari_celldyn.jobs import JobState
from napari_celldyn.opening import open_path, save, session
from napari_celldyn.widgets.betas import PANEL, BetasWidget

LEFT = Qt.MouseButton.LeftButton
TARGETS = ["Target1", "Target2", "Target3"]


@pytest.fixture
def dock(make_napari_viewer, tmp_path) -> BetasWidget:
    for name in ("two_niches", "grn.csv", "ligand_receptor.csv"):
        shutil.copy(samples.path(name), tmp_path)
    viewer = make_napari_viewer()
    open_path(session(viewer).workspace, tmp_path / samples.path("two_niches").name)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celldyn", "Spatial betas")
    widget.viewer = viewer
    widget.scope.setCurrentText(PANEL)
    widget.vary.put(num_epochs=0)
    return widget


def workspace(dock: BetasWidget):
    return session(dock.viewer).workspace


def run(dock: BetasWidget, qtbot):
    before = len(dock._runner.handles)
    qtbot.mouseClick(dock.run_button, LEFT)
    handles = dock._runner.handles
    assert len(handles) > before, dock.sentence.text()
    return handles[-1]


def finish(handle, qtbot):
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    return handle


def click(table, row, qtbot):
    index = table.model().index(row, 0)
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualRect(index).center())


def test_a_panel_asks_for_its_genes_and_not_for_a_target(dock):
    assert dock.panel.isVisibleTo(dock)
    assert not dock.source.gene.isVisibleTo(dock)
    assert dock.panel.folder().name == "two_niches.betas.zarr"
    dock.scope.setCurrentIndex(0)
    assert not dock.panel.isVisibleTo(dock)
    assert dock.source.gene.isVisibleTo(dock)


def test_genes_land_in_the_store_and_a_click_shows_what_drives_one(dock, qtbot, tmp_path):
    dock.panel.genes.setText("Target1, Target2 Target3")
    handle = finish(run(dock, qtbot), qtbot)
    assert handle.state is JobState.DONE, handle.error
    assert set(BetaStore.open(tmp_path / "two_niches.betas.zarr")) == set(TARGETS)
    table = dock.panel_results.table
    assert sorted(table.frame["gene"]) == TARGETS
    assert table.frame["held-out"].is_monotonic_decreasing
    assert table.frame["held-out"].max() > 0.4
    gene = table.frame["gene"][1]
    click(table, 1, qtbot)
    adata = workspace(dock).adata
    assert adata.obsm[f"betas_{gene}"].shape[0] == adata.n_obs
    assert dock.results.gene.currentText() == gene
    strongest = dock.results.modulators.frame["modulator"][0]
    assert workspace(dock).colour == Source("obsm", f"betas_{gene}", f"beta_{strongest}")
    assert adata.var["betas_heldout_r2"].notna().sum() == 3


def test_the_window_and_a_script_give_equal_betas(dock, qtbot, tmp_path):
    dock.panel.genes.setText("Target2 Target1")
    config = dock.panel_config()
    finish(run(dock, qtbot), qtbot)
    headless = fit_panel(samples.load("two_niches"), config, tmp_path / "other.zarr", bar=False)
    mine = BetaStore.open(tmp_path / "two_niches.betas.zarr")
    for gene in ("Target1", "Target2"):
        np.testing.assert_array_equal(mine.betas(gene), headless.betas(gene))


def test_what_is_cancelled_is_kept_and_gone_on_with(dock, qtbot, tmp_path):
    dock.panel.proposed.setValue(5)
    dock.source.grn.set_text(None)
    handle = run(dock, qtbot)
    store = tmp_path / "two_niches.betas.zarr"
    qtbot.waitUntil(lambda: len(BetaStore.open(store)) >= 2, timeout=60_000)
    qtbot.mouseClick(dock.jobs.card.cancel_button, LEFT)
    finish(handle, qtbot)
    assert handle.state is JobState.CANCELLED
    kept = len(BetaStore.open(store))
    assert len(dock.panel_results.table.frame) == kept
    assert f"{kept} genes are finished and kept" in dock.sentence.text()
    handle = finish(run(dock, qtbot), qtbot)
    assert handle.state is JobState.DONE, handle.error
    assert len(handle.result.kept) == kept
    assert len(handle.result.fitted) > 10
    assert len(dock.panel_results.table.frame) == kept + len(handle.result.fitted)


def test_saved_elsewhere_the_tissue_still_finds_its_store(dock, qtbot, tmp_path):
    dock.panel.genes.setText("Target1")
    finish(run(dock, qtbot), qtbot)
    (tmp_path / "results").mkdir()
    save(workspace(dock), tmp_path / "results" / "mine.h5ad")
    open_path(workspace(dock), Path(samples.path("layered_tissue")))
    assert not dock.panel_results.isVisibleTo(dock)
    open_path(workspace(dock), tmp_path / "results" / "mine.h5ad")
    assert dock.panel_results.table.frame["gene"].tolist() == ["Target1"]
    click(dock.panel_results.table, 0, qtbot)
    assert dock.results.gene.currentText() == "Target1"


def test_scores_come_live_gene_by_gene(dock, qtbot):
    dock.panel.proposed.setValue(4)
    dock.source.grn.set_text(None)
    dock.panel.most.setValue(25)
    seen = []
    handle = run(dock, qtbot)
    handle.progressed.connect(lambda _: seen.append(dock.board.table.frame.copy()))
    finish(handle, qtbot)
    assert handle.state is JobState.DONE, handle.error
    boards = [frame for frame in seen if len(frame)]
    assert boards
    assert list(boards[-1].columns) == ["gene", "R²", "held-out"]
    assert boards[-1]["held-out"].dropna().is_monotonic_decreasing


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda dock, _: dock.panel.store.set_text(None), "no folder for the betas"),
        (lambda dock, _: dock.panel.genes.setText("Nonesuch"), "Nonesuch"),
        (lambda dock, path: dock.panel.store.set_text(str(path)), "no store of betas"),
    ],
)
def test_what_is_wrong_is_one_sentence(dock, qtbot, tmp_path, spoil, says):
    dock.panel.genes.setText("Target1")
    spoil(dock, tmp_path)
    qtbot.mouseClick(dock.run_button, LEFT)
    assert not dock._runner.handles
    assert says in dock.sentence.text()
    assert "\n" not in dock.sentence.text()


def test_a_store_that_is_gone_is_one_sentence(dock, qtbot, tmp_path):
    dock.panel.genes.setText("Target1")
    finish(run(dock, qtbot), qtbot)
    save(workspace(dock), tmp_path / "mine.h5ad")
    shutil.rmtree(tmp_path / "two_niches.betas.zarr")
    open_path(workspace(dock), tmp_path / "mine.h5ad")
    assert "is not there" in dock.panel_results.sentence.text()
