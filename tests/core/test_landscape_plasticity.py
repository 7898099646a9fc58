"""Plasticity: entropy of fates between 0 and 1, and how well a few votes know it."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.errors import DataError
from celldyn.landscape import plasticity_of_votes
from celldyn.landscape.fate_table import fates_of_chances, fates_of_votes, jeffreys
from celldyn.landscape.plasticity import entropy_moments


def test_it_is_0_for_one_fate_and_1_where_all_reached_fates_are_alike():
    votes = np.array([[30, 0, 0, 0], [10, 10, 10, 0], [15, 15, 0, 0], [0, 30, 0, 0]])
    found = plasticity_of_votes(votes)
    assert found.n_reachable == 3
    expected = [0.0, 1.0, np.log(2) / np.log(3), 0.0]
    np.testing.assert_allclose(found.value, expected, atol=1e-12)


def test_a_fate_that_no_cell_reaches_does_not_count():
    votes = np.r_[np.tile([50, 50, 0], (99, 1)), [[49, 50, 1]]]
    found = plasticity_of_votes(votes)
    assert found.n_reachable == 2
    assert found.value.max() == 1.0


def test_one_fate_for_all_is_no_plasticity():
    found = plasticity_of_votes(np.array([[12, 0], [12, 0]]))
    assert found.n_reachable == 1
    np.testing.assert_array_equal(found.high, 0.0)


def test_moments_of_the_entropy_are_those_of_draws():
    rng = np.random.default_rng(0)
    alpha = np.array([[0.5, 3.0, 10.0], [1.0, 1.0, 1.0], [30.0, 0.3, 0.3], [2.0, 5.0, 0.0]])
    mean, variance = entropy_moments(alpha)
    for row in range(4):
        p = rng.dirichlet(np.maximum(alpha[row], 1e-12), 400_000)
        drawn = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
        assert abs(mean[row] - drawn.mean()) < 2e-3
        np.testing.assert_allclose(variance[row], drawn.var(), rtol=0.02)


@pytest.mark.parametrize("n_votes", [16, 32, 128])
def test_intervals_hold_what_they_promise(n_votes):
    rng = np.random.default_rng(1)
    chances = rng.dirichlet([0.7] * 3, 2_000)
    votes = np.stack([rng.multinomial(n_votes, p) for p in chances])
    found = plasticity_of_votes(votes)
    truth = -(chances * np.log(chances)).sum(axis=1) / np.log(3)
    inside = (found.low <= truth) & (truth <= found.high)
    assert 0.9 < inside.mean() <= 1.0
    low, high = jeffreys(votes, float(n_votes))
    assert 0.93 < ((low <= chances) & (chances <= high)).mean() < 0.99


def test_cells_with_no_votes_are_wholly_open():
    found = plasticity_of_votes(np.array([[0, 0], [5, 5], [10, 0]]))
    assert found.value[0] == 1.0
    assert found.low[0] < 0.2


def test_jeffreys_intervals_are_closed_at_the_ends():
    low, high = jeffreys(np.array([0, 16, 32]), 32.0)
    np.testing.assert_allclose([low[0], high[2]], [0.0, 1.0])
    # R: qbeta(c(.025, .975), 16.5, 16.5)
    np.testing.assert_allclose([low[1], high[1]], [0.3333, 0.6667], atol=2e-3)


def test_a_fate_is_certain_when_its_interval_says_so():
    found = fates_of_votes(("A", "B"), np.array([[32, 0], [17, 15], [1, 31]]))
    assert found.certain.tolist() == [True, False, True]
    assert found.fate.tolist() == ["A", "A", "B"]
    undecided = fates_of_votes(("A", "undecided"), np.array([[0, 32], [32, 0]]))
    assert undecided.certain.tolist() == [False, True]
    # What is undecided says nothing about which fate.
    assert undecided.plasticity.tolist() == [0.0, 0.0]
    assert "1 uncertain" not in str(found)
    assert "33% uncertain" in str(found)


def test_solved_chances_have_no_interval():
    found = fates_of_chances(("A", "B"), np.array([[0.6, 0.4], [1.0, 0.0]]))
    np.testing.assert_array_equal(found.low, found.high)
    np.testing.assert_array_equal(found.plasticity_low, found.plasticity_high)
    assert found.n_votes == 0


@pytest.mark.parametrize("votes", [[1.0, 2.0], [[-1.0, 2.0]], [[np.nan, 1.0]]])
def test_votes_that_are_none_are_refused(votes):
    with pytest.raises(DataError, match="votes are not a table"):
        plasticity_of_votes(votes)
