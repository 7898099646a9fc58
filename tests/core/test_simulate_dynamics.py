"""Known states: potentials, the stochastic equation, fates, and the genes that read them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.perturbation import Change, Perturbation
from celldyn.simulate.dynamics import (
    Walkers,
    check_dynamics,
    dynamic_means,
    dynamic_velocity,
    dynamics_job,
    evolve,
    evolve_job,
    fate_shift_job,
    make_potential,
    raised_fates,
    splicing_means,
    time_step,
    unspliced_job,
)
from celldyn.simulate.dynamics.committor import committor_job
from celldyn.simulate.dynamics.counting import dynamic_group
from celldyn.simulate.dynamics.expression import DEGRADATION_RATE, SPLICING_RATE
from celldyn.simulate.dynamics.potentials import EXTRA_STIFFNESS
from celldyn.simulate.dynamics.rollouts import rollouts_job
from celldyn.simulate.dynamics.sde import fates_reached_job
from celldyn.simulate.specs import DynamicsSpec
from celldyn.simulate.zeros import zero_inflate

KINDS = [("quartic", 2), ("pitchfork", 2), ("wells", 2), ("wells", 5), ("tree", 2), ("tree", 3),
         ("tree", 8)]  # fmt: skip
EVERY = pytest.mark.parametrize(("kind", "n_fates"), KINDS)


def spec(kind="tree", n_fates=2, **changes):
    return DynamicsSpec(potential=kind, n_fates=n_fates, **changes)


def states(potential, n=300, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(0.0, 0.7, (n, potential.n_dims))
    low, high = potential.core_box
    z[:, : potential.n_core] = low + (high - low) * rng.random((n, potential.n_core))
    return z


def simulated(n=2000, seed=1, **changes):
    return run(dynamics_job(spec(**changes), n, seed=seed), bar=False)


@EVERY
def test_the_gradient_is_the_slope_of_the_value(kind, n_fates):
    potential = make_potential(spec(kind, n_fates, n_dims=4))
    z, h = states(potential), 1e-5
    raised = np.random.default_rng(1).normal(0.0, 0.3, (len(z), n_fates))
    for heights in (None, raised[0], raised):
        slope = potential.gradient(z, heights)
        for i in range(4):
            step = h * np.eye(4)[i]
            above, below = potential.value(z + step, heights), potential.value(z - step, heights)
            np.testing.assert_allclose(
                (above - below) / (2 * h), slope[:, i], atol=3e-7, rtol=1e-6
            )
    np.testing.assert_allclose(potential.gradient(z)[:, 3], EXTRA_STIFFNESS * z[:, 3])


@EVERY
def test_no_curvature_is_above_its_bound(kind, n_fates):
    potential = make_potential(spec(kind, n_fates))
    z, h = states(potential, 2000, seed=2), 1e-5
    for fate in (None, *range(n_fates)):
        raised = np.zeros(n_fates)
        if fate is not None:
            raised[fate] = potential.highest
        hessian = np.stack(
            [
                (potential.gradient(z + h * e, raised) - potential.gradient(z - h * e, raised))
                / (2 * h)
                for e in np.eye(2)
            ],
            axis=1,
        )
        np.testing.assert_allclose(hessian, hessian.transpose(0, 2, 1), atol=1e-3)
        assert np.linalg.eigvalsh(hessian).max() <= potential.curvature * (1 + 1e-6)


@EVERY
def test_terminals_are_minima_that_lie_a_depth_below_the_root(kind, n_fates):
    potential = make_potential(spec(kind, n_fates, depth=3.0))
    ends = potential.terminals
    np.testing.assert_allclose(potential.gradient(ends), 0.0, atol=1e-10)
    beside = ends + np.random.default_rng(0).normal(0, 0.02, (100, *ends.shape))
    assert (potential.value(beside.reshape(-1, 2)).reshape(100, -1) >= potential.value(ends)).all()
    drop = potential.value(potential.start[None]) - potential.value(ends)
    np.testing.assert_allclose(drop, 3.0, rtol=0.25)


@EVERY
def test_raising_a_fate_lifts_its_terminal_by_that_much_and_no_other(kind, n_fates):
    potential = make_potential(spec(kind, n_fates))
    for fate in range(n_fates):
        raised = np.zeros(n_fates)
        raised[fate] = 0.2
        lift = potential.value(potential.terminals, raised) - potential.value(potential.terminals)
        np.testing.assert_allclose(lift[fate], 0.2, rtol=0.08)
        np.testing.assert_allclose(np.delete(lift, fate), 0.0, atol=0.01)


def test_the_stationary_density_is_boltzmanns():
    made = spec("quartic", depth=0.5, sigma=1.0, driver_tilt=0.0)
    potential = make_potential(made)
    n = 4000
    walkers = Walkers.at_root(potential, np.arange(n))
    end = evolve(potential, walkers, 12.0, 1.0, seed=3).z
    grid = np.linspace(-4.0, 4.0, 4001)
    value = potential.value(np.stack([grid, 0 * grid], axis=1))
    density = np.exp(-2.0 * value / made.sigma**2)
    cumulative = integrate.cumulative_trapezoid(density, grid, initial=0.0)
    law = stats.kstest(end[:, 0], lambda x: np.interp(x, grid, cumulative / cumulative[-1]))
    assert law.pvalue > 0.01
    # The harmonic dimension: variance sigma² / 2k, and Euler's own factor 1 / (1 - k dt / 2).
    k, dt = EXTRA_STIFFNESS, time_step(potential, made.sigma)
    wanted = made.sigma**2 / (2 * k * (1 - 0.5 * k * dt))
    assert end[:, 1].var() == pytest.approx(wanted, rel=0.08)


def test_noise_free_paths_solve_the_flow():
    potential = make_potential(spec("tree", 4))
    z = potential.start + np.array([[0.1, 0.05], [0.8, -0.3], [0.5, 0.2]])
    walkers = Walkers(z, np.arange(3), np.zeros(3, dtype=np.int64))
    fine = evolve_job(potential, walkers, [0.5, 1.0, 0.0], 0.0, seed=0, dt=5e-4)
    end = run(fine, bar=False).z
    for i, time in enumerate((0.5, 1.0)):
        flow = integrate.solve_ivp(
            lambda _, y: -potential.gradient(y[None])[0], (0, time), z[i], rtol=1e-9, atol=1e-9
        )
        np.testing.assert_allclose(end[i], flow.y[:, -1], atol=0.003)
    np.testing.assert_array_equal(end[2], z[2])
    coarse = evolve(potential, walkers, [0.5, 1.0, 0.0], 0.0, seed=0).z
    np.testing.assert_allclose(coarse, end, atol=0.08)
    energy = potential.value(np.vstack([z[:2], end[:2]]))
    assert (energy[2:] < energy[:2]).all()


@pytest.mark.parametrize("kind", ["tree", "pitchfork"])
def test_a_cells_path_is_its_own(kind, monkeypatch):
    # Whatever the block, the order, the threads, the others.
    made = spec(kind, n_dims=3, t_max=1.5)
    whole = run(dynamics_job(made, 40, seed=5), bar=False)
    ids = np.array([3, 39, 20])
    for rows in (ids, ids[::-1], ids[:1]):
        some = run(dynamics_job(made, len(rows), seed=5, cell_ids=rows, threads=1), bar=False)
        for name in ("z", "potential", "velocity", "time", "fate", "fates", "state"):
            np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows], name)
        np.testing.assert_array_equal(
            dynamic_means(some, made, slice(None))[0], dynamic_means(whole, made, rows)[0]
        )
    monkeypatch.setattr("celldyn.simulate.dynamics.sde._FEWEST", 7)
    monkeypatch.setattr("celldyn.simulate.dynamics.sde._MOST", 7)
    again = run(dynamics_job(made, 40, seed=5), bar=False)
    np.testing.assert_array_equal(again.z, whole.z)
    np.testing.assert_array_equal(again.fate, whole.fate)


@pytest.mark.parametrize("kind", ["tree", "pitchfork", "quartic"])
def test_at_a_symmetric_fork_both_fates_are_as_likely(kind):
    potential = make_potential(spec(kind))
    walkers = Walkers.at_root(potential, np.arange(40))
    solved = run(committor_job(potential, walkers.z[:1], 0.3), bar=False)
    np.testing.assert_allclose(solved, 0.5, atol=0.005)
    shares = run(rollouts_job(potential, walkers, 0.3, 64, 0), bar=False)
    assert shares[:, 0].mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(40 * 64))


def test_the_quartic_committor_is_its_closed_form():
    potential = make_potential(spec("quartic", depth=1.0))
    grid = np.linspace(-0.4, 0.4, 17)
    found = run(committor_job(potential, np.stack([grid, 0 * grid], axis=1), 0.8), bar=False)
    # q(x) = ∫ exp(2V/sigma²) from the left core to x, over that to the right core.
    line = np.linspace(-1 + potential.core_radius, 1 - potential.core_radius, 20001)
    weight = np.exp(2 * potential.value(np.stack([line, 0 * line], axis=1)) / 0.64)
    whole = integrate.cumulative_trapezoid(weight, line, initial=0.0)
    np.testing.assert_allclose(found[:, 1], np.interp(grid, line, whole / whole[-1]), atol=2e-3)


@pytest.mark.parametrize(("kind", "n_fates"), [("tree", 3), ("wells", 3), ("quartic", 2)])
def test_solved_runs_and_own_fates_agree(kind, n_fates):
    made = spec(kind, n_fates, t_max=1.5)
    potential = make_potential(made)
    now = evolve(
        potential, Walkers.at_root(potential, np.arange(1500)), np.linspace(0, 1.5, 1500), 0.3, 7
    )
    solved = run(committor_job(potential, now.z, 0.3), bar=False)
    np.testing.assert_allclose(solved.sum(axis=1), 1.0)
    some = np.arange(0, 1500, 5)
    shares = run(rollouts_job(potential, now.take(some), 0.3, 64, 7), bar=False)
    odds = solved[some]
    noise = (odds * (1 - odds)).mean() / 64
    assert ((shares - odds) ** 2).mean() == pytest.approx(noise, rel=0.3)
    fate = run(fates_reached_job(potential, now, 0.3, 7), bar=False)
    expected, spread = solved.sum(axis=0), np.sqrt((solved * (1 - solved)).sum(axis=0))
    assert (np.abs(np.bincount(fate, minlength=n_fates) - expected) < 4 * spread + 1).all()


def test_what_is_kept_of_a_cell_is_consistent():
    made = simulated(n_fates=4)
    np.testing.assert_array_equal(made.potential, made.landscape.value(made.z))
    np.testing.assert_array_equal(made.velocity, -made.landscape.gradient(made.z))
    assert stats.kstest(made.time / 3.0, "uniform").pvalue > 0.01
    assert made.fates.shape == (2000, 4)
    assert made.entropy[made.time < 0.05].min() > 1.2
    np.testing.assert_allclose(made.entropy[made.time < 0.02], np.log(4), atol=0.05)
    late = made.time > 2.8
    assert made.entropy[late].mean() < 0.05
    assert (made.fates.argmax(axis=1) == made.fate)[late].mean() > 0.97
    assert made.potential[late].mean() < made.potential[made.time < 0.2].mean() - 1.5
    assert made.state_names[:2] == ["root", "trunk"]
    assert made.state_names[-4:] == made.fate_names
    assert (made.state[made.time < 0.02] == 0).all()
    committed = made.state_type > 0
    assert (made.state_type[committed] - 1 == made.fate[committed]).mean() > 0.95
    assert made.type_names[0] == "progenitor"
    assert (~committed)[made.time < 0.3].all()


@pytest.mark.parametrize("axis", ["x", "y"])
def test_time_follows_an_axis(axis):
    xy = np.random.default_rng(0).random((50, 2)) * [200.0, 400.0]
    made = run(
        dynamics_job(spec(time_from=axis), 50, seed=1, xy=xy, canvas=(200.0, 400.0)), bar=False
    )
    column, length = (0, 200.0) if axis == "x" else (1, 400.0)
    np.testing.assert_allclose(made.time, 3.0 * xy[:, column] / length)
    with pytest.raises(DataError, match="positions"):
        run(dynamics_job(spec(time_from=axis), 50, seed=1), bar=False)


def test_without_noise_the_path_decides():
    made = run(dynamics_job(spec(sigma=0.0), 20, seed=1), bar=False)
    np.testing.assert_array_equal(made.fates, np.eye(2)[made.fate])
    assert (made.entropy == 0).all()


def test_means_and_velocity():
    made = simulated(n_fates=3, n_genes=40)
    given = made.spec
    mean, theta = dynamic_means(made, given, slice(0, 500))
    assert mean.shape == (500, 40)
    assert theta.shape == (1, 40)
    assert (mean > 0).all()
    assert (theta == given.gene_theta).all()
    on_landmarks = np.zeros((len(made.landscape.landmarks), 2))
    on_landmarks[:] = made.landscape.landmarks
    np.testing.assert_allclose(made.program.mean(on_landmarks).mean(axis=0), given.gene_mu)
    # The velocity is what a small step along -∇V does to the mean.
    h = 1e-5
    ahead = made.program.mean(made.z[:500] + h * made.velocity[:500])
    behind = made.program.mean(made.z[:500] - h * made.velocity[:500])
    np.testing.assert_allclose(
        dynamic_velocity(made, given, slice(0, 500)), (ahead - behind) / (2 * h), atol=1e-7
    )
    # Drivers are marks of their fate.
    whole = dynamic_means(made, given, slice(None))[0]
    for column, fate in enumerate(given.drivers.values()):
        own = made.state_type == 1 + fate
        elsewhere = (made.state_type > 0) & ~own
        assert whole[own, column].mean() > 5 * whole[elsewhere, column].mean()


def test_splicing_solves_its_equation():
    made = simulated(spliced=True)
    unspliced, spliced, _ = splicing_means(made, made.spec, slice(None))
    np.testing.assert_array_equal(spliced, dynamic_means(made, made.spec, slice(None))[0])
    rate = SPLICING_RATE * unspliced - DEGRADATION_RATE * spliced
    slope = dynamic_velocity(made, made.spec, slice(None))
    free = unspliced > 0
    assert free.mean() > 0.9
    np.testing.assert_allclose(rate[free], slope[free], atol=1e-9)
    assert (slope[~free] < -DEGRADATION_RATE * spliced[~free] + 1e-9).all()


def test_counts_follow_their_means():
    import pandas as pd

    made = simulated(n=6000, n_genes=20, zero_inflation=0.25)
    cells = pd.DataFrame({"cell_id": np.arange(6000), "scale": np.full(6000, 1.5)})
    group = dynamic_group(made, cells)
    counts = run(group.draw_job(1, cells["cell_id"].to_numpy()), bar=False).toarray()
    mean = 1.5 * dynamic_means(made, made.spec, slice(None))[0]
    np.testing.assert_allclose(counts.mean(axis=0), 0.75 * mean.mean(axis=0), rtol=0.07)
    silent = ((10.0 / (10.0 + mean)) ** 10.0).mean()
    assert (counts == 0).mean() == pytest.approx(0.25 + 0.75 * silent, abs=0.01)
    names = ["other", *made.spec.gene_names]
    unspliced = run(unspliced_job(made, cells, names), bar=False)
    assert unspliced.shape == (6000, 21)
    assert unspliced[:, [0]].nnz == 0
    expected = 0.75 * 1.5 * splicing_means(made, made.spec, slice(None))[0].mean(axis=0)
    np.testing.assert_allclose(unspliced.toarray()[:, 1:].mean(axis=0), expected, rtol=0.07)
    # Noise of the two is not shared, and zeros of a subset are those of the whole.
    some = zero_inflate(
        group_counts(group, cells)[40:50], 0.25, 1, group.names, cell_ids=np.arange(40, 50)
    )
    np.testing.assert_array_equal(some.toarray(), counts[40:50])


def group_counts(group, cells):
    from celldyn.simulate.groups import GeneGroup

    plain = GeneGroup(group.names, group.native)
    return run(plain.draw_job(1, cells["cell_id"].to_numpy()), bar=False)


def test_a_factor_of_one_is_the_control_to_the_last_bit():
    control = simulated(400)
    for perturbation in (
        Perturbation.multiply({"dyn_0": 1.0, "dyn_7": 1.0}),
        Perturbation({"dyn_1": Change("add", 0.0)}, np.arange(10)),
    ):
        same = run(dynamics_job(spec(), 400, seed=1, perturbation=perturbation), bar=False)
        for name in ("z", "potential", "velocity", "fate", "fates"):
            np.testing.assert_array_equal(getattr(same, name), getattr(control, name))
        np.testing.assert_array_equal(
            dynamic_means(same, spec(), slice(None))[0],
            dynamic_means(control, spec(), slice(None))[0],
        )
        assert (run(fate_shift_job(control, perturbation), bar=False) == 0).all()
    unchanged = simulated(400, knockouts={"dyn_0": 1.0})
    np.testing.assert_array_equal(unchanged.z, control.z)


def test_losing_a_driver_turns_cells_away_from_its_fate():
    control = simulated(3000)
    loss = Perturbation.knock_out("dyn_0", "dyn_2", cells=np.arange(1500))
    assert control.spec.drivers == {"dyn_0": 0, "dyn_1": 1, "dyn_2": 0, "dyn_3": 1}
    shift = run(fate_shift_job(control, loss), bar=False)
    np.testing.assert_allclose(shift.sum(axis=1), 0.0, atol=1e-12)
    assert (shift[1500:] == 0).all()
    early = np.flatnonzero(control.state[:1500] < 1)
    assert shift[early, 0].mean() < -0.35
    less = run(fate_shift_job(control, Perturbation.multiply({"dyn_0": 0.5})), bar=False)
    assert shift[early, 0].mean() < less[early, 0].mean() < -0.05
    more = run(fate_shift_job(control, Perturbation.multiply({"dyn_0": 2.0})), bar=False)
    assert more[early, 0].mean() > 0.05
    passenger = run(fate_shift_job(control, Perturbation.knock_out("dyn_9")), bar=False)
    assert (passenger == 0).all()

    perturbed = run(dynamics_job(spec(), 3000, seed=1, perturbation=loss), bar=False)
    np.testing.assert_array_equal(perturbed.z[1500:], control.z[1500:])
    np.testing.assert_array_equal(perturbed.time, control.time)
    # With shared noise no cell is driven into the fate that became less likely.
    assert ((perturbed.fate == 0) & (control.fate == 1)).sum() == 0
    assert (perturbed.fate[:1500] == 0).mean() < 0.15
    assert (control.fate[:1500] == 0).mean() == pytest.approx(0.5, abs=0.06)
    mean = dynamic_means(perturbed, spec(), slice(None))[0]
    assert (mean[:1500, [0, 2]] == 0).all()
    assert (mean[1500:, [0, 2]] > 0).all()
    assert (dynamic_velocity(perturbed, spec(), slice(0, 9))[:, [0, 2]] == 0).all()


def test_heights_are_what_the_specification_says():
    made = spec(depth=4.0, driver_tilt=0.25, gene_mu=2.0)
    np.testing.assert_array_equal(raised_fates(made), 0.0)
    np.testing.assert_allclose(raised_fates(made, Perturbation.knock_out("dyn_0")), [0.5, 0.0])
    both = Perturbation({"dyn_1": Change("multiply", 1.5), "dyn_3": Change("set", 1.0)})
    np.testing.assert_allclose(raised_fates(made, both), [0.0, 0.5 * (-0.5 + 0.5)])
    far = Perturbation.multiply({"dyn_0": 50.0, "dyn_2": 50.0})
    np.testing.assert_allclose(raised_fates(made, far), [-1.0, 0.0])
    there = Perturbation.knock_out("dyn_0", cells=["b"])
    np.testing.assert_allclose(raised_fates(made, there, ["a", "b"]), [[0, 0], [0.5, 0]])
    after = [Perturbation.multiply({"dyn_0": 0.5}), there]
    np.testing.assert_allclose(raised_fates(made, after, ["a", "b"]), [[0.25, 0], [0.5, 0]])
    np.testing.assert_allclose(raised_fates(made.replace(knockouts={"dyn_2": 0.0})), [0.5, 0.0])


def test_runs_can_take_the_place_of_the_solution():
    solved, runs = simulated(300), simulated(300, n_rollouts=48)
    np.testing.assert_array_equal(runs.z, solved.z)
    assert set(np.unique(np.rint(runs.fates * 48) - runs.fates * 48)) == {0.0}
    assert np.abs(runs.fates - solved.fates).max() < 5 * 0.5 / np.sqrt(48)
    quiet = simulated(50, sigma=0.02)
    assert set(np.unique(np.rint(quiet.fates * 64) - quiet.fates * 64)) == {0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"potential": "quartic", "n_fates": 3}, "n_fates must be 2"),
        ({"knockouts": {"dyn_50": 0.0}}, "'dyn_50'"),
        ({"knockouts": {"dyn_0": -1.0}}, "at least 0"),
        ({"n_dims": 1}, "n_dims"),
    ],
)
def test_a_wrong_specification_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        DynamicsSpec(**changes)


def test_what_does_not_fit_is_refused():
    released = Perturbation({"dyn_0": Change("set", 1)}, released_at=1.0)
    for job, said in (
        (dynamics_job(spec(), 5, seed=0, cell_ids=[1, 2]), "cell_ids"),
        (dynamics_job(spec(), 5, seed=0, perturbation=released), "TissueEnvironment"),
    ):
        with pytest.raises(DataError, match=said):
            run(job, bar=False)
    potential = make_potential(spec())
    with pytest.raises(DataError, match="states of shape"):
        potential.value(np.zeros((3, 5)))
    with pytest.raises(DataError, match="negative"):
        evolve(potential, Walkers.at_root(potential, [0]), -1.0, 0.3, 0)


def test_types_by_states_need_as_many_types():
    class Tissue:
        dynamics = spec(n_fates=3, defines_celltypes=True)
        n_celltype = 3

    with pytest.raises(ValueError, match="n_celltype must be 4"):
        check_dynamics(Tissue)
    Tissue.n_celltype = 4
    check_dynamics(Tissue)


def test_closing_stops_the_work():
    import threading

    before = threading.active_count()
    job = dynamics_job(spec("wells", 16), 100_000, seed=0)
    stages = {next(job).stage for _ in range(4)}
    assert stages == {"cell states"}
    job.close()
    assert threading.active_count() == before
