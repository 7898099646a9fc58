"""Domains of a section: patterns, drawn polygons, outlines."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

from celldyn.errors import ConfigError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig
from celldyn.simulate.layout import domain_outlines, domains_job
from celldyn.simulate.layout.domains import domain_codes, domains
from celldyn.simulate.layout.points import positions

PATTERNS = ["voronoi", "layers", "rings", "gradient"]
TRIANGLE = [(100.0, 100.0), (600.0, 150.0), (300.0, 600.0)]
SQUARE = [(300.0, 300.0), (900.0, 300.0), (900.0, 700.0), (300.0, 700.0)]


def config(**changes):
    sizes = {"n_cells": 3000, "n_celltype": 3, "n_genes": 10, "canvas_size": (800.0, 700.0)}
    return SimulationConfig(**(sizes | changes))


@pytest.fixture(scope="module")
def xy():
    return positions(3000, (800.0, 700.0), 8.0, seed=1, stage="place")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_domain_is_there_and_hangs_together(pattern, xy):
    domain = domain_codes(xy, (800.0, 700.0), 4, pattern, seed=1, stage="domain")
    assert np.bincount(domain, minlength=4).min() > 200
    neighbours = cKDTree(xy).query(xy, k=7)[1][:, 1:]
    assert (domain[neighbours] == domain[:, None]).mean() > 0.85


@pytest.mark.parametrize(("pattern", "axis"), [("layers", 1), ("gradient", 0)])
def test_bands_are_ordered_with_wavy_borders(pattern, axis, xy):
    canvas = (800.0, 700.0)
    domain = domain_codes(xy, canvas, 3, pattern, seed=2, stage="domain")
    depth = [xy[domain == k, axis].mean() for k in range(3)]
    assert depth == sorted(depth)
    straight = np.minimum(xy[:, axis] // (canvas[axis] / 3), 2)
    assert 0.01 < (straight != domain).mean() < 0.4


def test_rings_go_outwards_and_have_one_area(xy):
    domain = domain_codes(xy, (800.0, 700.0), 3, "rings", seed=0, stage="domain")
    radius = np.hypot(*((xy - (400.0, 350.0)) / (400.0, 350.0)).T)
    medians = [np.median(radius[domain == k]) for k in range(3)]
    assert medians == sorted(medians)
    assert domain[radius.argmin()] == 0
    # The waves push some of a ring off the canvas.
    np.testing.assert_allclose(np.bincount(domain) / len(xy), 1 / 3, atol=0.06)


def test_one_domain_is_everywhere_and_sections_differ(xy):
    assert not domains(config(), xy, 0).any()
    made = config(n_domains=3, n_sections=2)
    assert (domains(made, xy, 0) != domains(made, xy, 1)).mean() > 0.1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_threads_make_no_difference(pattern, monkeypatch):
    many = positions(70_000, (4000.0, 4000.0), 8.0, seed=1, stage="place")
    made = config(n_cells=70_000, canvas_size=4000.0, n_domains=3, domain_pattern=pattern)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr("celldyn.simulate.parallel.usable_threads", lambda n=threads: n)
        results.append(run(domains_job(made, many, 0), bar=False).tobytes())
    assert results[0] == results[1]
    # Where one is asked alone, it is in the same domain.
    assert domains(made, many[:500], 0).tobytes() == results[0][: 500 * 8]


def drawn(**polygons):
    return config(n_domains=3, domain_pattern="drawn", domain_polygons=polygons)


def test_drawn_domains_are_exact_and_what_is_drawn_later_wins(xy):
    domain = domains(drawn(domain_1=[TRIANGLE], domain_2=[SQUARE]), xy, 0)
    in_triangle, in_square = (
        shapely.contains_xy(shapely.Polygon(corners), *xy.T) for corners in (TRIANGLE, SQUARE)
    )
    np.testing.assert_array_equal(domain, np.where(in_square, 2, in_triangle))
    turned = domains(drawn(domain_2=[SQUARE], domain_1=[TRIANGLE]), xy, 0)
    np.testing.assert_array_equal(turned, np.where(in_triangle, 1, 2 * in_square))
    assert not domains(drawn(), xy, 0).any()


def test_outlines_of_drawn_domains_are_exact():
    outlines = domain_outlines(drawn(domain_1=[TRIANGLE], domain_2=[SQUARE]), 0)
    canvas = shapely.box(0, 0, 800, 700)
    square = shapely.Polygon(SQUARE).intersection(canvas)
    assert outlines["domain_2"].equals(square)
    assert outlines["domain_1"].equals(shapely.Polygon(TRIANGLE).difference(square))
    assert sum(shape.area for shape in outlines.values()) == pytest.approx(canvas.area)
    # The first domain may be drawn too: a hole.
    hole = domain_outlines(drawn(domain_1=[SQUARE], domain_0=[TRIANGLE]), 0)
    assert hole["domain_1"].area == pytest.approx(
        square.difference(shapely.Polygon(TRIANGLE)).area
    )
    assert hole["domain_2"].is_empty


@pytest.mark.parametrize("pattern", PATTERNS)
def test_outlines_hold_their_cells_and_cover_the_canvas(pattern, xy):
    made = config(n_domains=4, domain_pattern=pattern)
    outlines = domain_outlines(made, 0)
    assert list(outlines) == made.domain_names
    shapes = list(outlines.values())
    assert all(shape.is_valid for shape in shapes)
    assert sum(shape.area for shape in shapes) == pytest.approx(800 * 700)
    assert shapely.union_all(shapes).area == pytest.approx(800 * 700)
    domain = domains(made, xy, 0)
    inside = [shapely.intersects_xy(shapes[k], *xy[domain == k].T) for k in range(4)]
    assert np.concatenate(inside).mean() > 0.98
    # Smooth borders, not the steps of a raster.
    assert shapely.get_num_coordinates(shapes).sum() < 800


def test_outlines_of_one_domain_are_the_canvas():
    assert domain_outlines(config(), 0)["domain_0"].equals(shapely.box(0, 0, 800, 700))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"domain_polygons": {"domain_1": [SQUARE]}}, "needs domain_pattern = 'drawn'"),
        ({"domain_pattern": "drawn", "domain_polygons": {"x": [SQUARE]}}, "'x' is no domain"),
        (
            {"domain_pattern": "drawn", "domain_polygons": {"domain_1": [SQUARE[:2]]}},
            "polygon 0 must have at least 3 different corners",
        ),
        (
            {
                "domain_pattern": "drawn",
                "domain_polygons": {"domain_1": [[SQUARE[k] for k in (0, 2, 1, 3)]]},
            },
            "polygon 0 is not valid",
        ),
        ({"domain_composition": {"y": {"ct_0": 1.0}}}, "'y' is no domain"),
        ({"domain_composition": {"domain_1": {"T": 1.0}}}, "'T' is no cell type"),
        ({"domain_composition": {"domain_1": {"ct_0": 0.0}}}, "with a sum above 0"),
        ({"domain_composition": {"domain_1": {}}}, "with a sum above 0"),
        (
            {
                "domain_pattern": "gradient",
                "n_domains": 1,
                "domain_composition": {"domain_0": {"ct_0": 1.0}},
            },
            "needs n_domains of at least 2",
        ),
        ({"density_image": "nowhere.png"}, "there is no file nowhere.png"),
        ({"density_image": "picture.jpg"}, "must be one of .png"),
        ({"min_distance_um": 60.0}, "has room for"),
        ({"min_distance_um": 60.0, "point_process": "hexagonal"}, "has room for"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        config(**({"n_domains": 3} | changes))
    assert "\n" not in str(caught.value)
