"""Pseudocells: clusters by hand, pairs of least cost, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import ot
import pytest
from environment_data_cases import counts, csr, table

from celldyn.environment import generate_pseudocells, generate_pseudocells_job
from celldyn.environment.transport import coupling, distances
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run


def blobs(centres, each, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([c + rng.normal(0, 0.01, (each, 2)) for c in centres])


def test_as_many_cells_are_paired_as_they_are():
    origin = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    terminal = np.array([[0.0, 6.0], [1.0, 0.0], [6.0, 0.0]])
    first, second = generate_pseudocells([origin], [terminal])
    np.testing.assert_array_equal(first[0], origin)
    np.testing.assert_array_equal(second[0], terminal[[1, 2, 0]])


def test_clusters_are_means_and_pairs_are_nearest():
    places = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    origin, terminal = blobs(places, 6, 0), blobs(places[::-1] + 1.0, 3, 1)
    labels = np.repeat(np.arange(4.0), 6)[:, None]
    first, second = generate_pseudocells(
        [origin, labels], [terminal, np.repeat(np.arange(3, -1, -1.0), 3)[:, None]], n_pcells=4
    )
    order = first[1].ravel().astype(int)
    assert sorted(order) == [0, 1, 2, 3]
    expected = np.stack([origin[labels.ravel() == k].mean(0) for k in order])
    np.testing.assert_allclose(first[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(second[1], first[1])  # 1 apart, all others at least 9
    np.testing.assert_allclose(second[0], first[0] + 1, atol=0.05)


def test_a_smaller_stage_keeps_its_cells_and_the_other_is_clustered():
    places = np.array([[0.0, 0], [10, 0], [0, 10]])
    first, second = generate_pseudocells([places], [blobs(places + 1, 5, 0)])
    np.testing.assert_array_equal(first[0], places)
    np.testing.assert_allclose(second[0], places + 1, atol=0.05)


def test_another_modality_pairs():
    rna = np.array([[0.0], [1.0]])
    space = np.array([[0.0], [9.0]])
    _, by_rna = generate_pseudocells([rna, space], [rna, space[::-1]])
    _, by_space = generate_pseudocells([rna, space], [rna, space[::-1]], ot_modality=1)
    np.testing.assert_array_equal(by_rna[0], rna)
    np.testing.assert_array_equal(by_space[0], rna[::-1])


def test_storage_and_repetition_do_not_matter():
    a, b = counts(60, 8), counts(40, 8, seed=2)
    first = generate_pseudocells([a], [b], n_pcells=10)
    for one, other in itertools.product((csr, table), repeat=2):
        again = generate_pseudocells([one(a)], [other(b)], n_pcells=10)
        np.testing.assert_allclose(again[0][0], first[0][0], rtol=1e-5)
        np.testing.assert_allclose(again[1][0], first[1][0], rtol=1e-5)


def test_cells_that_are_all_alike_leave_no_empty_pseudocell():
    first, second = generate_pseudocells([np.ones((9, 3))], [np.zeros((7, 3))], n_pcells=4)
    np.testing.assert_array_equal(first[0], np.ones((4, 3)))
    np.testing.assert_array_equal(second[0], np.zeros((4, 3)))


def test_iterations_in_parts_are_those_of_k_means(monkeypatch):
    from sklearn.cluster import KMeans

    a, b = counts(60, 5), counts(50, 5, seed=2)
    reference = KMeans(6, n_init=1, random_state=42).fit(a.astype(float)).cluster_centers_
    monkeypatch.setattr("celldyn.environment.pseudocells._STEP", 1.0)  # one iteration at a time
    first, _ = generate_pseudocells([a], [b], n_pcells=6)
    np.testing.assert_allclose(sorted(first[0].tolist()), sorted(reference.tolist()), atol=1e-6)


def test_couplings_cost_no_more_than_those_of_pot():
    rng = np.random.default_rng(0)
    for n, m in ((7, 7), (7, 4), (5, 12)):
        cost = distances(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), squared=True)
        rows, columns, share = coupling(cost)
        exact = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost)
        assert cost[rows, columns] @ share == pytest.approx(exact)
        np.testing.assert_allclose(np.bincount(rows, share, n), 1 / n)
        np.testing.assert_allclose(np.bincount(columns, share, m), 1 / m)


@pytest.mark.parametrize(
    ("origin", "terminal", "options", "error", "says"),
    [
        ([np.ones((3, 2))], [np.ones((3, 3))], {}, DataError, "2 features at the origin and 3"),
        ([np.ones((3, 2))], [np.ones((3, 2))] * 2, {}, DataError, "origin has 1 modalities"),
        ([np.ones((3, 2))], [np.ones((4, 2))], {"n_pcells": 4}, DataError, "4 pseudocells cannot"),
        ([np.ones((3, 2))], [np.ones((4, 2))], {"n_pcells": 0}, DataError, "0 pseudocells"),
        ([np.full((3, 2), np.nan)], [np.ones((3, 2))], {}, DataError, "holds nan for cell 0"),
        ([np.ones((3, 2))], [np.ones((3, 2))], {"ot_modality": 1}, ConfigError, "modality 1"),
        ([np.ones((20_000, 1))], [np.ones((20_000, 1))], {}, DataError, "table of 20,000 by"),
        (
            [np.ones((3, 2)), np.ones((2, 2))],
            [np.ones((3, 2))] * 2,
            {},
            DataError,
            "modality 1 has 2 cells",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused(origin, terminal, options, error, says):
    with pytest.raises(error, match=says):
        generate_pseudocells(origin, terminal, **options)


def test_the_job_gives_what_the_function_gives():
    a, b = counts(30, 5), counts(20, 5, seed=2)
    mine = run(generate_pseudocells_job([a], [b], n_pcells=6), bar=False)
    np.testing.assert_array_equal(mine[1][0], generate_pseudocells([a], [b], n_pcells=6)[1][0])
