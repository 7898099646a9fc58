"""Fates, pseudotime and entropy over several seeds, and how far seeds agree."""

from __future__ import annotations

import numpy as np
import pytest

from celldyn.errors import DataError
from celldyn.landscape import consensus_entropy, consensus_pseudotime, pooled_fates
from celldyn.landscape.fate_table import fates_of_chances, fates_of_votes


def _votes(*by_seed, names=("A", "B")):
    return [fates_of_votes(names, np.array([votes])) for votes in by_seed]


def test_seeds_that_say_the_same_are_certain():
    found = pooled_fates(_votes([32, 0], [30, 2], [31, 1]))
    assert found.fates.fate.tolist() == ["A"]
    np.testing.assert_allclose(found.fates.probabilities, [[93 / 96, 3 / 96]])
    np.testing.assert_array_equal(found.agreement, 1.0)
    assert found.fates.certain.all()
    assert found.fates.n_votes == 96
    assert "all 3 seeds agree in 100%" in str(found)


def test_seeds_that_contradict_each_other_are_worth_a_vote_each():
    found = pooled_fates(_votes([32, 0], [32, 0], [0, 32]))
    np.testing.assert_allclose(found.agreement, 2 / 3)
    assert not found.fates.certain.any()
    # 2 of 3 votes: Beta(2.5, 1.5).
    np.testing.assert_allclose(found.fates.low[0, 0], 0.1787, atol=2e-3)
    assert found.by_seed[:, 0].tolist() == ["A", "A", "B"]


def test_a_seed_that_disagrees_makes_a_fate_uncertain_however_many_votes_there_are():
    found = pooled_fates(_votes([3200, 0], [3200, 0], [1500, 1700]))
    assert found.fates.probabilities[0, 0] > 0.8
    assert not found.fates.certain.any()


def test_seeds_that_differ_by_chance_are_as_one_of_all_votes():
    rng = np.random.default_rng(0)
    chances = rng.dirichlet([2.0, 2.0], 4_000)
    seeds = [
        fates_of_votes(("A", "B"), np.stack([rng.multinomial(32, p) for p in chances]))
        for _ in range(3)
    ]
    found = pooled_fates(seeds).fates
    inside = ((found.low <= chances) & (chances <= found.high)).mean()
    assert 0.93 < inside < 0.99
    alone = (seeds[0].high - seeds[0].low).mean()
    assert (found.high - found.low).mean() < 0.75 * alone


def test_intervals_hold_what_seeds_mean_when_seeds_differ():
    rng = np.random.default_rng(1)
    truth = rng.beta(3, 3, 3_000)
    seeds = []
    for _ in range(5):
        share = rng.beta(truth * 8, (1 - truth) * 8)
        votes = rng.binomial(64, share)
        seeds.append(fates_of_votes(("A", "B"), np.stack([votes, 64 - votes], axis=1)))
    found = pooled_fates(seeds).fates
    inside = (found.low[:, 0] <= truth) & (truth <= found.high[:, 0])
    assert 0.88 < inside.mean() < 0.99


def test_fates_are_matched_by_name():
    one = fates_of_votes(("A", "undecided"), np.array([[20, 12]]))
    two = fates_of_votes(("B", "C"), np.array([[32, 0]]))
    found = pooled_fates([one, two])
    assert found.fates.names == ("A", "B", "C", "undecided")
    np.testing.assert_allclose(found.fates.probabilities, [[10 / 32, 0.5, 0.0, 6 / 32]])


def test_one_seed_is_itself():
    (one,) = _votes([20, 12])
    found = pooled_fates([one])
    np.testing.assert_allclose(found.fates.low, one.low)
    np.testing.assert_allclose(found.fates.plasticity_high, one.plasticity_high)


def test_solved_chances_are_pooled():
    p = np.array([[0.7, 0.3], [0.2, 0.8]])
    found = pooled_fates([fates_of_chances(("A", "B"), p), fates_of_chances(("A", "B"), p)])
    np.testing.assert_allclose(found.fates.probabilities, p)
    assert found.fates.certain.all()
    assert found.fates.n_votes == 0


def test_fates_of_other_cells_are_refused():
    many = fates_of_votes(("A", "B"), np.array([[1, 2], [3, 0]]))
    for wrong in ([], [many, *_votes([1, 2])]):
        with pytest.raises(DataError, match="fates of different cells"):
            pooled_fates(wrong)


def test_pseudotime_of_any_unit_has_one_order():
    rng = np.random.default_rng(0)
    time = rng.random(500)
    seeds = [np.exp(3 * time), 100 * time - 5, time + 0.02 * rng.normal(size=500)]
    found = consensus_pseudotime(seeds)
    assert np.corrcoef(found.value, time)[0, 1] > 0.99
    assert found.value.min() == 0.0
    assert found.value.max() == 1.0
    assert found.agreement > 0.99
    assert found.spread.max() < 0.15
    np.testing.assert_allclose(found.correlation[0, 1], 1.0)


def test_entropy_whose_sign_turns_is_not_identified():
    rng = np.random.default_rng(0)
    time, noise = rng.random(300), 0.1 * rng.normal(size=(3, 300))
    alike = consensus_entropy(-time + noise, reference=time)
    assert alike.identified
    assert (alike.with_reference < -0.8).all()
    assert "alike in all 3 seeds" in alike.note
    turned = consensus_entropy([time + noise[0], -time + noise[1], time + noise[2]], time)
    assert not turned.identified
    assert "use plasticity" in turned.note
    single = consensus_entropy([time])
    assert not single.identified
    assert "one seed does not tell" in single.note


def test_what_is_no_number_per_cell_is_refused():
    with pytest.raises(DataError, match="finite pseudotime"):
        consensus_pseudotime([[0.0, np.nan]])
    with pytest.raises(DataError, match="there is no pseudotime"):
        consensus_pseudotime([])
