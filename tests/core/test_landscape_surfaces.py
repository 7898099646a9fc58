"""The potential as a surface: its heights, its edge, and what lies on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_stream_cases import disc

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import (
    LSDConfig,
    Streamlines,
    lift_streamlines,
    potential_surface,
    potential_surface_job,
)
from celldyn.landscape.meshing import clipped_mesh
from celldyn.landscape.networks import Networks


def plane(xy):
    return 2 * xy[:, 0] - xy[:, 1] + 3


def bowl(xy):
    return 0.2 * np.square(xy[:, :2]).sum(axis=1)


def areas(surface):
    a, b, c = (surface.vertices[surface.faces[:, k], :2] for k in range(3))
    across, up = b - a, c - a
    return (across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0]) / 2


@pytest.mark.parametrize(("V", "off"), [(plane, 0.1), (bowl, 0.15)])
def test_over_a_plane_a_surface_has_the_heights_of_what_is_known(V, off):
    xy = disc()
    surface = potential_surface(None, xy, V(xy), kind="smoothed", relief=None)
    inner = np.linalg.norm(surface.vertices[:, :2], axis=1) < 4.5
    np.testing.assert_allclose(surface.values[inner], V(surface.vertices)[inner], atol=off)
    np.testing.assert_array_equal(surface.vertices[:, 2], surface.values)
    inner = np.linalg.norm(xy, axis=1) < 4.5
    np.testing.assert_allclose(surface.heights(xy)[inner], V(xy)[inner], atol=off)


def test_points_lie_in_the_triangles_of_the_mesh():
    xy = disc(400)
    surface = potential_surface(None, xy, bowl(xy), kind="smoothed", resolution=20)
    np.testing.assert_allclose(surface.lift(surface.vertices[:, :2]), surface.vertices, atol=1e-9)
    share = np.random.default_rng(0).dirichlet(np.ones(3), len(surface.faces))
    inside = np.einsum("kc,kcx->kx", share, surface.vertices[surface.faces])
    np.testing.assert_allclose(surface.heights(inside[:, :2]), inside[:, 2], atol=1e-9)
    np.testing.assert_allclose(surface.lift(xy, above=0.5)[:, 2] - surface.heights(xy), 0.5)


def test_the_mesh_is_whole_and_seen_from_above():
    xy = disc()
    surface = potential_surface(None, xy, plane(xy), kind="smoothed")
    assert areas(surface).min() > -1e-12
    assert areas(surface).sum() == pytest.approx(np.pi * 25, rel=0.25)
    edges = np.sort(surface.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, shared = np.unique(edges, axis=0, return_counts=True)
    assert set(shared) == {1, 2}
    assert len(np.unique(surface.vertices[:, :2], axis=0)) == len(surface.vertices)


def test_relief_is_the_rise_over_the_longest_side():
    xy = disc(600)
    surface = potential_surface(None, xy, 100 * plane(xy), kind="smoothed", relief=0.3)
    side = np.ptp(surface.vertices[:, :2], axis=0).max()
    assert np.ptp(surface.vertices[:, 2]) == pytest.approx(0.3 * side)
    np.testing.assert_allclose(surface.vertices[:, 2], surface.scale * surface.values)
    np.testing.assert_allclose(surface.potential_at(xy) * surface.scale, surface.heights(xy))
    flat = potential_surface(None, xy, np.ones(600), kind="smoothed")
    np.testing.assert_allclose(flat.values, 1)
    assert flat.scale == 1


def test_there_is_no_surface_where_there_are_no_cells_and_none_for_a_stray_one():
    xy = disc()
    xy = np.concatenate([xy[np.abs(xy[:, 0]) > 1.5], [[20.0, 0.0], [20.1, 0.0], [20.0, 0.1]]])
    xy[5] = np.nan
    surface = potential_surface(None, xy, np.ones(len(xy)), kind="smoothed")
    assert np.abs(surface.vertices[:, 0]).min() > 0.5
    assert surface.vertices[:, 0].max() < 7
    assert np.isfinite(surface.grid).all()
    # Beyond the edge, points have the height at the edge; so have cells without a place.
    np.testing.assert_allclose(surface.heights([[0.0, 0.0], [50.0, 9.0], [np.nan, 0.0]]), 1)


def test_an_edge_runs_between_the_nodes():
    axis = np.arange(5.0)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    places, values, faces = clipped_mesh((axis, axis), x + 10 * y, 2.25 - x)
    assert places[:, 0].max() == 2.25
    np.testing.assert_allclose(values, places[:, 0] + 10 * places[:, 1])
    a, b, c = (places[faces[:, k]] for k in range(3))
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert area.min() >= 0
    assert area.sum() == pytest.approx(2.25 * 4)


def test_a_decoded_surface_is_the_potential_of_what_places_decode_to():
    torch.manual_seed(0)
    networks = Networks(12, LSDConfig()).eval()
    B = np.random.default_rng(1).normal(size=(400, 2))
    surface = potential_surface(networks, B, resolution=40, relief=None)
    at = torch.as_tensor(np.stack(np.meshgrid(*surface.axes, indexing="ij"), -1).reshape(-1, 2))
    with torch.no_grad():
        V = networks.potential(networks.decode_B(at.float())[0]).double().numpy()
    near = np.linalg.norm(at, axis=1) < 1
    np.testing.assert_allclose(surface.grid.ravel()[near], V[near], atol=1e-6)
    assert surface.kind == "decoded"


def test_how_much_of_the_cells_potential_a_surface_tells():
    xy = disc(800)
    noise = np.random.default_rng(2).normal(size=800)
    told = potential_surface(None, xy, plane(xy) + noise, kind="smoothed")
    assert told.explained(xy, plane(xy)) > 0.98
    V = plane(xy) + noise
    left = np.square(V - told.potential_at(xy)).sum()
    assert told.explained(xy, V) == pytest.approx(1 - left / np.square(V - V.mean()).sum())
    assert told.explained(xy, 100 * noise) < 0.1


def test_lines_are_lifted_as_they_are():
    xy = disc(400)
    surface = potential_surface(None, xy, plane(xy), kind="smoothed")
    line = np.linspace([-3, 0], [3, 1], 30)
    flat = Streamlines([line], [np.ones(30)], [np.arange(30.0)])
    lifted = lift_streamlines(flat, surface, above=0.1)
    np.testing.assert_array_equal(lifted.lines[0][:, :2], line)
    np.testing.assert_allclose(lifted.lines[0][:, 2], surface.heights(line) + 0.1)
    assert lifted.time is flat.time
    with pytest.raises(DataError, match="no place on a surface"):
        lift_streamlines(lifted, surface)


def test_the_job_speaks_and_can_be_stopped():
    xy = disc(200)
    job = potential_surface_job(None, xy, plane(xy), kind="smoothed")
    assert next(job).stage == "surface"
    job.close()


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"kind": "carved"}, ConfigError, "kind 'carved' is not known; use decoded, smoothed"),
        ({"kind": "decoded"}, ConfigError, "without networks"),
        ({"resolution": 3}, ConfigError, "resolution is 3"),
        ({"relief": 0.0}, ConfigError, "relief is 0.0"),
        ({"smooth": -1.0}, ConfigError, "smooth is -1.0"),
        ({"min_mass": np.nan}, ConfigError, "min_mass is nan"),
        ({"potential": np.ones(7)}, DataError, "potential is 7 for 100 cells"),
        ({"potential": None}, DataError, "potential is 0 for 100 cells"),
        ({"places": np.ones((100, 2))}, DataError, "all cells are at one place"),
        ({"places": np.full((100, 2), np.nan)}, DataError, "fewer than 3 cells"),
        ({"min_mass": 1e6}, DataError, "no place has as many cells"),
    ],
)
def test_what_is_no_surface_is_a_sentence(change, error, says):
    xy = disc(100)
    given = {"networks": None, "places": xy, "potential": plane(xy), "kind": "smoothed"}
    with pytest.raises(error, match=says):
        potential_surface(**{**given, **change})


def test_a_differentiation_state_of_three_dimensions_is_smoothed_not_decoded():
    cfg = LSDConfig()
    cfg.model.B_dim = 3
    networks = Networks(12, cfg).eval()
    with pytest.raises(ConfigError, match="has 3 dimensions; use kind='smoothed'"):
        potential_surface(networks, disc(100))
