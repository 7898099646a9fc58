"""What is really painted: orientation, categories and diverging values, discs and squares."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celldyn.data import Source
from napari_celldyn.layers import TissueView, cells_view
from napari_celldyn.workspace import Workspace

TYPE = Source("obs", "cell_type")
BETA = Source("obsm", "betas_Gad1", "1")


@pytest.fixture
def adata() -> ad.AnnData:
    """A grid of 20 x 10 cells, red on the left, blue on the right, without the corner at 0, 0."""
    xy = np.stack(np.meshgrid(np.arange(20), np.arange(10)), -1).reshape(-1, 2) * 10.0
    xy = xy[(xy[:, 0] >= 50) | (xy[:, 1] >= 30)]
    adata = ad.AnnData(obs=pd.DataFrame(index=[f"cell{i}" for i in range(len(xy))]))
    adata.obsm["spatial"] = xy
    adata.obs["cell_type"] = pd.Categorical(np.where(xy[:, 0] < 100, "Astro", "Neuron"))
    adata.uns["cell_type_colors"] = ["#ff0000", "#0000ff"]
    adata.obsm["betas_Gad1"] = np.column_stack([np.ones(len(xy)), xy[:, 0] / 100 - 0.95])
    return adata


def painted(viewer: object) -> np.ndarray:
    """Canvas as drawn, colours of 0..255."""
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


@pytest.mark.parametrize("limit", [cells_view.POINTS_LIMIT, 10])
def test_the_picture_is_the_right_way_up(
    make_napari_viewer: Callable, monkeypatch: pytest.MonkeyPatch, adata: ad.AnnData, limit: int
) -> None:
    monkeypatch.setattr(cells_view, "POINTS_LIMIT", limit)
    viewer, workspace = make_napari_viewer(show=True), Workspace()
    view = TissueView(viewer, workspace)
    workspace.open(adata)
    viewer.canvas.overlays.scale_bar.visible = False
    workspace.colour = TYPE
    picture = painted(viewer)
    red = picture[..., 0] - picture[..., 2] > 150
    blue = picture[..., 2] - picture[..., 0] > 150
    rows, columns = np.nonzero(red | blue)
    assert np.nonzero(red)[1].max() <= np.nonzero(blue)[1].min() + 1  # Astro left of Neuron
    shown = (red | blue)[rows.min() : rows.max(), columns.min() : columns.max()]
    assert not shown[:40, :40].any()  # the corner without cells has small x and small y
    assert shown[-40:, :40].any()
    assert shown[:40, -40:].any()

    workspace.colour = BETA
    with_bar = painted(viewer)
    bar = view.layer.face_colorbar if limit > 10 else view.layer.colorbar
    bar.visible = False
    picture = painted(viewer)
    assert (with_bar != picture).any()
    negative = np.nonzero(picture[..., 2] - picture[..., 0] > 60)[1]
    positive = np.nonzero(picture[..., 0] - picture[..., 2] > 60)[1]
    assert negative.max() < positive.min()


@pytest.mark.parametrize("limit", [cells_view.POINTS_LIMIT, 10])
def test_from_far_cells_keep_their_colours(
    make_napari_viewer: Callable, monkeypatch: pytest.MonkeyPatch, adata: ad.AnnData, limit: int
) -> None:
    monkeypatch.setattr(cells_view, "POINTS_LIMIT", limit)
    viewer, workspace = make_napari_viewer(show=True), Workspace()
    view = TissueView(viewer, workspace)
    workspace.open(adata)
    assert view.layer is not None
    viewer.canvas.overlays.scale_bar.visible = False
    workspace.colour = TYPE
    viewer.scene.camera.zoom = 0.1  # a cell is one pixel wide
    picture = painted(viewer)
    lit = picture[picture.max(axis=-1) > 30]
    assert len(lit) > 50
    assert lit[:, 1].max() < 20  # red and blue have no green; grey would
