from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mouse_bench import Bench
from napari.utils.shortcuts import default_shortcuts

from celldyn.data import Source, set_unit
from celldyn.errors import DataError
from napari_celldyn.interact import KEYS, LASSO
from napari_celldyn.layers import selection


@pytest.fixture
def bench(make_napari_viewer: Callable) -> Bench:
    return Bench(make_napari_viewer())


def test_a_click_chooses_the_cell_under_it(bench: Bench) -> None:
    bench.click(31, 52)
    np.testing.assert_array_equal(bench.workspace.selection, [53])
    bench.click(0, 0)
    np.testing.assert_array_equal(bench.workspace.selection, [0])


def test_shift_adds_and_takes_away(bench: Bench) -> None:
    from vispy.util import keys

    bench.click(31, 52)
    bench.click(0, 0, [keys.SHIFT])
    np.testing.assert_array_equal(bench.workspace.selection, [0, 53])
    bench.click(30, 50, [keys.SHIFT])
    np.testing.assert_array_equal(bench.workspace.selection, [0])
    bench.click(110, 110, [keys.SHIFT])  # beside the tissue
    np.testing.assert_array_equal(bench.workspace.selection, [0])
    bench.click(110, 110)
    assert len(bench.workspace.selection) == 0


def test_panning_chooses_nothing(bench: Bench) -> None:
    bench.drag([(30, 50), (45, 50), (60, 50)])
    assert len(bench.workspace.selection) == 0


def test_clicks_belong_to_a_layer_that_is_drawn_on(bench: Bench) -> None:
    shapes = bench.viewer.add_shapes(name="mine")
    shapes.mode = "add_rectangle"
    event = SimpleNamespace(button=1, dims_displayed=[0, 1], pos=(0, 0))
    assert list(bench.interaction.on_press(bench.viewer, event)) == []
    shapes.mode = "pan_zoom"
    assert next(bench.interaction.on_press(bench.viewer, event), "done") is None


def test_hover_tells_name_type_and_value(bench: Bench, qtbot: Any) -> None:
    bench.workspace.colour = Source("X", column="Gad1")
    bench.mouse("move", (31, 52))
    assert bench.workspace.hovered == 53
    line = bench.viewer.canvas.overlays.text
    assert line.visible
    assert line.text == "cell53  ·  Astro  ·  Gad1: 106"
    bench.mouse("move", (0, 0))  # within 30 ms: told a little later
    qtbot.waitUntil(lambda: bench.workspace.hovered == 0, timeout=2000)
    bench.workspace.hovered = None
    assert not line.visible


def test_a_layer_with_a_time_axis_does_not_disturb(bench: Bench) -> None:
    bench.viewer.add_points(np.zeros((3, 3)), name="frames")
    bench.viewer.layers.selection.active = bench.tissue.layer
    bench.click(31, 52)
    np.testing.assert_array_equal(bench.workspace.selection, [53])


def test_nothing_of_the_viewer_is_left(make_napari_viewer: Callable) -> None:
    bench = Bench(make_napari_viewer(strict_qt="raise"))
    bench.click(31, 52)
    bench.interaction.start_lasso()
    bench.interaction.close()
    bench.embedding.close()
    bench.tissue.close()


def test_the_type_is_said_once(bench: Bench) -> None:
    bench.workspace.colour = Source("obs", "cell_type")
    assert bench.interaction.describe(0) == "cell0  ·  cell_type: Astro"


def test_a_lasso_drawn_with_the_mouse(bench: Bench, qtbot: Any) -> None:
    bench.interaction.start_lasso()
    lasso = bench.viewer.layers[LASSO]
    assert lasso.mode == "add_polygon_lasso"
    bench.draw_round((15, 25), (55, 45))
    xy = bench.adata.obsm["spatial"]
    inside = (xy[:, 0] > 15) & (xy[:, 0] < 55) & (xy[:, 1] > 25) & (xy[:, 1] < 45)
    np.testing.assert_array_equal(bench.workspace.selection, np.flatnonzero(inside))
    qtbot.waitUntil(lambda: LASSO not in bench.viewer.layers, timeout=2000)
    assert not bench.interaction.lassoing
    assert bench.viewer.layers.selection.active is bench.tissue.layer


def test_the_lasso_goes_when_another_layer_is_chosen(bench: Bench, qtbot: Any) -> None:
    bench.interaction.start_lasso()
    bench.viewer.layers.selection.active = bench.tissue.layer
    qtbot.waitUntil(lambda: LASSO not in bench.viewer.layers, timeout=2000)
    bench.interaction.toggle_lasso()
    bench.viewer.layers.remove(bench.viewer.layers[LASSO])
    qtbot.waitUntil(lambda: not bench.interaction.lassoing, timeout=2000)
    bench.interaction.toggle_lasso()
    assert bench.interaction.lassoing
    bench.interaction.toggle_lasso()
    assert LASSO not in bench.viewer.layers


