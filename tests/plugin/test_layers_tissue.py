from __future__ import annotations

from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Points, Surface

from celldyn.data import Source, set_section_key, set_unit
from napari_celldyn.layers import TissueView, cells_view
from napari_celldyn.layers.colours import MISSING, PLAIN
from napari_celldyn.workspace import Workspace

GENE = Source("X", column="Gad1")
TYPE = Source("obs", "cell_type")
BETA = Source("obsm", "betas_Gad1", "Sst")


def make_tissue() -> ad.AnnData:
    """A grid of 20 x 10 cells, 10 units apart, without a corner."""
    xy = np.stack(np.meshgrid(np.arange(20), np.arange(10)), -1).reshape(-1, 2) * 10.0
    xy = xy[(xy[:, 0] >= 50) | (xy[:, 1] >= 30)]
    n = len(xy)
    adata = ad.AnnData(np.column_stack([xy[:, 0], np.arange(n)]).astype(np.float32))
    adata.var_names = ["Gad1", "Sst"]
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.obsm["spatial"] = xy
    adata.obs["cell_type"] = pd.Categorical(np.where(xy[:, 0] < 100, "Astro", "Neuron"))
    adata.uns["cell_type_colors"] = ["#ff0000", "#0000ff"]
    adata.obsm["betas_Gad1"] = np.column_stack([np.ones(n), xy[:, 0] / 100 - 0.5])
    adata.uns["celldyn"] = {"betas_Gad1": {"columns": ["intercept", "Sst"]}}
    return adata


@pytest.fixture
def adata() -> ad.AnnData:
    return make_tissue()


@pytest.fixture
def workspace() -> Workspace:
    return Workspace()


