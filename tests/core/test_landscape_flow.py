"""The flow downhill: exact solutions, solvers side by side, laws of noise, step sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchdiffeq
from landscape_cases import Bowl, DoubleWell
from scipy import stats

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import Potential, flow, flow_job
from celldyn.landscape.fused import FusedGradient
from celldyn.landscape.step_size import curvature, steps_between

GRID = torch.linspace(0, 1, 12)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def steep(d=4, scale=3.0, dtype=torch.float32, **options):
    """A potential that moves cells by about 1 in a time of 1."""
    potential = Potential(d, **options).to(dtype)
    with torch.no_grad():
        for layer in potential.layers:
            layer.weight.mul_(scale)
    return potential


def states(n=60, d=4, dtype=torch.float32):
    return torch.randn(n, d, dtype=dtype)


def reference(potential, z, times, method="dopri5", **options):
    def down(t, z):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            return -torch.autograd.grad(potential(z).sum(), z)[0]

    return torchdiffeq.odeint(down, z, times.to(z), method=method, **options)


def test_a_bowl_empties_exponentially():
    z = states(dtype=torch.float64)
    times = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    found = flow(Bowl(1.5), z, times)
    torch.testing.assert_close(
        found, z * torch.exp(-1.5 * times)[:, None, None], rtol=0.02, atol=0
    )
    fine = flow(Bowl(1.5), z, times, substeps=100)
    torch.testing.assert_close(fine, z * torch.exp(-1.5 * times)[:, None, None], rtol=1e-7, atol=0)


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("heun", 2), ("euler", 1)])
def test_schemes_have_their_order(method, order):
    potential, z = steep(dtype=torch.float64), states(dtype=torch.float64)
    exact = reference(potential, z, GRID, rtol=1e-11, atol=1e-12)[-1]
    ends = torch.tensor([0.0, 1.0])
    errors = [
        (flow(potential, z, ends, method=method, substeps=n)[-1] - exact).abs().mean().item()
        for n in (16, 32)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("graph", [False, True])
def test_rk4_is_torchdiffeqs_with_the_gradient_of_autograd(dtype, graph):
    potential, z = steep(dtype=dtype), states(dtype=dtype)
    expected = reference(potential, z, GRID, method="rk4")
    found = flow(potential, z, GRID, substeps=1, differentiable=graph)
    assert (expected[-1] - z).norm(dim=1).mean() > 0.5
    limit = 1e-6 if dtype == torch.float32 else 1e-13
    assert (found - expected).abs().max() < limit
    assert found.requires_grad == graph


def test_default_steps_are_close_to_dopri5_at_tight_tolerances():
    potential, z = steep(scale=4.0), states()
    exact = reference(potential.double(), z.double(), GRID, rtol=1e-10, atol=1e-12)
    moved = (exact[-1] - z).norm(dim=1).mean()
    error = (flow(potential.float(), z, GRID) - exact).norm(dim=-1)
    assert error.mean() < 1e-3 * moved
    adapted = flow(potential, z, GRID, method="dopri5", differentiable=False)
    assert (adapted - exact).norm(dim=-1).max() < 1e-4


def test_two_substeps_are_one_step_on_a_finer_grid():
    potential, z = steep(), states()
    fine = torch.linspace(0, 1, 23)
    for graph in (False, True):
        found = flow(potential, z, GRID, substeps=2, differentiable=graph)
        expected = flow(potential, z, fine, substeps=1, differentiable=graph)[::2]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
@pytest.mark.parametrize("adjoint", [False, True])
def test_parameters_learn_through_the_flow(method, adjoint):
    potential, z = steep(dtype=torch.float64), states(8, dtype=torch.float64)
    times = torch.linspace(0, 1, 5)
    how = {"method": method, "rtol": 1e-9, "atol": 1e-10}
    flow(potential, z, times, adjoint=adjoint, substeps=8, **how)[-1].sum().backward()
    weight = potential.layers[1].weight
    found, i, j = weight.grad[3, 5].item(), 3, 5
    ends = []
    for change in (1e-5, -1e-5):
        with torch.no_grad():
            weight[i, j] += change
            ends.append(flow(potential, z, times, substeps=8, **how)[-1].sum().item())
            weight[i, j] -= change
    assert found == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-7)


def test_a_graph_is_kept_only_where_there_is_something_to_learn():
    potential, z = steep(), states()
    assert flow(potential, z, GRID).requires_grad
    with torch.no_grad():
        assert not flow(potential, z, GRID).requires_grad
    potential.requires_grad_(requires_grad=False)
    assert not flow(potential, z, GRID).requires_grad
    assert flow(potential, z.requires_grad_(), GRID).requires_grad


@pytest.mark.parametrize("hidden", [(16,), (32, 32), (8, 9, 10)])
@pytest.mark.parametrize("confinement", [0.0, 0.2])
def test_the_fused_gradient_is_the_plain_one(hidden, confinement):
    potential = steep(hidden=hidden, confinement=confinement)
    fused = FusedGradient(potential, 100)
    for n in (100, 7):
        for scale in (0.0, 1e-3, 1.0, 1e4):
            z = scale * states(n)
            found = fused(z, torch.empty_like(z))
            expected = potential.gradient(z).detach()
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-6)


def test_blocks_of_cells_do_not_matter(monkeypatch):
    potential, z = steep(), states(50)
    whole = flow(potential, z, GRID, substeps=1, differentiable=False)
    monkeypatch.setattr("celldyn.landscape.flowing.BLOCK", 8)
    parts = flow(potential, z, GRID, substeps=1, differentiable=False)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)


def test_steps_are_as_many_as_the_curvature_asks_for():
    assert steps_between(0.1, 4.0, "rk4", None) == 1
    assert steps_between(15.0, 4.0, "rk4", None) == 60
    assert steps_between(1.0, 0.0, "heun", None) == 1
    z = states(dtype=torch.float64)
    found = flow(Bowl(40.0), z, [0.0, 3.0])
    assert found[-1].abs().max() < 1e-12


def test_an_unstable_step_is_refused_with_how_many_to_take():
    with pytest.raises(ConfigError, match=r"a step of 0.5 is unstable where the potential"):
        flow(Bowl(40.0), states(), [0.0, 0.5, 1.0], substeps=1)
    with pytest.raises(ConfigError, match="use 11 substeps or more, or leave them out"):
        flow(Bowl(40.0), states(), [0.0, 0.5, 1.0], substeps=1)
    flow(Bowl(40.0), states(), [0.0, 0.5, 1.0], substeps=11)
    with pytest.raises(ConfigError, match=r"potential curves by 1e.12"):
        flow(Bowl(1e12), states(), [0.0, 1.0])


class Cliff(DoubleWell):
    """Flat where cells begin, curved where they come to."""

    def __call__(self, z):
        return torch.where(z > 1, z, 30 * (z - 1) ** 2 + z).sum(-1)

    def gradient(self, z):
        return torch.where(z > 1, torch.ones_like(z), 60 * (z - 1) + 1)

    def hessian_max_eigenvalue(self, z):
        return torch.where(z > 1, 0.0, 60.0).amax(-1)


def test_paths_that_come_to_steeper_ground_begin_again_finer():
    z, rest = 3 + torch.rand(20, 2, dtype=torch.float64), 1 - 1 / 60
    found = flow(Cliff(), z, [0.0, 0.5, 6.0])
    torch.testing.assert_close(found[-1], torch.full_like(z, rest), rtol=0, atol=1e-6)
    with pytest.raises(ConfigError, match="climb, as steps that are too long do"):
        flow(Cliff(), z, [0.0, 0.5, 6.0], substeps=2)


def test_a_potential_that_does_not_know_its_curvature_may_still_not_blow_up():
    with pytest.raises(ConfigError, match="paths climb, as steps that are too long do; ask"):
        flow(DoubleWell(), 50 * torch.ones(3, 2), [0.0, 5.0, 10.0, 20.0, 30.0, 40.0])


def test_curvature_is_looked_up_at_states_spread_over_all():
    z = torch.zeros(10_000, 2)
    z[::100] = 2.0
    assert curvature(Bowl(3.0), z) == 3.0
    assert curvature(Bowl(-3.0), z) == 0.0
    assert curvature(Bowl(3.0), z[:0]) == 0.0


SIGMA = 0.7


@pytest.mark.parametrize("method", ["rk4", "heun", "euler"])
def test_noise_in_a_bowl_is_an_ornstein_uhlenbeck_process(method):
    k, n = 1.3, 20_000
    z = torch.full((n, 1), 2.0, dtype=torch.float64)
    times = [0.0, 0.4, 1.0]
    paths = flow(Bowl(k), z, times, method=method, sigma=SIGMA, seed=4, substeps=40)[..., 0]
    for t, at in zip(times[1:], paths[1:], strict=True):
        variance = SIGMA**2 / (2 * k) * (1 - math.exp(-2 * k * t))
        mean = 2 * math.exp(-k * t)
        allowed = 4 * math.sqrt(variance / n) + (0.02 if method == "euler" else 1e-3)
        assert abs(at.mean().item() - mean) < allowed
        assert at.var().item() == pytest.approx(variance, rel=0.05)
    shared = np.cov(paths[1], paths[2])[0, 1]
    early = SIGMA**2 / (2 * k) * (1 - math.exp(-2 * k * 0.4))
    assert shared == pytest.approx(early * math.exp(-k * 0.6), rel=0.06)


def test_noise_in_a_double_well_comes_to_the_density_of_boltzmann():
    n, sigma = 4000, 1.2
    z = torch.randn(n, 2, dtype=torch.float64)
    end = flow(DoubleWell(k=2.0), z, [0.0, 8.0], sigma=sigma, seed=1, substeps=800)[-1]
    grid = np.linspace(-3.5, 3.5, 4001)
    density = np.exp(-2 * (grid**2 - 1) ** 2 / sigma**2)
    cumulative = np.cumsum(density) / density.sum()
    found = stats.kstest(end[:, 0].numpy(), lambda x: np.interp(x, grid, cumulative))
    assert found.statistic < 1.95 / math.sqrt(n)
    across = stats.kstest(end[:, 1].numpy(), "norm", (0, sigma / math.sqrt(2 * 2.0)))
    assert across.statistic < 1.95 / math.sqrt(n)


def test_more_noise_crosses_barriers_more_often():
    """Kramers: the rate grows as e^{−2 ΔV/σ²}, here with ΔV = 1."""
    z = torch.tensor([[-1.0, 0.0]], dtype=torch.float64).repeat(3000, 1)
    crossed = []
    for sigma in (0.65, 0.8, 1.0):
        end = flow(DoubleWell(), z, [0.0, 4.0], sigma=sigma, seed=2, substeps=400)[-1]
        crossed.append((end[:, 0] > 0).double().mean().item())
    assert crossed[0] < crossed[1] < crossed[2]
    growth = math.log(crossed[1] / crossed[0])
    assert growth == pytest.approx(2 / 0.65**2 - 2 / 0.8**2, rel=0.35)


def test_the_same_seed_gives_the_same_paths_and_another_gives_others():
    potential, z = steep(), states(30)
    one = flow(potential, z, GRID, sigma=0.3, seed=5, differentiable=False)
    torch.testing.assert_close(
        flow(potential, z, GRID, sigma=0.3, seed=5, differentiable=False), one, rtol=0, atol=0
    )
    other = flow(potential, z, GRID, sigma=0.3, seed=6, differentiable=False)
    assert (other[-1] - one[-1]).abs().min() > 0
    assert torch.equal(one[0], z)


def test_noise_needs_no_word_about_gradients():
    assert not flow(steep(), states(), GRID, sigma=0.3, seed=5).requires_grad


def test_blocks_of_cells_have_noise_of_their_own(monkeypatch):
    monkeypatch.setattr("celldyn.landscape.flowing.BLOCK", 500)
    z = torch.zeros(1000, 1, dtype=torch.float64)
    end = flow(Bowl(), z, [0.0, 1.0], sigma=1.0, seed=0)[-1][:, 0].numpy()
    assert abs(np.corrcoef(end[:500], end[500:])[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "rk5"}, "method 'rk5' is not known; use rk4, dopri5, heun, euler"),
        ({"sigma": 0.1}, "without a seed; give a seed"),
        ({"sigma": -0.1, "seed": 0}, "sigma is -0.1"),
        ({"sigma": 0.1, "seed": 0, "method": "dopri5"}, "dopri5 cannot integrate noise"),
        ({"substeps": 0}, "substeps is 0"),
        ({"sigma": 0.1, "seed": 0, "differentiable": True}, "has no gradient here"),
    ],
)
def test_what_cannot_be_integrated_is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        flow(steep(), states(), GRID, **options)


@pytest.mark.parametrize(
    ("z", "times", "says"),
    [
        (torch.zeros(5, 3), GRID, "states are of shape .5, 3.; give one row of 4 numbers"),
        (torch.zeros(4), GRID, "states are of shape .4,."),
        (torch.full((5, 4), math.nan), GRID, "states are not finite"),
        ("here", GRID, "states are not numbers"),
        (None, GRID, "states are not numbers"),
        (torch.zeros(5, 4), ["now"], "times are not numbers"),
        (torch.zeros(5, 4), [0.0, 0.0], "times do not increase"),
        (torch.zeros(5, 4), [1.0, 0.0], "times do not increase"),
        (torch.zeros(5, 4), [], "times do not increase"),
        (torch.zeros(5, 4), [0.0, math.inf], "times do not increase"),
    ],
)
def test_wrong_states_and_times_are_refused(z, times, says):
    with pytest.raises(DataError, match=says):
        flow(steep(), z, times)


def test_a_landscape_that_is_nearly_flat_takes_no_finer_steps_for_its_rounding(monkeypatch):
    asked = []

    def counted(h, bend, scheme, substeps):
        asked.append(found := steps_between(h, bend, scheme, substeps))
        return found

    monkeypatch.setattr("celldyn.landscape.sweep.steps_between", counted)
    potential, z = Potential(10), 0.5 * torch.randn(4096, 10)
    with torch.no_grad():
        assert potential(z).max() < 0.005  # as before training: V is of the size of its rounding
    flow(potential, z, torch.linspace(0, 1, 31), differentiable=False)
    assert set(asked) == {1}
    assert len(asked) < 2 * 31


def test_arrays_of_numpy_and_a_single_time_are_accepted():
    z = np.random.default_rng(0).normal(size=(6, 4))
    for method in ("rk4", "dopri5"):
        for graph in (True, False):
            found = flow(steep(), z, [0.0], method=method, differentiable=graph)
            torch.testing.assert_close(found[0], torch.tensor(z, dtype=torch.float32))
    assert flow(steep(), z, np.array([0.0, 1.0])).shape == (2, 6, 4)
    assert flow(steep(), z[:0], [0.0, 1.0], differentiable=False).shape == (2, 0, 4)


def test_paths_that_outgrow_memory_are_refused(monkeypatch):
    monkeypatch.setattr("celldyn.landscape.flowing.free_memory", lambda: 1000)
    with pytest.raises(ConfigError, match=r"2 times of 60 cells take 0.00192 MB, and 0.001 MB of"):
        flow(Bowl(), states(), [0.0, 1.0])


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_the_job_tells_how_far_it_is_and_can_be_stopped(method, monkeypatch):
    monkeypatch.setattr("celldyn.landscape.flowing.BLOCK", 64)
    potential, z = steep(), states(640)
    times = torch.linspace(0, 2, 20)
    seen = [step.done for step in flow_job(potential, z, times, method=method)]
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    job = flow_job(potential, z, torch.linspace(0, 10, 200), method=method)
    next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)
