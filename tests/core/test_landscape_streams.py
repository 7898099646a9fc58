"""Arrows on an embedding, and lines that follow them: known fields, and fields that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import ring
from landscape_stream_cases import cosines, disc, fork, nearest, turning
from scipy import sparse

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import (
    Potential,
    arrow_confidence,
    arrow_grid,
    boltzmann_transitions,
    project_transitions,
    project_velocity,
    project_velocity_job,
    streamlines,
    streamlines_job,
)
from celldyn.landscape.spacing import _once

# --- arrows --------------------------------------------------------------------------------------


def downhill(z, scale=2.0):
    torch.manual_seed(0)
    potential = Potential(z.shape[1])
    with torch.no_grad():
        for parameter in potential.parameters():
            parameter.mul_(scale)
        return -potential.gradient(torch.as_tensor(z, dtype=torch.float32)).double().numpy()


@pytest.mark.parametrize("c", [2, 3])
def test_on_a_linear_map_of_the_state_arrows_are_the_map_of_the_flow(c):
    rng = np.random.default_rng(0)
    z, A = rng.normal(size=(600, 6)), rng.normal(size=(6, c))
    v = downhill(z)
    for graph in (None, nearest(z)):
        arrows = project_velocity(z, v, z @ A + 3.0, graph)
        assert cosines(arrows, v @ A).min() > 0.9999
        np.testing.assert_allclose(arrows, v @ A, atol=1e-3 * np.abs(v @ A).max())


def test_on_a_bent_embedding_arrows_follow_its_derivative():
    rng = np.random.default_rng(1)
    z = rng.uniform(-1, 1, (2000, 2))
    v = rng.normal(size=2) + np.zeros_like(z)
    e = np.column_stack([np.sinh(z[:, 0]), z[:, 1] + 0.5 * np.square(z[:, 0])])
    truth = np.column_stack([np.cosh(z[:, 0]) * v[:, 0], v[:, 1] + z[:, 0] * v[:, 0]])
    inner = (np.abs(z) < 0.9).all(axis=1)
    found = project_velocity(z, v, e, nearest(z))
    assert cosines(found, truth)[inner].min() > 0.95
    np.testing.assert_allclose(
        np.linalg.norm(found, axis=1)[inner], np.linalg.norm(truth, axis=1)[inner], rtol=0.15
    )


def test_arrows_turn_and_grow_with_the_embedding():
    z, v, _ = fork()
    e, graph = np.tanh(z[:, :2]), nearest(z)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    found = project_velocity(z, v, e, graph)
    np.testing.assert_allclose(
        project_velocity(z, v, 5 * e @ turn, graph), 5 * found @ turn, atol=1e-9
    )
    np.testing.assert_allclose(project_velocity(z, 2 * v, e, graph), 2 * found, atol=1e-9)


def test_on_a_tissue_without_order_there_is_no_arrow_and_no_line():
    z, v, _ = fork()
    tissue = np.random.default_rng(2).uniform(0, 1000, (len(z), 2))
    arrows = project_velocity(z, v, tissue)
    assert np.isfinite(arrows).all()
    assert (np.linalg.norm(arrows, axis=1) > 0).mean() < 0.05
    assert np.median(arrow_confidence(arrows, tissue)) == 0
    assert len(streamlines(tissue, arrows)) == 0


def test_on_a_tissue_in_layers_arrows_go_from_early_to_late():
    z, v, time = fork(2000)
    rng = np.random.default_rng(3)
    tissue = np.column_stack([500 * time + rng.normal(scale=20, size=len(z)),
                              rng.uniform(0, 1000, len(z))])  # fmt: skip
    arrows = project_velocity(z, v, tissue)
    told = np.linalg.norm(arrows, axis=1) > 0
    trunk = time < 0.9
    assert told[trunk].mean() > 0.5
    assert np.median(cosines(arrows[told], np.array([[1.0, 0.0]]))) > 0.9
    lines = streamlines(tissue, arrows).lines
    assert lines
    assert all(line[-1, 0] > line[0, 0] for line in lines)


def by_hand(P, e, graph):
    """v_i = Σ_j P_ij u_ij − mean_j u_ij, cell by cell."""
    found = np.zeros(e.shape)
    for i in range(len(e)):
        near = np.flatnonzero(graph[[i]].toarray().ravel())
        u = np.array([(e[j] - e[i]) / np.linalg.norm(e[j] - e[i]) for j in near])
        found[i] = P[[i]].toarray().ravel()[near] @ u - u.mean(axis=0)
    return found


@pytest.mark.parametrize("c", [2, 3])
def test_arrows_of_transitions_are_the_formula(c):
    rng = np.random.default_rng(4)
    graph, e = ring(40, reach=3), rng.normal(size=(40, c))
    P = boltzmann_transitions(graph, rng.normal(size=40))
    wanted = by_hand(P, e, graph)
    np.testing.assert_allclose(project_transitions(P, e), wanted, atol=1e-14)
    np.testing.assert_allclose(project_transitions(P, e, graph), wanted, atol=1e-14)
    z = np.zeros((40, 2))
    by_method = project_velocity(z, z, e, method="transitions", transitions=P)
    np.testing.assert_array_equal(by_method, project_transitions(P, e))


def test_transitions_that_take_all_alike_and_cells_at_one_place_have_no_arrow():
    graph, e = ring(20), np.random.default_rng(5).normal(size=(20, 2))
    alike = boltzmann_transitions(graph, np.zeros(20))
    np.testing.assert_allclose(project_transitions(alike, e), 0, atol=1e-14)
    P = boltzmann_transitions(graph, np.arange(20.0))
    np.testing.assert_array_equal(project_transitions(P, np.ones((20, 2))), 0)


def test_a_cell_without_a_place_has_no_arrow_and_is_nobodys_neighbour():
    z, v, _ = fork(400)
    e, graph = z[:, :2].copy(), nearest(z)
    e[7] = np.nan
    found = project_velocity(z, v, e, graph)
    np.testing.assert_array_equal(found[7], 0)
    assert np.isfinite(found).all()
    kept = np.arange(len(z)) != 7
    without = project_velocity(z[kept], v[kept], e[kept], graph[kept][:, kept])
    np.testing.assert_allclose(found[kept], without, atol=1e-12)
    P = boltzmann_transitions(graph, -z[:, 0])
    assert np.isfinite(project_transitions(P, e)).all()
    assert not arrow_confidence(found, e, graph)[7]


def test_confidence_is_the_mean_cosine_between_neighbours():
    xy = disc(300)
    assert arrow_confidence(np.ones((300, 2)), xy).min() == pytest.approx(1.0)
    noise = np.random.default_rng(6).normal(size=(300, 2))
    assert arrow_confidence(noise, xy).mean() < 0.03
    graph = sparse.csr_array(np.ones((3, 3)) - np.eye(3))
    angle = np.radians([0, 60, 60])
    arrows = np.column_stack([np.cos(angle), np.sin(angle)]) * [[1.0], [7.0], [0.1]]
    # Cosines of the three pairs: 1/2, 1/2, 1.
    np.testing.assert_allclose(arrow_confidence(arrows, xy[:3], graph), 2 / 3)
    np.testing.assert_array_equal(arrow_confidence(np.zeros((300, 2)), xy), 0)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"velocity": np.zeros((5, 3))}, DataError, "velocities .5, 3. and states .50, 4."),
        ({"velocity": np.full((50, 4), np.nan)}, DataError, "velocities are not finite"),
        ({"z": np.zeros(50)}, DataError, "states are of shape"),
        ({"embedding": np.zeros((50, 5))}, DataError, "embedding is of shape .50, 5."),
        ({"embedding": np.full((50, 2), np.nan)}, DataError, "no cell has a place"),
        ({"connectivities": np.ones((3, 3))}, DataError, "neighbour graph is 3 x 3"),
        ({"method": "guess"}, ConfigError, "method 'guess' is not known; use field, transitions"),
        ({"method": "transitions"}, ConfigError, "without transitions"),
        ({"min_explained": 1.0}, ConfigError, "min_explained is 1.0"),
    ],
)
def test_what_cannot_be_projected_is_a_sentence(change, error, says):
    rng = np.random.default_rng(7)
    given = {"z": rng.normal(size=(50, 4)), "velocity": rng.normal(size=(50, 4)),
             "embedding": rng.normal(size=(50, 2))}  # fmt: skip
    with pytest.raises(error, match=says):
        project_velocity(**{**given, **change})


def test_projecting_tells_how_far_it_is_and_can_be_stopped(monkeypatch):
    monkeypatch.setattr("celldyn.landscape.local_maps._VALUES", 5000)
    z, v, _ = fork(300)
    job = project_velocity_job(z, v, z[:, :2])
    stages = {next(job).stage for _ in range(8)}
    assert "maps to the embedding" in stages
    job.close()


# --- the grid ------------------------------------------------------------------------------------


def test_a_linear_field_is_smoothed_to_itself():
    xy = disc()
    grid = arrow_grid(xy, turning(xy))
    places, arrows = grid.vectors()
    inner = np.linalg.norm(places, axis=1) < 4.5
    np.testing.assert_allclose(arrows[inner], turning(places)[inner], atol=0.15)
    sparse_places, _ = grid.vectors(every=3)
    assert 7 < len(places) / len(sparse_places) < 12


def test_nothing_is_drawn_where_there_are_no_cells():
    xy = disc()
    xy = xy[np.abs(xy[:, 0]) > 1.5]  # two halves
    places, _ = arrow_grid(xy, np.ones_like(xy)).vectors()
    assert np.abs(places[:, 0]).min() > 0.8
    assert np.linalg.norm(places, axis=1).max() < 5.6


def test_a_few_arrows_that_are_far_too_long_do_not_outweigh_the_others():
    xy = disc()
    arrows = np.tile([1.0, 0.0], (len(xy), 1))
    arrows[::100] = [0.0, 1e4]
    _, smoothed = arrow_grid(xy, arrows).vectors()
    assert np.median(cosines(smoothed, np.array([[1.0, 0.0]]))) > 0.99


# --- lines ---------------------------------------------------------------------------------------


def test_lines_of_a_rotation_are_circles_and_take_as_long():
    xy = disc(1000)
    found = streamlines(xy, turning(xy), density=0.7)
    whole = 0
    for line, speed, time in zip(found.lines, found.speeds, found.time, strict=True):
        radius = np.linalg.norm(line, axis=1)
        assert np.ptp(radius) < 0.35
        np.testing.assert_allclose(speed[radius < 4.5], radius[radius < 4.5], atol=0.15)
        turned = np.ptp(np.unwrap(np.arctan2(line[:, 1], line[:, 0])))
        assert time[-1] == pytest.approx(turned, rel=0.05)
        assert np.unwrap(np.arctan2(line[:, 1], line[:, 0]))[-1] > np.arctan2(*line[0, ::-1])
        whole += 5.5 < turned < 6.6
    assert whole >= 5


def test_lines_of_a_sink_go_straight_to_it():
    xy = disc()
    found = streamlines(xy, -xy)
    assert len(found) > 20
    for line in found.lines:
        radius = np.linalg.norm(line, axis=1)
        assert (np.diff(radius) < 1e-3).all()
        assert cosines(line[-1:] - line[0], -line[:1])[0] > 0.99
    assert min(np.linalg.norm(line[-1]) for line in found.lines) < 0.6


def test_lines_in_space_follow_the_field():
    rng = np.random.default_rng(8)
    xyz = rng.normal(size=(3000, 3))
    arrows = np.column_stack([-xyz[:, 1], xyz[:, 0], 0 * xyz[:, 2]])
    found = streamlines(xyz, arrows)
    assert len(found) > 3
    for line in found.lines:
        assert line.shape[1] == 3
        assert np.ptp(line[:, 2]) < 0.4
        assert np.ptp(np.linalg.norm(line[:, :2], axis=1)) < 0.5


def test_lines_keep_apart_and_grow_in_number_with_density():
    xy = disc()
    few, many = (streamlines(xy, np.ones_like(xy), density=d) for d in (0.7, 1.4))
    assert 1.6 < len(many) / len(few) < 2.6
    across = np.array([1.0, -1.0]) / np.sqrt(2)  # lines run along the other diagonal
    at = np.sort([np.mean(line @ across) for line in few.lines if np.ptp(line[:, 0]) > 4])
    assert np.diff(at).min() > 0.12


def test_arrows_without_agreement_have_no_lines():
    xy = disc()
    noise = np.random.default_rng(9).normal(size=xy.shape)
    assert len(streamlines(xy, noise)) == 0
    assert len(streamlines(xy, np.zeros_like(xy))) == 0
    half = np.where(xy[:, :1] > 0, [[1.0, 0.0]], noise)
    lines = streamlines(xy, half).lines
    assert lines
    assert min(line[:, 0].min() for line in lines) > -1.0


def test_a_line_that_comes_round_is_cut_where_it_was_before():
    boxes = np.array([0, 0, 1, 1, 2, 3, 4, 5, 0, 0, 1, 2])
    assert _once(boxes, 0, long=4) == slice(0, 8)
    assert _once(boxes[::-1], len(boxes) - 1, long=4) == slice(4, 12)
    assert _once(np.array([0, 1, 0, 1, 2]), 2, long=4) == slice(0, 5)  # along an edge of boxes


def test_streamlines_are_the_same_each_time_and_the_job_speaks():
    xy = disc(600)
    first, second = (streamlines(xy, turning(xy)) for _ in range(2))
    for a, b in zip(first.lines, second.lines, strict=True):
        np.testing.assert_array_equal(a, b)
    job = streamlines_job(xy, turning(xy))
    assert next(job).stage == "smoothing"
    job.close()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"density": 0.0}, ConfigError, "density is 0.0"),
        ({"max_length": -1.0}, ConfigError, "max_length is -1.0"),
        ({"smooth": 0.0}, ConfigError, "smooth is 0.0"),
        ({"min_mass": -1.0}, ConfigError, "min_mass is -1.0"),
        ({"arrows": np.zeros((3, 2))}, DataError, "arrows .3, 2. and places .100, 2."),
        ({"embedding": np.zeros((100, 2))}, DataError, "all cells are at one place"),
        ({"embedding": np.full((100, 2), np.nan)}, DataError, "no cell has a place"),
    ],
)
def test_what_has_no_lines_is_a_sentence(options, error, says):
    xy = disc(100)
    with pytest.raises(error, match=says):
        streamlines(**{"embedding": xy, "arrows": turning(xy), **options})
