"""Agents on the canvas: where they are, what follows them, how they are coloured and chosen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from tissue_dock import tissue

from celldyn.data import Source
from napari_celldyn.layers import agents_arrows, agents_trails, movers, moving_mesh
from napari_celldyn.layers.agents_arrows import Velocities, arrows
from napari_celldyn.layers.agents_ground import SpaceGround, TissueGround, widest
from napari_celldyn.layers.agents_trails import LENGTH, Trails
from napari_celldyn.session import Session, session

CELLS = np.arange(10, 50)


@pytest.fixture
def place() -> Session:
    """A session without a window, its tissue open; the viewer lives as long as the test."""
    viewer = ViewerModel()
    made = session(viewer)
    _, _ = made.tissue, made.interaction
    made.workspace.open(tissue())
    made.kept = viewer
    return made


def names(place: Session) -> list[str]:
    return [layer.name for layer in place.viewer.layers]


def on_tissue(place: Session) -> np.ndarray:
    """Show some cells on the tissue, where they are; return their coordinates."""
    adata = place.workspace.require()
    found = np.asarray(adata.obsm["spatial"], float)[CELLS]
    place.agents.show(CELLS, found, TissueGround(adata, CELLS, place.tissue))
    return found


# --- the ground -------------------------------------------------------------------------------


def test_told_coordinates_lie_where_the_tissue_has_such_cells(place):
    """Sections stand side by side, so that cells of the second are shifted, and in µm."""
    adata = tissue()
    adata.uns["celldyn"] |= {"spatial_unit": "pixel", "um_per_unit": 0.5, "section_key": "slice"}
    place.workspace.open(adata)
    ground = TissueGround(adata, CELLS, place.tissue)
    xy = np.asarray(adata.obsm["spatial"], float)[CELLS]
    np.testing.assert_allclose(ground.places(xy), place.tissue.display_xy[CELLS])
    np.testing.assert_allclose(ground.places(xy + 4.0), place.tissue.display_xy[CELLS] + 2.0)
    np.testing.assert_allclose(ground.steps([[4.0, 0.0]]), [[2.0, 0.0]])


def test_space_is_seen_along_its_widest_directions_from_the_same_side():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(500, 5)) * [0.1, 7.0, 0.1, 3.0, 0.1]
    axes = widest(positions)
    np.testing.assert_allclose(np.abs(axes[[1, 3], [0, 1]]), 1.0, atol=0.01)
    np.testing.assert_allclose(widest(-positions), axes, atol=1e-9)
    np.testing.assert_allclose(widest(positions[:, :1])[:, 1], 0.0)


def test_space_takes_another_scale_only_when_cells_leave_it_or_shrink():
    positions = np.random.default_rng(0).normal(size=(200, 3))
    ground = SpaceGround(positions, np.array([[0.0, 0.0], [100.0, 100.0]]))
    assert ground.places(positions).min(axis=0)[0] > 100.0  # beside the tissue
    assert ground.serves(positions)
    assert ground.serves(1.4 * positions)
    assert not ground.serves(2.0 * positions)
    assert not ground.serves(0.3 * positions)
    assert not ground.serves(positions + 5.0)
    step = ground.places(positions + np.array([1, 0, 0])) - ground.places(positions)
    np.testing.assert_allclose(ground.steps(np.tile([[1.0, 0, 0]], (200, 1))), step, atol=1e-9)


# --- cells ------------------------------------------------------------------------------------


def test_agents_begin_as_the_tissue_has_them_and_move(place):
    place.workspace.colour = Source("obs", "cell_type")
    found = on_tissue(place)
    layer = place.agents.movers.layer
    np.testing.assert_allclose(layer.data, place.tissue.display_xy[CELLS][:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(layer.face_color, place.tissue.layer.face_color[CELLS])
    assert place.tissue.layer.opacity == movers.DIMMED
    place.agents.move(found + np.array([30.0, 0.0]))
    place.agents.settle()
    there = place.tissue.display_xy[CELLS] + [30.0, 0.0]
    np.testing.assert_allclose(layer.data, there[:, ::-1], rtol=1e-6)
    place.agents.hide()
    assert place.tissue.layer.opacity == 1.0
    assert movers.NAME not in names(place)


def test_values_colour_them_with_a_bar_until_the_tissue_does_again(place):
    found = on_tissue(place)
    values = np.linspace(0.0, 4.0, len(CELLS))
    place.agents.colour(values, (0.0, 4.0), "viridis")
    place.agents.settle()
    layer = place.agents.movers.layer
    np.testing.assert_allclose(layer.face_color[0, :3], [0.267, 0.005, 0.329], atol=0.01)
    np.testing.assert_allclose(layer.face_color[-1, :3], [0.993, 0.906, 0.144], atol=0.01)
    assert layer.face_colorbar.visible
    assert layer.face_contrast_limits == (0.0, 4.0)
    place.agents.move(found + 1.0)
    place.agents.colour_as_tissue()
    place.agents.settle()
    np.testing.assert_allclose(layer.face_color, place.tissue.layer.face_color[CELLS])
    assert not layer.face_colorbar.visible


def test_a_click_and_a_lasso_find_cells_where_they_are_now(place):
    found = on_tissue(place)
    place.agents.move(found + np.array([1000.0, 0.0]))
    x, y = place.agents.places[3]
    assert place.interaction._cell_at((y, x)) == CELLS[3]
    square = np.array([[-10, 990], [-10, 1110], [110, 1110], [110, 990]], float)  # y, x
    np.testing.assert_array_equal(place.interaction.cells_in(square), CELLS)
    at_home = square - [0.0, 1000.0]
    others = np.setdiff1d(np.arange(60), CELLS)
    np.testing.assert_array_equal(place.interaction.cells_in(at_home), others)


def test_rings_of_chosen_cells_follow(place):
    found = on_tissue(place)
    place.workspace.selection = np.array([3, 12, 20])
    rings = place.interaction.marks.layer
    place.agents.move(found + np.array([50.0, 0.0]))
    shift = rings.data[:, 1] - place.tissue.display_xy[[3, 12, 20], 0]
    np.testing.assert_allclose(shift, [0.0, 50.0, 50.0], atol=1e-3)
    place.agents.hide()
    np.testing.assert_allclose(rings.data[:, 1], place.tissue.display_xy[[3, 12, 20], 0])


def test_in_their_own_space_they_stand_beside_the_tissue_and_both_are_ringed(place):
    positions = np.random.default_rng(1).normal(size=(len(CELLS), 4))
    ground = SpaceGround(positions, place.tissue.display_xy)
    place.agents.show(CELLS, positions, ground)
    assert not place.agents.on_tissue
    assert place.tissue.layer.opacity == 1.0
    place.workspace.selection = CELLS[:2]
    rings = place.interaction.marks.layer.data
    expected = np.vstack([place.tissue.display_xy[CELLS[:2]], ground.places(positions[:2])])
    np.testing.assert_allclose(rings, expected[:, ::-1])


def test_they_go_with_their_tissue_and_when_a_person_deletes_them(place):
    on_tissue(place)
    place.viewer.layers.remove(place.agents.movers.layer)
    assert not place.agents.shown
    assert place.tissue.layer.opacity == 1.0
    on_tissue(place)
    place.workspace.open(tissue(30))
    assert not place.agents.shown


# --- trails and velocities --------------------------------------------------------------------


def test_a_trail_reaches_back_along_the_way_and_begins_anew_after_a_jump(place):
    trails = Trails(
        place.viewer, np.zeros((2, 2)), 2.0, np.ones((2, 4), np.float32), "dimensionless"
    )
    for k in range(1, LENGTH):
        trails.move(np.array([[k, 0.0], [0.0, 2.0 * k]]))
    middle = trails.mesh.vertices.reshape(LENGTH, 2, 2, 2).mean(axis=2)
    np.testing.assert_allclose(middle[:, 0, 0], np.arange(LENGTH))
    np.testing.assert_allclose(middle[:, 1, 1], 2.0 * np.arange(LENGTH))
    wide = np.ptp(trails.mesh.vertices.reshape(LENGTH, 2, 2, 2)[:, 0, :, 1], axis=1)
    np.testing.assert_allclose(wide[[0, -1]], [0.0, agents_trails.WIDTH * 2.0], atol=1e-6)
    clear = trails.mesh.layer.vertex_colors[:, 3].reshape(LENGTH, -1)
    np.testing.assert_allclose(clear[[0, -1], 0], [0.0, agents_trails.OPACITY])
    trails.restart(np.array([[5.0, 5.0], [6.0, 6.0]]))
    np.testing.assert_allclose(np.ptp(trails.mesh.vertices.reshape(LENGTH, -1), axis=0), 0.0,
                               atol=1e-6)  # fmt: skip


def test_an_arrow_reaches_from_its_cell_as_far_as_is_asked():
    corners = arrows(np.array([[1.0, 2.0]]), np.array([[10.0, 0.0]]), 4.0)
    head = agents_arrows.HEAD * 4.0
    shaft = agents_arrows.SHAFT * 4.0
    np.testing.assert_allclose(corners[[0, 1]], [[1, 2 + shaft / 2], [1, 2 - shaft / 2]])
    base = [[11 - head, 2 + head / 2], [11 - head, 2 - head / 2]]
    np.testing.assert_allclose(corners[[4, 5]], base, rtol=1e-6)
    np.testing.assert_allclose(corners[6], [11.0, 2.0])
    np.testing.assert_allclose(arrows(np.ones((1, 2)), np.zeros((1, 2)), 4.0), 1.0)


def test_the_key_tells_the_speed_of_an_arrow_as_long(place):
    speeds = np.column_stack([np.full(100, 8.0), np.zeros(100)])
    made = Velocities(
        place.viewer, np.zeros((100, 2)), speeds, 5.0, np.array([0.0, 100.0]), "um", "µm/s", 0.5
    )
    # A fast cell's arrow is 3 cells long: 15; 1.5 times its speed of 16 per s is 24, told as 20.
    assert made.measured == 20.0
    assert made.scale == pytest.approx(15.0 / 8.0)
    assert made.key.text.values[0] == "20 µm/s"
    key = made.mesh.vertices[-7:]
    assert key[6, 0] - key[0, 0] == pytest.approx(20.0 * 0.5 * made.scale)
    made.move(np.zeros((100, 2)), speeds / 2)
    assert made.scale == pytest.approx(15.0 / 8.0)  # slower cells have shorter arrows
    made.move(np.zeros((100, 2)), speeds / 100)
    assert made.measured == 20.0  # they come to rest, and are seen to
    made.move(np.zeros((100, 2)), speeds * 10)
    assert made.measured == 200.0
    assert made.key.text.values[0] == "200 µm/s"


def test_what_they_wear_comes_and_goes(place):
    found = on_tissue(place)
    place.agents.dress.ask(trails=True, velocities=True)
    place.agents.move(found, np.ones_like(found))
    worn = {agents_trails.NAME, agents_arrows.NAME, agents_arrows.KEY_NAME}
    assert worn <= set(names(place))
    place.agents.dress.ask(trails=False, velocities=True)
    assert agents_trails.NAME not in names(place)
    place.agents.hide()
    assert not worn & set(names(place))


def test_the_quick_ways_draw_what_the_slow_ones_do(make_napari_viewer: Callable):
    viewer = make_napari_viewer()
    rng = np.random.default_rng(0)
    layer = viewer.add_points(np.zeros((50, 2)))
    rgba = rng.random((50, 4)).astype(np.float32)
    assert movers.write_colours(viewer, layer, rgba)
    markers = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node.points_markers
    quick = markers._data["a_bg_color"].copy()
    layer.face_color = rgba
    np.testing.assert_allclose(quick, markers._data["a_bg_color"], rtol=1e-6)
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    mesh = moving_mesh.MovingMesh(
        viewer, "mesh", rng.random((4, 2)), faces, np.ones((4, 4), np.float32), "dimensionless"
    )
    elsewhere = rng.random((4, 2)).astype(np.float32)
    mesh.move(elsewhere)
    node = viewer.window._qt_viewer.canvas.layer_to_visual[mesh.layer].node
    quick = node.mesh_data.get_vertices().copy()
    mesh.settle()
    np.testing.assert_allclose(quick, node.mesh_data.get_vertices(), rtol=1e-6)
    np.testing.assert_allclose(mesh.layer.vertices[:, ::-1], elsewhere)
    assert not moving_mesh.write_vertices(viewer, mesh.layer, elsewhere[:2])
