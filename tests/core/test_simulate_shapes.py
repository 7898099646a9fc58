"""Nuclei and cells: areas, nesting, no overlap, orientation, determinism, size factors."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.spatial import cKDTree

from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.layout.points import positions
from celldyn.simulate.shapes import tessellation
from celldyn.simulate.shapes.arrays import generate_nuclei_by_celltype, nuclei_to_cells_voronoi
from celldyn.simulate.shapes.checks import check_shapes
from celldyn.simulate.shapes.frame import cell_geodataframe
from celldyn.simulate.shapes.making import make_shapes, orientations, shapes_job
from celldyn.simulate.shapes.nuclei import nucleus_radii
from celldyn.simulate.shapes.orientation import compute_orientations
from celldyn.simulate.shapes.outlines import CellShapes, polygon_areas
from celldyn.simulate.shapes.scale import size_factors
from celldyn.simulate.shapes.tessellation import get_expansion_radius
from celldyn.simulate.specs import MorphologySpec
from celldyn.simulate.streams import uniforms

CANVAS = (500.0, 400.0)


def config_of(n_cells=1500, **changes):
    values = {"n_celltype": 3, "n_genes": 30, "canvas_size": CANVAS, **changes}
    return SimulationConfig(n_cells=n_cells, **values)


def cells_of(config, xy, section=0):
    n = len(xy)
    return pd.DataFrame(
        {
            "cell_id": np.arange(n),
            "celltype": pd.Categorical.from_codes(
                np.arange(n) % config.n_celltype, pd.Index(config.celltype_names)
            ),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "section": pd.Categorical.from_codes(
                np.full(n, section), pd.Index(config.section_names)
            ),
            "prototype": 0,
        }
    )


def tissue(n_cells=1500, **changes):
    config = config_of(n_cells, **changes)
    xy = positions(config.n_cells, config.canvas_um, config.min_distance_um, 0, "place")
    cells = cells_of(config, xy)
    return config, cells, make_shapes(config, cells)


def largest_overlap(polygons):
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = one < other
    if not pairs.any():
        return 0.0
    return shapely.area(shapely.intersection(polygons[one[pairs]], polygons[other[pairs]])).max()


@pytest.fixture(scope="module")
def usual():
    return tissue()


def test_areas_and_radii_are_those_of_the_polygons(usual):
    shapes = usual[2]
    for kind in ("nucleus", "cell"):
        np.testing.assert_allclose(shapes.areas(kind), shapely.area(shapes.polygons(kind)), 1e-9)
    rows = np.repeat(np.arange(200), 5)
    angle = 2 * np.pi * (3 * uniforms(0, "angle", 1000)[:, 0] - 1)
    reach = shapes.radius_at("cell", rows, angle)
    end = shapes.centre[rows] + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    edges = shapely.boundary(shapes.polygons("cell", rows))
    assert shapely.distance(edges, shapely.points(end)).max() < 1e-9
    for factor, within in ((0.999, True), (1.001, False)):
        points = shapes.centre[rows] + factor * (end - shapes.centre[rows])
        assert np.all(shapes.contains("cell", rows, points) == within)


def test_outlines_are_taken_and_joined(usual):
    shapes = usual[2]
    parts = [shapes.take(np.arange(900)), shapes.take(slice(900, None))]
    joined = CellShapes.concatenate(parts)
    np.testing.assert_array_equal(joined.cell, shapes.cell)
    np.testing.assert_array_equal(joined.centre, shapes.centre)
    assert shapes.vertices("nucleus", [3, 1]).shape == (2, 16, 2)
    with pytest.raises(DataError, match="rays cannot be joined"):
        CellShapes.concatenate([shapes, CellShapes(*(a[:, :8] for a in _arrays(shapes)))])
    with pytest.raises(DataError, match="do not belong together"):
        CellShapes(shapes.centre[:3], shapes.nucleus, shapes.cell)


def _arrays(shapes):
    return shapes.centre, shapes.nucleus, shapes.cell


@pytest.mark.parametrize("elongation", [1.0, 3.0])
def test_nuclei_have_the_areas_that_were_asked_for(elongation):
    n = 20_000
    spec = MorphologySpec(mean_area=60.0, cv_area=0.4, elongation=elongation)
    angle = np.pi * uniforms(1, "angle", n)[:, 0]
    radii = nucleus_radii(spec, n, orientation=angle, seed=1)
    assert radii.min() > 0
    area = polygon_areas(radii)
    # Standard errors at n: 0.3 % of the mean, 1 % of the cv.
    assert area.mean() == pytest.approx(60.0, rel=0.01)
    assert area.std() / area.mean() == pytest.approx(0.4, rel=0.04)
    assert abs(_skewness(np.log(area))) < 0.06
    smooth = nucleus_radii(spec.replace(boundary_noise_apt=0.0), n, orientation=angle, seed=1)
    np.testing.assert_allclose(polygon_areas(smooth), area, rtol=1e-12)


def _skewness(values):
    return (((values - values.mean()) / values.std()) ** 3).mean()


def test_a_nucleus_without_noise_is_an_ellipse_along_its_axis():
    spec = MorphologySpec(
        mean_area=80.0, cv_area=0.0, elongation=2.5, boundary_noise_apt=0.0, n_vertices=128
    )
    radii = nucleus_radii(spec, 1, orientation=np.pi / 4, seed=0)[0]
    assert radii.max() / radii.min() == pytest.approx(2.5, rel=1e-9)
    assert np.argmax(radii) in (16, 80)
    assert radii.max() == pytest.approx(np.sqrt(80.0 / np.pi * 2.5), rel=1e-3)


def test_noise_has_the_spectrum_that_is_documented():
    spec = MorphologySpec(cv_area=0.0, boundary_noise_apt=0.05, n_vertices=32)
    radii = nucleus_radii(spec, 20_000, seed=0)
    wave = np.fft.rfft(radii / radii.mean(axis=1, keepdims=True), axis=1) / 16
    for k in range(2, 6):
        assert wave[:, k].real.std() == pytest.approx(0.05 / k, rel=0.03)
        assert wave[:, k].imag.std() == pytest.approx(0.05 / k, rel=0.03)
    assert abs(wave[:, 7:]).max() < 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cell_outline": "power", "cell_gap_um": 0.5},
        {"cell_outline": "power", "expansion_um": 40.0, "min_distance_um": 2.0, "n_cells": 300},
        {"point_process": "random", "min_distance_um": 0.0, "expansion_um": 7.0},
        {"n_cells": 1},
        {"n_cells": 2, "cell_gap_um": 3.0, "expansion_um": 400.0},
    ],
)
def test_cells_do_not_overlap_and_hold_their_nuclei(changes):
    config, _, shapes = tissue(**changes)
    cells, nuclei = shapes.polygons("cell"), shapes.polygons("nucleus")
    assert shapely.is_valid(cells).all()
    assert shapely.is_valid(nuclei).all()
    assert shapely.contains(cells, nuclei).all()
    assert np.all(shapes.nucleus <= np.float32(0.92) * shapes.cell)
    assert largest_overlap(cells) <= 1e-6
    left, low, right, high = shapely.total_bounds(cells)
    assert min(left, low) >= 0
    assert right <= config.canvas_um[0]
    assert high <= config.canvas_um[1]
    if config.expansion_um:
        assert shapes.cell.max() <= config.expansion_um


def test_cells_fill_the_voronoi_diagram_of_a_dense_tissue(usual):
    config, cells, shapes = usual
    regions = _voronoi(cells[["x", "y"]].to_numpy(), config.canvas_um)
    exact = shapely.intersection(
        regions,
        shapely.buffer(shapely.points(shapes.centre), get_expansion_radius(1500 / 2e5)),
    )
    assert shapely.area(shapely.difference(shapes.polygons("cell"), exact)).max() < 0.01
    # Sixteen corners on the rays cut the corners of the Voronoi cells.
    assert shapes.areas("cell").sum() / shapely.area(exact).sum() == pytest.approx(0.97, abs=0.02)


def _voronoi(xy, canvas):
    """Exact cells in the order of the points."""
    parts = shapely.voronoi_polygons(
        shapely.MultiPoint(xy), extend_to=shapely.box(0, 0, *canvas)
    ).geoms
    parts = shapely.intersection(np.array(parts), shapely.box(0, 0, *canvas))
    where, which = shapely.STRtree(parts).query(shapely.points(xy), predicate="intersects")
    ordered = np.empty(len(xy), dtype=object)
    ordered[where] = parts[which]
    return ordered


def test_nuclei_keep_their_law_in_a_dense_tissue(usual):
    area = usual[2].areas("nucleus")
    # 1500 nuclei: standard error of the mean 0.65 %.
    assert area.mean() == pytest.approx(50.0, rel=0.025)
    assert area.std() / area.mean() == pytest.approx(0.25, abs=0.02)


def test_larger_nuclei_have_larger_cells_in_the_power_diagram(usual):
    power = tissue(cell_outline="power")[2]
    plain = usual[2]
    gain = power.areas("cell") / plain.areas("cell")
    size = power.areas("nucleus")
    assert np.corrcoef(gain, size)[0, 1] > 0.5
    assert power.areas("cell").sum() == pytest.approx(plain.areas("cell").sum(), rel=0.01)


def test_the_gap_is_kept():
    shapes = tissue(cell_gap_um=1.0)[2]
    cells = shapes.polygons("cell")
    _, distance = shapely.STRtree(cells).query_nearest(cells, exclusive=True, return_distance=True)
    assert distance.min() >= 1.0
    assert distance.min() == pytest.approx(1.0, abs=1e-3)


def test_the_result_does_not_depend_on_neighbours_asked_for_threads_or_order(usual, monkeypatch):
    config, cells, shapes = usual
    for changed in (1, 3, 40):
        monkeypatch.setattr(tessellation, "_NEIGHBOURS", changed)
        _same(make_shapes(config, cells, threads=1), shapes)
    monkeypatch.undo()
    _same(make_shapes(config, cells, threads=3), shapes)
    order = np.argsort(uniforms(0, "order", len(cells))[:, 0])
    _same(make_shapes(config, cells.iloc[order]), shapes.take(order))
    # A subset's nuclei are the same ones: in a sparse tissue no neighbour presses on them.
    loose = config.replace(expansion_um=None, default_morphology={"mean_area": 5.0})
    some = cells.iloc[::7]
    whole, part = make_shapes(loose, cells), make_shapes(loose, some)
    np.testing.assert_array_equal(part.nucleus, whole.nucleus[::7])


def test_power_diagram_does_not_depend_on_neighbours_asked_for(monkeypatch):
    config, cells, shapes = tissue(
        cell_outline="power", default_morphology=MorphologySpec(cv_area=1.5)
    )
    monkeypatch.setattr(tessellation, "_NEIGHBOURS", 200)
    _same(make_shapes(config, cells), shapes)


def _same(one, other):
    for mine, theirs in zip(_arrays(one), _arrays(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_blocks_make_no_difference():
    config = config_of(9000, canvas_size=(1300.0, 1000.0))
    xy = positions(9000, config.canvas_um, 8.0, 0, "place")
    cells = cells_of(config, xy)
    shapes = make_shapes(config, cells)
    assert largest_overlap(shapes.polygons("cell")) <= 1e-6
    radii = nuclei_to_cells_voronoi(
        xy, np.full((9000, 16), 2.0), canvas_um=config.canvas_um, threads=1
    )
    np.testing.assert_array_equal(radii.cell, shapes.cell)


def test_sections_are_apart():
    config = config_of(800, n_sections=2)
    xy = positions(400, config.canvas_um, 8.0, 0, "place")
    twice = pd.concat([cells_of(config, xy), cells_of(config, xy, 1)], ignore_index=True)
    twice["cell_id"] = np.tile(np.arange(400), 2)
    shapes = make_shapes(config, twice)
    np.testing.assert_array_equal(shapes.cell[:400], shapes.cell[400:])


def test_types_have_their_own_morphologies():
    large = MorphologySpec(mean_area=30.0, cv_area=0.0, n_vertices=12)
    small = MorphologySpec(mean_area=8.0, cv_area=0.0, n_vertices=12)
    config, cells, shapes = tissue(
        600, default_morphology=small, celltype_morphology={"ct_1": large}
    )
    area = pd.Series(shapes.areas("nucleus")).groupby(cells["celltype"], observed=True).median()
    assert area.to_dict() == pytest.approx({"ct_0": 8.0, "ct_1": 30.0, "ct_2": 8.0}, rel=1e-5)
    assert shapes.n_rays == 12
    plain = generate_nuclei_by_celltype(
        cells[["x", "y"]], cells["celltype"], {"ct_1": large}, default=small, seed=config.seed
    )
    alone = shapes.areas("nucleus")[cells["celltype"] == "ct_0"]
    # The border of the canvas presses on a few of them.
    np.testing.assert_allclose(polygon_areas(plain)[cells["celltype"] == "ct_0"], alone, 0.02)
    with pytest.raises(MissingKeyError, match="no morphology for cell type 'ct_0'"):
        generate_nuclei_by_celltype(cells[["x", "y"]], cells["celltype"], {"ct_1": large})


def test_orientations_follow_their_mode():
    xy = 100.0 * uniforms(0, "xy", 4000, 2)
    ask = {"centre": (50.0, 50.0), "seed": 0, "stage": "angle"}
    away = np.arctan2(xy[:, 1] - 50.0, xy[:, 0] - 50.0)
    for mode, base in (("radial", away), ("tangential", away + np.pi / 2), ("aligned", 1.0)):
        exact = compute_orientations(xy, mode, angle=1.0, **ask)
        np.testing.assert_allclose(np.sin(exact - base), 0.0, atol=1e-9)
        noisy = compute_orientations(xy, mode, angle=1.0, noise=0.2, **ask)
        turn = np.mod(noisy - base + np.pi / 2, np.pi) - np.pi / 2
        assert turn.std() == pytest.approx(0.2, rel=0.04)
        assert abs(turn.mean()) < 0.015
    angle = compute_orientations(xy, "random", **ask)
    assert np.histogram(angle, bins=8, range=(0, np.pi))[0].min() > 430
    some = compute_orientations(xy[::3], "random", cell_ids=np.arange(4000)[::3], **ask)
    np.testing.assert_array_equal(some, angle[::3])
    with pytest.raises(ConfigError, match="orientation mode 'up' is not known"):
        compute_orientations(xy, "up", **ask)


def test_long_nuclei_lie_along_their_orientation():
    long = MorphologySpec(
        mean_area=15.0, elongation=3.0, orientation_mode="tangential", orientation_noise=0.1
    )
    config, cells, shapes = tissue(600, default_morphology=long)
    angle = orientations(config, cells)
    away = cells[["x", "y"]].to_numpy() - 0.5 * np.array(CANVAS)
    assert np.abs(np.cos(angle - np.arctan2(away[:, 1], away[:, 0]))).mean() < 0.1
    boxes = shapely.get_coordinates(shapely.oriented_envelope(shapes.polygons("nucleus"))).reshape(
        -1, 5, 2
    )
    sides = np.diff(boxes, axis=1)[:, :2]
    longest = sides[np.arange(600), np.hypot(*np.moveaxis(sides, 2, 0)).argmax(axis=1)]
    turn = np.arctan2(longest[:, 1], longest[:, 0]) - angle
    assert np.median(np.abs(np.sin(turn))) < 0.15


def test_size_factors_have_mean_one_per_type(usual):
    config, cells, shapes = usual
    for source in ("nucleus_area", "cell_area", "lognormal", "none"):
        factor = size_factors(config.replace(size_factor=source), cells, shapes)
        by_type = pd.Series(factor).groupby(cells["celltype"], observed=True)
        np.testing.assert_allclose(by_type.mean(), 1.0, rtol=1e-12)
        if source.endswith("area"):
            ratio = factor / shapes.areas(source.removesuffix("_area"))
            assert ratio.size
            spread = pd.Series(ratio).groupby(cells["celltype"], observed=True).std()
            assert spread.max() < 1e-12
        if source == "lognormal":
            assert by_type.std().to_numpy() == pytest.approx(config.scale_cv, rel=0.15)
        if source == "none":
            assert np.all(factor == 1)


def test_a_table_with_both_outlines(usual):
    _, cells, shapes = usual
    table = cell_geodataframe(cells.iloc[5:25], shapes.take(slice(5, 25)))
    assert table.geometry.name == "geometry"
    np.testing.assert_allclose(table.geometry.area, shapes.areas("cell")[5:25])
    np.testing.assert_allclose(table["nucleus"].area, shapes.areas("nucleus")[5:25])
    assert list(table["cell_id"]) == list(range(5, 25))
    with pytest.raises(DataError, match="20 cells have 1500 outlines"):
        cell_geodataframe(cells.iloc[5:25], shapes)


def test_what_is_wrong_is_said():
    eight = MorphologySpec(n_vertices=8)
    for changes, said in (
        ({"celltype_morphology": {"ct_9": eight}}, "'ct_9' is no cell type"),
        (
            {"celltype_morphology": {"ct_1": eight}},
            r"default_morphology \(for 'ct_0'\) has 16, celltype_morphology of 'ct_1' has 8",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            check_shapes(config_of(**changes))
    check_shapes(config_of(celltype_morphology=dict.fromkeys(("ct_0", "ct_1", "ct_2"), eight)))
    config = config_of(2)
    with pytest.raises(DataError, match="two cells lie at the same place"):
        make_shapes(config, cells_of(config, np.full((2, 2), 5.0)))
    with pytest.raises(MissingKeyError, match="'x' is no celltype of this simulation"):
        make_shapes(config, cells_of(config, np.eye(2)).assign(celltype="x"))
    with pytest.raises(DataError, match="do not belong together"):
        nuclei_to_cells_voronoi(np.eye(2), np.ones((3, 8)))
    with pytest.raises(DataError, match="it must be above 0"):
        get_expansion_radius(0.0)


def test_the_job_speaks_often_and_can_be_closed():
    config = config_of(60_000, canvas_size=None)
    xy = positions(60_000, config.canvas_um, 8.0, 0, "place")
    cells = cells_of(config, xy)
    longest, last = 0.0, time.perf_counter()
    for _ in shapes_job(config, cells, threads=1):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    # 0.1 s, with allowance for a busy machine.
    assert longest < 0.3
    with closing(shapes_job(config, cells)) as job:
        stages = {next(job).stage for _ in range(3)}
    assert stages <= {"nuclei", "neighbours", "cell outlines"}


def test_density_sets_the_reach():
    assert get_expansion_radius(0.01) == pytest.approx(9.0)
    xy = np.array([[50.0, 50.0], [300.0, 300.0]])
    shapes = nuclei_to_cells_voronoi(
        xy, np.full((2, 24), 3.0), expansion_um=12.0, canvas_um=(500.0, 500.0)
    )
    np.testing.assert_allclose(shapes.cell, 12.0, rtol=1e-6)
    np.testing.assert_allclose(shapes.nucleus, 3.0, rtol=1e-6)
    assert cKDTree(shapes.centre).query(xy)[0].max() == 0
