"""The manager: states, perturbations that leave nothing behind, cells that change."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from environment_data_cases import coordinates, counts, table
from environment_manager_cases import N, at_rest, environment, manager, tables
from scipy import sparse

from celldyn.environment.manager import BasicManager
from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.perturbation import Change, Perturbation

QUIET = {"progress_bar": False}


@pytest.fixture
def ready():
    """Cells that were simulated for a while, with that state kept."""
    made = manager()
    made.simulate(2.0, 1.0, **QUIET)
    made.save_state("steady")
    return made


def seen(made):
    """What cells see now of modality 0, with what perturbations changed."""
    offsets = [one.offset() for one in made.state.held]
    return made.simulator.modalities[0] + sum(offsets, torch.zeros(()))


def after(made, time=1.0):
    made.simulate_perturbation(time, 0.5, impute=False, **QUIET)
    return made.get_state(impute=False, include_vel=True)


# --- the seed's example ------------------------------------------------------------------------


def test_the_seeds_example_runs():
    genes = table(counts(40))
    genes.obs["Development"] = np.repeat(["Stage 1", "Stage 3"], 20)
    adatas = [genes, coordinates(40)]
    mask = np.arange(40) % 2 == 0
    fitted = environment(adatas, inputs=(0, 1), targets=(0, 1), train=mask)
    samples = adatas[0].obs.index[adatas[0].obs["Development"] == "Stage 1"]
    stage = [ad[samples] for ad in adatas]

    manager = BasicManager(fitted=fitted, adatas=stage, device="cpu")
    assert manager.get_mask().tolist() == mask[:20].tolist()

    manager.reset_env()
    manager.simulate(time=5.0, **QUIET)
    manager.save_state("steady")
    modalities = manager.get_state()
    positions = manager.get_state(impute=False)
    assert [m.shape for m in modalities] == [(20, 40), (20, 2)]
    again = manager.environment_to_features(positions)
    assert all(np.array_equal(a, b) for a, b in zip(again, modalities, strict=True))
    assert np.array_equal(manager.environment_to_features(positions, modality=0), modalities[0])

    manager.add_perturbation(["gene1", "gene2"], modality=0, feature_targets=[1, 0],
                             clamping="pre")  # fmt: skip
    manager.add_perturbation(["x"], modality=1, feature_targets=[1100.0], clamping="pre")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        time, states = manager.simulate_perturbation(time=2.0, skip_time=0.5, **QUIET)
    assert time.tolist() == [0, 0.5, 1, 1.5, 2]
    assert [s.shape for s in states] == [(5, 20, 40), (5, 20, 2)]
    manager.load_state("steady")
    time, states = manager.simulate_perturbation(time=2.0, skip_time=0.5, impute=False, **QUIET)
    modality_0 = manager.environment_to_features(states, modality=0)
    assert modality_0.shape == (5, 20, 40)

    manager.load_state("steady")
    manager.clear_perturbations()
    assert np.array_equal(manager.get_state(impute=False), positions)

    manager.set_modalities([ad[adatas[0].obs_names[5:15]] for ad in adatas], suppress_warning=True)
    manager.reset_env()
    manager.simulate(time=2.0, **QUIET)
    manager.set_modalities([ad[adatas[0].obs_names[20:30]] for ad in adatas])
    time, states = manager.simulate(time=4.0, skip_time=1.0, **QUIET)
    intermediate = [s[2] for s in states]
    assert time.tolist() == [0, 1, 2, 3, 4]
    assert [m.shape for m in intermediate] == [(10, 40), (10, 2)]


# --- perturbations leave nothing behind --------------------------------------------------------


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_perturb_a_restore_perturb_b_is_b_alone_bit_for_bit(ready, kind):
    ready.add_perturbation("gene3", feature_targets=8.0, clamping=kind)
    with_a = after(ready)
    ready.load_state("steady")
    ready.clear_perturbations()
    ready.add_perturbation("gene7", feature_targets=0.0, clamping=kind)
    both = after(ready)

    alone = manager()
    alone.simulate(2.0, 1.0, **QUIET)
    alone.add_perturbation("gene7", feature_targets=0.0, clamping=kind)
    assert np.array_equal(after(alone), both)
    assert not np.array_equal(with_a, both)


def test_clearing_takes_back_what_cells_see_wherever_they_are(ready):
    before = seen(ready)
    ready.add_perturbation("gene3", feature_targets=8.0, clamping="post")
    after(ready)
    assert (seen(ready) - before).abs().max() > 0.1
    ready.clear_perturbations()
    assert torch.equal(seen(ready), before)


def test_offsets_are_part_of_a_state(ready):
    ready.add_perturbation("gene3", feature_targets=8.0, clamping="post")
    after(ready)
    ready.save_state("perturbed")
    held = seen(ready)
    ready.load_state("steady")
    assert ready.state.held == ()
    ready.clear_perturbations()
    ready.load_state("perturbed")
    assert torch.equal(seen(ready), held)
    # They go on being seen, although nothing holds them any more.
    after(ready)
    torch.testing.assert_close(seen(ready), held)


def test_resetting_takes_back_offsets_and_gives_the_same_start(ready):
    begins = manager().get_state(impute=False)
    ready.add_perturbation("gene3", feature_targets=8.0, clamping="post")
    after(ready)
    ready.reset_env()
    assert np.array_equal(ready.get_state(impute=False), begins)
    assert ready.state.held == ()
    ready.reset_env(seed=5)
    assert not np.array_equal(ready.get_state(impute=False), begins)


# --- what holds --------------------------------------------------------------------------------


def test_post_holds_a_gene_at_its_value_and_pre_comes_nearer_each_second(ready):
    each = ready.fitted.preprocessing.maps[0]
    ready.add_perturbation("gene3", feature_targets=5.0, clamping="post")
    after(ready, 0.1)
    np.testing.assert_allclose(each.expression(seen(ready).numpy(), "gene3"), 5.0, rtol=1e-4)

    ready.load_state("steady")
    ready.clear_perturbations()
    share = np.square(each.columns("gene3")).sum()
    start = seen(ready).numpy() @ each.columns("gene3") - each.preprocessed("gene3", 5.0)
    ready.add_perturbation("gene3", feature_targets=5.0, clamping="pre")
    after(ready, 0.5)
    end = seen(ready).numpy() @ each.columns("gene3") - each.preprocessed("gene3", 5.0)
    np.testing.assert_allclose(end, start * (1 - share) ** 5, rtol=1e-3, atol=1e-5)


def test_halving_the_step_does_not_hasten_pre():
    found = []
    for delta in (0.1, 0.05):
        made = manager(delta=delta)
        made.add_perturbation(["gene3", "gene9"], feature_targets=[5.0, 0.0])
        made.simulate(0.5, 0.5, impute=False, **QUIET)
        found.append(seen(made).numpy())
    np.testing.assert_allclose(found[0], found[1], atol=2e-4)


def test_two_at_once_in_two_modalities_are_what_each_is():
    made = manager(inputs=(0, 1), targets=(1,))
    made.add_perturbation("gene3", feature_targets=5.0, clamping="post")
    made.add_perturbation("x", modality=1, feature_targets=1100.0, clamping="post")
    made.simulate(0.2, 0.2, impute=False, **QUIET)
    by_modality = {one.clamp.modality: one.offset() for one in made.state.held}
    maps = made.fitted.preprocessing.maps
    for k, gene, value in ((0, "gene3", 5.0), (1, "x", 1100.0)):
        z = (made.simulator.modalities[k] + by_modality[k]).numpy()
        np.testing.assert_allclose(maps[k].expression(z, gene), value, rtol=1e-4)


def test_what_the_policy_sees_is_the_embedding_of_the_offset_modality(ready):
    from celldyn.environment.clamp_run import ClampRun

    ready.add_perturbation(["gene3", "gene4"], feature_targets=[5.0, 0.0])
    ready.add_perturbation("gene4", feature_targets=3.0, clamping="post", cells=[1, 2])
    simulator, fitted = ready.simulator, ready.fitted
    clamps = ClampRun(fitted.policy, fitted.inputs, simulator.modalities, simulator.pinning,
                      ready.perturbations, (), 0.1)  # fmt: skip
    for _ in range(4):
        clamps.advance(0.0)
    offset = sum(one.offset() for one in clamps.held())
    with torch.no_grad():
        expected = fitted.policy.embed(simulator.modalities[0] + offset)
    for found, direct in zip(clamps.embedded(simulator.embedded), expected, strict=True):
        torch.testing.assert_close(found, direct, atol=1e-4, rtol=1e-4)


def test_only_the_named_cells_are_held(ready):
    before = seen(ready)
    names = ["cell3", "cell7"]
    ready.add_perturbation("gene3", feature_targets=8.0, clamping="post", cells=names)
    after(ready)
    changed = (seen(ready) - before).abs().amax(dim=1) > 0
    assert np.flatnonzero(changed.numpy()).tolist() == [3, 7]


def test_values_change_over_time_and_are_let_go(ready):
    each = ready.fitted.preprocessing.maps[0]
    before = seen(ready)
    ready.add_perturbation("gene3", feature_targets=lambda t: 2.0 + 10 * t, clamping="post",
                           released_at=1.0)  # fmt: skip
    after(ready, 0.6)
    # The last step began at 0.5 s, when the value was 7.
    np.testing.assert_allclose(each.expression(seen(ready).numpy(), "gene3"), 7.0, rtol=1e-4)
    ready.load_state("steady")
    after(ready, 0.2)  # The clock of the perturbation began anew.
    np.testing.assert_allclose(each.expression(seen(ready).numpy(), "gene3"), 3.0, rtol=1e-4)
    ready.load_state("steady")
    after(ready, 1.2)
    assert torch.equal(seen(ready), before)


def test_a_perturbation_of_the_house_is_taken_a_factor_of_one_changes_nothing(ready):
    each = ready.fitted.preprocessing.maps[0]
    told = each.expression(seen(ready).numpy(), ["gene3"])
    ready.add_perturbation(Perturbation({"gene3": Change("multiply", 1.0)}), clamping="post")
    after(ready, 0.3)
    np.testing.assert_allclose(seen(ready), ready.simulator.modalities[0], atol=1e-4)
    ready.load_state("steady")
    ready.clear_perturbations()
    change = Perturbation({"gene3": Change("multiply", 2.0)}, cells=["cell1"], released_at=9.0)
    held = ready.add_perturbation(change, clamping="post")
    after(ready, 0.3)
    now = each.expression(seen(ready).numpy(), ["gene3"])
    np.testing.assert_allclose(now[1], np.maximum(2 * told[1], 0), rtol=1e-3)
    np.testing.assert_allclose(now[2:], told[2:])
    assert str(held) == "gene3 × 2 in 1 cell until t = 9 (post)"


def test_one_of_several_is_taken_off(ready):
    a = ready.add_perturbation("gene3", feature_targets=8.0)
    b = ready.add_perturbation("gene4", feature_targets=8.0)
    after(ready, 0.3)
    ready.remove_perturbation(a)
    assert ready.perturbations == (b,)
    assert [one.clamp is b for one in ready.state.held] == [True]
    with pytest.raises(MissingKeyError, match="does not hold"):
        ready.remove_perturbation(a)


def test_a_perturbation_stays_itself_when_its_clock_begins_anew(ready):
    held = ready.add_perturbation("gene3", feature_targets=8.0)
    after(ready, 0.3)
    ready.save_state("perturbed")
    ready.load_state("steady")
    ready.load_state("perturbed")
    after(ready, 0.2)
    whole = seen(ready)
    ready.load_state("steady")
    after(ready, 0.5)
    torch.testing.assert_close(seen(ready), whole)
    ready.load_state("perturbed")
    ready.remove_perturbation(held)
    assert ready.perturbations == ()
    assert ready.state.held == ()


def test_what_is_taken_off_while_cells_move_leaves_nothing_behind(ready):
    ready.add_perturbation("gene3", feature_targets=8.0)
    job = ready.play_job(0.3)
    for _ in range(4):
        next(job)
    ready.clear_perturbations()
    for _ in range(12):
        next(job)
    job.close()
    assert ready.state.held == ()


def test_action_pushes_cells_to_where_positions_tell_the_value():
    made = manager(inputs=(0,), targets=(0, 1))
    at_rest(made.fitted)
    made.simulate(2.0, 1.0, **QUIET)
    made.save_state("steady")
    before = made.get_state(impute=0)[:, 3]
    value = float(before.mean() + 4.0)
    made.add_perturbation("gene3", feature_targets=value, clamping="action", factor=1.0)
    made.simulate_perturbation(3.0, 1.0, **QUIET)
    now = made.get_state(impute=0)[:, 3]
    assert np.square(now - value).mean() < np.square(before - value).mean()
    assert made.state.held == ()


def test_post_and_action_are_combined(ready):
    made = manager(inputs=(0,), targets=(0, 1))
    made.add_perturbation("gene3", feature_targets=5.0, clamping="post")
    post = after(made)
    made.reset_env()
    made.add_perturbation("gene3", feature_targets=5.0, clamping="action", factor=0.1)
    assert not np.array_equal(after(made), post)


# --- to rest -----------------------------------------------------------------------------------


def test_cells_are_simulated_to_rest_and_no_further():
    made = manager(fitted=at_rest(environment(friction_force=0.5)))
    times, states = made.simulate(100.0, 1.0, **QUIET)
    report = made.report
    assert report.reached
    # Speeds are at most 1, and friction takes 0.5 a second.
    assert report.time <= 2.0 + 50 * 0.1
    assert times[-1] == pytest.approx(report.time)
    assert len(states[0]) == len(times) < 10
    assert made.is_steady
    # From rest a run lasts as long as it is told to: the frames of a stage are counted.
    times, _ = made.simulate(3.0, 1.0, **QUIET)
    assert times.tolist() == [0, 1, 2, 3]


def test_a_run_that_does_not_come_to_rest_says_so():
    made = manager(friction_force=0.0)
    made.simulate(1.0, 1.0, **QUIET)
    assert not made.report.reached
    assert made.report.steps == 10


def test_perturbing_what_is_not_steady_warns():
    made = manager()
    made.add_perturbation("gene3")
    with pytest.warns(UserWarning, match="no steady state"):
        made.simulate_perturbation(0.2, 0.1, **QUIET)


# --- modalities --------------------------------------------------------------------------------


def test_sparse_cells_and_cells_that_are_prepared_already_are_the_same_cells():
    genes, places = tables()
    fitted = environment()
    sparse_genes = genes.copy()
    sparse_genes.X = sparse.csr_matrix(genes.X)
    features = fitted.preprocessing.transform([genes, places])
    ends = []
    given = [([genes, places], True), ([sparse_genes, places], True), (features, False)]
    for adatas, preprocess in [*given, ([genes], True), ([genes, None], True)]:
        made = BasicManager(fitted=fitted)
        made.set_modalities(adatas, preprocess=preprocess)
        made.reset_env()
        made.simulate(1.0, 1.0, **QUIET)
        ends.append(made.get_state(impute=False))
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], atol=1e-4)


def test_other_cells_stay_where_the_former_were(ready):
    positions = ready.get_state(impute=False)
    ready.set_modalities(tables(seed=9))
    assert np.array_equal(ready.get_state(impute=False), positions)
    assert ready.state.held == ()
    assert ready.is_steady


def test_fewer_and_more_cells_work(ready):
    positions = ready.get_state(impute=False)
    adatas = tables()
    with pytest.warns(UserWarning, match="10 cells now and there were 24: 0 cells"):
        ready.set_modalities([ad[2:12] for ad in adatas])
    assert np.array_equal(ready.get_state(impute=False), positions[2:12])
    ready.simulate(0.5, 0.5, **QUIET)
    with pytest.raises(DataError, match=r"'steady' is of 24 cells, and there are 10"):
        ready.load_state("steady")
    with pytest.raises(DataError, match="give as many"):
        ready.set_modalities(adatas, strict=True)
    ready.set_modalities(adatas, suppress_warning=True)
    assert ready.simulate(0.5, 0.5, **QUIET)[1][0].shape == (2, N, 2)
    ready.load_state("steady")


def test_perturbations_of_some_cells_do_not_outlive_them(ready):
    ready.add_perturbation("gene3", cells=[0, 1])
    with pytest.raises(DataError, match="clear_perturbations"):
        ready.set_modalities([ad[:10] for ad in tables()])
    assert ready.n_cells == N
    ready.clear_perturbations()
    ready.add_perturbation("gene3")
    ready.set_modalities([ad[:10] for ad in tables()], suppress_warning=True)
    ready.simulate(0.2, 0.2, **QUIET)


@pytest.mark.parametrize("bad", [
    lambda ads: [ads[0], ads[1][:5]],
    lambda ads: [*ads, ads[0]],
    lambda ads: [None, ads[1]],
    lambda ads: [ads[0][:, :10], ads[1]],
])  # fmt: skip
def test_modalities_that_do_not_fit_leave_all_as_it_was(ready, bad):
    before = ready.get_state(impute=False), ready.simulator
    with pytest.raises((DataError, MissingKeyError)):
        ready.set_modalities(bad(tables()))
    assert np.array_equal(ready.get_state(impute=False), before[0])
    assert ready.simulator is before[1]


# --- what is told ------------------------------------------------------------------------------


def test_known_places_turn_what_is_told_by_training_cells_alone():
    train = np.arange(N) < 10
    made = manager(train=train)
    told = made.get_state(impute=1)
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    truth = told @ turn + [50.0, -20.0]
    truth[~train] = 1e6  # Held-out cells could lead it astray, if they were looked at.
    positions = made.get_state(impute=False)
    found = made.environment_to_features(positions, modality=1, target_state=truth)
    np.testing.assert_allclose(found, told @ turn + [50.0, -20.0], rtol=1e-3)
    unaligned = made.environment_to_features(positions, modality=1)
    assert np.array_equal(unaligned, told)


def test_a_number_asks_for_one_modality(ready):
    every = ready.get_state()
    assert np.array_equal(ready.get_state(impute=1), every[0])
    _, states = ready.simulate(0.2, 0.1, impute=1, **QUIET)
    assert states.shape == (3, N, 2)
    with pytest.raises(DataError, match="positions do not tell modality 0"):
        ready.get_state(impute=0)
    with pytest.raises(ConfigError, match="modality 7 is not there"):
        ready.get_state(impute=7)


def test_velocities_stand_beside_positions(ready):
    both = ready.get_state(impute=False, include_vel=True)
    assert np.array_equal(both[:, :4], ready.get_state(impute=False))
    _, states = ready.simulate(0.2, 0.1, impute=False, include_vel=True, **QUIET)
    assert states.shape == (3, N, 8)
    assert np.array_equal(states[0], both)
    with pytest.raises(ConfigError, match="velocities"):
        ready.get_state(include_vel=True)
    # Of positions with velocities the positions are told.
    told = ready.environment_to_features(states, 1)
    assert np.array_equal(told, ready.environment_to_features(states[..., :4], 1))


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "options", "error", "words"), [
    ("nowhere", {}, MissingKeyError, "nowhere"),
    ("gene3", {"modality": 1, "clamping": "pre"}, MissingKeyError, "gene3"),
    ("x", {"modality": 1, "clamping": "pre"}, DataError, "not seen by cells"),
    ("gene3", {"clamping": "action"}, DataError, "not told by positions"),
    ("gene3", {"clamping": "soft"}, ConfigError, "pre, post, action"),
    ("gene3", {"modality": 2}, ConfigError, "modality 2"),
    ("gene3", {"feature_targets": [1, 2]}, DataError, "shape"),
    ("gene3", {"feature_targets": np.nan}, DataError, "finite"),
    ("gene3", {"feature_targets": -1}, DataError, "logarithm"),
    ("gene3", {"feature_targets": lambda _t: [1, 2, 3]}, DataError, "shape"),
    (["gene3", "gene3"], {}, DataError, "twice"),
    ([], {}, DataError, "at least one"),
    ("gene3", {"cells": ["cell99"]}, MissingKeyError, "cell99"),
    ("gene3", {"cells": [99]}, DataError, "99"),
    ("gene3", {"factor": 0}, ConfigError, "factor"),
])  # fmt: skip
def test_what_cannot_be_held_is_refused_and_nothing_is_added(ready, given, options, error, words):
    with pytest.raises(error, match=words):
        ready.add_perturbation(given, **options)
    assert ready.perturbations == ()


def test_cells_are_said_once(ready):
    with pytest.raises(ConfigError, match="which says them"):
        ready.add_perturbation(Perturbation.knock_out("gene3"), cells=[0])


def test_a_gene_that_never_varied_is_refused():
    genes, places = tables()
    genes.X[:, 5] = 0
    made = manager([genes, places])
    with pytest.raises(DataError, match=r"holds gene5, which never varied"):
        made.add_perturbation("gene5")


def test_before_there_are_cells_or_places_it_is_said():
    made = BasicManager(fitted=environment())
    for call in (made.reset_env, made.get_state, lambda: made.add_perturbation("gene3")):
        with pytest.raises(NotFittedError):
            call()
    made.set_modalities(tables())
    with pytest.raises(NotFittedError, match="reset_env"):
        made.simulate(**QUIET)
    with pytest.raises(MissingKeyError, match="no state 'steady'"):
        made.load_state("steady")
    with pytest.raises(NotFittedError, match="on which cells"):
        made.get_mask()


@pytest.mark.parametrize("options", [
    {"env_kwargs": {"dim": 5}}, {"env_kwargs": {"speed": 1}}, {"policy_kwargs": {"heads": 3}},
    {"env_kwargs": {"delta": -1}}, {"preprocessing_kwargs": {"pca": 3}}, {"spatial": [4]},
])  # fmt: skip
def test_unknown_options_are_refused(options):
    with pytest.raises(ConfigError):
        BasicManager(fitted=environment(), **options)


def test_without_an_environment_there_is_no_manager():
    with pytest.raises(ConfigError, match="policy_fname"):
        BasicManager(adatas=tables())


def test_options_leave_the_given_environment_as_it_is():
    fitted = environment()
    made = BasicManager(fitted=fitted, adatas=tables(), env_kwargs={"friction_force": 3.0},
                        policy_kwargs={"vision": "landmarks", "vision_size": 5})  # fmt: skip
    assert made.space.friction_force == 3.0
    assert made.fitted.policy.config.vision_size == 5
    assert fitted.policy.config.vision == "auto"
    assert fitted.config.friction_force == 0.3
    made.reset_env()
    made.simulate(0.2, 0.2, **QUIET)


def test_a_refused_or_stopped_run_leaves_cells_where_they_were(ready):
    before = ready.get_state(impute=False)
    for bad in ({"time": 0}, {"skip_time": -1}, {"store_states": "nowhere"}):
        with pytest.raises(ConfigError):
            ready.simulate(**bad, **QUIET)
    job = ready.simulate_job(5.0, 0.1)
    for _ in range(3):
        next(job)
    job.close()
    assert np.array_equal(ready.get_state(impute=False), before)


def test_cells_that_go_nowhere_are_a_sentence(ready):
    before = ready.get_state(impute=False)
    with torch.no_grad():
        ready.fitted.policy.actor_out.bias.fill_(torch.nan)
    with pytest.raises(DataError, match="where no number is"):
        ready.simulate(1.0, 1.0, **QUIET)
    assert np.array_equal(ready.get_state(impute=False), before)


def test_a_run_that_does_not_fit_is_refused(ready, monkeypatch):
    monkeypatch.setattr("celldyn.environment.costs.free_memory", lambda: 50_000)
    with pytest.raises(DataError, match=r"needs .* of memory and .* are free"):
        ready.simulate(512.0, 0.1, **QUIET)


# --- playing -----------------------------------------------------------------------------------


def test_playing_is_simulating_and_stops_where_it_showed():
    one, other = manager(), manager()
    one.simulate(1.0, 0.5, impute=False, **QUIET)
    run(other.play_job(0.5, 1.0), bar=False)
    np.testing.assert_array_equal(one.get_state(impute=False), other.get_state(impute=False))

    job = other.play_job(0.2)
    frames = [step.preview for step in (next(job) for _ in range(12)) if step.preview is not None]
    job.close()
    assert len(frames) > 2
    assert np.array_equal(frames[-1].position, other.get_state(impute=False))
    assert frames[-1].time == pytest.approx(other.state.time)
    other.advance(3)
    assert other.state.time == pytest.approx(frames[-1].time + 0.3)


def test_the_effect_of_a_perturbation_is_told_beside_its_control(ready):
    ready.add_perturbation("gene3", feature_targets=8.0, clamping="post")
    before = ready.state
    found = ready.perturbation_effect(1.0, 0.5)
    assert ready.state is before
    assert found.course[0] == 0 < found.course[-1]
    assert found.shift.shape == (N,)
    np.testing.assert_allclose(found.effect.shift, np.linalg.norm(found.move, axis=1), rtol=1e-5)
    assert found.features().columns.tolist() == ["feature", "change", "size"]
    end = after(ready)
    assert np.array_equal(found.positions[-1], end[:, :4])
    ready.clear_perturbations()
    with pytest.raises(NotFittedError, match="no perturbation holds"):
        ready.perturbation_effect()
