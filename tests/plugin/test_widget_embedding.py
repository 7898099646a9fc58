"""The embedding's part of the tissue dock, really clicked."""

from __future__ import annotations

import numpy as np
import pytest
from tissue_dock import LEFT, open_dock, tissue

from napari_celldyn.jobs import JobState
from napari_celldyn.session import session


@pytest.fixture
def dock(qtbot):
    return open_dock(qtbot)


def with_embeddings(workspace) -> None:
    adata = tissue()
    rng = np.random.default_rng(1)
    adata.obsm["X_pca"] = rng.normal(size=(60, 8))
    adata.obsm["X_umap"] = rng.normal(size=(60, 2))
    workspace.open(adata)


def test_a_click_shows_the_umap_beside_the_tissue_and_another_hides_it(dock, qtbot):
    viewer, widget, workspace = dock
    panel, view = widget.embedding, session(viewer).embedding
    with_embeddings(workspace)
    assert [panel.key.itemText(i) for i in range(panel.key.count())] == ["X_umap", "X_pca"]
    assert not panel.compute.isVisible()
    qtbot.mouseClick(panel.check, LEFT)
    assert view.key == "X_umap"
    assert view.layer in viewer.layers
    panel.key.setCurrentText("X_pca")
    panel.key.activated.emit(1)
    assert view.key == "X_pca"
    qtbot.mouseClick(panel.check, LEFT)
    assert view.layer is None
    assert panel.key.currentText() == "X_pca"


def test_deleting_the_layer_clears_the_mark(dock, qtbot):
    viewer, widget, workspace = dock
    with_embeddings(workspace)
    qtbot.mouseClick(widget.embedding.check, LEFT)
    viewer.layers.remove(session(viewer).embedding.layer)
    assert not widget.embedding.check.isChecked()


def test_without_an_embedding_it_says_why_and_a_click_makes_one(dock, qtbot):
    viewer, widget, workspace = dock
    panel = widget.embedding
    assert not panel.check.isEnabled()
    assert "no embedding" in panel.check.toolTip()
    qtbot.mouseClick(panel.compute, LEFT)
    handle = session(viewer).runner.handles[-1]
    assert panel.card_place.card is not None
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error
    assert workspace.require().obsm["X_umap"].shape == (60, 2)
    assert session(viewer).embedding.key == "X_umap"
    assert panel.check.isChecked()
    assert not panel.compute.isVisible()
    assert workspace.unsaved


def test_a_umap_can_be_cancelled_at_once(dock, qtbot):
    _, widget, workspace = dock
    handle = widget.embedding.run()
    qtbot.waitUntil(lambda: handle.progress is not None, timeout=5000)
    qtbot.mouseClick(widget.embedding.card_place.card.cancel_button, LEFT)
    qtbot.waitUntil(lambda: handle.state.over, timeout=1000)
    assert handle.state is JobState.CANCELLED
    assert "X_umap" not in workspace.require().obsm


def test_too_few_cells_are_one_sentence(dock, qtbot):
    _, widget, workspace = dock
    workspace.open(tissue()[:8].copy())
    qtbot.mouseClick(widget.embedding.compute, LEFT)
    assert "too few" in widget.embedding.message.text()
