"""Paths of least action: over the saddle, as dear as twice the climb, and free downhill."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import Bowl, DoubleWell

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.landscape import Potential, flow, least_action_path, least_action_path_job


@pytest.mark.parametrize("bend", [0.0, 0.8, 2.0])
def test_between_two_wells_it_goes_over_the_saddle(bend):
    found = least_action_path(DoubleWell(bend=bend), [-1.0, 0.0], [1.0, 0.0])
    np.testing.assert_allclose(found.points[[0, -1]], [[-1, 0], [1, 0]])
    np.testing.assert_allclose(found.top, [0.0, bend], atol=0.05)
    assert found.barrier == pytest.approx(1.0, abs=0.01)
    assert found.action == pytest.approx(2.0, rel=0.02)
    assert found.found
    down = flow(
        DoubleWell(bend=bend),
        torch.tensor([[0.01, bend], [-0.01, bend]], dtype=torch.float64),
        torch.cat([torch.linspace(0, 6, 1200), torch.linspace(6.05, 60, 100)]),
        method="dopri5",
    )
    track = torch.cat([down[:, 0], down[:, 1]]).numpy()
    nearest = np.linalg.norm(found.points[:, None] - track[None], axis=2).min(axis=1)
    assert nearest.max() < 0.03


def test_its_points_are_at_equal_distances():
    found = least_action_path(DoubleWell(bend=0.8), [-1.0, 0.0], [1.0, 0.0], n_points=31)
    steps = np.linalg.norm(np.diff(found.points, axis=0), axis=1)
    assert found.points.shape == (31, 2)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.03)


def test_downhill_it_is_the_flow_and_costs_nothing():
    well = DoubleWell()
    start = torch.tensor([[0.2, 0.6]], dtype=torch.float64)
    track = flow(well, start, torch.linspace(0, 8, 4000), substeps=1)[:, 0].numpy()
    found = least_action_path(well, start[0], [1.0, 0.0])
    assert found.action < 0.01
    nearest = np.linalg.norm(found.points[:, None] - track[None], axis=2).min(axis=1)
    assert nearest.max() < 0.03
    assert found.barrier < 0.01


def test_uphill_it_costs_twice_the_climb():
    found = least_action_path(Bowl(2.0), [0.0, 0.0, 0.0], [1.0, 2.0, 2.0])
    assert found.action == pytest.approx(2 * 9.0, rel=1e-3)
    assert found.barrier == pytest.approx(9.0)


def test_it_is_cheaper_than_the_straight_line_on_a_learned_potential():
    torch.manual_seed(3)
    potential = Potential(4)
    with torch.no_grad():
        for layer in potential.layers:
            layer.weight.mul_(3.0)
    start, end = torch.randn(2, 4)
    straight = torch.lerp(start, end, torch.linspace(0, 1, 60)[:, None]).double()
    slope = potential.double().gradient((straight[1:] + straight[:-1]) / 2).detach()
    step = straight.diff(dim=0)
    cost = (slope.norm(dim=1) * step.norm(dim=1) + (slope * step).sum(dim=1)).sum().item()
    before = [p.clone() for p in potential.float().parameters()]
    found = least_action_path(potential, start, end)
    assert found.action < cost
    V = potential(torch.tensor(found.points, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(found.potential, V, rtol=1e-5)
    assert found.action >= 2 * (V.max() - V[0]) * 0.98
    assert all(torch.equal(a, b) for a, b in zip(before, potential.parameters(), strict=True))


def test_where_there_are_two_passes_the_one_nearest_to_the_first_path_is_found():
    class TwoPasses(DoubleWell):
        """A hill between two wells on the x axis, with a way around on both sides."""

        def __call__(self, z):
            x, y = z[..., 0], z[..., 1]
            r = x * x + y * y
            return (r - 1) ** 2 + 0.5 * y * y

        def gradient(self, z):
            r = (z * z).sum(-1, keepdim=True)
            return 4 * (r - 1) * z + torch.stack([0 * z[..., 0], z[..., 1]], dim=-1)

    for side in (1.0, -1.0):
        found = least_action_path(TwoPasses(), [-1.0, 0.0], [1.0, 0.0], first=[[0.0, side]])
        assert found.top[0] == pytest.approx(0.0, abs=0.06)
        assert found.top[1] == pytest.approx(side * np.sqrt(0.75), abs=0.03)


def test_the_job_tells_how_far_it_is_and_can_be_stopped():
    job = least_action_path_job(DoubleWell(), [-1.0, 0.0], [1.0, 0.0])
    seen = [next(job).done for _ in range(4)]
    assert seen == sorted(seen)
    job.close()
    found = run(least_action_path_job(DoubleWell(), [-1.0, 0.0], [1.0, 0.0]), bar=False)
    assert found.found


@pytest.mark.parametrize(
    ("start", "end", "options", "error", "says"),
    [
        ([0.0, 0.0], [0.0, 0.0], {}, DataError, "start and end of the path are one state"),
        ([0.0, 0.0], [1.0], {}, DataError, "have not as many dimensions"),
        ([0.0, 0.0], [np.nan, 1.0], {}, DataError, "states are not finite"),
        ([0.0, 0.0], [1.0, 1.0], {"n_points": 2}, ConfigError, "n_points is 2"),
        ([0.0, 0.0], [1.0, 1.0], {"first": [[1.0]]}, DataError, "the path to begin with is of"),
        ([0.0, 0.0], [1.0, 1.0], {"tolerance": 0}, ConfigError, "tolerance is 0"),
    ],
)
def test_paths_that_cannot_be_are_refused(start, end, options, error, says):
    with pytest.raises(error, match=says):
        least_action_path(Bowl(), start, end, **options)
