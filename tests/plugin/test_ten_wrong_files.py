"""Ten things that a person opens by mistake: one sentence each, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from celldyn.data import samples
from napari_celldyn.opening import open_path, session
from napari_celldyn.widgets.betas import BetasWidget

PLUGIN = "napari-celldyn"


def small() -> ad.AnnData:
    adata = ad.AnnData(np.ones((20, 3), np.float32))
    adata.obsm["spatial"] = np.random.default_rng(0).random((20, 2))
    return adata


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    small().write_h5ad(path)
    path.write_bytes(path.read_bytes()[:2000])


def no_coordinates(path: Path) -> None:
    adata = small()
    del adata.obsm["spatial"]
    adata.write_h5ad(path)


def nan_coordinates(path: Path) -> None:
    adata = small()
    adata.obsm["spatial"][3, 1] = np.nan
    adata.write_h5ad(path)


def text(path: Path) -> None:
    path.write_text("dear diary")


def huge_header(path: Path) -> None:
    small().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file["X"]
        claimed = file.create_dataset("X", (10**7, 10**6), "f4", chunks=(1000, 1000))
        claimed.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def wrong_extension(path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"x": [1.0], "y": [2.0]}).to_csv(path, index=False)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (empty, "empty"),
    "truncated": (truncated, "truncated"),
    "no coordinates": (no_coordinates, "obsm['spatial']"),
    "NaN": (nan_coordinates, "1 cell"),
    "text": (text, "not"),
    "huge header": (huge_header, "X"),
    "wrong extension": (wrong_extension, "not"),
}


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer()
    open_path(session(viewer).workspace, samples.path("two_niches"))
    _ = session(viewer).tissue
    return viewer


def state(viewer) -> tuple[object, ...]:
    workspace = session(viewer).workspace
    adata = workspace.adata
    return (
        id(adata), workspace.path, workspace.unsaved, workspace.colour, len(viewer.layers),
        tuple(adata.obs), tuple(adata.obsm), tuple(adata.uns),
    )  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_tissue(viewer, tmp_path, name):
    make, says = FILES[name]
    path = tmp_path / f"{name.replace(' ', '_')}.h5ad"
    make(path)
    content, before = path.read_bytes(), state(viewer)
    n_said = len(notification_manager.records)
    viewer.open(path, plugin=PLUGIN)
    said = [record.message for record in notification_manager.records[n_said:]]
    assert len(said) == 1
    assert says in said[0]
    assert path.name in said[0] or "obsm" in said[0] or "cell" in said[0]
    assert said[0].endswith(".")
    assert "\n" not in said[0]
    assert state(viewer) == before
    assert path.read_bytes() == content


def ask(viewer, gene: str, grn: Path | None) -> str:
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, "Spatial betas")
    assert isinstance(dock, BetasWidget)
    dock.source.gene.setText(gene)
    if grn is not None:
        dock.source.grn.set_text(str(grn))
    assert dock.run() is None
    return dock.sentence.text()


def test_a_network_without_its_columns(viewer, tmp_path):
    (tmp_path / "grn.csv").write_text("gene,weight\nTf1,0.3\n")
    before = state(viewer)
    said = ask(viewer, "Target1", tmp_path / "grn.csv")
    assert "grn.csv" in said
    assert "source" in said
    assert "gene, weight" in said
    assert state(viewer) == before


def test_a_pickle_offered_as_a_network(viewer, tmp_path):
    import pickle

    fired = tmp_path / "fired"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (fired,))

    (tmp_path / "links.csv").write_bytes(pickle.dumps(Bomb()))
    before = state(viewer)
    said = ask(viewer, "Target1", tmp_path / "links.csv")
    assert "pickle" in said
    assert not fired.exists()
    assert state(viewer) == before


def test_a_gene_that_is_not_there(viewer):
    before = state(viewer)
    said = ask(viewer, "Targt1", None)
    assert "Targt1" in said
    assert "did you mean Target1" in said
    assert state(viewer) == before
