"""Genes changed by clicks: run, read off maps and tables, compared, saved, opened again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from qtpy.QtCore import Qt

from celldyn.betas import BetasConfig, fit, perturb, read_perturbed
from celldyn.betas.panel import PanelConfig, fit_panel
from celldyn.data import Source, read, samples
from celldyn.perturbation import Perturbation
from napari_celldyn.jobs import JobState
from napari_celldyn.layers import reach
from napari_celldyn.opening import open_path, save, session
from napari_celldyn.widgets.figure_window import FigureWindow
from napari_celldyn.widgets.perturb import PerturbWidget
from napari_celldyn.widgets.perturb_cells import CHOSEN, NEAR, OF

LEFT = Qt.MouseButton.LeftButton
MODEL = {
    "cluster_annot": "cell_type",
    "layer": None,
    "colinks_path": str(samples.path("grn.csv")),
    "lr": str(samples.path("ligand_receptor.csv")),
    "num_epochs": 0,
}


@pytest.fixture(scope="module")
def tissue_file(tmp_path_factory):
    """Return two_niches with the betas of two targets."""
    path = tmp_path_factory.mktemp("tissue") / "fitted.h5ad"
    adata = samples.load("two_niches")
    for gene in ("Target1", "Target2"):
        fit(adata, BetasConfig(target_gene=gene, **MODEL), bar=False)
    adata.write_h5ad(path)
    return path


@pytest.fixture
def dock(make_napari_viewer, tissue_file) -> PerturbWidget:
    viewer = make_napari_viewer()
    open_path(session(viewer).workspace, tissue_file)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celldyn", "Perturb with betas")
    widget.viewer = viewer
    return widget


def workspace(dock):
    return session(dock.viewer).workspace


def choose(dock, qtbot, gene):
    dock.changes.gene.clear()
    qtbot.keyClicks(dock.changes.gene, gene)
    qtbot.keyClick(dock.changes.gene, Qt.Key.Key_Return)


def run(dock, qtbot):
    before = len(dock._runner.handles)
    qtbot.mouseClick(dock.run_button, LEFT)
    qtbot.waitUntil(lambda: not dock._runner.busy, timeout=60_000)
    handles = dock._runner.handles
    assert len(handles) > before, dock.sentence.text()
    assert handles[-1].state is JobState.DONE, handles[-1].error
    return handles[-1]


def click(table, row, qtbot):
    index = table.model().index(row, 0)
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualRect(index).center())


def test_a_knock_out_is_shown_as_a_map_and_a_table(dock, qtbot):
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    name = dock.results.scenario.currentText()
    assert name == "knock-out of Tf1"
    adata = workspace(dock).adata
    table = dock.results.genes.frame
    gene = table["gene"][0]
    assert gene in ("Target1", "Target2")
    assert workspace(dock).colour == Source("layers", f"betas_delta_{name}", gene)
    view = session(dock.viewer).tissue
    assert view.column.diverging
    assert view.limits[0] == -view.limits[1]
    delta = read_perturbed(adata, name).of(gene)
    np.testing.assert_allclose(view.column.values, delta, atol=1e-6)
    types = dock.results.types.frame
    assert set(types["cell type"]) == set(adata.obs["cell_type"].astype(str))
    row = types.set_index("cell type").loc["Tumour"]
    tumour = (adata.obs["cell_type"] == "Tumour").to_numpy()
    assert row["mean Δ"] == pytest.approx(delta[tumour].mean(), abs=1e-6)
    assert row["cells"] == tumour.sum()


def test_the_window_and_a_script_give_equal_changes(dock, qtbot, tissue_file):
    choose(dock, qtbot, "Lig1")
    dock.changes.kind.setCurrentText("multiply by")
    dock.changes.value.setValue(3.0)
    run(dock, qtbot)
    name = dock.results.scenario.currentText()
    adata = read(tissue_file)
    expected = perturb(adata, Perturbation.multiply({"Lig1": 3.0}), bar=False)
    np.testing.assert_array_equal(
        read_perturbed(workspace(dock).adata, name).delta, expected.delta
    )


def test_several_genes_in_a_category_of_cells(dock, qtbot):
    choose(dock, qtbot, "Tf1")
    qtbot.mouseClick(dock.changes.also, LEFT)
    choose(dock, qtbot, "Tf2")
    dock.changes.kind.setCurrentText("set to")
    dock.changes.value.setValue(5.0)
    dock.cells.scope.setCurrentText(OF)
    dock.cells.column.setCurrentText("cell_type")
    dock.cells.category.setCurrentText("Macrophage")
    asked = dock.perturbation()
    assert list(asked.genes) == ["Tf1", "Tf2"]
    assert asked.genes["Tf1"].kind == "knockout"
    assert asked.genes["Tf2"].value == 5.0
    adata = workspace(dock).adata
    at = (adata.obs["cell_type"] == "Macrophage").to_numpy()
    assert set(asked.cells) == set(adata.obs_names[at])
    assert dock.cells.count.text() == f"{at.sum():,} of {adata.n_obs:,} cells"
    run(dock, qtbot)
    result = dock.results.result
    assert result.of("Tf1")[~at].max() == result.of("Tf1")[~at].min() == 0.0
    click(dock.changes.table, 0, qtbot)
    assert list(dock.perturbation().genes) == ["Tf2"]


def test_chosen_cells_and_those_near_them(dock, qtbot):
    place, adata = workspace(dock), workspace(dock).adata
    choose(dock, qtbot, "Tf1")
    dock.cells.scope.setCurrentText(CHOSEN)
    qtbot.mouseClick(dock.run_button, LEFT)
    assert "no cell is chosen" in dock.sentence.text()
    place.selection = np.array([5, 9])
    assert dock.cells.count.text().startswith("2 of")
    assert list(dock.perturbation().cells) == list(adata.obs_names[[5, 9]])
    dock.cells.scope.setCurrentText(NEAR)
    dock.cells.radius.setValue(60.0)
    xy = session(dock.viewer).tissue.display_xy
    near = (np.linalg.norm(xy[:, None] - xy[[5, 9]], axis=2) <= 60.0).any(axis=1)
    assert set(dock.perturbation().cells) == set(adata.obs_names[near])
    run(dock, qtbot)
    assert np.flatnonzero(dock.results.result.of("Tf1")).tolist() == [
        k for k in np.flatnonzero(near) if adata.to_df()["Tf1"].iloc[k] > 0
    ]


def test_before_and_after_share_their_limits(dock, qtbot):
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    view, gene = session(dock.viewer).tissue, dock.results.genes.frame["gene"][0]
    qtbot.mouseClick(dock.results.blink_button, LEFT)
    assert workspace(dock).colour == Source("X", column=gene)
    before, limits = view.column.values.copy(), view.limits
    qtbot.mouseClick(dock.results.blink_button, LEFT)
    after = view.column.values
    np.testing.assert_allclose(after - before, dock.results.result.of(gene), atol=1e-5)
    assert view.limits == limits
    assert view.column.label == f"{gene} after"
    qtbot.mouseClick(dock.results.shift_button, LEFT)
    np.testing.assert_allclose(view.column.values, dock.results.result.shift, atol=1e-5)
    qtbot.mouseClick(dock.results.change_button, LEFT)
    assert view.column.diverging


def test_scenarios_are_compared_saved_opened_and_deleted(dock, qtbot, tmp_path):
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    choose(dock, qtbot, "Tf2")
    dock.name.setText("second")
    run(dock, qtbot)
    names = [dock.results.scenario.itemText(k) for k in range(2)]
    assert names == ["knock-out of Tf1", "second"]
    table = dock.results.genes.frame
    save(workspace(dock), tmp_path / "done.h5ad")
    open_path(workspace(dock), samples.path("layered_tissue"))
    assert not dock.results.isVisibleTo(dock)
    open_path(workspace(dock), tmp_path / "done.h5ad")
    assert dock.results.scenario.count() == 2
    dock.results.show_result("second")
    assert dock.results.genes.frame["gene"].tolist() == table["gene"].tolist()
    qtbot.mouseClick(dock.results.delete_button, LEFT)
    adata = workspace(dock).adata
    assert "betas_delta_second" not in adata.layers
    assert "betas_shift_second" not in adata.obs
    assert dock.results.scenario.count() == 1
    assert workspace(dock).colour == Source("obs", "cell_type")  # as before the first map
    assert "betas_delta_knock-out of Tf1" in adata.layers


def test_a_panel_is_read_once_and_perturbed(dock, qtbot, tmp_path):
    for name in ("two_niches", "grn.csv", "ligand_receptor.csv"):
        shutil.copy(samples.path(name), tmp_path)
    path = tmp_path / samples.path("two_niches").name
    adata = read(path)
    genes = ["Target1", "Target2", "Target3"]
    fit_panel(adata, PanelConfig(genes=genes, **MODEL), tmp_path / "panel.betas.zarr", bar=False)
    from celldyn.data import write

    write(adata, tmp_path / "fitted.h5ad")
    open_path(workspace(dock), tmp_path / "fitted.h5ad")
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    titles = [handle.title for handle in dock._runner.handles]
    assert titles == ["Betas of 3 genes", "Knock-out of Tf1"]
    assert set(dock.results.result.genes) == {*genes, "Tf1"}
    choose(dock, qtbot, "Tf2")
    run(dock, qtbot)
    assert len(dock._runner.handles) == 3


def test_the_map_of_change_is_drawn_on_the_embedding_too(dock, qtbot):
    give_embedding(dock)
    session(dock.viewer).embedding.show()
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    view = session(dock.viewer).embedding
    np.testing.assert_array_equal(
        view.layer.face_color, session(dock.viewer).tissue.layer.face_color
    )


def test_the_gene_of_one_scenario_is_shown_in_the_next_with_the_same_limits(dock, qtbot):
    for value in (2.0, 4.0):
        choose(dock, qtbot, "Tf1")
        dock.changes.kind.setCurrentText("multiply by")
        dock.changes.value.setValue(value)
        dock.name.setText(f"times {value:g}")
        run(dock, qtbot)
    gene = dock.results.genes.frame["gene"][0]
    view = session(dock.viewer).tissue
    limits, strong = view.limits, view.column.values.copy()
    pick_scenario(dock, "times 2", qtbot)
    assert workspace(dock).colour == Source("layers", "betas_delta_times 2", gene)
    assert view.limits == limits
    assert np.abs(view.column.values).mean() < np.abs(strong).mean()


def pick_scenario(dock, name, qtbot):
    box = dock.results.scenario
    box.setFocus()
    step = box.findText(name) - box.currentIndex()
    key = Qt.Key.Key_Down if step > 0 else Qt.Key.Key_Up
    for _ in range(abs(step)):
        qtbot.keyClick(box, key)


def test_reset_asks_for_nothing_and_shows_the_cells_as_before(dock, qtbot):
    before = workspace(dock).colour
    choose(dock, qtbot, "Tf1")
    dock.cells.scope.setCurrentText(OF)
    run(dock, qtbot)
    qtbot.mouseClick(dock.results.shift_button, LEFT)
    assert workspace(dock).colour != before
    qtbot.mouseClick(dock.reset_button, LEFT)
    assert workspace(dock).colour == before
    assert dock.changes.gene.text() == ""
    assert dock.cells.cells() is None
    assert dock.results.scenario.count() == 1  # what was computed is kept


def test_steps_are_asked_for_beside_the_genes(dock, qtbot):
    choose(dock, qtbot, "Tf1")
    dock.steps.setValue(2)
    run(dock, qtbot)
    assert len(dock.results.result.steps) == 2
    assert "n_propagation" not in dock.form.raw()


# --- arrows -----------------------------------------------------------------------------------


def give_embedding(dock):
    """An embedding along which the expression of Target1 rises."""
    adata = workspace(dock).adata
    level = adata.to_df()["Target1"].to_numpy(float)
    place = np.column_stack([level.argsort().argsort() / len(level), np.arange(len(level)) % 40])
    adata.obsm["X_umap"] = place * (100, 0.5)
    workspace(dock).announce({"obsm/X_umap"})


def test_arrows_show_to_which_states_cells_go_and_a_click_takes_them_away(dock, qtbot):
    give_embedding(dock)
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    name, adata = dock.results.scenario.currentText(), workspace(dock).adata
    part, place = dock.results.arrows, session(dock.viewer)
    qtbot.mouseClick(part.check, LEFT)
    qtbot.waitUntil(lambda: not place.runner.busy, timeout=60_000)
    handle = place.runner.handles[-1]
    assert handle.state is JobState.DONE, handle.error
    np.testing.assert_allclose(adata.obsp[f"betas_transitions_{name}"].sum(axis=1), 1.0)
    steps = adata.obsm[f"betas_arrows_{name}"]
    assert steps.shape == (adata.n_obs, 2)
    assert place.embedding.key == "X_umap"
    # Without its activator Target1 falls, and the embedding rises with Target1.
    drawn = place.arrows.layer.data[:-1]
    assert drawn[:, 1, 1].sum() < 0
    assert part.check.isChecked()
    qtbot.mouseClick(part.check, LEFT)
    assert place.arrows.layer is None
    n_jobs = len(place.runner.handles)
    qtbot.mouseClick(part.check, LEFT)  # they are on the AnnData: shown at once
    assert place.arrows.layer is not None
    assert len(place.runner.handles) == n_jobs


def test_other_parameters_find_other_arrows(dock, qtbot):
    give_embedding(dock)
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    part, place = dock.results.arrows, session(dock.viewer)
    for n_neighbors in (30, 60):
        part.form.put(n_neighbors=n_neighbors)
        part.check.setChecked(False)
        qtbot.mouseClick(part.check, LEFT)
        qtbot.waitUntil(lambda: not place.runner.busy, timeout=60_000)
        name = dock.results.scenario.currentText()
        ways = workspace(dock).adata.obsp[f"betas_transitions_{name}"]
        assert np.diff(ways.indptr).max() == n_neighbors - 1


def test_arrows_go_with_their_scenario(dock, qtbot):
    give_embedding(dock)
    for gene in ("Tf1", "Tf2"):
        choose(dock, qtbot, gene)
        run(dock, qtbot)
    part, place = dock.results.arrows, session(dock.viewer)
    qtbot.mouseClick(part.check, LEFT)
    qtbot.waitUntil(lambda: place.arrows.layer is not None, timeout=60_000)
    pick_scenario(dock, "knock-out of Tf1", qtbot)
    assert place.arrows.layer is None
    assert not part.check.isChecked()


def test_without_an_embedding_arrows_say_what_to_do(dock, qtbot):
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    qtbot.mouseClick(dock.results.arrows.check, LEFT)
    assert "compute a UMAP" in dock.results.arrows.sentence.text()
    assert not dock.results.arrows.check.isChecked()


# --- genes and cells --------------------------------------------------------------------------


def test_only_genes_that_modulate_something_are_offered_and_others_told_why(dock, qtbot):
    edit = dock.changes.gene
    edit.clear()
    qtbot.keyClicks(edit, "T")
    offered = {edit.completer().model().index(k, 0).data() for k in range(50)} - {None}
    assert {"Tf1", "Tf2"} <= offered
    assert not offered & {"Tumour_mkr_0", "Target3"}
    choose(dock, qtbot, "Lig1")
    assert dock.changes.hint.text() == "Lig1 modulates Target1, Target2."
    choose(dock, qtbot, "Target3")
    assert "modulates no fitted gene" in dock.changes.hint.text()
    choose(dock, qtbot, "Nonesuch")
    assert not dock.changes.hint.isVisibleTo(dock)


def test_a_ring_shows_how_far_the_radius_reaches(dock, qtbot):
    layers = dock.viewer.layers
    dock.viewer.window._qt_window.show()
    qtbot.waitUntil(dock.isVisible)
    workspace(dock).selection = np.array([5, 9])
    assert reach.NAME not in layers
    dock.cells.scope.setCurrentText(NEAR)
    xy = session(dock.viewer).tissue.display_xy
    dock.cells.radius.setValue(60.0)
    first = layers[reach.NAME].data[0]
    np.testing.assert_allclose(first.mean(axis=0), xy[5, ::-1], atol=1e-6)
    np.testing.assert_allclose(np.ptp(first, axis=0), 120.0, rtol=1e-6)
    workspace(dock).selection = np.array([7])
    assert layers[reach.NAME].nshapes == 1
    dock.cells.scope.setCurrentText(CHOSEN)
    assert reach.NAME not in layers
    dock.cells.scope.setCurrentText(NEAR)
    layers.remove(layers[reach.NAME])  # a person takes it away
    dock.cells.radius.setValue(70.0)
    assert reach.NAME in layers
    dock.parentWidget().hide()
    assert reach.NAME not in layers


def test_the_bars_open(dock, qtbot):
    choose(dock, qtbot, "Tf1")
    run(dock, qtbot)
    qtbot.mouseClick(dock.results.bars_button, LEFT)
    window = dock.results.findChild(FigureWindow)
    assert window.windowTitle() == "knock-out of Tf1"
    assert window.area.widget() is window.canvas  # large figures scroll
    assert window.canvas.minimumHeight() >= 100
    window.close()


@pytest.mark.parametrize(
    ("gene", "says"), [("Nonesuch", "'Nonesuch' is not among"), ("", "no gene is to be changed")]
)
def test_what_is_wrong_is_one_sentence(dock, qtbot, gene, says):
    choose(dock, qtbot, gene)
    qtbot.mouseClick(dock.run_button, LEFT)
    assert not dock._runner.handles
    assert says in dock.sentence.text()


def test_a_gene_that_regulates_nothing_is_told(dock, qtbot):
    choose(dock, qtbot, "Target3")
    qtbot.mouseClick(dock.run_button, LEFT)
    assert "Target3" in dock.sentence.text()


def test_a_tissue_without_betas_says_what_to_do(dock):
    open_path(workspace(dock), samples.path("layered_tissue"))
    assert "no betas yet" in dock.sentence.text()
