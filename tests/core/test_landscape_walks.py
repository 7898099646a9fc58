"""Random walks: the chances they follow, that twins and threads agree, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from landscape_cases import chain, ring
from scipy import sparse, stats

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.landscape import prior_transition, sample_walks, sample_walks_job, walks
from celldyn.landscape.stepping import cumulated, step_walks, uniforms, walk_keys
from celldyn.landscape.walk_span import path_len_for, span_note, steps_to_the_end

N = 30


@pytest.fixture
def prior():
    time = np.random.default_rng(1).permutation(N) / (N - 1)
    return prior_transition(ring(N, reach=4), time, beta=2.0)


def test_steps_follow_the_chances(prior):
    found = sample_walks(prior, 4000, 60, seed=3)
    assert found.shape == (4000, 60)
    assert found.dtype == np.int32
    pairs = found[:, :-1].ravel().astype(np.int64) * N + found[:, 1:].ravel()
    seen = np.bincount(pairs, minlength=N * N).reshape(N, N)
    assert not seen[prior.toarray() == 0].any()
    expected = seen.sum(axis=1, keepdims=True) * prior.toarray()
    there = expected > 0
    chi = ((seen - expected)[there] ** 2 / expected[there]).sum()
    assert 1e-4 < stats.chi2.sf(chi, there.sum() - N) < 1 - 1e-4


def test_a_step_does_not_depend_on_the_one_before(prior):
    found = sample_walks(prior, 60_000, 3, seed=5)
    via = found[found[:, 1] == found[0, 1]]
    table = np.array([np.bincount(via[via[:, 0] == a, 2], minlength=N) for a in set(via[:, 0])])
    table = table[:, table.sum(axis=0) > 20]
    assert stats.chi2_contingency(table[table.sum(axis=1) > 100]).pvalue > 1e-4


def test_walks_begin_in_any_cell_alike(prior):
    counts = np.bincount(sample_walks(prior, 30_000, 1, seed=0)[:, 0], minlength=N)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_random_numbers_are_uniform_and_independent_of_walk_and_step():
    drawn = np.array([uniforms(walk_keys(7, 0, 20_000), step) for step in range(5)])
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(drawn) - np.eye(5)).max() < 0.03
    assert abs(np.corrcoef(drawn[0, 1:], drawn[0, :-1])[0, 1]) < 0.03
    assert not np.array_equal(uniforms(walk_keys(8, 0, 5), 0), drawn[0, :5])


def test_the_compiled_walk_is_the_plain_one_to_the_last_cell(prior):
    from celldyn.landscape.walk_kernels import step_walks as compiled

    keys, chance = walk_keys(2, 0, 2000), cumulated(prior)
    indptr, indices = prior.indptr.astype(np.int64), prior.indices.astype(np.int32)
    plain = np.zeros((2000, 40), dtype=np.int32)
    plain[:, 0] = np.arange(2000) % N
    fast = plain.copy()
    step_walks(indptr, indices, chance, keys, plain)
    compiled(indptr, indices, chance, keys, fast)
    np.testing.assert_array_equal(plain, fast)


def test_the_same_seed_gives_the_same_walks_on_any_number_of_threads(prior, monkeypatch):
    whole = sample_walks(prior, 3000, 40, seed=11)  # compiled, in one block
    monkeypatch.setattr(walks, "_BLOCK_STEPS", 4000)
    for threads in (1, 3):
        job = sample_walks_job(prior, 3000, 40, 11, threads=threads)
        np.testing.assert_array_equal(run(job, bar=False), whole)
    np.testing.assert_array_equal(sample_walks(prior, 50, 7, seed=11), whole[:50, :7])
    assert not np.array_equal(sample_walks(prior, 3000, 40, seed=12), whole)


def test_a_walk_of_one_cell_is_its_first_cell(prior):
    np.testing.assert_array_equal(sample_walks(prior, 3, 1, 0, start=[4, 2, 9]), [[4], [2], [9]])


def test_first_cells_may_be_given(prior):
    found = sample_walks(prior, 5, 6, seed=1, start=7)
    assert (found[:, 0] == 7).all()
    assert (prior.toarray()[found[:, 0], found[:, 1]] > 0).all()


def test_ruin_of_a_gambler():
    up, n = 0.6, 9
    found = sample_walks(chain(n, up), 20_000, 400, seed=0, start=4)
    assert set(found[:, -1]) == {0, n - 1}
    odds = (1 - up) / up
    expected = (1 - odds**4) / (1 - odds ** (n - 1))
    won = (found[:, -1] == n - 1).mean()
    assert abs(won - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000)


def test_an_edge_without_a_chance_is_never_taken():
    matrix = sparse.csr_array(
        (np.array([0.0, 1.0, 0.0, 1.0, 1.0]), np.array([0, 1, 2, 2, 0]), np.array([0, 3, 4, 5]))
    )
    found = sample_walks(matrix, 2000, 4, seed=0, start=0)
    assert (found == [0, 1, 2, 0]).all()


def test_tiny_chances_keep_their_size():
    n = 3000
    row = np.repeat(np.arange(n), 2)
    matrix = sparse.csr_array((np.tile([1e-14, 1.0], n), (row, np.tile([0, 1], n))), shape=(n, n))
    first = cumulated(matrix)[matrix.indptr[:-1]]
    np.testing.assert_allclose(first, 1e-14, rtol=1e-6)


def test_chances_are_normalised_on_the_way(prior):
    np.testing.assert_array_equal(
        sample_walks(3 * prior.toarray(), 40, 9, seed=2), sample_walks(prior, 40, 9, seed=2)
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 5, 1), "n_walks is 0; give a whole number, 1 or more"),
        ((5, 0, 1), "path_len is 0; give a whole number, 1 or more"),
        ((5, 2.0, 1), "path_len is 2.0; give"),
        ((5, 5, -1), "seed is -1; give a whole number, 0 or more"),
        ((10**9, 10**6, 1), "1000000000 walks of 1000000 cells take 4e\\+06 GB, and .* are free"),
    ],
)
def test_what_cannot_be_drawn_is_refused(prior, arguments, says):
    with pytest.raises(ConfigError, match=says):
        sample_walks(prior, *arguments)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ([1, 2], "start is int64 of shape .2,. for 3 walks"),
        ([0.5, 1, 2], "start is float64"),
        ([0, 1, N], "start names cell 30, and cells are numbered 0 to 29"),
        ([0, 1, -1], "start names cell -1"),
    ],
)
def test_first_cells_that_are_not_there_are_refused(prior, start, says):
    with pytest.raises(DataError, match=says):
        sample_walks(prior, 3, 4, 0, start=start)


def test_chances_that_lead_nowhere_are_refused():
    with pytest.raises(DataError, match="leads nowhere from 1 of 3 cells"):
        sample_walks(np.diag([1.0, 0.0, 1.0]), 3, 4, 0)


def test_the_job_tells_how_far_it_is_and_can_be_stopped(prior, monkeypatch):
    monkeypatch.setattr(walks, "_BLOCK_STEPS", 5000)
    seen = [step.done for step in sample_walks_job(prior, 4000, 50, 0)]
    assert seen == sorted(seen)
    assert seen[-1] == 4000
    assert len(seen) > 20
    job = sample_walks_job(prior, 4_000_000, 50, 0, threads=1)
    for _ in range(3):
        next(job)
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def test_steps_to_the_end_are_those_of_a_line() -> None:
    """On a line whose walks go one cell forward, an end 40 cells away is some 38 steps away."""
    n_cells = 41
    forward = sparse.csr_matrix(np.eye(n_cells, k=1))
    forward[n_cells - 1, n_cells - 1] = 1
    time = np.arange(n_cells)
    assert steps_to_the_end(forward, time) == pytest.approx(36, abs=1)
    assert path_len_for(36) == 9
    assert path_len_for(2) == 4


def test_walks_that_run_through_the_whole_tree_are_told() -> None:
    assert span_note(10, 36) == ()
    (said,) = span_note(50, 16)
    assert said == (
        "walks of 50 cells reach an end, which is some 16 steps from the first cells, and tell "
        "branches apart less well than short ones; try a path_len of 4"
    )
