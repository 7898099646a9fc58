"""The tissue to act upon: its effects are the true ones, and nothing else differs."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.errors import DataError, MissingKeyError, NotFittedError
from celldyn.perturbation import KNOCK_OUT, Change, Perturbation
from celldyn.simulate import GeneSpec, SimulationConfig, TargetSpec, simulate_job
from celldyn.simulate.dynamics import dynamic_means
from celldyn.simulate.environment import Action, TissueEnvironment
from celldyn.simulate.specs import DynamicsSpec


def config(**changes):
    given = {
        "n_cells": 240,
        "n_celltype": 2,
        "n_genes": 8,
        "seed": 4,
        "dynamics": DynamicsSpec(n_genes=12),
        "extra_genes": [
            GeneSpec(name="L", mu=3.0, celltype_factor={"ct_1": 0.2}),
            GeneSpec(name="R", mu=2.0, field_strength=0.3),
        ],
        "targets": [
            TargetSpec(
                gene="Y", regulators={"R": 0.5}, ligand_receptor={"L$R": 0.3}, radius_um=60.0
            ),
            TargetSpec(
                gene="Z", intercept=0.5, tf_ligand={"L#Y": 0.2}, kernel="diffusion",
                celltype_factor={"ct_1": 0.5},
            ),
        ],
    }  # fmt: skip
    return SimulationConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def environment():
    return TissueEnvironment(config())


def column(environment, part, gene):
    return part["expression"][:, environment.gene_names.index(gene)]


def arrays_of(effect):
    return [value for part in effect.values() for value in part.values()]


def test_it_starts_as_the_simulation_is(environment):
    from celldyn.jobs import run

    simulation = run(simulate_job(config()), bar=False)
    whole = TissueEnvironment(simulation)
    first, same = whole.reset(), environment.reset()
    for name in ("xy", "z", "expression", "alive"):
        np.testing.assert_array_equal(first[name], same[name])
    np.testing.assert_array_equal(first["xy"], simulation.cells[["x", "y"]])
    np.testing.assert_array_equal(first["z"], simulation.dynamics.z)
    assert whole.gene_names == simulation.gene_names
    scale = simulation.cells["scale"].to_numpy()[:, None]
    mean = dynamic_means(simulation.dynamics, simulation.config.dynamics, slice(None))[0]
    at = [whole.gene_names.index(name) for name in simulation.config.dynamics.gene_names]
    np.testing.assert_allclose(first["expression"][:, at], mean * scale, rtol=1e-13)
    # Counts scatter about what is expected.
    counts = simulation.counts.toarray()
    error = (counts - first["expression"]).mean(axis=0)
    spread = counts.std(axis=0) / np.sqrt(len(counts)) + 0.02
    assert (np.abs(error) < 5 * spread).all()


def test_targets_follow_their_equation(environment):
    state = environment.reset()
    cells = environment.world.tissue
    gap = np.linalg.norm(state["xy"][:, None] - state["xy"][None], axis=-1)
    weight = np.where(gap <= 60.0, 0.001 ** ((gap / 60.0) ** 2), 0.0)
    ligand, receptor = column(environment, state, "L"), column(environment, state, "R")
    heard = weight @ ligand / weight.sum(axis=1)
    np.testing.assert_allclose(
        column(environment, state, "Y"), 1.0 + 0.5 * receptor + 0.3 * heard * receptor, rtol=1e-12
    )
    from scipy.special import k0

    weight = np.where(gap <= 100.0, k0(np.maximum(gap, 5.0) / 25.0), 0.0)
    heard = weight @ ligand / weight.sum(axis=1)
    vary = np.where(cells.celltype == 1, 0.5, 1.0)
    wanted = 0.5 + 0.2 * vary * heard * column(environment, state, "Y")
    np.testing.assert_allclose(column(environment, state, "Z"), wanted, rtol=1e-12)


def test_without_actions_nothing_differs_and_time_passes(environment):
    environment.reset()
    for _ in range(3):
        state, difference = environment.step()
    assert state["step"] == 3
    assert state["time"] == pytest.approx(0.3)
    for value in difference.values():
        assert (value == 0).all()
    assert (state["z"] != environment.reset()["z"]).any()


def test_a_factor_of_one_is_the_control_to_the_last_bit(environment):
    environment.reset()
    mask = np.zeros(240, dtype=bool)
    environment.step(
        [
            Action(Perturbation.multiply({"dyn_0": 1.0, "R": 1.0, "Y": 1.0}, cells=np.arange(9))),
            Action(displacement=np.zeros((240, 2)), removed=mask),
        ]
    )
    for _ in range(4):
        environment.step()
    effect = environment.effect()
    for name in ("z", "xy", "expression", "alive"):
        np.testing.assert_array_equal(effect["control"][name], effect["perturbed"][name])
    assert (environment.fate_shift() == 0).all()


def test_a_run_repeats_itself_and_the_control_knows_of_no_action(environment):
    action = Action(Perturbation.knock_out("dyn_0", "L", cells=np.arange(100)))

    def play(seed, what):
        environment.reset(seed)
        environment.step(what)
        for _ in range(3):
            environment.step()
        return environment.effect()

    one, two, other = play(1, action), play(1, action), play(2, action)
    for a, b in zip(arrays_of(one), arrays_of(two), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one["control"]["z"] != other["control"]["z"]).any()
    quiet = play(1, ())
    for name in ("z", "xy", "expression"):
        np.testing.assert_array_equal(one["control"][name], quiet["control"][name])


def test_a_knock_out_reaches_what_is_downstream_and_only_that(environment):
    environment.reset()
    hit = np.arange(0, 240, 3)
    state, difference = environment.step(Action(Perturbation.knock_out("L", cells=hit)))
    changed = np.flatnonzero((difference["expression"] != 0).any(axis=0))
    assert {environment.gene_names[k] for k in changed} == {"L", "Y", "Z"}
    assert (column(environment, state, "L")[hit] == 0).all()
    others = np.setdiff1d(np.arange(240), hit)
    assert (column(environment, difference, "L")[others] == 0).all()
    # Cells that still express it hear less of it from those around them.
    assert (column(environment, difference, "Y")[others] < 0).any()
    assert (column(environment, difference, "Y") <= 0).all()
    assert (difference["z"] == 0).all()
    # A target that is held does not hear; what follows it does.
    environment.reset()
    _, difference = environment.step(Action(Perturbation.set_to({"Y": 7.0})))
    np.testing.assert_array_equal(column(environment, environment.state(), "Y"), 7.0)
    changed = np.flatnonzero((difference["expression"] != 0).any(axis=0))
    assert {environment.gene_names[k] for k in changed} == {"Y", "Z"}


def test_losing_drivers_moves_states_away_from_their_fate(environment):
    environment.reset(start="root")
    lost = np.arange(120)
    environment.step(Action(Perturbation.knock_out("dyn_0", "dyn_2", cells=lost)))
    shift = environment.fate_shift()
    assert shift[lost, 0].mean() < -0.3
    assert (shift[120:] == 0).all()
    for _ in range(25):
        _, difference = environment.step()
    assert np.linalg.norm(difference["z"][lost], axis=1).max() > 0.5
    assert (difference["z"][120:] == 0).all()
    control = environment.effect()["control"]["z"]
    ends = environment.world.landscape.terminals
    # Cells that would have gone to fate 0 are those that moved.
    own = np.linalg.norm(control[lost][:, None] - ends, axis=-1).argmin(axis=1)
    moved = np.linalg.norm(difference["z"][lost], axis=1) > 0.5
    assert moved[own == 0].mean() > 0.6
    assert moved[own == 1].mean() < 0.1


def test_a_pulse_is_released_and_doses_add_up(environment):
    environment.reset()
    pulse = Perturbation({"R": Change("multiply", 3.0)}, released_at=0.25)
    environment.step([Action(pulse), Action(Perturbation({"R": Change("add", 1.0)}))])
    before = column(environment, environment.effect()["control"], "R")
    np.testing.assert_allclose(
        column(environment, environment.state(), "R"), 3.0 * before + 1.0, rtol=1e-14
    )
    for _ in range(2):
        environment.step()
    np.testing.assert_allclose(column(environment, environment.state(), "R"), before + 1.0)


def test_moved_cells_hear_other_neighbours(environment):
    environment.reset()
    away = np.zeros((240, 2))
    away[7] = 1e5
    state, difference = environment.step(Action(displacement=away))
    np.testing.assert_array_equal(difference["xy"], away)
    ligand, receptor = (column(environment, state, name)[7] for name in ("L", "R"))
    assert column(environment, state, "Y")[7] == pytest.approx(
        1.0 + 0.5 * receptor + 0.3 * ligand * receptor
    )
    changed = np.flatnonzero((difference["expression"] != 0).any(axis=0))
    assert {environment.gene_names[k] for k in changed} == {"Y", "Z"}
    back, difference = environment.step(Action(displacement=-away))
    np.testing.assert_allclose(difference["expression"], 0.0, atol=1e-12)
    np.testing.assert_allclose(back["xy"], environment.reset()["xy"], atol=1e-9)


def test_cells_that_are_taken_out_say_nothing(environment):
    environment.reset()
    out = np.zeros(240, dtype=bool)
    out[::2] = True
    state, difference = environment.step(Action(removed=out))
    np.testing.assert_array_equal(state["alive"], ~out)
    assert (state["expression"][out] == 0).all()
    control = environment.effect()["control"]
    np.testing.assert_array_equal(difference["expression"][out], -control["expression"][out])
    gap = np.linalg.norm(state["xy"][:, None] - state["xy"][None, ~out], axis=-1)
    weight = np.where(gap <= 60.0, 0.001 ** ((gap / 60.0) ** 2), 0.0)[~out]
    heard = weight @ column(environment, control, "L")[~out] / weight.sum(axis=1)
    receptor = column(environment, control, "R")[~out]
    np.testing.assert_allclose(
        column(environment, state, "Y")[~out], 1 + 0.5 * receptor + 0.3 * heard * receptor
    )
    still, _ = environment.step()
    np.testing.assert_array_equal(still["z"][out], state["z"][out])
    np.testing.assert_array_equal(still["alive"], ~out)


def test_what_is_returned_is_a_copy(environment):
    first = environment.reset()
    first["expression"][:] = -1.0
    first["z"][:] = 9.0
    assert (environment.state()["expression"] >= 0).all()
    assert (environment.state()["z"] != 9.0).any()


def test_what_does_not_fit_is_refused_before_anything_happens(environment):
    environment.reset()
    environment.step()
    good = Action(Perturbation.knock_out("R"))
    for bad, error, said in (
        (Action(Perturbation.knock_out("Nope")), MissingKeyError, "Nope"),
        (Action(Perturbation.knock_out("R", cells=[240])), DataError, "240 cells"),
        (Action(displacement=np.zeros((3, 2))), DataError, "displacement"),
        (Action(displacement=np.full((240, 2), np.nan)), DataError, "finite"),
        (Action(removed=np.zeros(240)), DataError, "mask"),
    ):
        with pytest.raises(error, match=said):
            environment.step([good, bad])
        assert environment.state()["step"] == 1
        assert (environment.effect()["difference"]["expression"] == 0).all()
    with pytest.raises(DataError, match="start at"):
        environment.reset(start="nowhere")
    with pytest.raises(DataError, match="dt"):
        TissueEnvironment(config(), dt=0.0)


def test_a_tissue_without_dynamics_can_be_acted_upon_too():
    tissue = TissueEnvironment(config(dynamics=None))
    with pytest.raises(NotFittedError, match="reset"):
        tissue.state()
    tissue.reset()
    state, difference = tissue.step(Action(Perturbation({"R": KNOCK_OUT})))
    assert state["z"].shape == (240, 0)
    assert (column(tissue, state, "Y") == 1.0).all()
    assert (column(tissue, difference, "Y") < 0).all()
    with pytest.raises(DataError, match="no dynamics"):
        tissue.fate_shift()
