"""Files and samples into napari, and the tissue out of it, through napari's own doors."""

from __future__ import annotations

import anndata as ad
import npe2
import numpy as np
import pandas as pd
import pytest
import zarr
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QMessageBox

from celldyn.data import Source, samples
from celldyn.data import write as save
from celldyn.errors import CelldynError
from napari_celldyn.opening import first_colour, saves_in_place
from napari_celldyn.opening import save as save_tissue
from napari_celldyn.reader import get_reader, open_in_viewer, read_layers
from napari_celldyn.session import session
from napari_celldyn.widgets.tissue import TissueWidget
from napari_celldyn.writer import write

PLUGIN = "napari-celldyn"
MINE = {"two_niches", "three_sections", "layered_tissue", "two_fates", "gene_fields"}


def tissue(n: int = 40) -> ad.AnnData:
    rng = np.random.default_rng(1)
    return ad.AnnData(
        rng.poisson(2.0, (n, 5)).astype(np.float32),
        obs=pd.DataFrame(
            {
                "slice": pd.Categorical(np.array(["s1", "s2"])[np.arange(n) % 2]),
                "cell_type": pd.Categorical(np.array(["A", "B"])[np.arange(n) % 2]),
            },
            index=[f"cell{i}" for i in range(n)],
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(5)]),
        obsm={"spatial": rng.random((n, 2)) * 100},
    )


@pytest.fixture
def h5ad(tmp_path):
    tissue().write_h5ad(tmp_path / "tissue.h5ad")
    return tmp_path / "tissue.h5ad"


@pytest.fixture
def viewer(make_napari_viewer):
    npe2.PluginManager.instance().discover()
    return make_napari_viewer(strict_qt="raise")


def errors_said(action) -> list[str]:
    before = len(notification_manager.records)
    action()
    return [record.message for record in notification_manager.records[before:]]


def assert_landed(viewer, n_obs=40):
    place = session(viewer)
    assert [layer.name for layer in viewer.layers] == ["tissue"]
    assert place.tissue.layer is viewer.layers[0]
    assert place.workspace.require().n_obs == n_obs
    assert len(viewer.layers[0].data) == n_obs
    docks = [w for w in viewer.window.dock_widgets.values() if isinstance(w, TissueWidget)]
    assert len(docks) == 1


# --- in ---------------------------------------------------------------------------------------


def test_viewer_open_lands_once_and_again_replaces(viewer, h5ad, tmp_path):
    viewer.open(h5ad, plugin=PLUGIN)
    assert_landed(viewer)
    assert session(viewer).workspace.path == h5ad
    assert not session(viewer).workspace.unsaved
    assert session(viewer).workspace.colour == Source("obs", "cell_type")
    save(tissue(25), tmp_path / "other.zarr")
    viewer.open(tmp_path / "other.zarr", plugin=PLUGIN)
    assert_landed(viewer, 25)


def test_drag_and_drop_lands(viewer, h5ad):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(h5ad))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    viewer.window._qt_viewer.dropEvent(event)
    assert_landed(viewer)


def test_a_damaged_file_says_one_sentence_and_changes_nothing(viewer, h5ad, tmp_path):
    viewer.open(h5ad, plugin=PLUGIN)
    before = session(viewer).workspace.adata
    bad = tmp_path / "bad.h5ad"
    bad.write_bytes(h5ad.read_bytes()[:3000])
    said = errors_said(lambda: viewer.open(bad, plugin=PLUGIN))
    assert len(said) == 1
    assert said[0].startswith("bad.h5ad")
    assert "\n" not in said[0]
    assert session(viewer).workspace.adata is before
    assert_landed(viewer)


def test_a_table_without_places_says_what_was_looked_for(viewer, tmp_path):
    adata = tissue()
    del adata.obsm["spatial"]
    adata.write_h5ad(tmp_path / "nowhere.h5ad")
    said = errors_said(lambda: viewer.open(tmp_path / "nowhere.h5ad", plugin=PLUGIN))
    assert len(said) == 1
    assert "obsm['spatial']" in said[0]
    assert len(viewer.layers) == 0
    assert session(viewer).workspace.adata is None


@pytest.mark.parametrize("name", sorted(MINE))
def test_samples_land_without_a_second_layer(viewer, name):
    assert name in samples.names()
    viewer.open_sample(PLUGIN, name)
    assert_landed(viewer, samples.load(name).n_obs)
    assert session(viewer).workspace.path is None


def test_get_reader_takes_tissues_and_leaves_the_rest(h5ad, tmp_path):
    save(tissue(), tmp_path / "t.zarr")
    image = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2)
    image.attrs["multiscales"] = [{"version": "0.4"}]
    points = tmp_path / "points.csv"
    points.write_text("index,axis-0,axis-1\n0,1.0,2.0\n")
    table = tmp_path / "cells.csv"
    table.write_text("cell,x,y,g0\na,1.0,2.0,3\nb,2.0,2.0,1\n")
    (tmp_path / "plain.h5").write_text("no")
    assert get_reader(str(h5ad)) is open_in_viewer
    assert get_reader([str(h5ad), str(table)]) is open_in_viewer
    assert get_reader(str(tmp_path / "t.zarr")) is open_in_viewer
    assert get_reader(str(table)) is open_in_viewer
    assert get_reader(str(tmp_path / "gone.h5ad")) is open_in_viewer
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "notes.txt").write_text("x")
    (tmp_path / "pictures" / "a.png").write_bytes(b"x")
    for other in ("image.zarr", "points.csv", "plain.h5", "pictures", "nothing.tif"):
        assert get_reader(str(tmp_path / other)) is None, other
    assert get_reader([]) is None


