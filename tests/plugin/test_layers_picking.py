from __future__ import annotations

import numpy as np
import pytest

from napari_celldyn.layers.picking import CellIndex, spacing

SQUARE = [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]]


@pytest.fixture
def xy() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (2000, 2))


@pytest.mark.parametrize("ready", [False, True])
def test_pick_is_the_nearest_cell(xy: np.ndarray, ready: bool) -> None:
    index = CellIndex(xy)
    if ready:
        index.prepare(wait=True)
        assert index.ready
    for point in np.random.default_rng(2).uniform(0, 1, (20, 2)):
        distance = np.linalg.norm(xy - point, axis=1)
        assert index.pick(*point, radius=1.0) == distance.argmin()
        assert index.pick(*point, radius=0.5 * distance.min()) is None


def test_before_the_tree_stands_the_answer_is_the_same(xy: np.ndarray) -> None:
    slow, fast = CellIndex(xy), CellIndex(xy)
    fast.prepare(wait=True)
    slow.prepare = lambda **_: None  # type: ignore[method-assign]
    assert slow.pick(0.3, 0.7, 0.1) == fast.pick(0.3, 0.7, 0.1)
    np.testing.assert_array_equal(
        slow.within_radius(0.5, 0.5, 0.2), fast.within_radius(0.5, 0.5, 0.2)
    )
    assert not slow.ready


def test_within_radius_matches_distances(xy: np.ndarray) -> None:
    index = CellIndex(xy)
    index.prepare(wait=True)
    expected = np.flatnonzero(np.linalg.norm(xy - 0.5, axis=1) <= 0.25)
    np.testing.assert_array_equal(index.within_radius(0.5, 0.5, 0.25), expected)


def test_within_polygon_of_a_square(xy: np.ndarray) -> None:
    expected = np.flatnonzero(((xy > 0.2) & (xy < 0.8)).all(axis=1))
    np.testing.assert_array_equal(CellIndex(xy).within_polygon(SQUARE), expected)


def test_a_polygon_with_a_notch(xy: np.ndarray) -> None:
    notched = [[0, 0], [1, 0], [1, 1], [0.5, 0.5], [0, 1]]
    above = xy[:, 1] < np.maximum(1 - xy[:, 0], xy[:, 0])
    np.testing.assert_array_equal(CellIndex(xy).within_polygon(notched), np.flatnonzero(above))


def test_a_lasso_that_crosses_itself_takes_both_loops(xy: np.ndarray) -> None:
    bow_tie = [[0, 0], [1, 1], [1, 0], [0, 1]]
    inside = np.abs(xy[:, 1] - 0.5) < np.abs(xy[:, 0] - 0.5)
    np.testing.assert_array_equal(CellIndex(xy).within_polygon(bow_tie), np.flatnonzero(inside))


@pytest.mark.parametrize("vertices", [[], [[0, 0]], [[0, 0], [1, 1]], [[0, 0], [1, 1], [0, 0]]])
def test_a_polygon_without_area_holds_nothing(xy: np.ndarray, vertices: list) -> None:
    assert len(CellIndex(xy).within_polygon(vertices)) == 0


def test_no_cells() -> None:
    index = CellIndex(np.empty((0, 2)))
    assert index.pick(0, 0, 1) is None
    assert len(index.within_polygon(SQUARE)) == 0


def test_spacing_of_a_grid() -> None:
    grid = np.stack(np.meshgrid(np.arange(50), np.arange(40)), -1).reshape(-1, 2) * 7.0
    assert spacing(grid) == 7.0
    assert spacing(grid, sample=400) == 7.0


def test_spacing_of_random_cells() -> None:
    # A Poisson process of intensity 1 has its nearest neighbour at a median of sqrt(ln 2 / pi).
    xy = np.random.default_rng(3).uniform(0, 150, (22500, 2))
    assert spacing(xy, sample=10_000) == pytest.approx(np.sqrt(np.log(2) / np.pi), rel=0.05)


@pytest.mark.parametrize("xy", [np.empty((0, 2)), np.zeros((1, 2)), np.zeros((5, 2))])
def test_spacing_that_cannot_be_told(xy: np.ndarray) -> None:
    assert spacing(xy) == 1.0
