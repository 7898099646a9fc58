"""What a landscape is learned from: what is there, what is missing, and Prepare."""

from __future__ import annotations

import numpy as np
import pytest
from landscape_dock_cases import branching_tissue, prepared_tissue
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from celldyn.errors import CelldynError
from celldyn.landscape.inputs import read_inputs
from napari_celldyn.jobs import JobState
from napari_celldyn.session import session
from napari_celldyn.widgets.landscape_ready import NOTHING_OPEN, LandscapeReady

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def make_ready(qtbot):
    made = []

    def make(adata=None) -> LandscapeReady:
        viewer = ViewerModel()
        place = session(viewer)
        if adata is not None:
            place.workspace.open(adata)
        widget = LandscapeReady(place)
        qtbot.addWidget(widget)
        widget.show()
        qtbot.waitExposed(widget)
        widget.viewer, widget.place = viewer, place
        made.append(place)
        return widget

    yield make
    for place in made:
        place.runner.shutdown()


def prepare(ready, qtbot) -> None:
    qtbot.mouseClick(ready.prepare_button, LEFT)
    handle = ready.place.runner.handles[-1]
    qtbot.waitUntil(lambda: handle.state.over, timeout=120_000)
    assert handle.state is JobState.DONE, handle.error


def test_without_a_tissue_it_says_so(make_ready):
    ready = make_ready()
    assert ready.words.text() == NOTHING_OPEN
    assert not ready.prepare_button.isVisible()
    with pytest.raises(CelldynError, match="no tissue is open"):
        ready.tissue()


def test_what_is_there_is_taken_as_it_is(make_ready):
    adata = prepared_tissue()
    adata.layers["counts"] = adata.layers.pop("raw")
    ready = make_ready(adata)
    assert ready.layer_key == "counts"
    assert ready.words.text() == (
        "There: 60 genes, counts in layers['counts'], log-normalised X, neighbours. "
        "Library sizes are counted from the layer."
    )
    assert not ready.prepare_button.isVisible()
    held = ready.tissue()
    assert held is not adata
    assert held.X is adata.X  # shared, not copied
    assert held.obs is not adata.obs


def test_prepare_makes_what_is_missing_and_leaves_the_rest(make_ready, qtbot):
    adata = branching_tissue()
    adata.obsm["X_pca"] = mine = np.ones((adata.n_obs, 2))
    counts, spatial = adata.X.copy(), adata.obsm["spatial"].copy()
    ready = make_ready(adata)
    assert "Missing: a layer of raw counts, log-normalised X, a neighbour graph." in (
        ready.words.text()
    )
    with pytest.raises(CelldynError, match=r"lacks a layer of raw counts and .* click Prepare"):
        ready.tissue()
    prepare(ready, qtbot)
    assert ready.place.workspace.adata is adata
    assert ready.place.workspace.unsaved
    assert (adata.layers["raw"] != counts).nnz == 0
    logs = np.log1p(counts.toarray() * (1e4 / counts.toarray().sum(axis=1))[:, None])
    np.testing.assert_allclose(adata.X.toarray(), logs, rtol=1e-5)
    np.testing.assert_array_equal(adata.obsm["spatial"], spatial)
    np.testing.assert_array_equal(adata.obsm["X_pca"], mine)
    assert adata.obsp["connectivities"].shape == (adata.n_obs, adata.n_obs)
    assert ready.layer_key == "raw"
    assert not ready.prepare_button.isVisible()
    inputs = read_inputs(ready.tissue(), layer=ready.layer_key)
    assert inputs.genes == tuple(adata.var_names)


def test_cells_without_counts_go_and_that_is_said(make_ready, qtbot):
    adata = branching_tissue()
    X = adata.X.tolil()
    X[[3, 50]] = 0
    adata.X = X.tocsr()
    ready = make_ready(adata)
    prepare(ready, qtbot)
    now = ready.place.workspace.adata
    assert now.n_obs == adata.n_obs - 2
    assert "cell_3" not in now.obs_names
    assert ready.place.workspace.unsaved
    assert "2 cells without counts left out" in ready.notes.text()
    assert ready.tissue().n_obs == now.n_obs


def test_variable_genes_are_modelled_where_some_are_marked(make_ready):
    adata = prepared_tissue()
    adata.var["highly_variable"] = np.arange(adata.n_vars) < 30
    ready = make_ready(adata)
    assert ready.words.text().startswith("There: 30 genes")
    assert list(ready.tissue().var_names) == [f"gene_{k}" for k in range(30)]
    ready.genes.choose(None)
    assert ready.tissue().n_vars == 60


def test_expression_that_is_no_count_is_one_sentence(make_ready, qtbot):
    adata = prepared_tissue()
    del adata.layers["raw"]
    ready = make_ready(adata)
    qtbot.mouseClick(ready.prepare_button, LEFT)
    handle = ready.place.runner.handles[-1]
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert handle.state is JobState.FAILED
    assert "no raw counts are in X" in handle.error
    assert "defect" not in handle.error
