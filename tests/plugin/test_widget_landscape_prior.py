"""Which way cells go, clicked: a root, a column, a phylogeny, a matrix; what is wrong is said."""

from __future__ import annotations

import numpy as np
import pytest
from landscape_dock_cases import FATES, STEM, prepared_tissue
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from scipy import sparse

from celldyn import keys
from celldyn.data import Source
from celldyn.errors import CelldynError
from celldyn.landscape import LSD, LSDConfig, phylogeny_mask
from napari_celldyn.jobs import JobState
from napari_celldyn.session import session
from napari_celldyn.widgets.landscape_prior import COLUMN, MATRIX, ROOT, LandscapePrior
from napari_celldyn.widgets.landscape_root import CLUSTER
from napari_celldyn.widgets.landscape_way import Way

LEFT = Qt.MouseButton.LeftButton
DPT = keys.DPT.name


@pytest.fixture(scope="module")
def prepared():
    return prepared_tissue()


@pytest.fixture
def prior(prepared, qtbot):
    viewer = ViewerModel()
    place = session(viewer)
    place.workspace.open(prepared.copy())
    widget = LandscapePrior(place)
    qtbot.addWidget(widget)
    widget.resize(300, 700)
    widget.show()
    qtbot.waitExposed(widget)
    widget.viewer, widget.place = viewer, place
    yield widget
    place.runner.shutdown()


def compute(prior, qtbot):
    qtbot.mouseClick(prior.compute_button, LEFT)
    handle = prior.place.runner.handles[-1]
    qtbot.waitUntil(lambda: handle.state.over, timeout=60_000)
    assert handle.state is JobState.DONE, handle.error


def rho(adata, column):
    return float(adata.obs[[column, "true_time"]].corr("spearman").iloc[0, 1])


# --- a root -----------------------------------------------------------------------------------


def test_clicked_cells_are_the_root_of_a_pseudotime_that_is_shown(prior, qtbot):
    workspace = prior.place.workspace
    assert prior.kind.currentText() == ROOT
    assert prior.needs_time
    assert not prior.show_button.isEnabled()
    workspace.selection = np.array([0, 2])
    assert prior.root.words.text() == "Begins with cell_0, cell_2."
    compute(prior, qtbot)
    adata = workspace.adata
    assert rho(adata, DPT) > 0.9
    assert workspace.colour == Source("obs", DPT)
    assert workspace.unsaved
    assert prior.words.text() == "obs['dpt_pseudotime'] begins with cell_0, cell_2."
    assert not prior.needs_time
    assert prior.way() == Way(time=DPT)
    workspace.selection = np.array([100])  # chosen for something else: the root stays
    assert prior.way() == Way(time=DPT)


def test_a_cluster_is_a_root(prior, qtbot):
    prior.root.kind.setCurrentText(CLUSTER)
    prior.root.column.setCurrentText("clusters")
    prior.root.cluster.setFocus()
    while prior.root.cluster.currentText() != STEM:
        qtbot.keyClick(prior.root.cluster, Qt.Key.Key_Down)
    compute(prior, qtbot)
    adata = prior.place.workspace.adata
    assert rho(adata, DPT) > 0.85
    early = adata.obs["clusters"] == STEM
    assert adata.obs.loc[early, DPT].mean() < adata.obs.loc[~early, DPT].mean()


def test_without_a_root_one_sentence_says_what_to_click(prior, qtbot):
    qtbot.mouseClick(prior.compute_button, LEFT)
    assert "no root is chosen; click the earliest cells" in prior.sentence.text()
    assert not prior.place.runner.handles
    with pytest.raises(CelldynError, match="no root is chosen"):
        prior.way()


# --- a column ---------------------------------------------------------------------------------


def test_a_pseudotime_of_the_file_is_proposed(prior, prepared):
    adata = prepared.copy()
    adata.obs["lsd_pseudotime"] = adata.obs["true_time"]  # what was learned is no prior
    adata.obs["palantir_pseudotime"] = adata.obs["true_time"]
    prior.place.workspace.open(adata)
    assert prior.kind.currentText() == COLUMN
    assert prior.way() == Way(time="palantir_pseudotime")


