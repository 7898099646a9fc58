"""Where the cells of a section lie: point processes, places kept out, densities."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from celldyn.errors import CelldynError, ConfigError, DataError, FileFormatError
from celldyn.simulate import SimulationConfig
from celldyn.simulate.fields import smooth_field
from celldyn.simulate.layout.density import read_density
from celldyn.simulate.layout.place import place
from celldyn.simulate.layout.points import n_sites, positions
from celldyn.simulate.streams import uniforms

PROCESSES = ["hardcore", "hexagonal", "random", "clustered"]


def config(n_cells=3000, **changes):
    return SimulationConfig(n_cells=n_cells, n_celltype=3, n_genes=10, **changes)


def disc(centre, radius):
    return lambda xy: ((xy - centre) ** 2).sum(axis=1) < radius**2


def nearest(xy):
    return cKDTree(xy).query(xy, k=2)[0][:, 1]


@pytest.mark.parametrize(
    ("n_cells", "canvas", "core"),
    [
        (2000, (600.0, 500.0), 8.0),
        (1, (10.0, 10.0), 8.0),
        (n_sites(200, 120, 8.0), (200.0, 120.0), 8.0),
        (500, (50.0, 400.0), 0.0),
        (7, (300.0, 9.0), 8.0),
    ],
)
def test_no_two_cells_are_closer_than_the_core(n_cells, canvas, core):
    xy = positions(n_cells, canvas, core, seed=0, stage="place")
    assert xy.shape == (n_cells, 2)
    assert np.isfinite(xy).all()
    assert (xy >= 0).all()
    assert (xy <= canvas).all()
    if n_cells > 1:
        assert cKDTree(xy).query(xy, k=2)[0][:, 1].min() >= core
        assert np.unique(xy, axis=0).shape == xy.shape


def test_positions_are_irregular_and_fill_the_canvas():
    xy = positions(4000, (800.0, 800.0), 6.0, seed=3, stage="place")
    nearest = cKDTree(xy).query(xy, k=2)[0][:, 1]
    assert nearest.std() / nearest.mean() > 0.15
    quarter = np.histogram2d(*xy.T, bins=4, range=[[0, 800], [0, 800]])[0]
    assert quarter.min() > 0.85 * 250
    assert not np.array_equal(xy, positions(4000, (800.0, 800.0), 6.0, seed=4, stage="place"))


def test_fields_are_standard_and_smooth():
    xy = uniforms(0, "xy", 4000, 2) * 3000.0
    field = np.stack([smooth_field(xy, 100.0, seed, "field") for seed in range(8)])
    assert abs(field.mean()) < 0.05
    assert field.var() == pytest.approx(1.0, abs=0.1)
    for step in (30.0, 100.0):
        moved = np.stack(
            [smooth_field(xy + np.array([step, 0.0]), 100.0, seed, "field") for seed in range(8)]
        )
        expected = np.exp(-0.5 * (step / 100.0) ** 2)
        assert (field * moved).mean() == pytest.approx(expected, abs=0.08)


def test_the_default_places_cells_as_ever():
    xy = place(config(), 3000, 0)
    made = config()
    expected = positions(3000, made.canvas_um, 8.0, made.seed, "layout/0/place")
    assert xy.tobytes() == expected.tobytes()
    # Kept from before the boxes of one colour lay side by side.
    first = positions(2000, (600.0, 500.0), 8.0, 5, "layout/0/place")
    assert blake2b(first.tobytes(), digest_size=8).hexdigest() == "03289b8ecad1c64a"


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("n_cells", [0, 1, 2, 1500])
def test_all_cells_lie_on_the_canvas_outside_of_what_is_taken(process, n_cells):
    made = config(point_process=process, canvas_size=(800.0, 500.0))
    taken = disc((300.0, 200.0), 120.0)
    xy = place(made, n_cells, 0, keep_out=taken)
    assert xy.shape == (n_cells, 2)
    assert ((xy >= 0) & (xy <= (800.0, 500.0))).all()
    assert not taken(xy).any()
    if n_cells > 1 and process in ("hardcore", "hexagonal"):
        assert nearest(xy).min() >= 8.0
    np.testing.assert_array_equal(xy, place(made, n_cells, 0, keep_out=taken))
    if n_cells:
        assert not np.array_equal(xy, place(made, n_cells, 1, keep_out=taken))


@pytest.mark.parametrize("process", PROCESSES)
def test_rows_next_to_each_other_lie_near_each_other(process):
    xy = place(config(20_000, point_process=process), 20_000, 0)
    step = np.hypot(*np.diff(xy, axis=0).T)
    assert np.median(step) < 1.5 * np.sqrt(150.0)


@pytest.mark.parametrize("process", ["hardcore", "hexagonal"])
def test_a_full_canvas_is_filled_at_the_least_distance(process):
    canvas = (200.0, 120.0)
    n_cells = n_sites(*canvas, 8.0)
    xy = place(config(n_cells, point_process=process, canvas_size=canvas), n_cells, 0)
    assert nearest(xy).min() >= 8.0 - 1e-9


def test_complete_randomness_has_its_law():
    made = config(20_000, point_process="random", canvas_size=2000.0, min_distance_um=0)
    xy = place(made, 20_000, 0)
    inner = ((xy > 50) & (xy < 1950)).all(axis=1)
    # Clark and Evans (1954): half the root of the area per cell, sd 0.0026 of it here.
    expected = 0.5 * np.sqrt(2000.0**2 / 20_000)
    assert nearest(xy)[inner].mean() == pytest.approx(expected, rel=0.01)
    counts = np.histogram2d(*xy.T, bins=20, range=[[0, 2000]] * 2)[0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.25)


def test_a_lattice_without_jitter_is_hexagonal_and_jitter_has_its_sd():
    made = config(4000, point_process="hexagonal", lattice_jitter=0.0, min_distance_um=0)
    xy = place(made, 4000, 0)
    distance = cKDTree(xy).query(xy, k=7)[0][:, 1:]
    inner = ((xy > 30) & (xy < made.canvas_um[0] - 30)).all(axis=1)
    ideal = np.sqrt(2 * 150.0 / np.sqrt(3))
    # A few sites stay empty, since rows times columns are seldom the number of cells.
    assert np.mean(np.abs(distance[inner] / ideal - 1) < 0.02) > 0.95
    moved = place(made.replace(lattice_jitter=0.1), 4000, 0)
    sd = (moved - xy)[inner].std(axis=0) / distance[inner, 0].mean()
    np.testing.assert_allclose(sd, 0.1, rtol=0.05)


def test_clumps_are_those_of_thomas():
    side, n_cells, radius, size = 4000.0, 40_000, 30.0, 20.0
    made = config(
        n_cells, point_process="clustered", canvas_size=side, clump_radius_um=radius,
        cells_per_clump=size, min_distance_um=0,
    )  # fmt: skip
    xy = place(made, n_cells, 0)
    inner = ((xy > 200) & (xy < side - 200)).all(axis=1)
    tree = cKDTree(xy)
    for r in (15.0, 40.0, 100.0):
        around = tree.query_ball_point(xy[inner], r, return_length=True).mean() - 1
        # Ripley's K of the process, times the density.
        by_chance = n_cells / side**2 * np.pi * r**2
        own_clump = size * (1 - np.exp(-(r**2) / (4 * radius**2)))
        assert around == pytest.approx(by_chance + own_clump, rel=0.08)


@pytest.mark.parametrize("process", PROCESSES)
def test_cells_follow_a_density(process):
    made = config(8000, point_process=process, canvas_size=1400.0, clump_radius_um=15.0)
    taken = disc((700.0, 700.0), 150.0)
    xy = place(made, 8000, 0, density=lambda at: 1.0 + at[:, 0] / 700.0, keep_out=taken)
    assert not taken(xy).any()
    outside = np.abs(xy[:, 1] - 700) > 150
    depth = np.sort(xy[outside, 0] / 1400.0)
    expected = (depth + depth**2) / 2
    observed = np.arange(depth.size) / depth.size
    assert np.abs(observed - expected).max() < (0.04 if process == "clustered" else 0.02)


@pytest.mark.parametrize("suffix", [".png", ".npy", ".tif"])
def test_a_picture_gives_the_density(tmp_path, suffix):
    path = tmp_path / f"density{suffix}"
    picture = np.zeros((40, 80))
    picture[:20, :40], picture[20:, 40:] = 1.0, 0.5
    if suffix == ".npy":
        np.save(path, picture)
    else:
        Image.fromarray((255 * picture).astype(np.uint8)).save(path)
    made = config(3000, canvas_size=(1600.0, 800.0), density_image=str(path))
    xy = place(made, 3000, 0)
    left, top = xy[:, 0] < 800, xy[:, 1] < 400
    assert not (left ^ top).any()
    assert (left & top).mean() == pytest.approx(2 / 3, abs=0.01)
    np.testing.assert_allclose(read_density(path) / read_density(path).max(), picture, atol=0.01)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("a.png", b"not a picture", FileFormatError),
        ("a.npy", b"not an array", FileFormatError),
        ("none.tif", None, FileFormatError),
        ("zero.npy", np.zeros((3, 3)), DataError),
        ("negative.npy", np.full((3, 3), -1.0), DataError),
        ("line.npy", np.ones(3), DataError),
        ("pickled.npy", np.array([{}], dtype=object), FileFormatError),
    ],
)
def test_a_wrong_picture_is_refused_in_one_sentence(tmp_path, name, content, error):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(error) as caught:
        read_density(path)
    assert str(caught.value).count(".\n") == 0
    assert caught.value.remedy


def test_a_density_function_of_a_wrong_shape_is_refused():
    with pytest.raises(DataError, match="one weight per row"):
        place(config(), 100, 0, density=lambda xy: xy)


@pytest.mark.parametrize("process", PROCESSES)
def test_no_room_is_said_before_cells_are_lost(process):
    made = config(1500, point_process=process, canvas_size=400.0)
    with pytest.raises(ConfigError, match="room for"):
        place(made, 1500, 0, keep_out=lambda xy: np.ones(len(xy), dtype=bool))
    if process in ("hardcore", "hexagonal"):
        with pytest.raises(CelldynError, match="room for"):
            place(made, 1500, 0, keep_out=lambda xy: xy[:, 0] > 150)
        with pytest.raises(CelldynError, match="room for"):
            place(made, 3000, 0)
