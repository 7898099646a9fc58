"""Cells on their way: time until rest, films on an embedding, paths between cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import Bowl
from landscape_stream_cases import disc, nearest

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.landscape import (
    flow_frames,
    flow_frames_job,
    flow_time,
    frame_times,
    path_on,
)
from celldyn.landscape.moving_kernels import follow as compiled
from celldyn.landscape.placing import follow, placing_job


def states(n=300, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


# --- time until rest -----------------------------------------------------------------------------


def test_in_a_bowl_the_time_until_rest_is_known():
    z, k = states(), 1.3
    found = flow_time(Bowl(k), torch.as_tensor(z), tolerance=0.01)
    wanted = np.log(k * np.linalg.norm(z, axis=1) / 0.01) / k
    np.testing.assert_allclose(found.time, wanted, atol=0.03)
    assert found.resting.all()
    assert found.share == 1
    finer = flow_time(Bowl(k), torch.as_tensor(z), tolerance=0.01, dt=0.1)
    np.testing.assert_allclose(finer.time, wanted, rtol=1e-3)


def test_cells_that_rest_take_no_time_and_those_that_never_do_the_limit():
    class Slope:
        def __call__(self, z):
            return z[:, 0].clamp(min=0)

        def gradient(self, z):
            on = (z[:, :1] > 0).to(z)
            return torch.cat([on, torch.zeros_like(z[:, 1:])], dim=1)

    z = torch.tensor([[-1.0, 0.0], [1.1, 0.0], [99.0, 0.0]], dtype=torch.float64)
    found = flow_time(Slope(), z, tolerance=0.5, limit=5.0)
    assert found.time[0] == 0
    assert found.time[1] == pytest.approx(1.1, abs=0.5)
    assert found.time[2] == 5
    assert list(found.resting) == [True, True, False]
    assert found.share == pytest.approx(2 / 3)


def test_the_default_tolerance_is_a_share_of_the_fastest():
    z = torch.as_tensor(states())
    once, fast = flow_time(Bowl(), z), flow_time(Bowl(3.0), z)
    speeds = z.norm(dim=1).numpy()
    assert once.tolerance == pytest.approx(0.02 * np.percentile(speeds, 95))
    np.testing.assert_allclose(fast.time, once.time / 3, atol=0.05)
    with pytest.raises(ConfigError, match="limit is 0"):
        flow_time(Bowl(), z, limit=0)


# --- films ---------------------------------------------------------------------------------------


def test_the_compiled_step_is_the_plain_one():
    z = states(500)
    placing = run(placing_job(z, disc(500), nearest(z)), bar=False)
    way = (0.4 * placing.z).astype(np.float32)
    way[:5] = placing.z[:5]
    results = []
    for step in (follow, compiled):
        at, found = np.arange(500, dtype=np.int32), np.zeros((500, 2), dtype=np.float32)
        step(placing.begin, placing.near, placing.z, placing.places, way, at, found)
        results.append((at, found))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)
    exact = np.square(way[:, None] - placing.z[None]).sum(axis=2).argmin(axis=1)
    assert (results[1][0] == exact).mean() > 0.97
    assert (results[1][0][:5] == np.arange(5)).all()


def test_frames_begin_at_the_cells_and_follow_the_flow():
    z = disc(3000, radius=2.0)
    e = np.column_stack([z, z[:, :1] + z[:, 1:]])  # a plane in space
    times = np.linspace(0, 3, 7)
    found = flow_frames(Bowl(), z, e, times, nearest(z))
    assert found.places.shape == (7, 3000, 3)
    assert found.places.dtype == np.float32
    np.testing.assert_array_equal(found.places[0], e.astype(np.float32))
    np.testing.assert_array_equal(found.cells[0], np.arange(3000))
    wanted = e[None] * np.exp(-times)[:, None, None]
    off = np.linalg.norm(found.places - wanted, axis=2)
    assert np.quantile(off, 0.99) < 0.15
    assert off.mean() < 0.05
    np.testing.assert_array_equal(found.times, times)
    near = np.linalg.norm(z[found.cells] - z[None] * np.exp(-times)[:, None, None], axis=2)
    assert np.quantile(near, 0.99) < 0.08


def test_times_of_a_film_are_closer_together_early():
    times = frame_times(8.0, 5)
    np.testing.assert_allclose(times, [0, 1 / 8, 1, 27 / 8, 8])
    with pytest.raises(ConfigError, match="1 times up to 8"):
        frame_times(8.0, 1)


def test_a_cell_without_a_place_is_not_followed_and_one_that_rests_stays():
    z, e = disc(400, radius=1.0), disc(400)
    e[3] = np.nan
    z[9] = 0.0
    found = flow_frames(Bowl(), z, e, [0.0, 1.0, 2.0])
    assert np.isnan(found.places[:, 3]).all()
    assert np.isfinite(np.delete(found.places, 3, axis=1)).all()
    assert not (np.delete(found.cells, 3, axis=1) == 3).any()
    np.testing.assert_allclose(found.places[:, 9], np.tile(e[9], (3, 1)), atol=1e-5)


def test_noise_comes_of_the_seed():
    z = disc(200, radius=1.0)
    films = [flow_frames(Bowl(), z, z, [0.0, 1.0], nearest(z), sigma=0.3, seed=s)
             for s in (1, 1, 2)]  # fmt: skip
    np.testing.assert_array_equal(films[0].places, films[1].places)
    assert (films[0].places[1] != films[2].places[1]).any()


def test_the_film_tells_how_far_it_is_and_what_it_cannot_show():
    z = disc(300)
    job = flow_frames_job(Bowl(), z, z, [0.0, 1.0])
    assert next(job).stage == "neighbours"
    job.close()
    with pytest.raises(DataError, match="embedding is of shape"):
        flow_frames(Bowl(), z, z[:10], [0.0, 1.0])
    with pytest.raises(DataError, match="times do not increase"):
        flow_frames(Bowl(), z, z, [1.0, 0.0])


# --- paths ---------------------------------------------------------------------------------------


def test_a_path_over_a_saddle_is_drawn_from_cell_to_cell():
    rng = np.random.default_rng(1)
    z = np.column_stack([rng.uniform(-1.3, 1.3, 2000), rng.uniform(-0.6, 1.2, 2000)])
    z[:2] = [[-1.0, 0.0], [1.0, 0.0]]
    e = 10 * z[:, ::-1] + 3
    x = np.linspace(-1, 1, 30)
    points = np.column_stack([x, 0.8 * (1 - x * x)])  # over the saddle of a bent double well
    drawn = path_on(points, z, e)
    np.testing.assert_allclose(drawn[[0, -1]], e[:2], atol=1e-6)
    assert np.linalg.norm(drawn - (10 * points[:, ::-1] + 3), axis=1).max() < 0.5


def test_states_that_are_cells_are_near_their_places_and_one_neighbour_is_the_cell():
    z, e = states(), disc(300)
    np.testing.assert_allclose(path_on(z[[4, 8]], z, e, k=1), e[[4, 8]])
    e[4] = np.nan
    assert np.isfinite(path_on(z[[4, 8]], z, e)).all()


def test_paths_that_do_not_fit_are_sentences():
    z, e = states(), disc(300)
    with pytest.raises(DataError, match=r"points \(5, 2\) and states \(300, 3\)"):
        path_on(np.zeros((5, 2)), z, e)
    with pytest.raises(ConfigError, match="k is 0"):
        path_on(z[:2], z, e, k=0)
    with pytest.raises(DataError, match="no cell has a place"):
        path_on(z[:2], z, np.full_like(e, np.nan))
