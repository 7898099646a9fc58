"""The main job, clicked: choose a gene, run, read the maps, save, reopen."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import anndata
import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

import celldyn
from celldyn import keys
from celldyn.betas import SpatialCellularProgramsEstimator
from celldyn.data import Source, samples
from celldyn.jobs import Progress
from napari_celldyn.jobs import JobState
from napari_celldyn.opening import open_path, save, session
from napari_celldyn.widgets.betas import BetasWidget

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(make_napari_viewer) -> BetasWidget:
    viewer = make_napari_viewer()
    open_path(session(viewer).workspace, samples.path("two_niches"))
    _, widget = viewer.window.add_plugin_dock_widget("napari-celldyn", "Spatial betas")
    widget.viewer = viewer
    return widget


def workspace(dock: BetasWidget):
    return session(dock.viewer).workspace


def choose(dock: BetasWidget, qtbot, gene: str) -> None:
    dock.source.gene.clear()
    qtbot.keyClicks(dock.source.gene, gene)
    qtbot.keyClick(dock.source.gene, Qt.Key.Key_Return)


def click_run(dock: BetasWidget, qtbot):
    before = len(dock._runner.handles)
    qtbot.mouseClick(dock.run_button, LEFT)
    handles = dock._runner.handles
    return handles[-1] if len(handles) > before else None


def finish(handle, qtbot) -> None:
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)


def test_networks_beside_the_file_are_taken(dock):
    assert Path(dock.source.grn.text()).name == "grn.csv"
    assert Path(dock.source.lr.text()).name == "ligand_receptor.csv"


def test_the_modulators_are_found_while_one_types(dock, qtbot):
    choose(dock, qtbot, "target1")
    qtbot.waitUntil(lambda: "regulators" in dock.found.text(), timeout=5000)
    assert "ligand–receptor pairs; 4 cell types" in dock.found.text()


def test_a_click_on_run_fits_writes_and_shows_the_strongest_map(dock, qtbot):
    choose(dock, qtbot, "Target1")
    handle = click_run(dock, qtbot)
    finish(handle, qtbot)
    assert handle.state is JobState.DONE, handle.error
    adata = workspace(dock).adata
    assert adata.obsm["betas_Target1"].shape == (adata.n_obs, 11)
    strongest = dock.results.modulators.frame["modulator"][0]
    assert workspace(dock).colour == Source("obsm", "betas_Target1", f"beta_{strongest}")
    view = session(dock.viewer).tissue
    assert view.column.diverging
    assert view.limits[0] == -view.limits[1]
    assert workspace(dock).unsaved


def test_the_table_is_sorted_by_size_and_a_click_shows_that_map(dock, qtbot):
    choose(dock, qtbot, "Target1")
    finish(click_run(dock, qtbot), qtbot)
    table = dock.results.modulators
    sizes = table.frame["mean |β|"]
    assert (np.diff(sizes) <= 0).all()
    third = table.model().index(2, 0)
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualRect(third).center())
    wanted = f"beta_{table.frame['modulator'][2]}"
    assert workspace(dock).colour == Source("obsm", "betas_Target1", wanted)
    shown = session(dock.viewer).tissue.column.values
    result = dock.results.result
    np.testing.assert_array_equal(
        shown, result.values[:, result.columns.index(wanted)].astype(np.float32)
    )


def test_what_drives_the_gene_in_the_chosen_cells_is_listed(dock, qtbot):
    choose(dock, qtbot, "Target1")
    dock.vary.put(num_epochs=0)
    drivers = dock.results.drivers
    assert not drivers.isVisibleTo(dock)
    finish(click_run(dock, qtbot), qtbot)
    assert "Click cells" in drivers.words.text()
    assert not drivers.table.isVisibleTo(dock)
    place, result = workspace(dock), dock.results.result
    of_type = place.adata.obs["cell_type"].astype(str).to_numpy()
    cells = np.flatnonzero(of_type == "Tumour")[:3]
    place.selection = cells
    assert drivers.words.text() == "Target1 in 3 cells (3 Tumour):"
    frame = drivers.table.frame
    betas = result.values[cells][:, 1:].mean(axis=0)
    strongest = result.modulators[int(np.abs(betas).argmax())]
    assert frame["modulator"][0] == strongest
    assert frame["β here"][0] == pytest.approx(betas[np.abs(betas).argmax()])
    row = 1
    index = drivers.table.model().index(row, 0)
    qtbot.mouseClick(drivers.table.viewport(), LEFT, pos=drivers.table.visualRect(index).center())
    wanted = f"beta_{frame['modulator'][row]}"
    assert place.colour == Source("obsm", "betas_Target1", wanted)
    other = int(np.flatnonzero(of_type == "Endothelial")[0])
    place.selection = np.array([other])
    assert drivers.words.text() == f"Target1 in {place.adata.obs_names[other]} (Endothelial):"


def test_the_window_and_a_script_give_equal_arrays(dock, qtbot):
    choose(dock, qtbot, "Target2")
    config = dock.config()
    finish(click_run(dock, qtbot), qtbot)
    headless = samples.load("two_niches")
    celldyn.betas.fit(headless, config, bar=False)
    np.testing.assert_array_equal(
        headless.obsm["betas_Target2"], workspace(dock).adata.obsm["betas_Target2"]
    )


def test_saved_and_reopened_the_betas_are_shown_again(dock, qtbot, tmp_path):
    choose(dock, qtbot, "Target1")
    finish(click_run(dock, qtbot), qtbot)
    scores = dock.results.scores.frame
    save(workspace(dock), tmp_path / "result.h5ad")
    open_path(workspace(dock), samples.path("layered_tissue"))
    assert dock.results.result is None
    open_path(workspace(dock), tmp_path / "result.h5ad")
    assert dock.results.gene.currentText() == "Target1"
    assert dock.results.scores.frame.equals(scores)
    dock.results.show_result("Target1")
    assert workspace(dock).colour.key == "betas_Target1"


@pytest.mark.parametrize(
    ("gene", "says"),
    [("Nonesuch", "'Nonesuch' is not among"), ("", "no target gene is chosen")],
)
def test_a_gene_that_is_not_there_is_one_sentence(dock, qtbot, gene, says):
    before = set(workspace(dock).adata.obsm)
    choose(dock, qtbot, gene)
    assert click_run(dock, qtbot) is None
    assert says in dock.sentence.text()
    assert set(workspace(dock).adata.obsm) == before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("network.csv", b"from_gene,weight\na,1\n", "source"),
        ("network.pkl", b"\x80\x04\x95", "pickle"),
    ],
)
def test_a_wrong_network_is_one_sentence(dock, qtbot, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    choose(dock, qtbot, "Target1")
    dock.source.grn.set_text(str(tmp_path / name))
    assert click_run(dock, qtbot) is None
    assert says in dock.sentence.text()
    assert not any(key.startswith("betas_") for key in workspace(dock).adata.obsm)


def pick(box, words, qtbot):
    """Choose an item of a combo box by the arrow keys."""
    box.setFocus()
    steps = box.findText(words) - box.currentIndex()
    for _ in range(abs(steps)):
        qtbot.keyClick(box, Qt.Key.Key_Down if steps > 0 else Qt.Key.Key_Up)
    assert box.currentText() == words


def test_what_a_model_costs_is_said_and_a_network_can_be_chosen(dock, qtbot):
    assert "seconds a gene" in dock.vary.cost.text()
    assert not dock.vary.epochs.isVisibleTo(dock)
    choose(dock, qtbot, "Target1")
    assert dock.config().vision_model == "smooth"
    pick(dock.vary.kind, "the same in a cell type", qtbot)
    assert "One coefficient per cell type" in dock.vary.cost.text()
    assert dock.config().num_epochs == 0
    pick(dock.vary.kind, "network: cnn", qtbot)
    dock.vary.epochs.setValue(2)
    assert "2 epochs: minutes a gene" in dock.vary.cost.text()
    dock.form.put(spatial_dim=8, network_folds=0)
    handle = click_run(dock, qtbot)
    finish(handle, qtbot)
    assert handle.state is JobState.DONE, handle.error
    result = dock.results.result
    assert result.config.vision_model == "cnn"
    assert any(len(losses) >= 2 for losses in result.losses)
    drawn = dock.losses.plot.listDataItems()
    assert 1 <= len(drawn) <= 4
    seconds, loss = drawn[-1].getData()
    label = drawn[-1].name()
    assert list(zip(seconds, loss, strict=True)) == handle.metrics[f"loss/{label}"]
    qtbot.mouseClick(dock.losses.logarithmic, LEFT, pos=QPoint(8, 8))
    assert dock.losses.plot.getPlotItem().getAxis("left").logMode


def test_a_second_run_of_the_same_gene_is_refused_while_the_first_runs(dock, qtbot):
    def slow() -> Generator[Progress, None, None]:
        while True:
            time.sleep(0.01)
            yield Progress("waiting")

    other = dock._runner.submit(
        "Another fit", slow, system="betas", writes={keys.BETAS.path(gene="Target1")}
    )
    choose(dock, qtbot, "Target1")
    assert click_run(dock, qtbot) is None
    assert "Another fit" in dock.sentence.text()
    other.cancel()
    finish(other, qtbot)
    finish(click_run(dock, qtbot), qtbot)
    assert "betas_Target1" in workspace(dock).adata.obsm


def test_regulators_can_be_proposed_by_the_data(dock, qtbot):
    choose(dock, qtbot, "Target1")
    dock.source.grn.set_text(None)
    qtbot.mouseClick(dock.source.propose_button, LEFT)
    proposed = dock.source.regulators.text().split(", ")
    assert {"Tf1", "Tf2"} & set(proposed[:4])
    assert "Target1" not in proposed


def test_the_word_cloud_opens_and_saves(dock, qtbot, tmp_path):
    from napari_celldyn.widgets.figure_window import FigureWindow

    choose(dock, qtbot, "Target1")
    finish(click_run(dock, qtbot), qtbot)
    qtbot.mouseClick(dock.results.cloud, LEFT)
    window = dock.results.findChild(FigureWindow)
    assert window.windowTitle() == "Target1 modulators"
    window.save(tmp_path / "cloud.pdf")
    assert (tmp_path / "cloud.pdf").read_bytes().startswith(b"%PDF")
    window.close()


def test_the_scores_come_live(dock, qtbot):
    choose(dock, qtbot, "Target1")
    seen = []
    handle = click_run(dock, qtbot)
    handle.progressed.connect(lambda _: seen.append(len(handle.metrics)))
    finish(handle, qtbot)
    assert max(seen) >= 4
    assert dock.results.scores.frame["R²"].between(0, 1).all()


def test_each_section_of_the_real_tissue_is_fitted_as_if_alone(
    make_napari_viewer, qtbot, starmap_path, tmp_path
):
    viewer = make_napari_viewer()
    place = session(viewer)
    open_path(place.workspace, starmap_path)
    celldyn.data.set_section_key(place.workspace.adata, "batch")
    place.workspace.announce({"uns/celldyn"})
    _, dock = viewer.window.add_plugin_dock_widget("napari-celldyn", "Spatial betas")
    dock.source.labels.setCurrentText("cell_type")
    dock.propose("arc")
    dock.source.ligands.setChecked(False)
    handle = click_run(dock, qtbot)
    finish(handle, qtbot)
    assert handle.state is JobState.DONE, handle.error
    result = dock.results.result
    whole = anndata.read_h5ad(starmap_path)
    for section in ("BZ0", "BZ1", "BZ2"):
        here = (whole.obs["batch"] == section).to_numpy()
        estimator = SpatialCellularProgramsEstimator(
            whole[here].copy(), "arc", cluster_annot="cell_type", layer=None, use_ligands=False,
            regulators=list(result.config.regulators),
        )  # fmt: skip
        estimator.fit(pbar=False)
        alone = estimator.get_betas()
        together = result.values[here][:, [result.columns.index(name) for name in alone]]
        np.testing.assert_array_equal(alone.to_numpy(), together)
    save(place.workspace, tmp_path / "starmap.h5ad")
    open_path(place.workspace, tmp_path / "starmap.h5ad")
    assert dock.results.gene.currentText() == "arc"
    np.testing.assert_array_equal(dock.results.result.values, result.values)
    assert "NA" in set(place.workspace.adata.obs["cell_type"])


@pytest.mark.parametrize(("width", "beside"), [(1500, True), (1000, False)])
def test_the_dock_stands_beside_the_tissue_dock_or_behind_it(
    make_napari_viewer, qtbot, width, beside
):
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    window.resize(width, 900)
    tissue, _ = viewer.window.add_plugin_dock_widget("napari-celldyn", "Tissue")
    betas, _ = viewer.window.add_plugin_dock_widget("napari-celldyn", "Spatial betas")
    if beside:
        qtbot.waitUntil(lambda: betas.x() >= tissue.x() + tissue.width())
        assert betas.height() > 600
    else:
        qtbot.waitUntil(lambda: window.tabifiedDockWidgets(tissue) == [betas])


@pytest.mark.parametrize("third", ["Perturb with betas", "Jobs"])
def test_a_third_dock_stands_behind_the_second(make_napari_viewer, qtbot, third):
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    window.resize(1500, 900)
    tissue, _ = viewer.window.add_plugin_dock_widget("napari-celldyn", "Tissue")
    betas, _ = viewer.window.add_plugin_dock_widget("napari-celldyn", "Spatial betas")
    qtbot.waitUntil(lambda: betas.x() >= tissue.x() + tissue.width())
    other, _ = viewer.window.add_plugin_dock_widget("napari-celldyn", third)
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(betas) == [other])
    assert other.isVisible()