def test_annotate_and_undo_by_key(bench: Bench) -> None:
    with pytest.raises(DataError, match="no cell is selected"):
        bench.interaction.annotate_selection("niche", "A")
    bench.workspace.selection = np.array([3, 4])
    bench.interaction.annotate_selection("niche", "A")
    assert list(bench.adata.obs_names[bench.adata.obs["niche"] == "A"]) == ["cell3", "cell4"]
    press(bench, KEYS["undo"][0])
    assert "niche" not in bench.adata.obs


def test_keys_for_lasso_and_clear(bench: Bench) -> None:
    press(bench, KEYS["lasso"][0])
    assert bench.interaction.lassoing
    press(bench, KEYS["clear"][0])  # the lasso layer is the active one
    assert not bench.interaction.lassoing
    bench.workspace.selection = np.array([3, 4])
    press(bench, KEYS["clear"][0])
    assert len(bench.workspace.selection) == 0


def press(bench: Bench, key: str) -> None:
    bench.viewer.window._qt_viewer.canvas._key_map_handler.press_key(key)


def test_keys_clash_with_none_of_naparis() -> None:
    taken = {
        str(key) for name, held in default_shortcuts.items() for key in held if "points" in name
    }
    viewer_keys = {
        str(key)
        for name, held in default_shortcuts.items()
        for key in held
        if not any(kind in name for kind in ("labels", "shape", "polygon", "vertex", "path"))
    }
    from app_model.types import KeyBinding

    for key, _ in KEYS.values():
        own = str(KeyBinding.from_str(key.replace("Control", "Ctrl").replace("-", "+")))
        assert own not in taken | viewer_keys


def test_a_key_that_a_person_bound_stays_theirs(make_napari_viewer: Callable) -> None:
    viewer = make_napari_viewer()
    viewer.bind_key("Control-Z", theirs := (lambda _viewer: None))
    bench = Bench(viewer)
    bench.interaction.close()
    assert theirs in viewer.keymap.values()


def test_the_selection_is_ringed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    active = bench.viewer.layers.selection.active
    bench.workspace.selection = np.array([3, 47])
    rings = bench.viewer.layers[selection.NAME]
    np.testing.assert_array_equal(rings.data, bench.adata.obsm["spatial"][[3, 47], ::-1])
    assert bench.viewer.layers.selection.active is active
    monkeypatch.setattr(selection, "MAX_MARKS", 10)
    bench.workspace.selection = np.arange(100)
    assert len(bench.viewer.layers[selection.NAME].data) == 10
    assert not bench.viewer.layers[selection.NAME].editable
    bench.viewer.layers.remove(bench.viewer.layers[selection.NAME])
    bench.workspace.selection = np.array([1])
    assert len(bench.viewer.layers) == 2
    bench.workspace.selection = np.array([], int)
    assert len(bench.viewer.layers[selection.NAME].data) == 0
    bench.workspace.selection = np.array([5, 6])
    rings = bench.viewer.layers[selection.NAME]
    assert rings.face_color[:, 3].max() == 0
    np.testing.assert_array_equal(rings.border_color, [[1, 1, 1, 1]] * 2)
    np.testing.assert_array_equal(rings.size, selection.RING * 10)


def test_the_rings_move_with_the_tissue(bench: Bench) -> None:
    bench.workspace.selection = np.array([3, 47])
    set_unit(bench.adata, 2.0)
    bench.workspace.announce({"uns/um_per_unit"})
    rings = bench.viewer.layers[selection.NAME]
    np.testing.assert_array_equal(rings.data, 2 * bench.adata.obsm["spatial"][[3, 47], ::-1])
    assert rings.units == bench.tissue.layer.units
    bench.viewer.layers.remove(bench.tissue.layer)
    assert list(bench.viewer.layers) == []
    bench.workspace.colour = Source("X", column="Gad1")
    assert len(bench.viewer.layers[selection.NAME].data) == 2
    bench.workspace.open(bench.adata.copy())
    assert list(bench.viewer.layers) == [bench.tissue.layer]


def test_close_gives_everything_back(make_napari_viewer: Callable) -> None:
    viewer = make_napari_viewer()
    drags, moves = list(viewer.mouse_drag_callbacks), list(viewer.mouse_move_callbacks)
    keymap = dict(viewer.keymap)
    bench = Bench(viewer)
    bench.workspace.selection = np.array([3])
    bench.interaction.start_lasso()
    bench.interaction.close()
    bench.embedding.close()
    bench.tissue.close()
    assert list(viewer.layers) == []
    assert list(viewer.mouse_drag_callbacks) == drags
    assert list(viewer.mouse_move_callbacks) == moves
    assert dict(viewer.keymap) == keymap
    assert len(bench.workspace.selection_changed) == 0
    assert len(bench.workspace.hovered_changed) == 0
