"""The embedding beside the tissue: its place, its colours, and the mouse over it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import anndata as ad
import numpy as np
import pytest
from mouse_bench import Bench
from napari.components import ViewerModel
from napari.layers import Points, Surface

from celldyn.data import Source, set_unit
from celldyn.errors import MissingKeyError
from napari_celldyn.interact import LASSO
from napari_celldyn.layers import TissueView, cells_view, hover, selection
from napari_celldyn.layers.beside import beside
from napari_celldyn.layers.embedding import EmbeddingView
from napari_celldyn.workspace import Workspace

GENE = Source("X", column="Gad1")
TYPE = Source("obs", "cell_type")


def give_umap(adata: ad.AnnData) -> np.ndarray:
    """A UMAP that has the cells in another order than the tissue has them."""
    angle = 2 * np.pi * np.arange(adata.n_obs) / adata.n_obs
    adata.obsm["X_umap"] = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    return adata.obsm["X_umap"]


@pytest.fixture
def bench(make_napari_viewer: Callable) -> Bench:
    made = Bench(make_napari_viewer())
    give_umap(made.adata)
    made.workspace.announce({"obsm/X_umap"})
    return made


@pytest.fixture(params=["points", "quads"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """Workspace, tissue and embedding, without a window."""
    if request.param == "quads":
        monkeypatch.setattr(cells_view, "POINTS_LIMIT", 10)
    workspace, viewer = Workspace(), ViewerModel()
    tissue = TissueView(viewer, workspace)
    view = EmbeddingView(viewer, workspace, tissue)
    workspace.open(make_tissue())
    view.show()
    return workspace, tissue, view


def make_tissue() -> ad.AnnData:
    xy = np.random.default_rng(0).uniform(0, 100, (40, 2))
    adata = ad.AnnData(np.arange(80, dtype=np.float32).reshape(40, 2))
    adata.var_names = ["Gad1", "Sst"]
    adata.obs["cell_type"] = np.where(np.arange(40) < 20, "Astro", "Neuron")
    adata.obsm["spatial"] = xy
    give_umap(adata)
    return adata


def drawn_colours(view: TissueView | EmbeddingView) -> np.ndarray:
    layer = view.layer
    if isinstance(layer, Points):
        return layer.face_color
    if layer.vertex_colors is not None:
        return layer.vertex_colors[::4]
    low, high = layer.contrast_limits
    return layer.colormap.map(np.clip((layer.vertex_values[::4] - low) / (high - low), 0, 1))


# --- place ------------------------------------------------------------------------------------


def test_it_stands_to_the_right_as_high_as_the_tissue_the_second_axis_upwards() -> None:
    tissue = np.array([[0.0, 0.0], [100.0, 80.0]])
    embedding = np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    place = beside(embedding, tissue)
    xy = place.points(embedding)
    np.testing.assert_allclose(xy[:, 0].min(), 108)  # a gap of 8 %
    np.testing.assert_allclose([xy[:, 1].min(), xy[:, 1].max()], [0, 80])
    assert xy[2, 1] < xy[3, 1]  # y of the canvas points down
    np.testing.assert_allclose(place.vectors(np.array([[1.0, 1.0]])), [[40, -40]])


def test_beside_a_row_of_sections_it_is_higher_than_they_are() -> None:
    tissue = np.array([[0.0, 0.0], [400.0, 100.0]])
    xy = beside(np.eye(2), tissue).points(np.eye(2))
    np.testing.assert_allclose(np.ptp(xy, axis=0), 200)
    np.testing.assert_allclose(xy[:, 1].mean(), 50)


def test_a_single_place_is_no_embedding_to_scale_by() -> None:
    xy = beside(np.full((3, 2), 7.0), np.full((3, 2), 5.0)).points(np.full((3, 2), 7.0))
    assert np.isfinite(xy).all()


# --- the same cells, the same colours ---------------------------------------------------------


def test_nothing_is_drawn_until_it_is_asked_for() -> None:
    workspace, viewer = Workspace(), ViewerModel()
    view = EmbeddingView(viewer, workspace, TissueView(viewer, workspace))
    workspace.open(make_tissue())
    assert view.keys == ["X_umap"]
    assert [layer.name for layer in viewer.layers] == ["tissue"]
    view.show("X_umap")
    assert [layer.name for layer in viewer.layers] == ["tissue", "embedding X_umap"]
    assert viewer.layers.selection.active is viewer.layers["tissue"]
    view.hide()
    assert [layer.name for layer in viewer.layers] == ["tissue"]
    with pytest.raises(MissingKeyError, match="there are: X_umap"):
        view.show("X_pca")


def test_colours_limits_and_isolation_are_the_tissues(small: tuple) -> None:
    workspace, tissue, view = small
    assert isinstance(view.layer, type(tissue.layer))
    steps = (
        lambda: setattr(workspace, "colour", GENE),
        lambda: setattr(tissue, "limits", (10.0, 30.0)),
        lambda: setattr(tissue, "colormap", "magma"),
        lambda: setattr(workspace, "colour", TYPE),
        lambda: setattr(workspace, "isolated", {"Astro"}),
        lambda: workspace.set_category_colour("cell_type", "Astro", "#00ff00"),
        lambda: setattr(workspace, "colour", None),
    )
    seen = []
    for step in steps:
        step()
        np.testing.assert_array_equal(drawn_colours(view), drawn_colours(tissue))
        assert view.cells.limits == tissue.limits
        seen.append(drawn_colours(view).copy())
    assert not any(np.array_equal(a, b) for a, b in pairwise(seen))


def test_one_colour_bar_serves_both(small: tuple) -> None:
    workspace, tissue, view = small
    workspace.colour = GENE
    bars = [
        layer.face_colorbar if isinstance(layer, Points) else layer.colorbar
        for layer in (tissue.layer, view.layer)
    ]
    assert [bar.visible for bar in bars] == [True, False]


def test_limits_moved_in_naparis_controls_move_both(small: tuple) -> None:
    workspace, tissue, view = small
    workspace.colour = GENE
    if isinstance(view.layer, Surface):
        view.layer.contrast_limits = (20.0, 40.0)
        assert tissue.limits == (20.0, 40.0)
        tissue.layer.contrast_limits = (0.0, 50.0)
        assert view.cells.limits == (0.0, 50.0)


def test_a_cell_that_is_not_in_the_embedding_is_neither_drawn_nor_picked() -> None:
    workspace, viewer = Workspace(), ViewerModel()
    view = EmbeddingView(viewer, workspace, TissueView(viewer, workspace))
    adata = make_tissue()
    adata.obsm["X_umap"][:5] = np.nan
    workspace.open(adata)
    view.show()
    np.testing.assert_array_equal(view.layer.shown, np.arange(40) >= 5)
    assert view.pick(view.display_xy[7]) == 7
    everything = [[-1e4, -1e4], [1e4, -1e4], [1e4, 1e4], [-1e4, 1e4]]
    np.testing.assert_array_equal(view.cells_in_polygon(everything), np.arange(5, 40))
    np.testing.assert_array_equal(view.cells_in_radius(view.display_xy[7], 1e-6), [7])


# --- following --------------------------------------------------------------------------------


def test_another_tissue_with_the_same_embedding_is_shown_beside_too(small: tuple) -> None:
    workspace, tissue, view = small
    other = make_tissue()[:30].copy()
    workspace.colour = TYPE
    workspace.open(other)
    assert view.key == "X_umap"
    assert len(view.display_xy) == 30
    bare = make_tissue()[:20].copy()
    del bare.obsm["X_umap"]
    workspace.open(bare)
    assert (view.key, view.keys, view.layer) == (None, [], None)
    assert list(view._viewer.layers) == [tissue.layer]


def test_it_moves_with_the_unit_and_with_its_own_table(small: tuple) -> None:
    workspace, tissue, view = small
    adata, before = workspace.require(), view.display_xy
    set_unit(adata, 2.0)
    workspace.announce({"uns/um_per_unit"})
    assert view.layer.units == tissue.layer.units
    assert view.display_xy[:, 0].min() > tissue.display_xy[:, 0].max()
    np.testing.assert_allclose(np.ptp(view.display_xy, axis=0), 2 * np.ptp(before, axis=0))
    adata.obsm["X_umap"] = adata.obsm["X_umap"][::-1].copy()
    held = view.display_xy
    workspace.announce({"obsm/X_umap"})
    np.testing.assert_allclose(view.display_xy, held[::-1])
    del adata.obsm["X_umap"]
    workspace.announce({"obsm/X_umap"})
    assert view.key is None


def test_a_layer_that_a_person_deletes_is_hidden(small: tuple) -> None:
    workspace, _, view = small
    seen = []
    view.changed.connect(lambda: seen.append(view.key))
    view._viewer.layers.remove(view.layer)
    assert seen == [None]
    workspace.colour = GENE
    assert view.layer is None


def test_close_leaves_nothing_behind(small: tuple) -> None:
    workspace, tissue, view = small
    view.close()
    assert list(view._viewer.layers) == [tissue.layer]
    tissue.close()
    assert len(workspace.keys_changed) == 0
    assert len(tissue.shown_changed) == 0
    assert len(tissue.rebuilt) == 0


# --- the mouse --------------------------------------------------------------------------------


def test_a_click_on_the_embedding_chooses_that_cell_and_rings_it_in_both(bench: Bench) -> None:
    bench.embedding.show()
    at = bench.embedding.display_xy[37]
    bench.click(*at)
    np.testing.assert_array_equal(bench.workspace.selection, [37])
    rings = bench.viewer.layers[selection.NAME]
    expected = np.stack([bench.adata.obsm["spatial"][37], at])[:, ::-1]
    np.testing.assert_allclose(rings.data, expected)
    sizes = [bench.tissue.cell_size, bench.embedding.cell_size]
    np.testing.assert_allclose(rings.size, selection.RING * np.array(sizes))
    bench.click(31, 52)
    np.testing.assert_array_equal(bench.workspace.selection, [53])
    bench.embedding.hide()
    assert len(bench.viewer.layers[selection.NAME].data) == 1


def test_a_lasso_round_a_part_of_the_embedding_chooses_its_cells(bench: Bench, qtbot) -> None:
    bench.embedding.show()
    xy = bench.embedding.display_xy
    right = np.flatnonzero(bench.adata.obsm["X_umap"][:, 0] > 0.5)
    low, high = xy[right].min(axis=0) - 1, xy[right].max(axis=0) + 1
    bench.interaction.start_lasso()
    bench.draw_round(tuple(low), tuple(high))
    np.testing.assert_array_equal(bench.workspace.selection, right)
    qtbot.waitUntil(lambda: LASSO not in bench.viewer.layers, timeout=2000)


def test_the_cell_under_the_mouse_is_ringed_in_both(bench: Bench, qtbot) -> None:
    bench.mouse("move", (31, 52))
    assert bench.workspace.hovered == 53
    assert hover.NAME not in bench.viewer.layers  # the tissue alone needs no ring
    bench.embedding.show()
    bench.mouse("move", tuple(bench.embedding.display_xy[37]))
    qtbot.waitUntil(lambda: bench.workspace.hovered == 37, timeout=2000)
    ring = bench.viewer.layers[hover.NAME]
    expected = [bench.adata.obsm["spatial"][37], bench.embedding.display_xy[37]]
    np.testing.assert_allclose(ring.data, np.array(expected)[:, ::-1])
    assert bench.viewer.canvas.overlays.text.text.startswith("cell37")
    bench.embedding.layer.visible = False
    bench.mouse("move", (31, 52))
    qtbot.waitUntil(lambda: bench.workspace.hovered == 53, timeout=2000)
    assert len(ring.data) == 0
    bench.embedding.hide()
    assert hover.NAME not in bench.viewer.layers


def test_an_embedding_that_is_switched_off_takes_no_clicks(bench: Bench) -> None:
    bench.embedding.show()
    at = bench.embedding.display_xy[37]
    bench.embedding.layer.visible = False
    bench.click(*at)
    assert len(bench.workspace.selection) == 0


def test_a_window_is_left_as_it_was(make_napari_viewer: Callable) -> None:
    bench = Bench(make_napari_viewer(strict_qt="raise"))
    give_umap(bench.adata)
    bench.workspace.announce({"obsm/X_umap"})
    bench.embedding.show()
    bench.workspace.colour = GENE
    bench.click(*bench.embedding.display_xy[3])
    bench.interaction.close()
    bench.embedding.close()
    bench.tissue.close()
    assert list(bench.viewer.layers) == []
