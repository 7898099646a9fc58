"""The dock of the regularised VAE, clicked: keys, run, curves, latent space, figures, a gene."""

from __future__ import annotations

import time

import anndata
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from celldyn import keys
from celldyn.data import Source, column, gene_column, samples
from celldyn.jobs import run
from celldyn.vae import fit_job, prepare, stored, write_result
from celldyn.vae.config import VAEConfig
from napari_celldyn.jobs import JobState
from napari_celldyn.opening import open_path, save, session
from napari_celldyn.widgets import vae_keys
from napari_celldyn.widgets.figure_window import FigureWindow
from napari_celldyn.widgets.vae import NOTHING_OPEN, VAEWidget
from napari_celldyn.widgets.vae_umap import HIDE, SHOW

LEFT = Qt.MouseButton.LeftButton
SMALL = {"n_hidden": 16, "n_latent": 4}


@pytest.fixture
def make_dock(qtbot):
    """Give docks over viewers that have no window of their own."""
    made = []

    def make(path=None) -> VAEWidget:
        viewer = ViewerModel()
        if path is not None:
            open_path(session(viewer).workspace, path)
        widget = VAEWidget(viewer)
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
def dock(make_dock) -> VAEWidget:
    return make_dock(samples.path("three_sections"))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A file with a model in it, as a script leaves it."""
    adata = samples.load("three_sections")
    config = VAEConfig(
        batch_key="section", feature_scaling_covariate_keys=["section"], max_epochs=20,
        lr=3e-3, **SMALL,
    )  # fmt: skip
    write_result(adata, run(fit_job(prepare(adata, config), config), bar=False))
    path = tmp_path_factory.mktemp("vae") / "fitted.h5ad"
    adata.write_h5ad(path)
    return path


def workspace(dock):
    return session(dock.viewer).workspace


def small(dock, epochs: int) -> None:
    dock.model.put(**SMALL)
    dock.training.put(max_epochs=epochs)


def click_run(dock, qtbot):
    before = len(dock._runner.handles)
    qtbot.mouseClick(dock.run_button, LEFT)
    handles = dock._runner.handles
    return handles[-1] if len(handles) > before else None


def finish(handle, qtbot) -> None:
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error


def pick(box, data, qtbot) -> None:
    """Choose an item of a combo box by the arrow keys."""
    box.setFocus()
    steps = box.findData(data) - box.currentIndex()
    for _ in range(abs(steps)):
        qtbot.keyClick(box, Qt.Key.Key_Down if steps > 0 else Qt.Key.Key_Up)
    assert box.currentData() == data


def tick(checks, name, qtbot) -> None:
    """Click the mark of a row."""
    [item] = [
        checks.item(k)
        for k in range(checks.count())
        if checks.item(k).data(Qt.ItemDataRole.UserRole) == name
    ]
    where = checks.visualItemRect(item)
    at = where.center()
    at.setX(where.left() + 10)
    qtbot.mouseClick(checks.viewport(), LEFT, pos=at)


# --- keys -------------------------------------------------------------------------------------


def test_the_batch_is_proposed_and_what_is_done_about_it_is_chosen_and_its_cost_said(dock, qtbot):
    keys_ = dock.keys
    assert keys_.batch.currentText() == "section · 3"
    for how, scaling, told in (
        (vae_keys.SCALED, ["section"], []),
        (vae_keys.DECODED, None, ["section"]),
        (vae_keys.KEPT, None, []),
    ):
        if how != vae_keys.SCALED:  # the first is there already
            qtbot.keyClick(keys_.differ, Qt.Key.Key_Down)
        assert keys_.differ.currentText() == how
        assert keys_.words.text() == vae_keys.COSTS[how]
        config = dock.config()
        assert config.batch_key == "section"
        assert config.feature_scaling_covariate_keys == scaling
        assert config.nn_conditioning_covariate_keys == told


def test_without_a_key_all_cells_are_one_batch(dock, qtbot):
    pick(dock.keys.batch, None, qtbot)
    assert dock.keys.words.text() == vae_keys.ONE_BATCH
    assert not dock.keys.differ.isVisibleTo(dock)
    config = dock.config()
    assert config.batch_key is None
    assert config.one_batch
    inputs = prepare(workspace(dock).adata, config)
    assert [len(groups) for groups in (*inputs.ambient, inputs.dispersion)] == [1, 1]


def test_each_effect_can_have_keys_of_its_own(dock, qtbot):
    widget = dock.keys
    widget.mode.setCurrentText(vae_keys.BY_PURPOSE)
    purposes = widget.purposes
    assert purposes.isVisibleTo(dock)
    assert not widget.batch.isVisibleTo(dock)
    assert widget.words.text() == vae_keys.ONE_BATCH
    tick(purposes.checks["ambient_covariate_keys"], "section", qtbot)
    tick(purposes.checks["ambient_covariate_keys"], "domain", qtbot)
    assert click_run(dock, qtbot) is None
    assert "no column is chosen for dispersion" in dock.sentence.text()
    pick(purposes.boxes["dispersion_key"], "section", qtbot)
    pick(purposes.boxes["library_size_key"], "domain", qtbot)
    tick(purposes.checks["nn_conditioning_covariate_keys"], "section", qtbot)
    config = dock.config()
    assert sorted(config.ambient_covariate_keys) == ["domain", "section"]
    assert (config.dispersion_key, config.library_size_key) == ("section", "domain")
    assert config.nn_conditioning_covariate_keys == ["section"]
    assert config.feature_scaling_covariate_keys is None
    assert not config.one_batch
    tick(purposes.checks["ambient_covariate_keys"], "domain", qtbot)
    assert dock.config().ambient_covariate_keys == ["section"]


def test_which_key_is_for_which_effect_is_at_hand(dock, qtbot):
    dock.keys.effects.expand()
    [table] = dock.keys.effects.findChildren(vae_keys.FrameTable)
    frame = table.frame
    of = dict(zip(frame["key here"], frame["10x Chromium source"], strict=True))
    assert of["ambient RNA"] == "GEM well"
    assert not frame["key here"].isna().any()
    dock.keys.effects.collapse()
    dock.keys.effects.expand()
    assert len(dock.keys.effects.findChildren(vae_keys.FrameTable)) == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("some", "obs['some'] has no value for 1 cell, first 'cell_7'"),
        ("barcode", "obs['barcode'] names every cell by itself"),
        ("lab", "obs['lab'] has one value for all cells"),
    ],
)
def test_a_column_that_cannot_serve_says_why(dock, qtbot, name, says):
    adata = workspace(dock).adata
    adata.obs["some"] = pd.Categorical(["a", "b"] * 750)
    adata.obs.loc["cell_7", "some"] = np.nan
    adata.obs["barcode"] = [f"AC{k}" for k in range(adata.n_obs)]
    adata.obs["lab"] = "here"
    workspace(dock).announce({"obs/some", "obs/barcode", "obs/lab"})
    box = dock.keys.batch
    assert box.currentData() == "section"
    assert box.itemText(box.findData(name)) == f"{name} · cannot serve"
    pick(box, name, qtbot)
    assert says in dock.keys.sentence.text()
    assert click_run(dock, qtbot) is None
    assert says in dock.sentence.text()
    pick(box, "section", qtbot)
    assert not dock.keys.sentence.isVisibleTo(dock)
    assert not dock.sentence.isVisibleTo(dock)


def test_the_dock_fits_the_narrowest_window(dock, qtbot):
    for fold in (*dock.folds, dock.keys.effects, dock.keys.purposes.more):
        fold.expand()
    dock.keys.mode.setCurrentText(vae_keys.BY_PURPOSE)
    for form in (dock.model, dock.training):
        form.advanced.expand()
    assert dock.widget().minimumSizeHint().width() <= dock.WIDTH


def test_it_is_in_the_menu_of_the_plugin(make_napari_viewer):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-celldyn", "Regularised VAE")
    assert isinstance(widget, VAEWidget)


# --- running ----------------------------------------------------------------------------------


def test_a_click_on_run_fits_and_shows_the_latent_space_beside_the_tissue(make_dock, qtbot):
    dock = make_dock()
    workspace(dock).open(samples.load("three_sections")[::5].copy())
    small(dock, 4)
    handle = click_run(dock, qtbot)
    finish(handle, qtbot)
    adata = workspace(dock).adata
    assert adata.obsm["X_vae"].shape == (adata.n_obs, 4)
    assert workspace(dock).unsaved
    assert "4 latent dimensions, 4 epochs" in dock.results.summary.text()
    umap = dock._runner.handles[-1]
    assert umap is not handle
    assert not dock.results.umap.button.isEnabled()
    finish(umap, qtbot)
    assert dock.results.umap.button.isEnabled()
    view = session(dock.viewer).embedding
    assert view.key == keys.VAE_UMAP.name
    assert view.layer in dock.viewer.layers
    assert dock.results.umap.button.text() == HIDE
    assert view.pick(view.display_xy[17]) == 17  # the same cells: a click there chooses here
    qtbot.mouseClick(dock.results.umap.button, LEFT)
    assert view.key is None
    assert dock.results.umap.button.text() == SHOW
    qtbot.mouseClick(dock.results.umap.button, LEFT)
    assert view.key == keys.VAE_UMAP.name


def test_the_losses_are_drawn_one_term_at_a_time(dock, qtbot):
    small(dock, 5)
    handle = click_run(dock, qtbot)
    qtbot.waitUntil(lambda: dock.losses.plot is not None, timeout=60_000)
    finish(handle, qtbot)
    losses = dock.losses
    terms = [losses.term.itemText(k) for k in range(losses.term.count())]
    assert terms == ["elbo", "reconstruction", "KL z", "KL library"]
    drawn = {item.name(): item.getData()[1] for item in losses.plot.listDataItems()}
    assert set(drawn) == {"elbo", "elbo, held out"}
    history = stored(workspace(dock).adata).history
    np.testing.assert_allclose(drawn["elbo"], history["elbo_train"], rtol=1e-6)
    held_out = history["elbo_validation"].dropna()
    np.testing.assert_allclose(drawn["elbo, held out"], held_out, rtol=1e-6)
    losses.term.setFocus()
    for _ in range(2):
        qtbot.keyClick(losses.term, Qt.Key.Key_Down)
    drawn = {item.name(): item.getData()[1] for item in losses.plot.listDataItems()}
    np.testing.assert_allclose(drawn["KL z"], history["kl_z_train"], rtol=1e-6)


def test_the_best_epoch_is_marked(dock, qtbot):
    small(dock, 5)
    handle = click_run(dock, qtbot)
    finish(handle, qtbot)
    best = stored(workspace(dock).adata).best_epoch
    [line] = [item for item in dock.losses.plot.items() if type(item).__name__ == "InfiniteLine"]
    assert line.value() == handle.metrics["loss/elbo"][best][0]
    assert f"best held-out loss in epoch {best + 1}" in dock.results.summary.text()


def test_the_window_and_a_script_give_equal_arrays(dock, qtbot):
    small(dock, 2)
    config = dock.config()
    finish(click_run(dock, qtbot), qtbot)
    headless = samples.load("three_sections")
    write_result(headless, run(fit_job(prepare(headless, config), config), bar=False))
    np.testing.assert_array_equal(headless.obsm["X_vae"], workspace(dock).adata.obsm["X_vae"])


def test_cancel_answers_within_half_a_second_and_changes_nothing(dock, qtbot):
    small(dock, 100_000)
    adata = workspace(dock).adata
    before = {slot: set(getattr(adata, slot)) for slot in ("obs", "obsm", "varm", "layers", "uns")}
    handle = click_run(dock, qtbot)
    qtbot.waitUntil(lambda: "loss/elbo" in handle.metrics, timeout=60_000)
    start = time.perf_counter()
    qtbot.mouseClick(dock.jobs.card.cancel_button, LEFT)
    qtbot.waitUntil(lambda: handle.state.over, timeout=5000)
    assert time.perf_counter() - start < 0.5
    assert handle.state is JobState.CANCELLED
    after = {slot: set(getattr(adata, slot)) for slot in before}
    assert after == before
    assert not workspace(dock).unsaved
    assert dock.results.stored is None


def test_a_second_fit_takes_away_what_came_of_the_first(make_dock, fitted, qtbot):
    dock = make_dock(fitted)
    adata = workspace(dock).adata
    adata.obs[keys.VAE_DENOISED(gene="gene_0")] = 0.5
    adata.obsm[keys.VAE_UMAP.name] = np.zeros((adata.n_obs, 2), np.float32)
    small(dock, 1)
    finish(click_run(dock, qtbot), qtbot)
    assert keys.VAE_DENOISED(gene="gene_0") not in adata.obs
    assert keys.VAE_UMAP.name not in adata.obsm
    assert len(dock.results.stored.history) == 1


# --- what is wrong ----------------------------------------------------------------------------


def test_without_a_tissue_it_says_so(make_dock):
    dock = make_dock()
    assert dock.sentence.text() == NOTHING_OPEN
    assert not dock.run_button.isEnabled()
    assert not dock.results.isVisibleTo(dock)


def test_expression_that_is_no_count_is_one_sentence(make_dock, tmp_path, qtbot):
    adata = samples.load("three_sections")
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(tmp_path / "normalised.h5ad")
    dock = make_dock(tmp_path / "normalised.h5ad")
    small(dock, 1)
    handle = click_run(dock, qtbot)
    qtbot.waitUntil(lambda: handle.state.over, timeout=10_000)
    assert handle.state is JobState.FAILED
    assert "not a raw count" in handle.error
    assert "X_vae" not in workspace(dock).adata.obsm
    pick(dock.keys.layer, "counts", qtbot)
    finish(click_run(dock, qtbot), qtbot)


def test_a_parameter_out_of_its_bounds_is_one_sentence(dock, qtbot):
    dock.training.editor("max_epochs").setText("many")
    assert click_run(dock, qtbot) is None
    assert "max_epochs" in dock.sentence.text()


# --- what it found ----------------------------------------------------------------------------


def test_a_model_in_a_file_is_shown_as_one_made_now(make_dock, fitted, qtbot, tmp_path):
    dock = make_dock(fitted)
    results = dock.results
    assert results.isVisibleTo(dock)
    found = stored(anndata.read_h5ad(fitted))
    percent = results.shares.frame["ambient %"]
    np.testing.assert_allclose(percent, 100 * found.shares["share"], atol=0.051)
    assert list(results.shares.frame["group"]) == ["section_0", "section_1", "section_2"]
    low, high = (round(100 * found.shares[end][0], 1) for end in ("low", "high"))
    assert results.shares.frame["between"][0] == f"{low:g} – {high:g}"
    words = results.summary.text()
    save(workspace(dock), tmp_path / "again.zarr")
    open_path(workspace(dock), samples.path("layered_tissue"))
    assert not results.isVisibleTo(dock)
    open_path(workspace(dock), tmp_path / "again.zarr")
    assert results.summary.text() == words
    assert results.stored.history.equals(found.history)


def test_every_figure_opens(make_dock, fitted, qtbot):
    dock = make_dock(fitted)
    for name, button in dock.results.buttons.items():
        assert button.isEnabled(), name
        qtbot.mouseClick(button, LEFT)
        [window] = dock.results.findChildren(FigureWindow)
        assert window.isVisible(), dock.results.sentence.text()
        window.canvas.draw()
        window.close()
        window.setParent(None)


def test_what_a_model_lacks_cannot_be_clicked_and_says_so(dock, qtbot):
    small(dock, 1)
    dock.model.put(use_additive_background=False)
    finish(click_run(dock, qtbot), qtbot)
    off = {name for name, button in dock.results.buttons.items() if not button.isEnabled()}
    assert off == {"Ambient RNA…", "Shares…"}
    share = dock.results.colours["Ambient share"]
    assert not share.isEnabled()
    assert "this model has none" in share.toolTip()
    assert not dock.results.shares.isVisibleTo(dock)


def test_the_cells_are_coloured_by_library_and_ambient_share(make_dock, fitted, qtbot):
    dock = make_dock(fitted)
    for button, name in zip(
        dock.results.colours.values(), ("vae_library", "vae_background_share"), strict=True
    ):
        qtbot.mouseClick(button, LEFT)
        assert workspace(dock).colour == Source("obs", name)
        shown = session(dock.viewer).tissue.column.values
        assert np.isfinite(shown).all()
        assert (shown > 0).all()


def test_a_gene_is_shown_without_noise_and_raw_again(make_dock, fitted, qtbot):
    dock = make_dock(fitted)
    widget, adata = dock.results.denoise, workspace(dock).adata
    gene = str(adata.var_names[0])
    assert not widget.blink_button.isEnabled()
    qtbot.keyClicks(widget.gene, gene)
    qtbot.mouseClick(widget.button, LEFT)
    finish(dock._runner.handles[-1], qtbot)
    key = keys.VAE_DENOISED(gene=gene)
    assert workspace(dock).colour == Source("obs", key)
    view = session(dock.viewer).tissue
    values = adata.obs[key].to_numpy()
    np.testing.assert_array_equal(view.column.values, values)
    assert view.limits == pytest.approx(tuple(np.percentile(values, view.percentiles)))
    assert column(adata, Source("obs", key)).label == f"{gene} denoised"
    raw = gene_column(adata, gene)
    assert np.corrcoef(raw, values)[0, 1] > 0.3
    assert values.std() < raw.std()
    qtbot.mouseClick(widget.blink_button, LEFT)
    assert workspace(dock).colour == Source("X", column=gene)
    assert widget.blink_button.text() == "Denoised"
    qtbot.mouseClick(widget.blink_button, LEFT)
    assert workspace(dock).colour == Source("obs", key)


@pytest.mark.parametrize(("gene", "says"), [("", "no gene is chosen"), ("Nonesuch", "Nonesuch")])
def test_a_gene_that_is_not_there_is_one_sentence(make_dock, fitted, qtbot, gene, says):
    dock = make_dock(fitted)
    widget = dock.results.denoise
    qtbot.keyClicks(widget.gene, gene)
    before = len(dock._runner.handles)
    qtbot.mouseClick(widget.button, LEFT)
    assert says in widget.sentence.text()
    assert len(dock._runner.handles) == before
