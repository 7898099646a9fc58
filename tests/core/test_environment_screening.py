"""Screens, agreement of starts, views, frames and what a run takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from environment_manager_cases import N, at_rest, environment, manager, tables

from celldyn.environment.costs import memory_of
from celldyn.environment.manager import BasicManager
from celldyn.environment.recording import Recorder, frame_steps, frames_of
from celldyn.environment.viewing import LatentView
from celldyn.errors import ConfigError, DataError, FileFormatError, MissingKeyError
from celldyn.perturbation import KNOCK_OUT, Change

QUIET = {"progress_bar": False}
GENES = ["gene3", "gene7", "gene11"]


@pytest.fixture(scope="module")
def steady():
    made = manager()
    made.adatas[0].obs["layer"] = np.repeat(["top", "bottom"], [10, N - 10])
    made.simulate(2.0, 1.0, **QUIET)
    made.save_state("steady")
    return made


@pytest.fixture(autouse=True)
def again(steady):
    steady.load_state("steady")
    steady.clear_perturbations()


def one_by_one(made, gene, change, time=0.5):
    """The same by one perturbation of the manager."""
    made.load_state("steady")
    made.clear_perturbations()
    from celldyn.perturbation import Perturbation

    made.add_perturbation(Perturbation({gene: change}))
    found = made.perturbation_effect(time, made.space.delta, impute=False)
    made.clear_perturbations()
    return found.table(made.groups_of("layer"))


@pytest.mark.parametrize("change", [KNOCK_OUT, Change("multiply", 3.0), Change("set", 4.0)])
def test_a_screen_is_what_genes_do_one_by_one(steady, change):
    screen = steady.screen(GENES, change=change, groups="layer", **QUIET)
    assert screen.groups == ("all", "bottom", "top")
    assert screen.n_cells.tolist() == [N, N - 10, 10]
    for k, gene in enumerate(GENES):
        alone = one_by_one(steady, gene, change)
        for what in ("effect", "length", "shift"):
            found = getattr(screen, what)[k]
            np.testing.assert_allclose(found, alone[what], rtol=2e-3, atol=1e-5)


def test_batches_of_any_size_give_the_same(steady, monkeypatch):
    whole = steady.screen(GENES, n_random=3, **QUIET)
    monkeypatch.setattr("celldyn.environment.screen_plan._ON_CPU", N)
    alone = steady.screen(GENES, n_random=3, **QUIET)
    for what in ("effect", "length", "shift", "size", "null"):
        np.testing.assert_allclose(getattr(whole, what), getattr(alone, what), rtol=1e-3,
                                   atol=1e-5)  # fmt: skip


def test_effects_are_held_against_what_cells_do_anyway(steady):
    screen = steady.screen(GENES, n_control=4, n_random=4, **QUIET)
    assert screen.control.shape == (5, 1)
    mean, sd = screen.control.mean(), screen.control.std(ddof=1)
    np.testing.assert_allclose(screen.z, (screen.effect - mean) / sd)
    # Controls are stretches of one run, one after the other.
    steady.load_state("steady")
    effects = []
    for _ in range(5):
        before = steady.get_state(impute=False)
        steady.advance(5)
        effects.append(np.linalg.norm(steady.get_state(impute=False) - before, axis=1).mean())
    np.testing.assert_allclose(screen.control[:, 0], effects, rtol=1e-4)


def test_a_gene_that_cells_do_not_react_to_is_last():
    made = manager()
    each = made.fitted.preprocessing.maps[0]
    # What cells see no longer depends on the direction of gene3.
    direction = torch.from_numpy(each.columns("gene3")[:, 0]).float()
    direction /= direction.norm()
    with torch.no_grad():
        weight = made.fitted.policy.of_features.weight
        weight -= (weight @ direction)[:, None] * direction
    made.reset_env()
    made.simulate(1.0, 1.0, **QUIET)
    genes = ["gene3", *[f"gene{k}" for k in range(20, 30)]]
    screen = made.screen(genes, clamping="post", **QUIET)
    table = screen.of_group()
    assert table["gene"].iloc[-1] == "gene3"
    assert table["shift"].iloc[-1] < 1e-4 < table["shift"].iloc[-2]
    assert table["rank"].tolist() == list(range(1, 12))


def test_a_screen_of_cells_at_rest_says_so_and_scores_against_directions():
    made = manager(fitted=at_rest(environment(friction_force=1.0)))
    made.simulate(60.0, 10.0, **QUIET)
    screen = made.screen(GENES, n_random=0, **QUIET)
    assert np.isnan(screen.z).all()
    assert any("no z" in note for note in screen.notes)
    assert screen.null.shape == (0, 1)


def test_all_genes_that_vary_are_screened_by_default_and_states_stay(steady):
    before = steady.state
    screen = steady.screen(n_control=2, n_random=2, **QUIET)
    assert len(screen.genes) == 40
    assert steady.state is before
    table = screen.table()
    assert table["shift"].is_monotonic_decreasing
    assert screen.matrix("size").shape == (40, 1)
    assert str(screen).startswith("40 genes, knock-out of each: the most, ")


def test_only_some_cells_are_changed(steady):
    some = steady.screen(["gene3"], cells=["cell0"], clamping="post", groups=np.arange(N) == 0,
                         **QUIET)  # fmt: skip
    alone = some.matrix("size").loc["gene3"]
    assert alone["False"] == 0 < alone["True"]


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"genes": ["nowhere"]}, MissingKeyError, "nowhere"),
    ({"genes": []}, DataError, "nothing to screen"),
    ({"clamping": "action"}, ConfigError, "one gene"),
    ({"modality": 1}, DataError, "not seen by cells"),
    ({"groups": "nowhere"}, MissingKeyError, "no column"),
    ({"groups": ["a"]}, DataError, "one per cell"),
    ({"time": -1}, ConfigError, "time"),
])  # fmt: skip
def test_what_cannot_be_screened_is_refused(steady, options, error, words):
    with pytest.raises(error, match=words):
        steady.screen(**options, **QUIET)


def test_unknown_groups_and_measures_are_refused(steady):
    screen = steady.screen(GENES, n_control=1, n_random=0, **QUIET)
    with pytest.raises(MissingKeyError, match="no group"):
        screen.of_group("nowhere")
    with pytest.raises(MissingKeyError, match="choose effect"):
        screen.matrix("p")


# --- agreement of starts -----------------------------------------------------------------------


def test_starts_are_compared_and_the_first_is_that_of_the_manager(steady):
    spread = steady.simulate_spread(3, 1.0, **QUIET)
    alone = BasicManager(fitted=steady.fitted, adatas=tables())
    alone.reset_env()
    alone.simulate(1.0, 1.0, stop_when_steady=True, **QUIET)
    np.testing.assert_allclose(spread.positions[0], alone.get_state(impute=False), atol=1e-4)
    assert spread.n_starts == 3
    assert spread.per_cell().shape == (N,)
    assert (spread.per_cell() > 0).all()
    assert spread.table()["modality"].tolist() == [1]


def test_coordinates_that_are_only_turned_agree():
    from celldyn.environment.spreading import _together

    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 2))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    stack = np.stack([points, points @ turn + [3.0, 1.0]]).astype(np.float32)
    found = _together(stack, reflection=False)
    np.testing.assert_allclose(found[1], points, atol=1e-5)
    mirrored = np.stack([points, points * [1, -1]]).astype(np.float32)
    assert np.abs(_together(mirrored, reflection=False)[1] - points).max() > 0.5
    np.testing.assert_allclose(_together(mirrored, reflection=True)[1], points, atol=1e-5)


def test_one_start_says_nothing_of_agreement(steady):
    with pytest.raises(ConfigError, match="at least 2"):
        steady.simulate_spread(1, **QUIET)


# --- views -------------------------------------------------------------------------------------


def test_a_view_keeps_its_axes_over_frames():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6)) * [5, 0.1, 3, 0.1, 1, 0.1] + 7
    view = LatentView.of(x)
    assert view.axes.shape == (3, 6)
    np.testing.assert_allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-9)
    assert (np.abs(view.axes).argmax(axis=1) == [0, 2, 4]).all()
    assert (view.axes[[0, 1, 2], [0, 2, 4]] > 0).all()
    frames = np.stack([x, x + 1])
    moved = view.places(frames)[1] - view.places(frames)[0]
    np.testing.assert_allclose(moved, np.tile(view.axes.sum(axis=1), (50, 1)), rtol=1e-4)
    np.testing.assert_allclose(view.arrows(x), view.places(x + view.centre), atol=1e-4)
    assert view.share.sum() > 0.99


def test_few_dimensions_are_shown_as_they_are():
    x = np.random.default_rng(0).normal(size=(9, 2)) + 5
    np.testing.assert_allclose(LatentView.of(x).places(x), x, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.zeros(3), np.full((3, 5), np.nan), np.zeros((0, 5))])
def test_what_is_no_place_has_no_view(bad):
    with pytest.raises(DataError):
        LatentView.of(bad)


# --- frames ------------------------------------------------------------------------------------


def test_frames_are_streamed_to_a_file_that_fits_them(tmp_path):
    made = manager()
    file = tmp_path / "frames.npy"
    _, streamed = made.simulate(1.0, 0.5, file, impute=False, **QUIET)
    made.reset_env()
    _, kept = made.simulate(1.0, 0.5, impute=False, **QUIET)
    assert np.array_equal(streamed, kept)
    assert np.array_equal(np.load(file), kept)


def test_a_run_that_ends_early_leaves_a_shorter_file(tmp_path):
    made = manager(fitted=at_rest(environment(friction_force=1.0)))
    file = tmp_path / "frames.npy"
    times, frames = made.simulate(500.0, 1.0, file, impute=False, **QUIET)
    assert made.report.reached
    assert len(times) == len(frames) < 20
    assert np.load(file).shape == (len(times), N, 4)
    assert file.stat().st_size == 128 + 4 * frames.size


def test_a_stopped_run_leaves_no_file(tmp_path):
    file = tmp_path / "frames.npy"
    job = manager().simulate_job(5.0, 0.1, file, impute=False)
    for _ in range(4):
        next(job)
    job.close()
    assert not file.exists()


def test_only_the_last_frame_is_kept_where_none_is_asked_for():
    made = manager()
    times, frames = made.simulate(1.0, 0.5, None, impute=False, **QUIET)
    assert frames.shape == (1, N, 4)
    assert np.array_equal(frames[-1], made.get_state(impute=False))
    assert times.tolist() == [1.0]


def test_frames_are_counted_by_hand(tmp_path):
    assert frame_steps(512.0, 10.0, 0.1) == (5120, 100)
    assert frames_of(5120, 100) == 53
    assert frames_of(10, 3) == 5
    with pytest.raises(FileFormatError, match="cannot be written"):
        Recorder(3, (2, 2), tmp_path / "no" / "frames.npy")


# --- what a run takes --------------------------------------------------------------------------


def test_memory_is_told_by_hand():
    cost = memory_of(1000, 8, n_frames=10, n_told=200, steps=50)
    assert cost.frames_bytes == 4 * 10 * 1000 * 8
    assert cost.told_bytes == 4 * 10 * 1000 * 200
    assert cost.bytes == cost.state_bytes + cost.frames_bytes + cost.told_bytes
    assert memory_of(1000, 8, n_frames=10, frames_in_memory=False).frames_bytes == 0


def test_no_run_of_many_cells_takes_the_square_of_them():
    one, ten = (memory_of(n, 8, n_seen=1000).state_bytes for n in (20_000, 200_000))
    assert ten < 11 * one


def test_time_is_predicted_from_steps_that_are_made(steady):
    cost = steady.cost(10.0, 1.0, measured=True)
    assert cost.steps == 100
    assert cost.seconds == pytest.approx(100 * cost.step_seconds)
    assert "100 steps" in str(cost)
    assert "about" in str(cost)
    assert steady.cost(10.0).seconds is None
