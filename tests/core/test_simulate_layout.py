"""Positions, domains and cell types."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from celldyn.simulate.fields import smooth_field
from celldyn.simulate.layout.domains import celltype_codes, domain_codes
from celldyn.simulate.layout.points import n_sites, positions
from celldyn.simulate.streams import uniforms


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


@pytest.mark.parametrize("pattern", ["voronoi", "layers"])
def test_every_domain_is_there_and_hangs_together(pattern):
    canvas = (600.0, 600.0)
    xy = positions(2400, canvas, 8.0, seed=1, stage="place")
    domain = domain_codes(xy, canvas, 4, pattern, seed=1, stage="domain")
    assert np.bincount(domain, minlength=4).min() > 150
    neighbours = cKDTree(xy).query(xy, k=7)[1][:, 1:]
    assert (domain[neighbours] == domain[:, None]).mean() > 0.85


def test_layers_are_ordered_in_depth_with_wavy_borders():
    canvas = (900.0, 600.0)
    xy = positions(3000, canvas, 8.0, seed=2, stage="place")
    domain = domain_codes(xy, canvas, 3, "layers", seed=2, stage="domain")
    depth = [xy[domain == k, 1].mean() for k in range(3)]
    assert depth == sorted(depth)
    straight = np.minimum(xy[:, 1] // 200, 2)
    assert 0.01 < (straight != domain).mean() < 0.4


@pytest.mark.parametrize("purity", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.7, 0.1, 0.1, 0.05, 0.05], [1.0], [1, 0]])
def test_proportions_are_met_in_a_hundredth(purity, shares):
    domain = np.repeat([0, 1, 2], [500, 120, 380])
    types = celltype_codes(domain, np.array(shares, dtype=float), purity, seed=0, stage="type")
    got = np.bincount(types, minlength=len(shares)) / domain.size
    np.testing.assert_allclose(got, shares, atol=0.01)


def test_purity_separates_types():
    domain = np.repeat([0, 1], 500)
    mixed, pure = (
        celltype_codes(domain, np.array([0.5, 0.5]), purity, seed=0, stage="type")
        for purity in (0.0, 1.0)
    )
    assert (mixed == domain).mean() == pytest.approx(0.5, abs=0.01)
    assert (pure == domain).mean() > 0.99


def test_more_domains_than_types_and_an_empty_domain():
    domain = np.repeat([0, 2, 3], [40, 40, 20])
    types = celltype_codes(domain, np.array([0.5, 0.5]), 0.9, seed=0, stage="type")
    np.testing.assert_array_equal(np.bincount(types), [50, 50])
