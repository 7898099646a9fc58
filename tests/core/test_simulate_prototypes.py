"""Structures of cells: their patterns, numbers, compositions, room and lumens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.spatial import cKDTree

from celldyn.errors import DataError
from celldyn.simulate.config import SimulationConfig
from celldyn.simulate.layout.points import positions
from celldyn.simulate.shapes import packing, placing
from celldyn.simulate.shapes.checks import check_prototypes, check_shapes
from celldyn.simulate.shapes.making import make_shapes, orientations
from celldyn.simulate.shapes.outlines import polygon_areas
from celldyn.simulate.shapes.packing import pack
from celldyn.simulate.shapes.patterns import region
from celldyn.simulate.shapes.placing import (
    place_chain,
    place_cluster,
    place_crypt,
    place_ring,
    place_vessel,
)
from celldyn.simulate.shapes.prototypes import (
    count_prototype_cells,
    generate_spec_nuclei,
    generate_spec_points,
    place_prototypes,
)
from celldyn.simulate.shapes.structures import structures
from celldyn.simulate.specs import (
    MorphologySpec,
    PrototypeScene,
    PrototypeSceneInstance,
    PrototypeSpec,
    PrototypeSpecInstance,
)
from celldyn.simulate.streams import uniforms

PLACE = {
    "cluster": place_cluster,
    "ring": place_ring,
    "chain": place_chain,
    "vessel": place_vessel,
    "crypt": place_crypt,
}
TYPES = ["tumour", "immune", "stroma", "endothelium"]


def instance(x=250.0, y=200.0, *, section=0, turn=0.0, **spec):
    return PrototypeSpecInstance(
        spec=PrototypeSpec(**spec), x=x, y=y, section=section, orientation=turn
    )


def values_of(*prototypes, **changes):
    return {
        "n_cells": 1200,
        "n_celltype": 4,
        "n_genes": 40,
        "celltype_labels": TYPES,
        "canvas_size": (500.0, 400.0),
        "prototypes": list(prototypes),
        **changes,
    }


def config_of(*prototypes, **changes):
    return SimulationConfig(**values_of(*prototypes, **changes))


def least_distance(xy):
    return cKDTree(xy).query(xy, k=2)[0][:, 1].min()


@pytest.mark.parametrize("pattern", PLACE)
def test_patterns_hold_exact_numbers_at_a_distance(pattern):
    place = PLACE[pattern]
    xy = place(40, 150.0, min_distance=7.0, seed=1)
    assert xy.shape == (40, 2)
    assert least_distance(xy) >= 7.0
    np.testing.assert_array_equal(place(40, 150.0, min_distance=7.0, seed=1), xy)
    assert not np.array_equal(place(40, 150.0, min_distance=7.0, seed=2), xy)
    turned = place(40, 150.0, orientation=90.0, min_distance=7.0, seed=1)
    np.testing.assert_allclose(turned, np.stack([-xy[:, 1], xy[:, 0]], axis=1), atol=1e-9)
    assert place(3, 150.0, min_distance=0.0).shape == (3, 2)
    with pytest.raises(DataError, match=f"a {pattern} of 50 µm has room for \\d+ cells at 8 µm"):
        place(1000, 50.0)


@pytest.mark.parametrize("pattern", PLACE)
@pytest.mark.parametrize("elongation", [1.0, 3.0])
def test_patterns_have_the_form_that_is_documented(pattern, elongation):
    size, shape = 100.0, 0.3
    where = region(pattern, size, elongation, shape, 0, "form")
    left, low, right, high = where.outline.bounds
    long, stretch = (high - low if pattern == "crypt" else right - left), np.sqrt(elongation)
    area = {
        "cluster": np.pi * size**2,
        "ring": np.pi * size**2 * (1 - 0.7**2),
        "chain": None,
        "vessel": np.pi * size**2 * (1 - 0.7**2),
        "crypt": None,
    }[pattern]
    if area:
        assert where.outline.area == pytest.approx(area, rel=2e-3)
    if pattern in ("ring", "vessel"):
        assert long == pytest.approx(2 * size * stretch, rel=1e-3)
    if pattern in ("chain", "crypt"):
        assert long == pytest.approx(size * stretch, rel=0.15)
    if pattern == "crypt":
        assert right - left == pytest.approx(shape * size / stretch, rel=1e-3)
    assert where.outline.is_valid
    assert (where.lumen is not None) == (pattern in ("vessel", "crypt"))
    if where.lumen is not None:
        assert shapely.intersection(where.lumen, where.outline).area < 1e-9


def test_a_crypt_opens_to_the_top_and_a_band_is_bent():
    crypt = region("crypt", 100.0, 1.0, 0.4, 0, "")
    assert crypt.lumen.contains(shapely.Point(0.0, -49.9))
    assert crypt.outline.contains(shapely.Point(0.0, 45.0))
    assert not crypt.whole.contains(shapely.Point(0.0, -50.1))
    band = region("chain", 100.0, 1.0, 0.1, 0, "")
    assert not band.outline.contains(shapely.Point(0.0, 6.0))
    assert band.outline.contains(shapely.Point(0.0, -6.0))
    assert band.outline.contains(shapely.Point(49.0, 5.0))


def test_raggedness_moves_the_edge_of_a_blob():
    edge = []
    for shape in (0.0, 0.3, 1.0):
        corners = shapely.get_coordinates(region("cluster", 50.0, 1.0, shape, 3, "edge").outline)
        edge.append(np.hypot(*corners.T).std() / 50.0)
    assert edge[0] < 1e-12
    assert 0.05 < edge[1] < 0.2
    assert edge[2] > 2 * edge[1]


def test_packing_is_the_same_in_any_batches(monkeypatch):
    box = (0.0, 0.0, 100.0, 80.0)

    def inside(xy):
        return np.hypot(xy[:, 0] - 50.0, xy[:, 1] - 40.0) < 40.0

    taken = np.array([[50.0, 40.0]])
    usual = pack(60, box, inside, 6.0, 0, "pack", taken=taken)
    assert len(usual) == 60
    assert np.hypot(*(usual - taken).T).min() >= 6.0
    monkeypatch.setattr(packing, "_SMALLEST", 7)
    monkeypatch.setattr(packing, "_LARGEST", 16)
    np.testing.assert_array_equal(pack(60, box, inside, 6.0, 0, "pack", taken=taken), usual)
    np.testing.assert_array_equal(pack(20, box, inside, 6.0, 0, "pack", taken=taken), usual[:20])
    full = pack(10_000, box, inside, 6.0, 0, "pack")
    # One after the other at random, discs stop at a covered share of 0.547 (Rényi's limit in
    # the plane), a little more here since they may reach over the edge.
    assert 0.5 < len(full) * np.pi * 3.0**2 / (np.pi * 40.0**2) < 0.64


def test_cells_of_a_thin_wall_close_it():
    xy = generate_spec_points(PrototypeSpec(pattern="vessel", size_um=30.0, shape=0.3))
    angle = np.sort(np.arctan2(xy[:, 1], xy[:, 0]))
    gap = 30.0 * 0.85 * np.diff(np.append(angle, angle[0] + 2 * np.pi))
    assert gap.max() < 2 * np.sqrt(150.0)
    assert np.all((np.hypot(*xy.T) > 21.0) & (np.hypot(*xy.T) < 30.0))
    assert placing._EVEN * 2 * np.pi * 25.5 / len(xy) <= least_distance(xy)


def test_cells_come_in_exact_numbers_and_shares():
    shares = {"tumour": 0.7, "immune": 0.2, "stroma": 0.1}
    config = config_of(
        instance(120, 120, pattern="cluster", n_cells=77, size_um=70, composition=shares),
        instance(380, 200, pattern="ring", size_um=90, shape=0.4),
        instance(10, 390, pattern="cluster", size_um=40, composition={"stroma": 3.0}),
    )
    check_prototypes(config)
    placed = place_prototypes(config, 0)
    counts = np.bincount(placed.prototype, minlength=4)[1:]
    np.testing.assert_array_equal(counts, count_prototype_cells(config))
    assert counts[0] == 77
    density = 1200 / (500 * 400)
    assert counts[1] == round(region("ring", 90, 1.0, 0.4, 0, "").outline.area * density)
    assert counts[2] < 0.5 * np.pi * 40**2 * density
    by_type = np.bincount(placed.celltype[placed.prototype == 1], minlength=4)
    assert np.all(np.abs(by_type - 77 * np.array([0.7, 0.2, 0.1, 0.0])) < 1)
    assert np.all(placed.celltype[placed.prototype == 2] == -1)
    assert np.all(placed.celltype[placed.prototype == 3] == 2)
    assert least_distance(placed.xy) >= config.min_distance_um
    assert np.all((placed.xy >= 0) & (placed.xy <= config.canvas_um))
    # Types are mixed, not listed by place.
    first = placed.xy[placed.prototype == 1]
    tumour = placed.celltype[placed.prototype == 1] == 0
    assert np.hypot(*(first[tumour].mean(axis=0) - first[~tumour].mean(axis=0))) < 35


def test_later_structures_keep_out_of_earlier_ones():
    core = PrototypeSpec(name="core", size_um=60.0, shape=0.6, composition={"tumour": 1.0})
    around = PrototypeSpec(
        name="infiltrate", pattern="ring", size_um=90.0, shape=0.6, composition={"immune": 1.0}
    )
    scene = PrototypeSceneInstance(
        scene=PrototypeScene(specs=[core, around]), x=250.0, y=200.0, orientation=30.0
    )
    config = config_of(scene, instance(330, 200, pattern="vessel", size_um=30, shape=0.3))
    placed = place_prototypes(config, 0)
    assert set(placed.prototype) == {1, 2, 3}
    first, second, third = structures(config, 0)
    assert not shapely.contains_xy(first.whole, placed.xy[placed.prototype == 2]).any()
    assert not shapely.contains_xy(second.whole, placed.xy[placed.prototype == 3]).any()
    assert shapely.intersection(third.lumen, second.whole).area < 1e-6
    assert least_distance(placed.xy) >= config.min_distance_um
    assert np.all(placed.keep_out(placed.xy))
    points = uniforms(0, "out", 5000, 2) * config.canvas_um
    inside = shapely.contains_xy(shapely.union_all([first.whole, second.whole]), points)
    assert np.all(placed.keep_out(points)[inside])
    free = points[~placed.keep_out(points)]
    assert cKDTree(placed.xy).query(free)[0].min() >= config.min_distance_um
    assert len(free) > 3000


def test_a_structure_keeps_its_cells_when_it_is_moved_or_its_composition_changes():
    here = place_prototypes(config_of(instance(200, 200, size_um=50)), 0).xy - 200.0
    there = place_prototypes(config_of(instance(300, 150, size_um=50)), 0).xy - [300.0, 150.0]
    np.testing.assert_allclose(there, here, atol=1e-9)
    spec = {"size_um": 50, "composition": {"tumour": 1.0}}
    same = place_prototypes(config_of(instance(200, 200, **spec)), 0).xy - 200.0
    np.testing.assert_array_equal(same, here)
    turned = place_prototypes(config_of(instance(200, 200, turn=90.0, size_um=50)), 0).xy - 200.0
    np.testing.assert_allclose(turned, np.stack([-here[:, 1], here[:, 0]], axis=1), atol=1e-9)


def test_each_section_has_its_own_structures():
    config = config_of(instance(section=1, size_um=40), n_sections=2)
    nothing, something = place_prototypes(config, 0), place_prototypes(config, 1)
    assert nothing.xy.shape == (0, 2)
    assert nothing.prototype.shape == nothing.celltype.shape == (0,)
    assert not nothing.keep_out(np.array([[250.0, 200.0]])).any()
    assert set(something.prototype) == {1}


def tissue(config):
    placed = place_prototypes(config, 0)
    rest = positions(1000, config.canvas_um, config.min_distance_um, 0, "place")
    rest = rest[~placed.keep_out(rest)]
    xy = np.concatenate([placed.xy, rest])
    codes = np.concatenate([np.maximum(placed.celltype, 0), np.zeros(len(rest), dtype=int)])
    return pd.DataFrame(
        {
            "cell_id": np.arange(len(xy)),
            "celltype": pd.Categorical.from_codes(codes, pd.Index(TYPES)),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "section": pd.Categorical(np.repeat("section_0", len(xy))),
            "prototype": np.concatenate([placed.prototype, np.zeros(len(rest), dtype=int)]),
        }
    )


def test_lumens_stay_empty():
    config = config_of(
        instance(120, 120, pattern="vessel", size_um=45, shape=0.3, elongation=1.5),
        instance(350, 200, pattern="crypt", size_um=180, shape=0.35, turn=30.0),
    )
    cells = tissue(config)
    shapes = make_shapes(config, cells)
    polygons = shapes.polygons("cell")
    assert shapely.contains(polygons, shapes.polygons("nucleus")).all()
    for found in structures(config, 0):
        # Rays end at the edge; a chord between two of them may cut off a sliver.
        covered = shapely.area(shapely.intersection(polygons, found.lumen)).sum()
        assert covered < 0.02 * found.lumen.area
        assert not shapely.contains_xy(found.lumen, cells[["x", "y"]].to_numpy()).any()
    np.testing.assert_array_equal(make_shapes(config, cells, threads=1).cell, shapes.cell)


def test_cells_of_structures_have_their_own_morphology_and_orientation():
    long = MorphologySpec(
        mean_area=20.0,
        cv_area=0.0,
        elongation=2.0,
        orientation_mode="radial",
        orientation_noise=0.0,
    )
    only = {"immune": 1.0}
    along = long.replace(orientation_mode="aligned", orientation_angle=20.0)
    config = config_of(
        instance(100, 100, pattern="vessel", size_um=40, orientation=10, composition=only),
        instance(
            350, 120, pattern="chain", size_um=200, shape=0.15, turn=30.0,
            composition=only, morphology={"immune": along},
        ),
        instance(
            150, 280, pattern="crypt", size_um=160, shape=0.3,
            composition=only, morphology={"immune": long},
        ),
        default_morphology=MorphologySpec(elongation=1.5, orientation_noise=0.0),
    )  # fmt: skip
    check_shapes(config)
    cells = tissue(config)
    angle, shapes = orientations(config, cells), make_shapes(config, cells)
    xy, prototype = cells[["x", "y"]].to_numpy(), cells["prototype"].to_numpy()
    away = xy[prototype == 1] - 100.0
    outwards = np.arctan2(away[:, 1], away[:, 0])
    np.testing.assert_allclose(np.cos(angle[prototype == 1] - outwards), 0.0, atol=1e-9)
    np.testing.assert_allclose(angle[prototype == 2], np.deg2rad(50.0))
    walls = (prototype == 3) & (xy[:, 1] < 320)
    np.testing.assert_allclose(np.sin(angle[walls]), 0.0, atol=1e-9)
    assert walls.sum() > 10
    own = shapes.areas("nucleus")[prototype == 3]
    assert np.median(own) == pytest.approx(20.0, rel=1e-3)
    assert np.median(shapes.areas("nucleus")[prototype == 0]) > 40.0


def test_helpers_make_one_structure_from_its_spec():
    long = MorphologySpec(elongation=3.0, orientation_mode="tangential", n_vertices=24)
    spec = PrototypeSpec(pattern="ring", n_cells=30, morphology={"a": long})
    xy = generate_spec_points(spec, seed=4)
    assert xy.shape == (30, 2)
    names = np.repeat(["a", "b"], 15)
    radii = generate_spec_nuclei(spec, xy, names, default=MorphologySpec(n_vertices=24), seed=4)
    assert radii.shape == (30, 24)
    longest = 2 * np.pi * radii.argmax(axis=1) / 24
    turn = np.sin(longest - np.arctan2(xy[:, 1], xy[:, 0]) - np.pi / 2)
    assert np.median(np.abs(turn[:15])) < 0.35
    assert polygon_areas(radii).mean() == pytest.approx(50.0, rel=0.2)


@pytest.mark.parametrize(
    ("prototype", "changes", "said"),
    [
        (instance(section=1), {}, "'prototype' lies in section 1, and n_sections = 1"),
        (instance(x=501.0), {}, r"at \(501, 200\) lies outside the canvas of 500 × 400 µm"),
        (instance(composition={"nerve": 1.0}), {}, "'nerve' is no cell type"),
        (instance(n_cells=1201), {}, "1201 cells, which is more than the 1200 of its section"),
        (instance(n_cells=400), {}, r"room for \d+ cells at min_distance_um = 8, not for 400"),
        (instance(size_um=200.0, n_cells=400), {"n_cells": 700, "n_sections": 2}, "is more than"),
    ],
)
def test_what_is_wrong_is_said(prototype, changes, said):
    # Not through a config of its own: whether configs make this check is another test's concern.
    config = SimulationConfig.model_construct(
        **{**config_of(**changes).__dict__, "prototypes": [prototype]}
    )
    with pytest.raises(ValueError, match=said):
        check_prototypes(config)


def test_more_cells_than_a_section_has_are_refused():
    several = [instance(100.0 * k, 200.0, size_um=45.0, n_cells=40) for k in range(1, 5)]
    few = config_of(n_cells=150)
    config = SimulationConfig.model_construct(**{**few.__dict__, "prototypes": several})
    with pytest.raises(ValueError, match="prototypes have 160 cells in section 0"):
        check_prototypes(config)
    check_prototypes(config_of(*several))


def test_unknown_cell_types_in_a_morphology_are_refused():
    wrong = instance(morphology={"nerve": MorphologySpec()})
    config = SimulationConfig.model_construct(**{**config_of().__dict__, "prototypes": [wrong]})
    with pytest.raises(ValueError, match="morphology of prototype 'prototype': 'nerve'"):
        check_shapes(config)