def test_without_a_window_the_layer_itself_is_returned(h5ad):
    (data, meta, kind), *more = read_layers(h5ad)
    assert not more
    assert kind == "points"
    held = tissue()
    assert np.allclose(data, held.obsm["spatial"][:, ::-1])
    assert meta["metadata"]["adata"].n_obs == held.n_obs
    bare = ViewerModel()
    bare.open(h5ad, plugin=PLUGIN)
    assert [layer.name for layer in bare.layers] == ["tissue"]
    with pytest.raises(CelldynError, match="not there"):
        read_layers(h5ad.with_name("gone.h5ad"))


def test_the_first_colour_is_the_cell_type():
    adata = tissue()
    assert first_colour(adata) == Source("obs", "cell_type")
    del adata.obs["cell_type"]
    assert first_colour(adata) == Source("obs", "slice")
    del adata.obs["slice"]
    assert first_colour(adata) is None


@pytest.mark.parametrize(("button", "replaced"), [("Cancel", False), ("Discard", True)])
def test_unsaved_work_is_not_replaced_unasked(viewer, h5ad, tmp_path, qtbot, button, replaced):
    viewer.open(h5ad, plugin=PLUGIN)
    workspace = session(viewer).workspace
    workspace.annotate(np.array([0]), "niche", "region")
    before = workspace.adata
    asked = []

    def answer():
        box = QApplication.activeModalWidget()
        asked.append(box.text())
        box.button(getattr(QMessageBox.StandardButton, button)).click()

    QTimer.singleShot(200, answer)
    viewer.open(h5ad, plugin=PLUGIN)
    assert len(asked) == 1
    assert "tissue.h5ad" in asked[0]
    assert (workspace.adata is not before) is replaced
    assert_landed(viewer)


@pytest.mark.parametrize("accepted", [True, False])
def test_without_coordinates_an_embedding_can_be_chosen(viewer, tmp_path, accepted):
    adata = tissue()
    adata.obsm["X_umap"] = adata.obsm.pop("spatial")
    adata.obsm["X_one"] = np.ones((40, 1))
    adata.write_h5ad(tmp_path / "nowhere.h5ad")
    offered = []

    def answer():
        dialog = QApplication.activeModalWidget()
        offered.append((dialog.labelText(), dialog.comboBoxItems()))
        (dialog.accept if accepted else dialog.reject)()

    QTimer.singleShot(300, answer)
    said = errors_said(lambda: viewer.open(tmp_path / "nowhere.h5ad", plugin=PLUGIN))
    ((text, choices),) = offered
    assert "nowhere.h5ad has no coordinates" in text
    assert choices == ["X_umap"]
    if accepted:
        assert said == []
        assert_landed(viewer)
        held = session(viewer).workspace.adata
        np.testing.assert_array_equal(held.obsm["spatial"], adata.obsm["X_umap"])
    else:
        assert len(said) == 1
        assert session(viewer).workspace.adata is None


# --- out --------------------------------------------------------------------------------------


def test_saving_the_tissue_layer_writes_the_anndata(viewer, h5ad, tmp_path):
    viewer.open(h5ad, plugin=PLUGIN)
    workspace = session(viewer).workspace
    workspace.annotate(np.array([1, 2]), "niche", "region")
    target = tmp_path / "copy.h5ad"
    assert viewer.layers.save(target, plugin=PLUGIN) == [str(target)]
    held = ad.read_h5ad(target)
    assert list(np.flatnonzero(held.obs["region"] == "niche")) == [1, 2]
    assert not workspace.unsaved
    assert workspace.path == target


def test_another_layer_is_not_written(viewer, h5ad, tmp_path):
    viewer.open(h5ad, plugin=PLUGIN)
    other = viewer.add_points(np.zeros((2, 2)), name="mine")
    target = tmp_path / "copy.h5ad"
    said = errors_said(lambda: write(str(target), other.data, {"name": other.name}))
    assert "'mine' shows no tissue" in said[0]
    assert not target.exists()


def test_a_table_of_text_is_not_saved_in_place(h5ad, tmp_path):
    table = tmp_path / "cells.csv"
    table.write_text("cell,x,y,g0\na,1.0,2.0,3\n")
    assert saves_in_place(h5ad)
    assert not saves_in_place(table)


def test_a_large_file_stays_on_disk_and_works_like_any_other(viewer, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_celldyn.opening.BACKED_ABOVE", 1000)
    path = tmp_path / "large.h5ad"
    samples.load("two_niches").write_h5ad(path)
    viewer.open(path, plugin=PLUGIN)
    workspace = session(viewer).workspace
    adata = workspace.require()
    assert adata.isbacked
    workspace.colour = Source("X", column="Tf1")
    shown = session(viewer).tissue.column.values
    np.testing.assert_array_equal(
        shown, samples.load("two_niches")[:, "Tf1"].to_df()["Tf1"].to_numpy(np.float32)
    )
    workspace.annotate(np.arange(5), "mine", "region")
    save_tissue(workspace, tmp_path / "copy.h5ad")
    save_tissue(workspace, path)
    for file in (path, tmp_path / "copy.h5ad"):
        back = ad.read_h5ad(file)
        assert (back.obs["region"] == "mine").sum() == 5
        assert back.X.sum() == samples.load("two_niches").X.sum()


def test_the_whole_tissue_stays_in_view_until_someone_moves_it(make_napari_viewer, qtbot):
    from napari_celldyn.opening import land

    viewer = make_napari_viewer(show=True)
    land(viewer, samples.load("two_niches"), None)
    before = viewer.scene.camera.zoom
    viewer.window._qt_window.resize(1100, 900)
    qtbot.waitUntil(lambda: viewer.scene.camera.zoom != before, timeout=4000)
    viewer.scene.camera.zoom = 12.5
    qtbot.wait(2800)
    assert viewer.scene.camera.zoom == 12.5
