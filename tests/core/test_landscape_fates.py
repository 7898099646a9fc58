"""Fates: votes, rest, where paths gather, and the chances to end in one set or another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from landscape_cases import Bowl, DoubleWell, chain, ring
from scipy import sparse

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import (
    boltzmann_transitions,
    committor,
    committor_job,
    convergence,
    flow,
    nearest_vote,
    nearest_vote_job,
    sample_walks,
    terminal_states,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_one_neighbour_votes_as_in_sclsd(rng):
    cells, ends = rng.normal(size=(200, 5)), rng.normal(size=(50, 5))
    labels = rng.choice(["A", "B", "C"], 200)
    vote = nearest_vote(ends, cells, labels, k=1)
    nearest = ((ends[:, None] - cells[None]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(vote.fate, labels[nearest])
    np.testing.assert_array_equal(vote.nearest[:, 0], nearest)
    np.testing.assert_allclose(vote.distance, np.linalg.norm(ends - cells[nearest], axis=1))
    np.testing.assert_array_equal(vote.entropy, 0.0)


def test_many_neighbours_give_shares(rng):
    cells, ends = rng.normal(size=(200, 5)), rng.normal(size=(50, 5))
    labels = rng.choice([2, 10, 7], 200)
    vote = nearest_vote(ends, torch.tensor(cells), labels, k=20)
    order = ((ends[:, None] - cells[None]) ** 2).sum(axis=2).argsort(axis=1)[:, :20]
    assert vote.names == ("10", "2", "7")
    for number, name in enumerate(vote.names):
        shares = (labels[order] == int(name)).mean(axis=1)
        np.testing.assert_allclose(vote.probabilities[:, number], shares)
    np.testing.assert_allclose(vote.probabilities.sum(axis=1), 1.0)


def test_entropy_of_fates_is_in_nats():
    vote = nearest_vote([[0.0]], [[-1.0], [1.0], [2.0], [-2.0]], ["A", "B", "B", "A"], k=4)
    np.testing.assert_allclose(vote.entropy, math.log(2))
    assert vote.fate.tolist() == ["A"]


@pytest.mark.parametrize(
    ("ends", "cells", "k", "error", "says"),
    [
        (np.zeros((2, 3)), np.zeros((4, 2)), 1, DataError, "ends of paths are of shape .2, 3."),
        (np.zeros(3), np.zeros((4, 2)), 1, DataError, "ends of paths are of shape .3,."),
        (np.full((2, 2), np.nan), np.zeros((4, 2)), 1, DataError, "ends of paths are not finite"),
        (np.zeros((2, 2)), np.zeros((4, 2)), 5, ConfigError, "k is 5; give 1 to 4"),
        (np.zeros((2, 2)), np.zeros((4, 2)), 0, ConfigError, "k is 0"),
    ],
)
def test_votes_that_cannot_be_held_are_refused(ends, cells, k, error, says):
    with pytest.raises(error, match=says):
        nearest_vote(ends, cells, list("ABCD"), k)


def test_rest_is_told_from_motion():
    z = torch.tensor([[0.0, 0.0], [0.001, 0.0], [3.0, 4.0]])
    found = convergence(Bowl(2.0), z, tolerance=0.01)
    np.testing.assert_allclose(found.speed, [0.0, 0.002, 10.0], rtol=1e-6)
    assert found.resting.tolist() == [True, True, False]
    assert found.share == pytest.approx(2 / 3)
    assert str(found) == (
        "2 of 3 cells rest (slower than 0.01); the fastest moves by 10 per unit of time"
    )
    assert convergence(Bowl(), z[:0]).share == 1.0


def test_terminal_states_are_the_minima_that_cells_flow_to(rng):
    z0 = torch.tensor(rng.normal(size=(3000, 2)) + np.array([0.4, 0.0]))
    end = flow(DoubleWell(), z0, [0.0, 10.0], substeps=1500)[-1]
    assert convergence(DoubleWell(), end).share == 1.0
    found = terminal_states(end)
    np.testing.assert_allclose(found.centres, [[1, 0], [-1, 0]], atol=1e-3)
    assert found.sizes.sum() == 3000
    assert found.sizes[0] > found.sizes[1] > 500
    np.testing.assert_array_equal(found.member == 0, z0[:, 0].numpy() > 0)


def test_groups_are_as_far_apart_as_the_radius_says(rng):
    spots = np.array([[0.0, 0, 0], [1, 0, 0], [5, 5, 5]])
    ends = np.repeat(spots, [50, 30, 20], axis=0) + rng.normal(0, 1e-3, (100, 3))
    fine, coarse = terminal_states(ends, radius=0.5), terminal_states(ends, radius=1.5)
    assert fine.sizes.tolist() == [50, 30, 20]
    assert coarse.sizes.tolist() == [80, 20]
    np.testing.assert_allclose(fine.centres, spots, atol=1e-2)
    assert fine.member.tolist() == [0] * 50 + [1] * 30 + [2] * 20


def test_a_group_smaller_than_its_share_is_no_state():
    ends = np.repeat([[0.0, 0.0], [9.0, 0.0]], [99, 1], axis=0)
    found = terminal_states(ends, radius=1.0, min_share=0.05)
    assert found.sizes.tolist() == [99]
    assert found.member[-1] == -1


def test_a_cloud_of_ends_that_do_not_rest_is_one_state_in_bounded_memory(rng, monkeypatch):
    monkeypatch.setattr("celldyn.landscape.fates._MOST_PAIRS", 10_000)
    ends = np.concatenate([rng.normal(size=(3000, 4)), rng.normal(30, 1, size=(1000, 4))])
    found = terminal_states(ends, radius=3.0)
    assert (found.sizes > [2980, 980]).all()
    assert len(found.sizes) == 2
    np.testing.assert_allclose(found.centres[1], 30.0, atol=0.2)


def test_ends_in_one_point_are_one_state():
    assert terminal_states(np.ones((10, 3))).sizes.tolist() == [10]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"radius": 0.0}, "radius is 0.0"), ({"radius": 1.0, "min_share": 2}, "min_share is 2")],
)
def test_groups_that_cannot_be_made_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        terminal_states(np.ones((4, 2)) * np.arange(4)[:, None], **options)


@pytest.mark.parametrize("up", [0.5, 0.6, 0.9])
def test_ruin_of_a_gambler_in_closed_form(up):
    n = 21
    names, q = committor(chain(n, up), {"ruin": [0], "riches": [n - 1]})
    odds = (1 - up) / up
    i = np.arange(n)
    exact = i / (n - 1) if up == 0.5 else (1 - odds**i) / (1 - odds ** (n - 1))
    assert names == ("ruin", "riches")
    np.testing.assert_allclose(q[:, 1], exact, atol=1e-12)
    np.testing.assert_allclose(q.sum(axis=1), 1.0, rtol=1e-12)


def test_chances_are_those_that_walks_meet():
    rng = np.random.default_rng(5)
    matrix = boltzmann_transitions(ring(40, reach=3), rng.normal(size=40))
    sets = {"A": np.array([3, 4]), "B": np.arange(40) == 20, "C": [30]}
    _, q = committor(matrix, sets)
    member = np.full(40, -1)
    member[[3, 4, 20, 30]] = [0, 0, 1, 2]
    walks = member[sample_walks(matrix, 20_000, 600, seed=0, start=11)]
    first = (walks >= 0).argmax(axis=1)
    ended = walks[np.arange(len(walks)), first]
    shares = np.bincount(ended[ended >= 0], minlength=3) / (ended >= 0).sum()
    np.testing.assert_allclose(shares, q[11], atol=4 * 0.5 / math.sqrt(20_000))


def test_solving_round_by_round_is_solving_at_once(monkeypatch):
    rng = np.random.default_rng(5)
    matrix = boltzmann_transitions(ring(900, reach=4), rng.normal(size=900))
    sets = {"A": [0, 1], "B": [300], "C": np.arange(600, 610)}
    _, exact = committor(matrix, sets)
    monkeypatch.setattr("celldyn.landscape.absorption._DIRECT", 10)
    _, found = committor(matrix, sets)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_cells_that_reach_no_set_have_no_chances():
    apart = sparse.block_diag([chain(5, 0.5), np.eye(2)], format="csr")
    _, q = committor(apart, {"low": [0], "high": [4]})
    assert np.isnan(q[5:]).all()
    np.testing.assert_allclose(q[2], [0.5, 0.5])


def test_a_trap_outside_all_sets_takes_its_part():
    _, q = committor(chain(5, 0.5), {"high": [4]})
    np.testing.assert_allclose(q[1:, 0], [0.25, 0.5, 0.75, 1.0])
    assert np.isnan(q[0, 0])


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ({}, "there are no sets"),
        ({"A": []}, "set A is"),
        ({"A": [0.5]}, "set A is float64"),
        ({"A": [9]}, "set A names cells beyond 0 to 4"),
        ({"A": [1], "B": [1, 2]}, "set B shares cells with another; leave every cell"),
    ],
)
def test_sets_that_are_none_are_refused(sets, says):
    with pytest.raises(DataError, match=says):
        committor(chain(5, 0.5), sets)


def test_jobs_of_fates_say_that_they_live_and_give_the_same(rng):
    cells, labels = rng.normal(size=(3000, 3)), rng.choice(["A", "B"], 3000)
    job = nearest_vote_job(cells, cells, labels, 5)
    seen = []
    while True:
        try:
            seen.append(next(job).done)
        except StopIteration as end:
            vote = end.value
            break
    assert seen == sorted(seen)
    assert len(seen) > 5
    whole = nearest_vote(cells, cells, labels, 5, threads=2)
    np.testing.assert_array_equal(vote.probabilities, whole.probabilities)
    steps = list(committor_job(chain(9, 0.5), {"low": [0]}))
    assert steps[0].message == "checking chances"
