"""Points and squares behind one interface: the same calls, the same colours."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel

from napari_celldyn.layers.base import CellsLayer
from napari_celldyn.layers.colours import MISSING, category_table, colormap, shade
from napari_celldyn.layers.points import PointsCells
from napari_celldyn.layers.quads import MAX_STEPS, QuadsCells

XY = np.array([[10.0, 0.0], [20.0, 0.0], [30.0, 5.0], [40.0, 5.0], [50.0, 9.0]])
VALUES = np.array([0, 2, 4, np.nan, 8], np.float32)
CODES = np.array([0, 1, -1, 1, 0])
TABLE = category_table(["#ff0000", "#0000ff"])
VIRIDIS = colormap("viridis")


@pytest.fixture(params=[PointsCells, QuadsCells])
def cells(request: pytest.FixtureRequest) -> CellsLayer:
    return request.param(XY, 4.0, name="tissue")


def colours_of(cells: CellsLayer) -> np.ndarray:
    """What napari will draw, one RGBA per cell."""
    layer = cells.layer
    if isinstance(cells, PointsCells):
        return layer.face_color
    if layer.vertex_colors is not None:
        return layer.vertex_colors[::4]
    low, high = layer.contrast_limits
    place = (layer.vertex_values[::4] - low) / (high - low)
    rgba = layer.colormap.map(np.nan_to_num(place))
    rgba[np.isnan(place)] = layer.colormap.nan_color
    return rgba


def bar_of(cells: CellsLayer) -> bool:
    bar = cells.layer.face_colorbar if isinstance(cells, PointsCells) else cells.layer.colorbar
    return bar.visible


def test_y_comes_first_on_the_canvas() -> None:
    np.testing.assert_array_equal(PointsCells(XY, 4.0).layer.data, XY[:, ::-1])
    vertices, faces, _ = QuadsCells(XY, 4.0).layer.data
    quads = vertices.reshape(-1, 4, 2)
    np.testing.assert_allclose(quads.mean(axis=1), XY[:, ::-1])
    np.testing.assert_allclose(np.ptp(quads, axis=1), 4.0)
    assert faces.shape == (10, 3)
    np.testing.assert_array_equal(np.unique(faces[:2]), np.arange(4))


def test_the_two_triangles_of_a_square_cover_it() -> None:
    vertices, faces, _ = QuadsCells(XY, 4.0).layer.data
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    areas = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    np.testing.assert_allclose(areas, 8.0)


def test_values_have_a_bar_and_limits(cells: CellsLayer) -> None:
    cells.set_values(VALUES, (0.0, 8.0), VIRIDIS)
    assert bar_of(cells)
    assert cells.limits == (0.0, 8.0)
    drawn = colours_of(cells)
    np.testing.assert_allclose(drawn, shade(VALUES, (0.0, 8.0), VIRIDIS), atol=0.02)
    np.testing.assert_allclose(drawn[3], MISSING, atol=1e-6)


def test_limits_and_colormap_move_without_new_values(cells: CellsLayer) -> None:
    cells.set_values(VALUES, (0.0, 8.0), VIRIDIS)
    cells.set_limits((2.0, 4.0))
    assert cells.limits == (2.0, 4.0)
    np.testing.assert_allclose(colours_of(cells), shade(VALUES, (2.0, 4.0), VIRIDIS), atol=0.02)
    cells.set_colormap(colormap("magma"))
    expected = shade(VALUES, (2.0, 4.0), colormap("magma"))
    np.testing.assert_allclose(colours_of(cells), expected, atol=0.02)


def test_categories_have_their_colours_and_no_bar(cells: CellsLayer) -> None:
    cells.set_codes(CODES, TABLE)
    np.testing.assert_allclose(colours_of(cells), TABLE[CODES], atol=1e-6)
    assert not bar_of(cells)
    assert cells.limits is None
    faded = category_table(["#ff0000", "#0000ff"], isolated=[1])
    cells.set_codes(CODES, faded)
    np.testing.assert_allclose(colours_of(cells), faded[CODES], atol=1e-6)


def test_every_change_of_mode(cells: CellsLayer) -> None:
    rgba = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    diverging = colormap("blue-white-red")
    draws = {
        "values": (
            lambda: cells.set_values(VALUES, (0.0, 8.0), VIRIDIS),
            shade(VALUES, (0.0, 8.0), VIRIDIS),
        ),
        "diverging": (
            lambda: cells.set_values(VALUES - 4, (-4.0, 4.0), diverging),
            shade(VALUES - 4, (-4.0, 4.0), diverging),
        ),
        "codes": (lambda: cells.set_codes(CODES, TABLE), TABLE[CODES]),
        "rgba": (lambda: cells.set_rgba(rgba), rgba),
    }
    for first in draws:
        for second in draws:
            draws[first][0]()
            draws[second][0]()
            np.testing.assert_allclose(
                colours_of(cells), draws[second][1], atol=0.02, err_msg=f"{first} -> {second}"
            )
            assert bar_of(cells) == (second in {"values", "diverging"})


def test_the_bar_stays_out_of_categories(cells: CellsLayer) -> None:
    cells.set_codes(CODES, TABLE)
    cells.set_limits((0.0, 1.0))
    cells.set_colormap(VIRIDIS)
    np.testing.assert_allclose(colours_of(cells), TABLE[CODES], atol=1e-6)


def test_naparis_slider_moves_values_but_not_categories() -> None:
    cells = QuadsCells(XY, 4.0)
    cells.set_values(VALUES, (0.0, 8.0), VIRIDIS)
    cells.layer.contrast_limits = (1.0, 3.0)
    assert cells.limits == (1.0, 3.0)
    cells.set_codes(CODES, TABLE)
    cells.layer.contrast_limits = (0.2, 0.4)
    np.testing.assert_allclose(colours_of(cells), TABLE[CODES], atol=1e-6)


def test_more_categories_than_a_texture_can_hold() -> None:
    n = MAX_STEPS + 10
    xy = np.random.default_rng(0).uniform(0, 9, (n, 2))
    table = np.random.default_rng(1).random((n + 1, 4)).astype(np.float32)
    cells = QuadsCells(xy, 1.0)
    cells.set_codes(np.arange(n), table)
    np.testing.assert_allclose(colours_of(cells), table[:-1])


def test_only_the_shown_cells_are_drawn(cells: CellsLayer) -> None:
    shown = np.array([True, False, True, False, False])
    cells.set_shown(shown)
    layer = cells.layer
    if isinstance(cells, PointsCells):
        drawn = layer.shown
    else:
        drawn = np.isin(np.arange(5), layer.data[1] // 4)
    np.testing.assert_array_equal(drawn, shown)
    cells.set_shown(None)
    assert layer.shown.all() if isinstance(cells, PointsCells) else len(layer.data[1]) == 10


def test_size(cells: CellsLayer) -> None:
    cells.set_size(6.0)
    if isinstance(cells, PointsCells):
        np.testing.assert_array_equal(cells.layer.size, 6.0)
    else:
        np.testing.assert_allclose(np.ptp(cells.layer.vertices[:4], axis=0), 6.0)


def test_features_feed_naparis_status_line() -> None:
    cells = PointsCells(XY, 4.0)
    viewer = ViewerModel()
    viewer.add_layer(cells.layer)
    cells.describe(pd.DataFrame({"cell": list("abcde"), "Gad1": VALUES}))
    status = cells.layer.get_status((5.0, 30.0), world=True)
    assert "cell: c" in status["value"]
    assert "Gad1: 4" in status["value"]


def test_cells_cannot_be_moved_by_hand() -> None:
    layer = PointsCells(XY, 4.0).layer
    layer.mode = "select"
    assert layer.mode == "pan_zoom"
    layer.mode = "add"
    assert layer.mode == "pan_zoom"