@pytest.fixture(params=["points", "quads"])
def view(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> Iterator[TissueView]:
    if request.param == "quads":
        monkeypatch.setattr(cells_view, "POINTS_LIMIT", 10)
    view = TissueView(ViewerModel(), workspace)
    yield view
    view.close()


def layers_of(view: TissueView) -> list:
    return list(view._viewer.layers)


def test_small_tissue_is_points_and_large_is_one_surface(
    adata: ad.AnnData, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = TissueView(ViewerModel(), workspace)
    workspace.open(adata)
    assert isinstance(view.layer, Points)
    monkeypatch.setattr(cells_view, "POINTS_LIMIT", adata.n_obs - 1)
    workspace.open(adata.copy())
    assert isinstance(view.layer, Surface)
    assert [layer.name for layer in layers_of(view)] == ["tissue"]


def test_it_draws_what_was_open_before(adata: ad.AnnData, workspace: Workspace) -> None:
    workspace.open(adata)
    workspace.colour = TYPE
    view = TissueView(ViewerModel(), workspace)
    assert view.column is not None
    assert view.column.categories == ["Astro", "Neuron"]
    assert layers_of(view) == [view.layer]


def test_opening_marks_the_layer_and_shows_the_scale(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    assert view.layer.metadata["celldyn"] is True
    assert view._viewer.canvas.overlays.scale_bar.visible
    np.testing.assert_allclose(view.display_xy, adata.obsm["spatial"])
    assert view.cell_size == 10.0
    extent = view.layer.extent.data
    assert extent[1][1] > extent[1][0]  # wider in x than high in y


def test_unit_is_um_where_known_else_none(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    assert str(view.layer.units[0]) == "dimensionless"
    set_unit(adata, 0.5)
    workspace.announce({"uns/um_per_unit"})
    assert str(view.layer.units[0]) == "micrometer"
    np.testing.assert_allclose(view.display_xy, adata.obsm["spatial"] * 0.5)
    assert len(layers_of(view)) == 1


def test_an_announcement_that_moves_no_cell_keeps_the_layer(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    before = view.layer
    workspace.announce({"uns/celldyn", "obsm/betas_Gad1"})
    assert view.layer is before


def test_sections_stand_side_by_side(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    both = ad.concat({"a": adata, "b": adata}, label="section", index_unique="-")
    set_section_key(both, "section")
    workspace.open(both)
    n = adata.n_obs
    xy = view.display_xy
    assert xy[n:, 0].min() > xy[:n, 0].max()
    assert view.cell_size == 10.0


def test_a_gene_has_percentile_limits_and_its_features(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    workspace.colour = GENE
    values = adata.X[:, 0]
    assert view.limits == pytest.approx(tuple(np.percentile(values, [1, 99])))
    view.percentiles = (10, 90)
    assert view.limits == pytest.approx(tuple(np.percentile(values, [10, 90])))
    if isinstance(view.layer, Points):
        table = view.layer.features
        assert list(table.columns) == ["cell", "Gad1"]
        assert isinstance(table.index, pd.RangeIndex)
        assert table["cell"].iloc[3] == "cell3"
        np.testing.assert_array_equal(table["Gad1"], values)


def test_limits_by_hand_are_announced_once(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    workspace.colour = GENE
    seen = []
    view.shown_changed.connect(lambda: seen.append(view.limits))
    view.limits = (5.0, 6.0)
    view.limits = (5.0, 6.0)
    view.limits = (6.0, 5.0)  # no width: refused
    assert seen == [(5.0, 6.0)]
    if isinstance(view.layer, Surface):
        view.layer.contrast_limits = (5.0, 9.0)  # as napari's slider does
        assert seen[1:] == [(5.0, 9.0)]


def test_one_new_colour_is_announced_once(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    seen = []
    view.shown_changed.connect(lambda: seen.append(view.column.label))
    workspace.colour = GENE
    workspace.colour = TYPE
    workspace.isolated = {"Astro"}
    workspace.colour = BETA
    assert seen == ["Gad1", "cell_type", "cell_type", "betas_Gad1: Sst"]


def test_coefficients_diverge_about_zero(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    workspace.colour = BETA
    low, high = view.limits
    assert low == -high
    assert view.colormap == "blue-white-red"
    workspace.colour = GENE
    assert view.colormap == "viridis"
    view.colormap = "magma"
    workspace.colour = BETA
    assert view.colormap == "magma"


def test_colours_follow_the_workspace(workspace: Workspace, adata: ad.AnnData) -> None:
    view = TissueView(ViewerModel(), workspace)
    workspace.open(adata)
    astro = (adata.obs["cell_type"] == "Astro").to_numpy()
    np.testing.assert_allclose(view.layer.face_color, np.tile(PLAIN, (adata.n_obs, 1)), atol=1e-6)
    workspace.colour = TYPE
    np.testing.assert_allclose(view.layer.face_color[astro], [[1, 0, 0, 1]] * astro.sum())
    workspace.set_category_colour("cell_type", "Astro", "#00ff00")
    np.testing.assert_allclose(view.layer.face_color[astro], [[0, 1, 0, 1]] * astro.sum())
    workspace.isolated = {"Neuron"}
    alpha = view.layer.face_color[:, 3]
    assert alpha[astro].max() < 0.2
    assert alpha[~astro].min() == 1.0
    workspace.isolated = None
    assert view.layer.face_color[:, 3].min() == 1.0


def test_an_annotation_recolours_and_undo_takes_the_colour_back(
    workspace: Workspace, adata: ad.AnnData
) -> None:
    view = TissueView(ViewerModel(), workspace)
    workspace.open(adata)
    workspace.annotate(np.array([0, 1]), "niche A", "niche")
    workspace.colour = Source("obs", "niche")
    np.testing.assert_allclose(view.layer.face_color[5], MISSING, atol=1e-6)
    workspace.annotate(np.array([5]), "niche A", "niche")
    np.testing.assert_allclose(view.layer.face_color[5], view.layer.face_color[0])
    workspace.undo()
    np.testing.assert_allclose(view.layer.face_color[5], MISSING, atol=1e-6)
    workspace.undo()  # the column is gone, and with it what coloured the cells
    assert workspace.colour is None
    np.testing.assert_allclose(view.layer.face_color[0], PLAIN, atol=1e-6)


def test_a_deleted_layer_comes_back(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    view._viewer.layers.remove(view.layer)
    assert view.layer is None
    assert view.limits is None
    workspace.announce({"obs/cell_type"})
    assert layers_of(view) == []
    workspace.colour = GENE
    assert layers_of(view) == [view.layer]
    view._viewer.layers.remove(view.layer)
    workspace.open(make_tissue())
    assert layers_of(view) == [view.layer]


def test_pick_and_polygon_are_in_drawn_coordinates(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    set_unit(adata, 2.0)
    workspace.open(adata)
    cell = 100
    x, y = adata.obsm["spatial"][cell] * 2.0
    assert view.pick((x + 4, y - 4)) == cell
    assert view.pick((0.0, 0.0)) is None  # the corner without cells
    inside = view.cells_in_polygon([[-5, -5], [205, -5], [205, 500], [-5, 500]])
    np.testing.assert_array_equal(inside, np.flatnonzero(adata.obsm["spatial"][:, 0] <= 100))
    np.testing.assert_array_equal(view.cells_in_radius((x, y), 1.0), [cell])


def test_a_lasso_takes_only_the_isolated_categories(
    view: TissueView, workspace: Workspace, adata: ad.AnnData
) -> None:
    workspace.open(adata)
    workspace.colour = TYPE
    everything = [[-5, -5], [500, -5], [500, 500], [-5, 500]]
    assert len(view.cells_in_polygon(everything)) == adata.n_obs
    workspace.isolated = {"Astro"}
    astro = np.flatnonzero(adata.obs["cell_type"] == "Astro")
    np.testing.assert_array_equal(view.cells_in_polygon(everything), astro)


def test_close_leaves_nothing_behind(adata: ad.AnnData, workspace: Workspace) -> None:
    viewer = ViewerModel()
    view = TissueView(viewer, workspace)
    workspace.open(adata)
    view.close()
    assert list(viewer.layers) == []
    assert not viewer.canvas.overlays.scale_bar.visible
    for signal in (
        workspace.data_changed,
        workspace.keys_changed,
        workspace.colour_changed,
        workspace.isolated_changed,
    ):
        assert len(signal) == 0
    workspace.colour = GENE
    workspace.open(make_tissue())
    assert list(viewer.layers) == []
