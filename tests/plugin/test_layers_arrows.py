"""Arrows over tissue and embedding: where they are, how long, and what their key says."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_celldyn.layers import TissueView, arrows
from napari_celldyn.layers.arrows import KEY_NAME, NAME, Arrows, ArrowsView, round_down
from napari_celldyn.layers.embedding import EmbeddingView
from napari_celldyn.workspace import Workspace


class Stage:
    """A tissue 100 wide, an embedding 2 wide beside it, and arrows."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer, self.workspace = viewer, Workspace()
        self.tissue = TissueView(viewer, self.workspace)
        self.embedding = EmbeddingView(viewer, self.workspace, self.tissue)
        self.arrows = ArrowsView(viewer, self.workspace)
        self.workspace.open(tissue())
        self.embedding.show()
        self.seen: list[bool] = []
        self.arrows.changed.connect(lambda: self.seen.append(self.arrows.layer is not None))

    @property
    def names(self) -> set[str]:
        return {layer.name for layer in self.viewer.layers}


def tissue() -> ad.AnnData:
    side = np.linspace(0, 1, 5)
    unit = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    adata = ad.AnnData(np.ones((25, 2), np.float32))
    adata.obsm["spatial"] = 100 * unit
    adata.obsm["X_umap"] = 2 * unit
    return adata


@pytest.fixture
def stage() -> Stage:
    return Stage(ViewerModel())


SOME = Arrows(
    points=np.array([[0.0, 0.0], [2.0, 2.0]]),
    vectors=np.array([[0.5, 0.0], [0.0, 0.3]]),
    scale=0.1,
    quantity="steps",
)


def test_arrows_stand_where_the_embedding_is_its_second_axis_upwards(stage: Stage) -> None:
    stage.arrows.show(SOME, stage.embedding)
    drawn = stage.arrows.layer.data[:-1, :, ::-1]  # the last is the key's
    xy, place = stage.embedding.display_xy, stage.embedding.place
    np.testing.assert_allclose(drawn[:, 0], xy[[0, 24]])
    np.testing.assert_allclose(drawn[:, 1], place.scale * np.array([[0.5, 0.0], [0.0, -0.3]]))
    assert stage.arrows.layer.vector_style == "arrow"


def test_the_key_is_an_arrow_of_a_round_length_in_the_same_scale(stage: Stage) -> None:
    stage.arrows.show(SOME, stage.embedding)
    start, step = stage.arrows.layer.data[-1, :, ::-1]
    # The longest arrow is 0.5 at 0.1 per unit: 5 units.
    np.testing.assert_allclose(step, [stage.embedding.place.scale * 0.5, 0.0])
    assert stage.arrows.key.text.string.array[0].strip() == "5 steps"
    assert start[1] > np.nanmax(stage.embedding.display_xy[:, 1])  # below the cells
    np.testing.assert_allclose(stage.arrows.key.data[0, ::-1], start)


def test_the_cells_under_them_are_dimmed_as_long_as_they_are_shown(stage: Stage) -> None:
    stage.arrows.show(SOME, stage.embedding)
    assert stage.embedding.layer.opacity == pytest.approx(arrows.DIMMED)
    stage.arrows.show(SOME, stage.tissue)
    assert stage.embedding.layer.opacity == 1.0
    assert stage.tissue.layer.opacity == pytest.approx(arrows.DIMMED)
    stage.arrows.hide()
    assert stage.tissue.layer.opacity == 1.0


def test_on_the_tissue_they_are_in_its_coordinates(stage: Stage) -> None:
    given = Arrows(np.array([[10.0, 20.0]]), np.array([[3.0, 4.0]]), 2.0, "µm a day")
    stage.arrows.show(given, stage.tissue)
    np.testing.assert_allclose(stage.arrows.layer.data[0], [[20, 10], [4, 3]])
    assert stage.arrows.key.text.string.array[0].strip() == "2 µm a day"


@pytest.mark.parametrize(
    ("value", "below"),
    [(1.0, 1), (0.9999, 0.5), (2.0, 2), (4.99, 2), (5.0, 5), (73.0, 50), (0.0031, 0.002)],
)
def test_round_numbers(value: float, below: float) -> None:
    assert round_down(value) == pytest.approx(below)


def test_there_are_never_arrows_without_a_key_nor_a_key_without_arrows(stage: Stage) -> None:
    still = Arrows(np.zeros((3, 2)), np.zeros((3, 2)), 1.0, "steps")
    stage.arrows.show(still, stage.embedding)
    assert {NAME, KEY_NAME}.isdisjoint(stage.names)
    for gone in (NAME, KEY_NAME):
        stage.arrows.show(SOME, stage.embedding)
        assert {NAME, KEY_NAME} <= stage.names
        stage.viewer.layers.remove(stage.viewer.layers[gone])
        assert {NAME, KEY_NAME}.isdisjoint(stage.names)
    assert stage.seen == [False, True, False, True, False]


def test_others_take_their_place(stage: Stage) -> None:
    stage.arrows.show(SOME, stage.embedding)
    stage.arrows.show(SOME, stage.tissue)
    assert [layer.name for layer in stage.viewer.layers].count(NAME) == 1
    assert stage.viewer.layers.selection.active is stage.tissue.layer
    stage.embedding.hide()  # they are not drawn on it any more
    assert NAME in stage.names
    stage.arrows.hide()
    assert stage.arrows.layer is None
    assert {NAME, KEY_NAME}.isdisjoint(stage.names)


@pytest.mark.parametrize(
    "leave",
    [
        lambda stage: stage.embedding.hide(),
        lambda stage: stage.workspace.open(tissue()),
        lambda stage: stage.viewer.layers.remove(stage.embedding.layer),
    ],
)
def test_they_go_with_what_they_are_drawn_on(stage: Stage, leave: Callable) -> None:
    stage.arrows.show(SOME, stage.embedding)
    leave(stage)
    assert {NAME, KEY_NAME}.isdisjoint(stage.names)


def test_a_hidden_embedding_takes_none(stage: Stage) -> None:
    stage.embedding.hide()
    stage.arrows.show(SOME, stage.embedding)
    assert NAME not in stage.names


def test_of_too_many_a_part_is_drawn(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrows, "MAX_ARROWS", 10)
    points = np.random.default_rng(0).random((35, 2))
    stage.arrows.show(Arrows(points, np.ones((35, 2)), 1.0, "steps"), stage.embedding)
    assert len(stage.arrows.layer.data) == 9 + 1


def test_a_window_is_left_as_it_was(make_napari_viewer: Callable) -> None:
    stage = Stage(make_napari_viewer(strict_qt="raise"))
    stage.arrows.show(SOME, stage.embedding)
    assert len(stage.viewer.layers) == 4
    stage.arrows.close()
    assert len(stage.viewer.layers) == 2
    stage.embedding.close()
    stage.tissue.close()
    assert len(stage.workspace.data_changed) == 0
