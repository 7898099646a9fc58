"""The dock of the landscape, clicked: run, stop, go on, losses, results, model files."""

from __future__ import annotations

import time

import anndata
import numpy as np
import pytest
from landscape_dock_cases import (
    FATES,
    branching_tissue,
    fitted_tissue,
    prepared_tissue,
    small_config,
)
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from celldyn import keys
from celldyn.data import Source
from celldyn.jobs import run
from celldyn.landscape import LSD, consensus_pseudotime
from celldyn.landscape.config import LSDConfig
from celldyn.landscape.results import read_effect, read_model
from napari_celldyn.jobs import JobState
from napari_celldyn.opening import open_path, save, session
from napari_celldyn.widgets.landscape import LandscapeWidget
from napari_celldyn.widgets.landscape_ensemble import together
from napari_celldyn.widgets.landscape_prior import COLUMN
from napari_celldyn.widgets.landscape_ready import NOTHING_OPEN

LEFT = Qt.MouseButton.LeftButton
LEARNED = {
    keys.POTENTIAL.name, keys.ENTROPY.name, keys.PSEUDOTIME.name, keys.FLOW_TIME.name,
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared():
    return prepared_tissue()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A file with a landscape in it, as a script leaves it."""
    path = tmp_path_factory.mktemp("landscape") / "fitted.h5ad"
    fitted_tissue(epochs=6).write_h5ad(path)
    return path


@pytest.fixture
def make_dock(qtbot):
    """Give docks over viewers that have no window of their own."""
    made = []

    def make(adata=None) -> LandscapeWidget:
        viewer = ViewerModel()
        if adata is not None:
            session(viewer).workspace.open(adata)
        widget = LandscapeWidget(viewer)
        qtbot.addWidget(widget)
        widget.resize(widget.sizeHint())
        widget.show()
        qtbot.waitExposed(widget)
        widget.viewer = viewer
        made.append(widget)
        return widget

    yield make
    for widget in made:
        widget._runner.shutdown()


@pytest.fixture
def dock(make_dock, prepared) -> LandscapeWidget:
    widget = make_dock(prepared.copy())
    by_time(widget)
    return widget


def by_time(dock, epochs: int = 3) -> None:
    """Set the dock to a small model along the true time."""
    config = small_config(epochs)
    dock.form.put(model=config.model, walks=config.walks, optimizer=config.optimizer)
    dock.training.put(num_epochs=epochs)
    dock.prior.kind.setCurrentText(COLUMN)
    dock.prior.time.choose("true_time")


def workspace(dock):
    return session(dock.viewer).workspace


def click(dock, button, qtbot):
    before = len(dock._runner.handles)
    qtbot.waitUntil(lambda: button.height() > 5)  # laid out, in a drawer that was just opened
    qtbot.mouseClick(button, LEFT)
    handles = dock._runner.handles
    return handles[-1] if len(handles) > before else None


def finish(handle, qtbot) -> None:
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error


# --- running ----------------------------------------------------------------------------------


def test_a_click_on_run_learns_a_landscape_and_shows_it(dock, qtbot):
    assert not dock.results.isVisibleTo(dock)
    assert not dock.more_button.isEnabled()
    handle = click(dock, dock.run_button, qtbot)
    assert dock.stop_button.isVisibleTo(dock)
    assert not dock.run_button.isEnabled()
    finish(handle, qtbot)
    adata = workspace(dock).adata
    assert set(adata.obs) >= LEARNED
    assert adata.obsm[keys.CELL_STATE.name].shape == (adata.n_obs, 4)
    np.testing.assert_allclose(adata.obsp[keys.TRANSITIONS.name].sum(axis=1), 1.0, rtol=1e-6)
    assert workspace(dock).unsaved
    assert workspace(dock).colour == Source("obs", keys.POTENTIAL.name)
    view = session(dock.viewer).embedding
    assert view.key == keys.DIFF_STATE.name
    assert dock.results.isVisibleTo(dock)
    assert dock.results.summary.text().startswith("4 dimensions, 60 genes, 3 epochs")
    assert dock.run_button.isEnabled()
    assert dock.more_button.isEnabled()
    assert not dock.stop_button.isVisibleTo(dock)


def test_the_window_and_a_script_give_equal_arrays(dock, prepared, qtbot):
    config = dock.config()
    finish(click(dock, dock.run_button, qtbot), qtbot)
    lsd = LSD(prepared.copy(), config, "cpu")
    lsd.set_prior_transition(prior_time_key="true_time")
    lsd.prepare_walks()
    lsd.train()
    ours, theirs = workspace(dock).adata, lsd.get_adata()
    for name in LEARNED:
        np.testing.assert_array_equal(ours.obs[name], theirs.obs[name])
    np.testing.assert_array_equal(ours.obsm["X_cell_state"], theirs.obsm["X_cell_state"])


def test_the_losses_are_drawn_one_term_at_a_time(dock, qtbot):
    handle = click(dock, dock.run_button, qtbot)
    finish(handle, qtbot)
    losses = dock.losses
    terms = [losses.term.itemText(k) for k in range(losses.term.count())]
    assert terms[0] == "loss"
    assert {"reconstruction", "kl_z", "kl_B", "W2", "V"} <= set(terms)
    drawn = {item.name(): item.getData()[1] for item in losses.plot.listDataItems()}
    history = dock.shelf.at_hand.history
    np.testing.assert_allclose(drawn["loss"], history["loss"], rtol=1e-6)
    np.testing.assert_allclose(drawn["loss, held out"], history["held_out_loss"], rtol=1e-6)


def test_a_root_is_clicked_and_run_computes_its_pseudotime_first(make_dock, prepared, qtbot):
    dock = make_dock(prepared.copy())
    by_time(dock)
    dock.prior.kind.setCurrentIndex(0)
    workspace(dock).selection = np.array([0, 1])
    pseudotime = click(dock, dock.run_button, qtbot)
    assert pseudotime.title == "Pseudotime from cell_0, cell_1"
    qtbot.waitUntil(lambda: len(dock._runner.handles) == 2, timeout=60_000)
    finish(dock._runner.handles[-1], qtbot)
    adata = workspace(dock).adata
    assert adata.obs[[keys.DPT.name, "true_time"]].corr("spearman").iloc[0, 1] > 0.9
    assert keys.POTENTIAL.name in adata.obs


def test_a_stop_keeps_the_last_whole_epoch_and_go_on_goes_on(dock, qtbot):
    dock.training.put(num_epochs=100_000)
    handle = click(dock, dock.run_button, qtbot)
    qtbot.waitUntil(lambda: len(handle.metrics.get("loss/loss", ())) >= 2, timeout=60_000)
    qtbot.mouseClick(dock.stop_button, LEFT)
    finish(handle, qtbot)
    done = dock.shelf.at_hand.epoch
    assert 2 <= done < 100_000
    assert f"Stopped after {done:,} epochs" in dock.sentence.text()
    before = workspace(dock).adata.obs[keys.POTENTIAL.name].copy()
    dock.training.put(num_epochs=2)
    finish(click(dock, dock.more_button, qtbot), qtbot)
    assert dock.shelf.at_hand.epoch == done + 2
    assert not dock.sentence.isVisibleTo(dock)
    after = workspace(dock).adata.obs[keys.POTENTIAL.name]
    assert not np.allclose(before, after)


def test_training_goes_on_from_a_file_as_if_it_had_not_stopped(make_dock, fitted, prepared, qtbot):
    dock = make_dock(anndata.read_h5ad(fitted))
    assert dock.results.summary.text().startswith("4 dimensions, 60 genes, 6 epochs")
    dock.training.put(num_epochs=2)
    finish(click(dock, dock.more_button, qtbot), qtbot)
    whole = LSD(prepared.copy(), small_config(epochs=8), "cpu")
    whole.set_prior_transition(prior_time_key="true_time")
    whole.prepare_walks()
    whole.train()
    expected = whole.get_adata().obs[keys.POTENTIAL.name]
    np.testing.assert_allclose(workspace(dock).adata.obs[keys.POTENTIAL.name], expected, rtol=1e-4)


def test_cancel_answers_within_half_a_second_and_changes_nothing(dock, qtbot):
    dock.training.put(num_epochs=100_000)
    adata = workspace(dock).adata
    before = {slot: set(getattr(adata, slot)) for slot in ("obs", "obsm", "obsp", "layers", "uns")}
    handle = click(dock, dock.run_button, qtbot)
    qtbot.waitUntil(lambda: "loss/loss" in handle.metrics, timeout=60_000)
    start = time.perf_counter()
    qtbot.mouseClick(dock.jobs.card.cancel_button, LEFT)
    qtbot.waitUntil(lambda: handle.state.over, timeout=5000)
    assert time.perf_counter() - start < 0.5
    assert handle.state is JobState.CANCELLED
    assert {slot: set(getattr(adata, slot)) for slot in before} == before
    assert not workspace(dock).unsaved
    assert dock.run_button.isEnabled()


# --- what is wrong ----------------------------------------------------------------------------


def test_without_a_tissue_it_says_so(make_dock):
    dock = make_dock()
    assert dock.sentence.text() == NOTHING_OPEN
    assert not dock.run_button.isEnabled()
    assert not dock.results.isVisibleTo(dock)


def test_raw_counts_alone_are_one_sentence_with_a_way_out(make_dock, qtbot):
    dock = make_dock(branching_tissue())
    assert click(dock, dock.run_button, qtbot) is None
    assert "click Prepare first" in dock.sentence.text()
    assert dock.ready.prepare_button.isVisibleTo(dock)


def test_every_branch_of_the_parameters_is_asked_and_what_is_wrong_is_one_sentence(dock, qtbot):
    model = dock.form._editors["model"].native.form
    model.editor("z_dim").setValue(3)
    widths = model._editors["layer_dims"].native.form.editor("potential")
    widths.setText("8, many")
    assert click(dock, dock.run_button, qtbot) is None
    assert "many" in dock.sentence.text()
    widths.setText("8, 4")
    assert not dock.sentence.isVisibleTo(dock)
    config = dock.config()
    assert (config.model.z_dim, config.model.layer_dims.potential) == (3, (8, 4))
    assert config.training.num_epochs == 3


def test_a_pseudotime_that_is_the_same_everywhere_is_one_sentence(dock, qtbot):
    workspace(dock).adata.obs["flat"] = 0.5
    workspace(dock).announce({"obs/flat"})
    dock.prior.time.choose("flat")
    handle = click(dock, dock.run_button, qtbot)
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert handle.state is JobState.FAILED
    assert "pseudotime is 0.5 in every cell" in handle.error
    assert not handle.failure.sentence.endswith("details.")
    assert dock.run_button.isEnabled()


# --- results ----------------------------------------------------------------------------------


def test_a_landscape_in_a_file_is_shown_as_one_made_now(make_dock, fitted, qtbot, tmp_path):
    dock = make_dock(anndata.read_h5ad(fitted))
    assert dock.results.isVisibleTo(dock)
    assert dock.more_button.isEnabled()
    words = dock.results.summary.text()
    save(workspace(dock), tmp_path / "again.zarr")
    workspace(dock).open(branching_tissue())
    assert not dock.results.isVisibleTo(dock)
    assert not dock.more_button.isEnabled()
    open_path(workspace(dock), tmp_path / "again.zarr")
    assert dock.results.summary.text() == words


def test_a_second_landscape_takes_away_what_was_asked_of_the_first(make_dock, fitted, qtbot):
    dock = make_dock(anndata.read_h5ad(fitted))
    by_time(dock)
    adata = workspace(dock).adata
    adata.obsm[keys.FATES.name] = np.full((adata.n_obs, 2), 0.5)
    adata.obs[keys.FATE.name] = FATES[0]
    finish(click(dock, dock.run_button, qtbot), qtbot)
    assert keys.FATES.name not in adata.obsm
    assert keys.FATE.name not in adata.obs
    assert read_model(adata).fitted.epoch == 3


def test_the_model_goes_to_a_file_and_comes_back(make_dock, fitted, prepared, qtbot, tmp_path):
    dock = make_dock(anndata.read_h5ad(fitted))
    path = tmp_path / "mine.safetensors"
    finish(dock.files.save(path), qtbot)
    other = make_dock(prepared.copy())
    assert not other.files.save_button.isEnabled()
    finish(other.files.open(path), qtbot)
    ours, theirs = workspace(other).adata, workspace(dock).adata
    np.testing.assert_allclose(ours.obs["potential"], theirs.obs["potential"], rtol=1e-5)
    assert other.files.save_button.isEnabled()
    assert other.results.isVisibleTo(other)


def test_a_file_that_is_no_model_is_one_sentence(dock, qtbot, tmp_path):
    path = tmp_path / "wrong.safetensors"
    path.write_text("nothing of the kind")
    handle = dock.files.open(path)
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert handle.state is JobState.FAILED
    assert "wrong.safetensors" in handle.error
    assert "defect" not in handle.error


def test_the_dock_fits_the_narrowest_window(make_dock, fitted):
    dock = make_dock(anndata.read_h5ad(fitted))
    dock.parameters.expand()
    for editor in dock.form._editors.values():
        editor.native.fold.expand()
    for drawer in dock.results.drawers.values():
        drawer.open()
    dock.prior.phylogeny.check.setChecked(True)
    assert dock.widget().minimumSizeHint().width() <= dock.WIDTH


def test_it_is_in_the_menu_of_the_plugin(make_napari_viewer):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-celldyn", "Landscape")
    assert isinstance(widget, LandscapeWidget)


# --- several models ---------------------------------------------------------------------------


def test_several_models_agree_on_time_and_are_asked_together(dock, qtbot):
    dock.models.setValue(2)
    finish(click(dock, dock.run_button, qtbot), qtbot)
    adata, models = workspace(dock).adata, dock.shelf.models
    assert [model.cfg.walks.random_state for model in models] == [42, 43]
    assert all(model.epoch == 3 for model in models)
    assert not np.array_equal(models[0].walks, models[1].walks)
    both = [run(model.states_job(), bar=False).pseudotime for model in models]
    consensus = consensus_pseudotime(both)
    np.testing.assert_allclose(adata.obs[keys.PSEUDOTIME.name], consensus.value, rtol=1e-5)
    np.testing.assert_allclose(adata.obs[keys.PSEUDOTIME_SPREAD.name], consensus.spread, rtol=1e-5)
    assert dock.results.summary.text().startswith("2 models, asked together")
    fates = dock.results.fates
    dock.results.drawers["Fates"].open()
    fates.ends.column.setCurrentText("clusters")
    fates.runs.setValue(4)
    finish(click(dock, fates.run_button, qtbot), qtbot)
    agreement = adata.obs[keys.FATE_AGREEMENT.name]
    assert set(agreement.unique()) <= {0.0, 0.5, 1.0}  # 0 where each says another
    workspace(dock).selection = np.array([200])
    assert f"{agreement.iloc[200]:.0%} of the models agree" in fates.view.words.text()
    perturb = dock.results.perturb
    dock.results.drawers["Perturb"].open()
    perturb.form.put(n_null=5, n_bootstrap=20)
    perturb.clusters.setCurrentText("clusters")
    perturb.changes.gene.setText("gene_3")
    finish(click(dock, perturb.run_button, qtbot), qtbot)
    effect = read_effect(adata, perturb.results.scenario.currentText())
    pooled = together(models).perturb_effects(effect.perturbation, config=effect.config)
    np.testing.assert_allclose(effect.effect, pooled.effect, atol=1e-6)
    np.testing.assert_allclose(effect.low, pooled.low, atol=1e-6)
    assert "Mean of 2 models; of one sign in:" in perturb.results.view.words.text()
    dock.models.setValue(1)
    finish(click(dock, dock.run_button, qtbot), qtbot)
    assert keys.PSEUDOTIME_SPREAD.name not in adata.obs
    assert keys.FATE_AGREEMENT.name not in adata.obs


def test_a_preset_fills_the_forms_and_what_is_recommended_is_there_first(make_dock):
    dock = make_dock()
    assert dock.config() == LSDConfig.preset("recommended")
    dock.preset.setCurrentText("reference")
    dock.preset.textActivated.emit("reference")
    assert dock.config() == LSDConfig.preset("reference")