def test_a_column_with_a_number_missing_is_one_sentence(prior):
    workspace = prior.place.workspace
    workspace.adata.obs["half"] = np.where(np.arange(workspace.adata.n_obs) == 7, np.nan, 0.5)
    workspace.announce({"obs/half"})
    prior.kind.setCurrentText(COLUMN)
    prior.time.choose("half")
    assert "obs['half'] has no number for 1 cell, first 'cell_7'" in prior.sentence.text()
    with pytest.raises(CelldynError, match="cell_7"):
        prior.way()
    prior.time.choose("true_time")
    assert not prior.sentence.isVisible()
    assert prior.way() == Way(time="true_time")


def test_what_is_shown_is_what_is_chosen(prior, qtbot):
    prior.kind.setCurrentText(COLUMN)
    assert not prior.show_button.isEnabled()
    prior.time.choose("true_time")
    qtbot.mouseClick(prior.show_button, LEFT)
    assert prior.place.workspace.colour == Source("obs", "true_time")


# --- a phylogeny ------------------------------------------------------------------------------


def test_a_phylogeny_is_proposed_and_walks_keep_to_it(prior, qtbot):
    choice = prior.phylogeny
    prior.kind.setCurrentText(COLUMN)
    prior.time.choose("true_time")
    choice.check.click()
    with pytest.raises(CelldynError, match="the phylogeny is empty"):
        prior.way()
    choice.column.setCurrentText("clusters")
    choice.root.setCurrentText(STEM)
    qtbot.mouseClick(choice.propose_button, LEFT)
    way = prior.way()
    assert way.clusters == "clusters"
    assert {name: set(heirs) for name, heirs in way.children.items()} == {STEM: set(FATES)}
    adata = prior.place.workspace.adata
    lsd = LSD(adata, LSDConfig(), "cpu")
    way.lead(lsd)
    allowed = phylogeny_mask(adata.obsp["connectivities"], adata.obs["clusters"], way.children)
    assert set(zip(*lsd.P.nonzero(), strict=True)) <= set(zip(*allowed.nonzero(), strict=True))
    assert lsd.P.nnz < adata.obsp["connectivities"].nnz
    choice.check.click()
    assert prior.way() == Way(time="true_time")


def test_without_neighbours_none_is_proposed(prior, prepared, qtbot):
    adata = prepared.copy()
    del adata.obsp["connectivities"]
    prior.place.workspace.open(adata)
    prior.phylogeny.check.click()
    qtbot.mouseClick(prior.phylogeny.propose_button, LEFT)
    assert "no neighbour graph" in prior.phylogeny.sentence.text()


# --- a matrix ---------------------------------------------------------------------------------


def test_a_matrix_of_obsp_is_what_walks_follow(prior):
    workspace = prior.place.workspace
    n = workspace.adata.n_obs
    workspace.adata.obsp["mine"] = sparse.csr_matrix(np.roll(np.eye(n), 1, axis=1))
    workspace.announce({"obsp/mine"})
    prior.kind.setCurrentText(MATRIX)
    assert not prior.phylogeny.isVisible()
    with pytest.raises(CelldynError, match="no transition matrix"):
        prior.way()
    assert prior.matrix.itemText(1) == "mine"  # graphs of neighbours come last
    prior.matrix.choose("mine")
    lsd = LSD(workspace.adata, LSDConfig(), "cpu")
    prior.way().lead(lsd)
    assert (sparse.csr_array(workspace.adata.obsp["mine"]) != lsd.P).nnz == 0


def test_another_tissue_is_asked_afresh(prior, prepared, qtbot):
    prior.place.workspace.selection = np.array([0])
    compute(prior, qtbot)
    prior.place.workspace.open(prepared.copy())
    assert prior.needs_time
    assert not prior.words.isVisible()
    assert not prior.phylogeny.check.isChecked()
