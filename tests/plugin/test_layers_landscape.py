"""The landscape in 3-D: its place, its ground, its cells, the way there and back; lines on it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from landscape_view_cases import potential_of, surface, tree
from napari.components import ViewerModel

from celldyn.data import Source
from napari_celldyn.layers import landscape_marks, movers, streamlines
from napari_celldyn.layers.film import Film
from napari_celldyn.layers.landscape_ground import THICKNESS, ground, outline
from napari_celldyn.layers.landscape_picking import Hiding, ground_at, pick_along
from napari_celldyn.layers.landscape_relief import RISE, relief_beside, turned
from napari_celldyn.layers.landscape_ribbons import ribbons
from napari_celldyn.layers.landscape_terrain import contour_ribbons
from napari_celldyn.session import Session, session

KEY = "X_diff_state"
DOWN = np.array([0.0, 0.0, -1.0])


@pytest.fixture(scope="module")
def adata():
    return tree(300)


@pytest.fixture(scope="module")
def relief(adata):
    return relief_beside(surface(adata), adata.obsm[KEY], adata.obsm["spatial"])


@pytest.fixture
def place() -> Session:
    """A session without a window, its tissue open; the viewer lives as long as the test."""
    viewer = ViewerModel()
    made = session(viewer)
    _ = made.tissue
    made.workspace.open(tree(300))
    made.kept = viewer
    return made


def names(place: Session) -> list[str]:
    return [layer.name for layer in place.viewer.layers]


# --- the relief -------------------------------------------------------------------------------


def test_it_stands_off_the_tissue_on_its_plane_and_its_valleys_to_the_front(adata, relief):
    vertices, _ = relief.mesh()
    assert vertices[:, 0].min() > adata.obsm["spatial"][:, 0].max()
    np.testing.assert_allclose([vertices[:, 2].min(), np.ptp(vertices[:, 2])],
                               [0, RISE * relief.place.side], atol=1e-9)  # fmt: skip
    stem, tip = relief.points([[0.0, 0.1], [1.4, 2.5]])
    assert stem[2] > tip[2]
    assert stem[1] < tip[1]  # y of the canvas points to who looks


def test_points_lie_on_the_surface_and_come_back_from_the_canvas(relief):
    xy = np.array([[0.1, 0.3], [-0.6, 1.6], [np.nan, 0.0]])
    places = relief.points(xy, above=2.0)
    expected = relief.per_unit * (relief.surface.potential_at(xy[:2]) - relief.low) + 2.0
    np.testing.assert_allclose(places[:2, 2], expected)
    assert np.isnan(places[2]).any()
    np.testing.assert_allclose(relief.plane(places[:2, :2]), xy[:2], atol=1e-9)


def test_turning_keeps_distances():
    xy = np.array([[1.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(turned(xy, np.pi / 2), [[0, 1], [-2, 0]], atol=1e-12)


def test_the_ground_is_a_slab_with_walls_along_its_outline(relief):
    mesh = ground(relief)
    top, faces = relief.mesh()
    rim = outline(faces)
    assert len(mesh.vertices) == len(top) + 4 * len(rim)
    assert len(mesh.faces) == len(faces) + 2 * len(rim)
    upper, lower = np.split(mesh.vertices[len(top) :], 2)
    np.testing.assert_allclose(
        upper - lower, np.tile([0, 0, THICKNESS * relief.place.side], (len(upper), 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.ptp(mesh.values), np.ptp(relief.surface.values), rtol=0.05)


def test_every_line_of_equal_potential_has_one(relief):
    drawn = contour_ribbons(relief.surface, 1e-6)
    V = relief.surface.potential_at(drawn.vertices)
    levels = np.linspace(V.min(), V.max(), 14)
    assert np.abs(V[:, None] - levels).min(axis=1).max() < 1e-4


# --- ribbons ----------------------------------------------------------------------------------


def test_a_ribbon_is_as_wide_as_asked_and_its_head_points_along_it():
    line = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    band = ribbons([line], 0.2, heads=True)
    assert len(band.faces) == 2 * 3 + 2
    np.testing.assert_allclose(band.vertices[:8:2] - band.vertices[1:8:2], [[0, 0.2]] * 4)
    tip, left, notch, right = band.vertices[8:]
    assert tip[0] > notch[0] > left[0] == right[0]
    np.testing.assert_allclose(left[1], -right[1])


def test_ribbons_of_several_lines_are_not_joined():
    lines = [np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[5.0, 5.0], [5.0, 6.0]])]
    band = ribbons(lines, [0.1, 0.1, 0.3, 0.3])
    assert len(band.faces) == 4
    points = band.point[band.faces]
    assert all(set(face) <= {0, 1} or set(face) <= {2, 3} for face in points)
    np.testing.assert_allclose(np.linalg.norm(band.vertices[4] - band.vertices[5]), 0.3)
    assert len(ribbons([], 1.0).vertices) == 0


# --- picking ----------------------------------------------------------------------------------


def test_the_cell_in_front_is_picked_and_of_two_alike_the_nearer_to_the_ray():
    cells = np.array([[0.0, 0, 0], [0, 0, 10], [0.5, 0, 10], [np.nan, 0, 20]])
    assert pick_along(cells, [0, 0, 50], DOWN, 1.0) == 1
    assert pick_along(cells, [0.4, 0, 50], DOWN, 1.0) == 2
    assert pick_along(cells, [5, 0, 50], DOWN, 1.0) is None
    assert pick_along(cells, [0, 0, 50], DOWN, 1.0, seen_to=30) is None


def test_a_ray_meets_the_plane_of_the_tissue():
    np.testing.assert_allclose(ground_at([1, 2, 3], [0, 0.6, -0.8]), [1, 2 + 3 * 0.75])
    assert ground_at([1, 2, 3], [1, 0, 0]) is None


def test_the_relief_hides_what_lies_behind_it_and_nothing_where_it_is_not(relief):
    hiding = Hiding(relief)
    over = relief.points([[0.0, 0.3]])[0]
    np.testing.assert_allclose(hiding.seen_to(over - 100 * DOWN, DOWN), 100, atol=1.5)
    beyond = relief.points([[1.4, 0.1]])[0]  # between stem and branch there is no cell
    assert hiding.seen_to(beyond - 100 * DOWN, DOWN) == np.inf
    # The point that stands for a ray may lie anywhere on it, as napari's does.
    np.testing.assert_allclose(hiding.seen_to(over + 30 * DOWN, DOWN), -30, atol=1.5)


# --- there and back ---------------------------------------------------------------------------


def test_showing_turns_to_3_d_and_hiding_brings_camera_layers_and_embedding_back(place):
    place.embedding.show("X_umap")
    user = place.viewer.add_points(np.zeros((1, 2)), name="mine")
    camera = place.viewer.scene.camera
    camera.center, camera.zoom = (0.0, 123.0, 45.0), 2.5
    before, was = (camera.center, camera.zoom, camera.angles), names(place)
    place.landscape.show(surface(tree(300)), KEY)
    assert place.viewer.dims.ndisplay == 3
    assert place.embedding.key is None
    assert user in place.viewer.layers
    assert camera.angles != before[2]
    assert place.landscape.key == KEY
    place.workspace.selection = np.array([3, 4])
    place.landscape.hide()
    assert place.viewer.dims.ndisplay == place.viewer.dims.ndim == 2
    np.testing.assert_allclose(camera.center, before[0])
    assert (camera.zoom, camera.angles) == before[1:]
    assert sorted(names(place)) == sorted(was)
    assert place.embedding.key == "X_umap"


@pytest.mark.parametrize(
    "leave",
    [
        lambda place: setattr(place.viewer.dims, "ndisplay", 2),
        lambda place: place.viewer.layers.remove(place.landscape.ground),
        lambda place: place.workspace.open(tree(50)),
        lambda place: place.workspace.announce({f"obsm/{KEY}"}),
    ],
    ids=["napari's button", "the layer deleted", "another tissue", "other places"],
)
def test_it_goes_and_leaves_no_axis_of_height_behind(place, leave: Callable):
    place.landscape.show(surface(tree(300)), KEY)
    leave(place)
    assert not place.landscape.shown
    assert place.viewer.dims.ndim == place.viewer.dims.ndisplay == 2
    assert names(place) == ["tissue"]


def test_what_is_looked_at_is_within_the_canvas(place):
    place.landscape.show(surface(tree(300)), KEY)
    camera, (height, width) = place.viewer.scene.camera, place.viewer.canvas.size
    ahead, up = np.array(camera.view_direction), np.array(camera.up_direction)
    places = np.vstack([
        place.landscape.relief.mesh()[0],
        np.pad(place.tissue.display_xy, ((0, 0), (0, 1))),
    ])  # fmt: skip
    away = camera.zoom * (places[:, ::-1] - camera.center)
    across, upwards = np.abs(away @ np.cross(ahead, up)), np.abs(away @ up)
    assert across.max() <= width / 2 + 1e-6
    assert upwards.max() <= height / 2 + 1e-6
    assert max(across.max() / width, upwards.max() / height) > 0.4


# --- cells and colours ------------------------------------------------------------------------


def test_cells_lie_on_the_ground_in_the_colours_of_the_tissue(place):
    place.landscape.show(surface(tree(300)), KEY)
    cells, relief = place.landscape.layer, place.landscape.relief
    on = relief.points(place.workspace.require().obsm[KEY])
    above = cells.data[:, 0] - on[:, 2]
    np.testing.assert_allclose(above, above[0], atol=1e-4)
    assert 0 < above[0] < place.landscape.cell_size
    for source in (Source("obs", "cell_type"), Source("obs", "potential"), None):
        place.workspace.colour = source
        np.testing.assert_allclose(cells.face_color, place.tissue.layer.face_color)


def test_blended_fates_colour_tissue_and_landscape_and_isolation_fades_the_others(place):
    place.landscape.show(surface(tree(300)), KEY)
    place.workspace.colour = Source("obsm", "fate_probabilities")
    held = place.tissue.column
    assert held.categories == ["Left", "Right"]
    for layer in (place.tissue.layer, place.landscape.layer):
        np.testing.assert_allclose(layer.face_color, held.rgba, atol=1e-6)
    place.workspace.isolated = {"Left"}
    faded = place.landscape.layer.face_color[:, 3] < 1
    np.testing.assert_array_equal(faded, held.codes == 1)


def test_steeper_raises_cells_and_ground_alike(place):
    view = place.landscape
    view.show(surface(tree(300)), KEY)
    before = view.layer.data[:, 0].copy(), view.ground.vertices[:, 0].copy()
    view.exaggeration = 2.0
    sunk = view.clearance - 0.5 * view.cell_size
    np.testing.assert_allclose(view.layer.data[:, 0] - sunk, 2 * (before[0] - sunk), atol=1e-3)
    np.testing.assert_allclose(view.ground.vertices[:, 0].max(), 2 * before[1].max(), rtol=1e-6)


def test_a_cell_without_a_place_is_neither_drawn_nor_picked():
    viewer = ViewerModel()
    place = session(viewer)
    adata = tree(300)
    adata.obsm[KEY][:5] = np.nan
    place.workspace.open(adata)
    place.landscape.show(surface(tree(300)), KEY)
    assert len(place.landscape.layer.data) == 295
    assert np.isnan(place.landscape.display_xyz[:5]).any(axis=1).all()
    at = place.landscape.display_xyz[7]
    assert place.landscape.pick(at - 500 * DOWN, DOWN) == 7


# --- the mouse --------------------------------------------------------------------------------


def click(place: Session, at: np.ndarray, direction: np.ndarray, *, shift: bool = False) -> None:
    event = SimpleNamespace(
        button=1, pos=(5, 5), type="mouse_press", dims_displayed=[0, 1, 2],
        modifiers=("Shift",) if shift else (),
        position=tuple((at - 300 * direction)[::-1]), view_direction=direction[::-1],
    )  # fmt: skip
    steps = place.landscape_mouse.on_press(place.viewer, event)
    next(steps, None)
    event.type = "mouse_release"
    next(steps, None)


def test_a_click_on_the_landscape_or_on_the_tissue_chooses_and_rings_on_both(place):
    _ = place.interaction
    place.landscape.show(surface(tree(300)), KEY)
    ahead = np.array([0.0, -0.6, -0.8])
    # Where no other cell is in front of it.
    xyz = place.landscape.display_xyz
    cell = next(i for i in range(300) if place.landscape.pick(xyz[i] - 300 * ahead, ahead) == i)
    click(place, xyz[cell], ahead)
    np.testing.assert_array_equal(place.workspace.selection, [cell])
    rings = place.viewer.layers[landscape_marks.CHOSEN]
    np.testing.assert_allclose(rings.data, xyz[[cell], ::-1], rtol=1e-5)
    in_tissue = place.viewer.layers["selected cells"]
    np.testing.assert_allclose(in_tissue.data, place.tissue.display_xy[[cell], ::-1])
    other = 100 if cell != 100 else 101
    click(place, np.append(place.tissue.display_xy[other], 0.0), ahead, shift=True)
    np.testing.assert_array_equal(place.workspace.selection, sorted([cell, other]))
    click(place, np.array([-1e4, -1e4, 0.0]), ahead)
    assert len(place.workspace.selection) == 0


def test_a_drag_turns_the_landscape_and_chooses_nothing(place):
    place.landscape.show(surface(tree(300)), KEY)
    event = SimpleNamespace(button=1, pos=(5, 5), type="mouse_press", dims_displayed=[0, 1, 2],
                            modifiers=(), position=(0, 0, 0), view_direction=DOWN)  # fmt: skip
    steps = place.landscape_mouse.on_press(place.viewer, event)
    next(steps)
    event.pos, event.type = (50, 5), "mouse_release"
    place.workspace.selection = np.array([9])
    next(steps, None)
    np.testing.assert_array_equal(place.workspace.selection, [9])


def test_the_cell_under_the_mouse_is_ringed_on_landscape_and_tissue(place):
    place.landscape.show(surface(tree(300)), KEY)
    _ = place.landscape_mouse
    place.workspace.hovered = 11
    ring = place.viewer.layers[landscape_marks.HOVERED]
    expected = [place.landscape.display_xyz[11], np.append(place.tissue.display_xy[11], 0.0)]
    np.testing.assert_allclose(ring.data, np.array(expected)[:, ::-1], rtol=1e-5)
    place.workspace.hovered = None
    assert len(ring.data) == 0


# --- streamlines ------------------------------------------------------------------------------

LINES = [np.array([[0.0, 0.2], [0.0, 0.6], [0.1, 1.0]]), np.array([[0.5, 1.5], [0.9, 2.0]])]
SPEEDS = [np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5])]


def test_lines_lie_over_the_cells_of_the_landscape_and_flat_on_the_embedding(place):
    place.landscape.show(surface(tree(300)), KEY)
    lines = place.streamlines["landscape"]
    lines.show(LINES, SPEEDS, KEY)
    xyz = lines.layer.vertices[:, ::-1]
    relief = place.landscape.relief
    over = xyz[:, 2] - relief.points(relief.plane(xyz[:, :2]))[:, 2]
    assert (over >= place.landscape.clearance).all()
    assert lines.speeds == pytest.approx((0.5, 2.92), abs=0.01)
    place.landscape.hide()
    assert lines.layer is None
    place.embedding.show(KEY)
    flat = place.streamlines["embedding"]
    flat.show(LINES, SPEEDS, KEY)
    assert flat.layer.ndim == 2
    middle = place.embedding.points_on_canvas(np.concatenate(LINES))
    np.testing.assert_allclose(flat.layer.vertices[:10].reshape(5, 2, 2).mean(axis=1)[:, ::-1],
                               middle, rtol=1e-5)  # fmt: skip


def test_lines_of_another_embedding_are_not_drawn_and_come_back_with_theirs(place):
    place.embedding.show(KEY)
    lines = place.streamlines["embedding"]
    lines.show(LINES, SPEEDS, KEY)
    place.embedding.show("X_umap")
    assert lines.layer is None
    place.embedding.show(KEY)
    assert lines.layer is not None
    place.workspace.open(tree(40))
    assert lines.layer is None
    place.embedding.show(KEY)
    assert lines.layer is None


def test_fast_is_wide_and_has_another_colour(place):
    lines = place.streamlines["tissue"]
    lines.show([np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])],
               [np.array([0.0, 0.0, 4.0, 4.0])])  # fmt: skip
    inner = lines.layer.vertices[12:20].reshape(4, 2, 2)  # the rim and its head come first
    wide = np.linalg.norm(inner[:, 0] - inner[:, 1], axis=1)
    assert wide[2] > 1.5 * wide[1] > 0
    plain = lines.layer.vertex_colors[12:20]
    assert len(np.unique(plain, axis=0)) == 1
    lines.style = streamlines.Style(colour="speed")
    assert len(np.unique(lines.layer.vertex_colors[12:20], axis=0)) == 2
    lines.style = streamlines.Style(width=2.0)
    twice = lines.layer.vertices[12:20].reshape(4, 2, 2)
    np.testing.assert_allclose(np.linalg.norm(twice[:, 0] - twice[:, 1], axis=1), 2 * wide,
                               rtol=1e-4)  # fmt: skip


def test_a_person_may_delete_lines(place):
    lines = place.streamlines["tissue"]
    seen = []
    lines.changed.connect(lambda: seen.append(lines.layer))
    lines.show(LINES, SPEEDS)
    place.viewer.layers.remove(lines.layer)
    assert seen[-1] is None
    assert lines.speeds is None


# --- cells on their way -----------------------------------------------------------------------


def film_of(adata, n_times: int = 5) -> SimpleNamespace:
    B = np.asarray(adata.obsm[KEY], np.float32)
    steps = np.linspace(0, 1, n_times, dtype=np.float32)[:, None, None]
    return SimpleNamespace(times=np.array([0.0, 1.0, 2.0, 4.0, 8.0])[:n_times],
                           places=B + steps * np.float32([0.0, 0.4]))  # fmt: skip


def test_between_two_frames_cells_are_between_two_places():
    film = Film(np.array([0.0, 1.0, 3.0]), np.float32([[[0, 0]], [[1, 0]], [[1, 4]]]))
    np.testing.assert_allclose(film.at(0.25), [[0.25, 0]])
    np.testing.assert_allclose(film.at(2.0), [[1, 2]])
    np.testing.assert_allclose(film.at(-1.0), [[0, 0]])
    np.testing.assert_allclose(film.at(99.0), [[1, 4]])


def test_cells_move_on_embedding_and_landscape_and_those_at_rest_are_dimmed(place):
    adata = place.workspace.require()
    place.embedding.show(KEY)
    place.workspace.colour = Source("obs", "cell_type")
    frames = film_of(adata)
    place.journey.show(frames, KEY)
    assert place.journey.layers == ["embedding"]
    assert place.embedding.layer.opacity == movers.DIMMED
    place.journey.seek(4.0)
    moving = place.journey.movers("embedding").layer
    expected = place.embedding.points_on_canvas(frames.places[3])
    np.testing.assert_allclose(moving.data, expected[:, ::-1], rtol=1e-4)
    np.testing.assert_allclose(moving.face_color, place.tissue.layer.face_color)
    place.landscape.show(surface(tree(300)), KEY)
    assert place.journey.layers == ["landscape"]
    raised = place.journey.movers("landscape").layer
    at = place.landscape.cells_at(frames.places[3])
    np.testing.assert_allclose(raised.data, at[:, ::-1], rtol=1e-4, atol=1e-3)
    place.journey.hide()
    assert place.landscape.layer.opacity == 1.0
    assert movers.NAME not in names(place)


def test_a_slow_machine_shows_fewer_cells_on_their_way(place):
    adata = tree(2500)
    place.workspace.open(adata)
    place.embedding.show(KEY)
    place.journey.show(film_of(adata), KEY)
    assert place.journey.thin()
    np.testing.assert_array_equal(place.journey.cells, np.arange(0, 2500, 4))
    assert len(place.journey.movers("embedding").layer.data) == 625
    assert not place.journey.thin()


def test_frames_of_places_that_change_go(place):
    place.embedding.show(KEY)
    place.journey.show(film_of(place.workspace.require()), KEY)
    place.workspace.announce({f"obsm/{KEY}"})
    assert place.journey.film is None


def test_the_quick_way_to_move_draws_what_the_slow_one_does(make_napari_viewer: Callable):
    viewer = make_napari_viewer()
    layer = viewer.add_points(np.zeros((50, 3)), ndim=3)
    viewer.dims.ndisplay = 3
    places = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert movers.write_places(viewer, layer, places)
    markers = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node.points_markers
    quick = {name: markers._data[name].copy() for name in markers._data.dtype.names}
    layer.data = places
    for name, values in quick.items():
        np.testing.assert_allclose(values, markers._data[name], rtol=1e-6)
    assert not movers.write_places(viewer, layer, places[:10])


# --- a path -----------------------------------------------------------------------------------


def test_a_path_is_a_line_among_states_and_rings_in_the_tissue(place):
    place.embedding.show(KEY)
    way = np.array([[0.0, 0.2], [0.0, 0.6], [0.1, 1.0]])
    place.route.show_line(way, KEY)
    place.route.show_cells(np.array([7, 3, 7, 3, 20]))
    assert place.route.flat.layer is not None
    np.testing.assert_array_equal(place.route.cells, [7, 3, 20])
    np.testing.assert_allclose(place.route.stops.data, place.tissue.display_xy[[7, 3, 20], ::-1])
    place.landscape.show(surface(tree(300)), KEY)
    assert place.route.raised.layer is not None
    assert place.route.stops in place.viewer.layers
    place.landscape.hide()
    place.route.hide()
    assert sorted(names(place)) == [f"embedding {KEY}", "tissue"]


def test_the_test_case_has_its_valleys_where_it_says():
    left, ridge, right = potential_of(np.array([[-1.0, 2.05], [0.0, 2.05], [1.0, 2.05]]))
    assert left == pytest.approx(right)
    assert ridge > left + 0.1


def test_close_leaves_nothing_behind(place):
    place.landscape.show(surface(tree(300)), KEY)
    place.workspace.selection = np.array([1])
    place.landscape_mouse.close()
    place.journey.close()
    place.route.close()
    for view in place.streamlines.values():
        view.close()
    place.landscape.close()
    assert names(place) == ["tissue"]
    assert len(place.landscape.rebuilt) == 0
