"""Fates of cells: the flow, runs with noise held to quadrature, sclsd's way, terminal states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import Bowl, DoubleWell
from landscape_fates_cases import TiltedWell, cells_on_a_line
from scipy import sparse

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.landscape import Potential, cell_fates, cell_fates_job, flow
from celldyn.landscape.cosh_kernels import log_cosh_and_tanh
from celldyn.landscape.fused import gradient_into
from celldyn.landscape.landmarks import Landmarks
from celldyn.landscape.noisy_runs import bend_of, noisy_ends_job
from celldyn.landscape.voters import voters_of_minima


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _ends(potential, z0, time, sigma, n_runs, **how):
    z0 = torch.as_tensor(z0)
    found = torch.empty(z0.shape[0], n_runs, z0.shape[1], dtype=z0.dtype)

    def take(rows, ends):
        found[rows] = ends

    run(noisy_ends_job(potential, z0, time, sigma, n_runs, 7, take, **how), bar=False)
    return found


def test_runs_settle_to_the_law_of_boltzmann_in_a_tilted_double_well():
    well, sigma = TiltedWell(1.0, 0.15), 1.0
    x = _ends(well, np.linspace(-1.1, 1.1, 40)[:, None], 20.0, sigma, 500).numpy().ravel()
    grid = np.linspace(-4, 4, 8_001)
    density = well.density(grid, sigma) * (grid[1] - grid[0])
    # 20,000 independent ends: a share is known within 0.014 at four standard errors.
    right, expected = (x > 0).mean(), density[grid > 0].sum()
    assert abs(right - expected) < 0.014
    for power, tolerance in ((1, 0.03), (2, 0.015), (4, 0.045)):
        assert abs((x**power).mean() - (density * grid**power).sum()) < tolerance
    told = np.histogram(x, bins=np.linspace(-2, 2, 21))[0] / x.size
    law = np.histogram(grid, bins=np.linspace(-2, 2, 21), weights=density)[0]
    assert np.abs(told - law).max() < 0.009


def test_noise_in_a_bowl_has_the_right_variance_at_any_step():
    bowl = Potential(2, (2,), "identity", confinement=2.0)
    with torch.no_grad():
        for parameter in bowl.layers.parameters():
            parameter.zero_()
    z = _ends(bowl, np.zeros((40, 2), dtype=np.float32), 20.0, 0.8, 500)
    np.testing.assert_allclose(z.var(dim=(0, 1)).numpy(), 0.8**2 / 4, rtol=0.03)


def test_chances_are_those_of_splitting():
    well, sigma = TiltedWell(4.0, 0.5), 0.9
    z, sides = cells_on_a_line(60)
    asked = np.linspace(-0.5, 0.5, 11)[:, None]
    # Long enough to leave the hill, short beside the hundreds that crossing it takes.
    found = cell_fates(well, z, sides, z_start=asked, n_runs=2_000, sigma=sigma, time_range=3.0,
                       dt=0.005, seed=3)  # fmt: skip
    expected = well.committor(asked[:, 0], -1.0, 1.0, sigma)
    right = found.probabilities[:, found.names.index("right")]
    assert np.abs(right - expected).max() < 0.035
    inside = (found.low[:, 1] - 0.01 <= expected) & (expected <= found.high[:, 1] + 0.01)
    assert inside.mean() >= 0.8
    assert found.fate[0] == "left"
    assert found.fate[-1] == "right"


def test_the_committor_of_a_chain_is_that_of_quadrature():
    well, sigma = TiltedWell(1.0, 0.3), 1.0
    x = np.linspace(-1.2, 1.2, 241)
    V = well(torch.as_tensor(x)[:, None]).numpy()
    up = 1 / (1 + np.exp(2 * (V[1:] - V[:-1]) / sigma**2))
    # A step up from i has the odds of the next height against that of the one before.
    odds_up = np.exp(-(V[2:] - V[1:-1]) / sigma**2)
    odds_down = np.exp(-(V[:-2] - V[1:-1]) / sigma**2)
    chance = odds_up / (odds_up + odds_down)
    i = np.arange(1, 240)
    chain = sparse.csr_array(
        (np.r_[chance, 1 - chance, up[:1], 1 - up[:1], [0.5, 0.5]],
         (np.r_[i, i, 0, 0, 240, 240], np.r_[i + 1, i - 1, 1, 0, 239, 240])), shape=(241, 241),
    )  # fmt: skip
    labels = np.where(x <= -1.0 + 1e-9, "left", np.where(x >= 1.0 - 1e-9, "right", "hill"))
    found = cell_fates(well, x[:, None], labels, method="committor", terminal=["left", "right"],
                       transition=chain)  # fmt: skip
    lows = x[(labels == "left")][V[labels == "left"] <= np.median(V[labels == "left"])].max()
    highs = x[(labels == "right")][V[labels == "right"] <= np.median(V[labels == "right"])].min()
    inner = (x > lows) & (x < highs)
    expected = well.committor(x[inner], lows, highs, sigma)
    np.testing.assert_allclose(found.probabilities[inner, 1], expected, atol=2e-3)
    np.testing.assert_array_equal(found.low, found.probabilities)
    assert found.n_votes == 0


def test_the_flow_is_what_noise_comes_to_when_it_is_small(rng):
    z = np.c_[rng.uniform(-1.4, 1.4, 300), 0.2 * rng.normal(size=300)]
    sides = np.where(z[:, 0] < 0, "left", "right")
    still = cell_fates(DoubleWell(), z, sides)
    noisy = cell_fates(DoubleWell(), z, sides, n_runs=8, sigma=1e-4)
    np.testing.assert_array_equal(still.fate, sides)
    np.testing.assert_array_equal(noisy.fate, sides)
    np.testing.assert_array_equal(noisy.plasticity, 0.0)
    assert noisy.certain.sum() == 300
    assert still.converged == 1.0
    assert still.n_votes == 15
    assert noisy.n_votes == 8


def test_votes_with_noise_depend_on_the_seed_alone(rng):
    z = rng.normal(size=(200, 2)) / 2
    sides = np.where(z[:, 0] < 0, "left", "right")
    how = {"n_runs": 16, "sigma": 0.6, "z_scale": np.full((200, 2), 0.1)}
    first, again = (cell_fates(DoubleWell(), z, sides, seed=1, **how) for _ in range(2))
    other = cell_fates(DoubleWell(), z, sides, seed=2, **how)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert (first.probabilities != other.probabilities).any()
    np.testing.assert_allclose(first.probabilities.sum(axis=1), 1.0)
    assert ((first.low <= first.probabilities) & (first.probabilities <= first.high)).all()


def test_cells_on_the_hill_are_open_and_those_in_a_well_are_not():
    z, sides = cells_on_a_line(101)
    found = cell_fates(TiltedWell(4.0), z, sides, n_runs=64, sigma=0.5, time_range=4.0, dt=0.02)
    hill, wells = np.abs(z[:, 0]) < 0.02, np.abs(np.abs(z[:, 0]) - 1) < 0.1
    assert found.plasticity[hill].min() > 0.9
    assert found.plasticity[wells].max() < 0.05
    assert found.certain[wells].all()
    assert not found.certain[hill].any()
    assert (found.plasticity_low <= found.plasticity).all()
    assert (found.plasticity <= found.plasticity_high).all()


def test_start_scale_alone_spreads_fates():
    z, sides = cells_on_a_line(101)
    where = np.array([[0.1], [0.9]])
    found = cell_fates(TiltedWell(4.0), z, sides, z_start=where, z_scale=np.full((2, 1), 0.1),
                       n_runs=4_000, sigma=0.0, time_range=3.0, dt=0.05)  # fmt: skip
    # Φ(−1) of the starts around 0.1 are on the other side of the hill.
    assert abs(found.probabilities[0, 0] - 0.1587) < 0.02
    assert found.probabilities[1, 1] == 1.0


def test_the_reference_takes_the_nearest_cell_at_its_own_points_of_time(rng):
    torch.manual_seed(0)
    potential, z = Potential(3), rng.normal(size=(80, 3)).astype(np.float32) * 3
    labels = rng.choice(["A", "B", "C"], 80)
    found = cell_fates(potential, z, labels, method="reference", return_paths=True)
    # int(15 / 0.5) points from 0 to 15: 15 / 29 apart.
    np.testing.assert_allclose(found.times, np.linspace(0, 15, 30))
    paths = flow(potential, z, np.linspace(0, 15, 30), method="dopri5").detach().numpy()
    nearest = ((paths[:, :, None] - z) ** 2).sum(axis=3).argmin(axis=2)
    np.testing.assert_array_equal(found.paths, nearest)
    np.testing.assert_array_equal(found.fate, labels[nearest[-1]])
    np.testing.assert_array_equal(found.probabilities.max(axis=1), 1.0)
    np.testing.assert_allclose(found.z_end, paths[-1], atol=1e-3)
    one = cell_fates(potential, z, labels, method="reference", time_range=0.7)
    np.testing.assert_array_equal(one.fate, labels)  # a single point of time: the start


def test_runs_that_end_elsewhere_are_undecided():
    z, _ = cells_on_a_line(200)
    labels = np.where(z[:, 0] < -0.5, "left", np.where(z[:, 0] > 0.5, "right", "hill"))
    found = cell_fates(TiltedWell(0.2), z, labels, terminal=["left", "right"], n_runs=32,
                       sigma=0.3, time_range=0.5, dt=0.02)  # fmt: skip
    assert found.names == ("left", "right", "undecided")
    hill = np.abs(z[:, 0]) < 0.1
    assert set(found.fate[hill]) == {"undecided"}
    assert not found.certain[found.fate == "undecided"].any()
    later = cell_fates(TiltedWell(4.0), z, labels, terminal=["left", "right"])
    assert later.names == ("left", "right")  # none is undecided, and none is shown


def test_minima_are_found_and_named_by_the_cells_near_them(rng):
    z = np.c_[rng.uniform(-1.4, 1.4, 400), 0.2 * rng.normal(size=400)]
    labels = np.where(z[:, 0] < -0.7, "west", np.where(z[:, 0] > 0.7, "east", "young"))
    found = cell_fates(DoubleWell(), z, labels, terminal="found")
    assert found.names == ("east", "west")
    np.testing.assert_array_equal(found.fate == "west", z[:, 0] < 0)
    assert any("terminal states found" in note for note in found.notes)
    unnamed = cell_fates(DoubleWell(), z, None, terminal="found", n_runs=4, sigma=0.05)
    assert unnamed.names == ("state 1", "state 2")
    asked = cell_fates(DoubleWell(), z, labels, z_start=[[0.5, 0.0]], terminal="found")
    assert asked.fate.tolist() == ["east"]


def test_two_minima_of_one_cluster_have_two_names():
    ends = np.repeat([[-1.0], [1.0]], 20, axis=0)
    voters = voters_of_minima(ends, ends, np.full(40, "A"), 0.25)
    assert voters.names == ("A", "A (2)", "undecided")


def test_flows_that_do_not_gather_are_no_terminal_states(rng):
    z = rng.normal(size=(300, 4)) * 5
    with pytest.raises(DataError, match="of the cells' flows gather"):
        voters_of_minima(z, z, None, 0.01)


def test_paths_are_given_for_the_times_asked(rng):
    z = rng.normal(size=(50, 2))
    found = cell_fates(DoubleWell(), z, ["a"] * 50, time_range=2.0, dt=0.5, return_paths=True)
    assert found.paths.shape == (5, 50)
    np.testing.assert_array_equal(found.paths[0], np.arange(50))
    np.testing.assert_allclose(found.times, [0, 0.5, 1, 1.5, 2])


def test_ends_off_the_data_are_told():
    class Slope:
        def __call__(self, z):
            return -z[..., 0]

        def gradient(self, z):
            return torch.stack([-torch.ones_like(z[..., 0]), torch.zeros_like(z[..., 1])], dim=-1)

    z = np.random.default_rng(0).normal(size=(100, 2))
    found = cell_fates(Slope(), z, ["a"] * 100, time_range=30.0)
    assert any("far from every cell" in note for note in found.notes)
    assert found.converged == 0.0


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"n_runs": 8}, ConfigError, "with sigma None; give the sigma that"),
        ({"n_runs": 8, "sigma": -1.0}, ConfigError, "with sigma -1"),
        ({"n_runs": -1}, ConfigError, "n_runs is -1"),
        ({"time_range": 0.0}, ConfigError, "time_range is 0"),
        ({"dt": float("nan")}, ConfigError, "dt is nan"),
        ({"method": "guess"}, ConfigError, "method 'guess' is not known"),
        (
            {"method": "reference", "time_range": 0.1},
            ConfigError,
            "of 0.1 has no point",
        ),
        (
            {"method": "reference", "n_runs": 4, "sigma": 1.0},
            ConfigError,
            "knows neither",
        ),
        ({"method": "committor"}, ConfigError, "committor needs terminal clusters"),
        ({"terminal": ["D"]}, ConfigError, "terminal names D; clusters are A, B"),
        ({"terminal": []}, ConfigError, "no cluster"),
        ({"k": 500}, ConfigError, "k is 500"),
        (
            {"n_runs": 2, "sigma": 1.0, "z_scale": np.ones((3, 2))},
            DataError,
            "z_scale is of",
        ),
        ({"z_start": np.zeros((3, 5))}, DataError, "z_start has 5 dimensions; give 2"),
    ],
)
def test_what_cannot_be_is_refused(how, error, says, rng):
    z = rng.normal(size=(20, 2))
    with pytest.raises(error, match=says):
        cell_fates(DoubleWell(), z, ["A", "B"] * 10, **how)


def test_labels_are_needed_unless_minima_are_found(rng):
    with pytest.raises(ConfigError, match="there are no clusters"):
        cell_fates(DoubleWell(), rng.normal(size=(20, 2)), None)


def test_noise_that_leaves_all_bounds_is_told():
    with pytest.raises(ConfigError, match="leave all bounds"):
        _ends(DoubleWell(), torch.full((4, 2), 3e4), 5.0, 1.0, 2, bend=0.1)


def test_runs_are_streamed_and_stop_when_closed(rng):
    z = torch.as_tensor(rng.normal(size=(4_000, 2)))
    job = cell_fates_job(Bowl(), z, ["A", "B"] * 2_000, n_runs=32, sigma=0.3)
    for progress in job:
        if progress.stage == "noisy runs":
            break
    job.close()
    assert 0 < progress.fraction < 1


def test_a_landscape_without_curvature_is_asked_by_differences():
    z = torch.linspace(-1.2, 1.2, 50)[:, None].repeat(1, 2).double()
    z[:, 1] = 0.0
    # ∂²V/∂x² = 12 x² − 4 at 1.2, which is above k = 4 along y.
    assert abs(bend_of(DoubleWell(), z) - (12 * 1.44 - 4)) < 0.2


def test_landmarks_are_the_nearest_cells(rng):
    cells, z = (
        torch.as_tensor(rng.normal(size=(300, 4))),
        torch.as_tensor(rng.normal(size=(90, 4))),
    )
    marks = Landmarks(cells + 50, 0)
    nearest = torch.cdist(z, cells).argmin(dim=1).numpy()
    np.testing.assert_array_equal(marks.cells[marks.nearest(z + 50)], nearest)
    few = Landmarks(cells, 0, most=40)
    assert len(few.cells) == len(set(few.cells)) == 40


def test_compiled_curves_are_those_of_torch(rng):
    a = np.concatenate([rng.normal(size=1_000) * 4, [0.0, -0.0, 90.0, -1e4]]).astype(np.float32)
    value, slope = np.empty_like(a), np.empty_like(a)
    log_cosh_and_tanh(a, value, slope)
    size = np.abs(a.astype(np.float64))
    np.testing.assert_allclose(value, size + np.log1p(np.exp(-2 * size)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(slope, np.tanh(a.astype(np.float64)), rtol=1e-6, atol=1e-6)
    torch.manual_seed(0)
    potential, z = Potential(5), torch.randn(64, 5) * 20
    found = gradient_into(potential, 64, compiled=True)(z, torch.empty_like(z))
    torch.testing.assert_close(found, potential.gradient(z).detach(), atol=2e-6, rtol=2e-6)
