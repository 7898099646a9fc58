"""What living cells are asked, clicked: genes ranked, held-out cells scored, stages, exports."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from environment_dock_cases import field_tissue, tiny_config, trained
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from celldyn import keys
from celldyn.environment.fitting import fit
from celldyn.environment.results import effect_names, read_effect, read_model, screen_names
from napari_celldyn.jobs import JobState
from napari_celldyn.session import session
from napari_celldyn.widgets.environment import EnvironmentWidget
from napari_celldyn.widgets.environment_export import animate
from napari_celldyn.widgets.environment_files import preprocessing_beside
from napari_celldyn.widgets.environment_look import CHANGE, GrowingLimits
from napari_celldyn.widgets.environment_modalities import (
    BOTH,
    COUNTS,
    Held,
    Modality,
    data_config,
    tables,
)
from napari_celldyn.widgets.environment_training import Learned

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def tissue():
    return field_tissue()


@pytest.fixture(scope="module")
def learned(tissue):
    """An environment that sees and tells expression; section s2 was held out."""
    chosen = [Modality("X", BOTH, COUNTS)]
    held = Held(cells=(tissue.obs["section"] == "s2").to_numpy())
    config = tiny_config()
    data = data_config(tissue, chosen, config.data, partition="section", held=held)
    config = config.replace(**data.model_dump())
    parts = tables(tissue, chosen, held)
    return Learned(fit(parts, config, device="cpu", progress_bar=False), ("X",))


@pytest.fixture
def dock(tissue, learned, qtbot):
    """The dock over a tissue with an environment."""
    viewer = ViewerModel()
    widget = EnvironmentWidget(viewer)
    qtbot.addWidget(widget)
    widget.resize(320, 3600)
    widget.show()
    qtbot.waitExposed(widget)
    widget.viewer, widget.place = viewer, session(viewer)
    widget.place.workspace.open(tissue.copy())
    widget._put(learned)
    for drawer in widget.results.always.values():
        drawer.open()
    yield widget
    widget.place.runner.shutdown()


@pytest.fixture
def lived(dock, qtbot):
    """The same with the cells of one section in the environment, five steps on."""
    results = dock.results
    results.who.setCurrentText("s1")
    finish(click(dock, results.enter_button, qtbot), qtbot)
    for drawer in results.drawers.values():
        drawer.open()
    qtbot.wait(1)
    step(dock, qtbot, 5)
    return dock


def click(dock, button, qtbot):
    runner = dock.place.runner
    before = len(runner.handles)
    qtbot.mouseClick(button, LEFT)
    return runner.handles[-1] if len(runner.handles) > before else None


def finish(handle, qtbot) -> None:
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error


def step(dock, qtbot, n: int = 1) -> None:
    for _ in range(n):
        finish(click(dock, dock.results.player.step_button, qtbot), qtbot)


def perturb(dock, qtbot, gene: str = "gene0", value: float = 200.0) -> None:
    panel = dock.results.perturb
    panel.changes.gene.setText(gene)
    panel.changes.kind.setCurrentText("set to")
    panel.changes.value.setValue(value)
    qtbot.mouseClick(panel.perturb_button, LEFT)
    assert not panel.sentence.text()


# --- the model on the tissue ------------------------------------------------------------------


def test_an_environment_on_the_tissue_is_there_again_when_it_is_opened(dock, learned):
    adata = dock.place.workspace.adata
    assert read_model(adata).timesteps == learned.fitted.timesteps
    dock.place.workspace.open(adata.copy())
    assert dock.shelf.learned.sources == ("X",)
    assert dock.results.isVisible()
    dock.place.workspace.open(field_tissue())
    assert dock.shelf.learned is None
    assert not dock.results.isVisible()


def test_it_is_saved_and_opened(dock, learned, tmp_path, qtbot):
    path = tmp_path / "cells.safetensors"
    finish(dock.files.save(path), qtbot)
    dock.place.workspace.open(field_tissue())
    handle = dock.files.open(path)  # two modalities stand in the rows: X and places
    qtbot.waitUntil(lambda: handle.state.over, timeout=30_000)
    assert "of 1 modalities and 2 are chosen" in handle.error
    dock.data.modalities.show([Modality("X", BOTH, COUNTS)])
    finish(dock.files.open(path), qtbot)
    assert dock.shelf.fitted.timesteps == learned.fitted.timesteps
    assert read_model(dock.place.workspace.adata).obs_names == learned.fitted.obs_names


def test_the_authors_preprocessing_is_looked_for_beside_their_weights(tmp_path):
    (tmp_path / "Cortex.pre").touch()
    assert preprocessing_beside(tmp_path / "Cortex-0800.weights") == tmp_path / "Cortex.pre"
    (tmp_path / "Cortex-0800.pre").touch()
    assert preprocessing_beside(tmp_path / "Cortex-0800.weights").name == "Cortex-0800.pre"


# --- colours of genes -------------------------------------------------------------------------


def test_without_told_places_they_live_in_their_own_space(lived):
    assert not lived.place.agents.on_tissue
    told_of = lived.results.view
    assert not told_of.where.model().item(0).isEnabled()


def test_the_change_of_a_told_gene_is_shown_about_zero(lived, qtbot):
    perturb(lived, qtbot)
    step(lived, qtbot, 5)
    view, stage = lived.results.view, lived.results.stage
    view.colour.setCurrentText(CHANGE)
    view.gene.setText("gene0")
    view.gene.picked.emit("gene0")
    shot = stage.shown
    change = stage.cells.told(shot.changed.position, 0, "gene0") - stage.cells.told(
        shot.plain.position, 0, "gene0"
    )
    low, high = lived.place.agents.movers.layer.face_contrast_limits
    assert low == -high
    assert high >= np.percentile(np.abs(change), 98)
    view.gene.picked.emit("gene0")
    view.gene.setText("other")
    view.gene.picked.emit("other")
    assert "'other'" in view.sentence.text()


def test_limits_only_grow_until_something_else_is_shown():
    limits = GrowingLimits()
    assert limits.take(np.array([0.0, 0.3]), "a", diverging=False) == (0.0, 0.5)
    assert limits.take(np.array([0.0, 3.0]), "a", diverging=False) == (0.0, 5.0)
    assert limits.take(np.array([0.0, 0.3]), "a", diverging=False) == (0.0, 5.0)
    assert limits.take(np.array([-0.3, 0.1]), "b", diverging=True) == (-0.5, 0.5)
    assert limits.take(np.zeros(3), "c", diverging=False) == (0.0, 1.0)


# --- ranking ----------------------------------------------------------------------------------


def test_genes_are_ranked_by_how_far_they_move_cells(lived, qtbot):
    panel = lived.results.screen
    panel.groups.setCurrentText("cell_type")
    finish(click(lived, panel.run_button, qtbot), qtbot)
    adata = lived.place.workspace.adata
    assert screen_names(adata) == ["genes knocked out in 80 cells"]
    shown = panel.table.frame
    assert len(shown) == 16
    assert shown["shift"].is_monotonic_decreasing
    assert panel.screen.groups[1:] == ("left", "right")
    first = shown["gene"].iloc[0]
    assert first == panel.screen.genes[int(panel.screen.shift[:, 0].argmax())]
    panel.table.chosen.emit(2)
    assert lived.results.perturb.changes.gene.text() == shown["gene"].iloc[2]
    panel.group.setCurrentText("left")
    assert panel.table.frame["shift"].iloc[0] == pytest.approx(panel.screen.shift[:, 1].max())


# --- scores -----------------------------------------------------------------------------------


def test_held_out_cells_are_scored_beside_simple_methods(dock, tissue, qtbot):
    scores = dock.results.scores
    assert not scores.table.isVisible()
    finish(click(dock, scores.button, qtbot), qtbot)
    assert {"environment", "mean", "ridge"} < set(scores.table.frame["method"])
    n = int((tissue.obs["section"] == "s2").sum())
    assert f"{n} cells, held out of the training" in scores.words.text()
    dock.place.workspace.open(dock.place.workspace.adata.copy())
    assert {"environment", "mean", "ridge"} < set(scores.table.frame["method"])


def test_scores_go_with_the_environment_that_they_are_of(dock, tissue, qtbot):
    scores = dock.results.scores
    finish(click(dock, scores.button, qtbot), qtbot)
    dock._put(Learned(trained(tissue), ("X", "obsm/spatial")))
    assert scores.quality is None
    finish(click(dock, scores.button, qtbot), qtbot)
    assert "all trained on" in scores.words.text()


# --- stages -----------------------------------------------------------------------------------


def test_stages_are_recovered_and_seen_by_a_slider(dock, tissue, tmp_path, qtbot):
    panel = dock.results.stages
    panel.column.setCurrentText("cell_type")
    panel.origin.setCurrentText("left")
    panel.terminal.setCurrentText("right")
    panel.time.setValue(2.0)
    finish(click(dock, panel.run_button, qtbot), qtbot)
    found = panel.recovery
    n = min(int((tissue.obs["cell_type"] == name).sum()) for name in ("left", "right"))
    assert found.n_pcells == n
    drawn = panel.drawing
    assert drawn.places.shape == (len(found.times), n, 2)
    panel.place.setValue(100)
    frame = int(found.frames_at(panel.biological())[0])
    expected = drawn.places[frame][:, ::-1]
    np.testing.assert_allclose(drawn.movers.layer.data, expected, rtol=1e-4)
    assert panel.now.text().startswith("biological time 0.5")
    panel.truth.setCurrentText("right")
    finish(click(dock, panel.compare_button, qtbot), qtbot)
    assert "environment" in set(panel.scores.frame["method"])
    panel.export(str(tmp_path / "stages.h5ad"))
    written = ad.read_h5ad(tmp_path / "stages.h5ad")
    assert written.shape == (6 * n, 16)
    assert written.obs["biological_time"].nunique() == 6


def test_two_stages_must_differ(dock, qtbot):
    panel = dock.results.stages
    panel.column.setCurrentText("cell_type")
    for box in (panel.origin, panel.terminal):
        box.setCurrentText("left")
    assert click(dock, panel.run_button, qtbot) is None
    assert panel.sentence.text().startswith("origin and terminal stage are the same")


# --- export -----------------------------------------------------------------------------------


def test_positions_and_the_shift_are_kept_on_the_tissue(lived, qtbot):
    export, stage = lived.results.export, lived.results.stage
    adata = lived.place.workspace.adata
    finish(click(lived, export.keep_button, qtbot), qtbot)
    at = stage.opened.at
    kept = np.asarray(adata.obsm[keys.ENVIRONMENT.name])
    np.testing.assert_array_equal(kept[at], stage.shown.plain.position)
    assert np.isnan(np.delete(kept, at, axis=0)).all()
    assert keys.ENVIRONMENT_IMPUTED.name in adata.layers
    perturb(lived, qtbot)
    step(lived, qtbot, 3)
    export.name.setText("high gene0")
    finish(click(lived, export.effect_button, qtbot), qtbot)
    assert effect_names(adata) == ["high gene0"]
    effect = read_effect(adata, "high gene0")
    np.testing.assert_allclose(effect.shift[at], stage.shown.shift(), rtol=1e-5)
    assert effect.said == ("gene0 = 200 (pre)",)
    np.testing.assert_allclose(effect.times, [0.0, 0.1, 0.2, 0.3], atol=1e-6)


def test_frames_are_written_as_a_table(lived, tmp_path, qtbot):
    perturb(lived, qtbot)
    step(lived, qtbot)
    path = tmp_path / "frames.h5ad"
    finish(lived.results.export.write_frames(path), qtbot)
    table = ad.read_h5ad(path)
    shots = list(lived.results.stage.reel)
    views = sum(1 if shot.changed is None else 2 for shot in shots)
    assert table.n_obs == 80 * views
    last = table[(table.obs["time"] == shots[-1].time) & (table.obs["world"] == "perturbed")]
    np.testing.assert_array_equal(last.obsm[keys.ENVIRONMENT.name], shots[-1].changed.position)


def test_a_movie_has_a_picture_for_each_frame(tmp_path):
    from PIL import Image

    pictures = []
    for k in range(3):
        path = tmp_path / f"frame_{k:05d}.png"
        Image.new("RGB", (20, 10), (80 * k, 10, 200 - 60 * k)).save(path)
        pictures.append(path)
    animate(pictures, tmp_path / "movie.gif")
    with Image.open(tmp_path / "movie.gif") as movie:
        assert (movie.n_frames, movie.size) == (3, (20, 10))
