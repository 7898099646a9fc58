"""Where walks may go: the equation, what is refused, phylogenies, chances made elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from landscape_cases import ring
from scipy import sparse

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import (
    check_transition,
    infer_phylogeny,
    phylogeny_mask,
    prior_transition,
)

N = 40


def dense_prior(connectivities, time, beta):
    """The equation, with all pairs."""
    weight = (connectivities.toarray() > 0) * np.exp(beta * (time[None, :] - time[:, None]))
    return weight / weight.sum(axis=1, keepdims=True)


@pytest.fixture
def time():
    return np.random.default_rng(1).permutation(N) / (N - 1)


@pytest.mark.parametrize("beta", [0.0, 1.0, 50.0])
def test_it_is_the_dense_equation(time, beta):
    graph = ring(N)
    found = prior_transition(graph, time, beta=beta)
    assert sparse.issparse(found)
    assert found.format == "csr"
    assert found.nnz == graph.nnz
    np.testing.assert_allclose(found.toarray(), dense_prior(graph, time, beta), atol=1e-14)


@pytest.mark.parametrize("scale", [1e-300, 7.0, 1e300, 1.7e308])
def test_the_unit_of_pseudotime_does_not_matter(time, scale):
    found = prior_transition(ring(N), time * scale - 0.4 * scale)
    np.testing.assert_allclose(found.toarray(), dense_prior(ring(N), time, 50.0), atol=1e-11)


@pytest.mark.parametrize("beta", [1e3, 1e6])
def test_a_strict_prior_stays_finite_and_goes_to_the_latest_neighbour(time, beta):
    graph = ring(N)
    found = prior_transition(graph, time, beta=beta).toarray()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    latest = np.where(graph.toarray() > 0, time, -1.0).argmax(axis=1)
    np.testing.assert_array_equal(found.argmax(axis=1), latest)


def test_walks_may_rest_if_they_are_told_to(time):
    assert not prior_transition(ring(N), time).diagonal().any()
    resting = prior_transition(ring(N), time, self_loop=True)
    support = sparse.csr_array(ring(N) + sparse.eye_array(N))
    np.testing.assert_allclose(resting.toarray(), dense_prior(support, time, 50.0), atol=1e-14)


def test_dense_graphs_and_columns_of_a_table_are_accepted(time):
    graph = ring(N)
    before = graph.copy()
    found = prior_transition(graph.toarray(), pd.Series(time, index=[f"c{i}" for i in range(N)]))
    np.testing.assert_array_equal(found.toarray(), prior_transition(graph, time).toarray())
    assert (graph != before).nnz == 0


@pytest.mark.parametrize("form", ["coo", "csc", "csr", "lil", "dok"])
@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_graphs_of_every_kind_are_accepted(time, form, dtype):
    graph = (ring(N) > 0).astype(dtype).asformat(form)
    found = prior_transition(graph, time)
    np.testing.assert_allclose(found.toarray(), dense_prior(ring(N), time, 50.0), atol=1e-14)


def test_a_graph_in_parts_is_accepted_and_no_walk_crosses():
    apart = sparse.block_diag([ring(10), ring(12)], format="csr")
    found = prior_transition(apart, np.linspace(0, 1, 22)).toarray()
    assert not found[:10, 10:].any()
    assert not found[10:, :10].any()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def bad(change):
    graph, values = ring(N).tolil(), np.linspace(0, 1, N)
    change(graph, values)
    return graph.tocsr(), values


def _alone(graph, values):
    graph[3, :] = 0
    graph[:, 3] = 0


def _nan_time(graph, values):
    values[[2, 5]] = np.nan


def _infinite_time(graph, values):
    values[4] = np.inf


def _constant(graph, values):
    values[:] = 0.5


def _negative(graph, values):
    graph[0, 1] = -1.0


def _nan_weight(graph, values):
    graph[0, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_alone, "1 cell is without a neighbour in the graph (number 3); compute"),
        (_nan_time, "2 cells are without a finite pseudotime (numbers 2, 5"),
        (_infinite_time, "1 cell is without a finite pseudotime (number 4)"),
        (_constant, "pseudotime is 0.5 in every cell; give one"),
        (_negative, "the neighbour graph has entries below 0"),
        (_nan_weight, "the neighbour graph has entries that are not finite"),
    ],
)
def test_what_cannot_serve_is_refused_in_one_sentence(change, says):
    if change is _nan_time:
        says = "2 cells are without a finite pseudotime (number"
    with pytest.raises(DataError) as refused:
        prior_transition(*bad(change))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_isolated_cell_rests_if_walks_may_rest():
    graph, time = bad(_alone)
    assert prior_transition(graph, time, self_loop=True)[3, 3] == 1.0


@pytest.mark.parametrize(
    ("graph", "time", "says"),
    [
        (ring(N), np.zeros(N - 1), "pseudotime is 39 for 40 cells"),
        (ring(N), np.zeros((N, 1)), "pseudotime is 40 x 1 for 40 cells"),
        (ring(N), ["early"] * N, "pseudotime is not numeric"),
        (np.ones((3, 4)), np.zeros(3), "the neighbour graph is 3 x 4"),
        (np.ones(3), np.zeros(3), "the neighbour graph is not a matrix"),
        (1j * np.ones((3, 3)), np.zeros(3), "the neighbour graph is not a matrix of numbers"),
        (None, np.zeros(3), "the neighbour graph is not a matrix"),
        ("graph", np.zeros(3), "the neighbour graph is not a matrix"),
        (np.ones((0, 0)), np.zeros(0), "the neighbour graph has no cells"),
    ],
)
def test_wrong_shapes_are_refused(graph, time, says):
    with pytest.raises(DataError, match=says):
        prior_transition(graph, time)


@pytest.mark.parametrize("beta", [-1.0, np.nan, np.inf, None, "50"])
def test_a_wrong_beta_is_refused(beta):
    with pytest.raises(ConfigError, match="beta is"):
        prior_transition(ring(N), np.arange(N), beta=beta)


LABELS = np.repeat(["Stem", "Inter", "A", "B"], N // 4)
TREE = {"Stem": ["Inter"], "Inter": ["A", "B"]}


def test_a_phylogeny_keeps_edges_within_a_cluster_and_to_its_children():
    graph = ring(N, reach=12)
    found = phylogeny_mask(graph, LABELS, TREE).toarray()
    heirs = {"Stem": {"Stem", "Inter"}, "Inter": {"Inter", "A", "B"}, "A": {"A"}, "B": {"B"}}
    allowed = np.array([[b in heirs[a] for b in LABELS] for a in LABELS])
    np.testing.assert_array_equal(found, np.where(allowed, graph.toarray(), 0.0))


def test_descendants_reach_grandchildren():
    graph = ring(N, reach=15)
    near = phylogeny_mask(graph, LABELS, TREE).toarray()
    far = phylogeny_mask(graph, LABELS, TREE, descendants=True).toarray()
    stem_to_b = np.ix_(LABELS == "Stem", LABELS == "B")
    assert not near[stem_to_b].any()
    np.testing.assert_array_equal(far[stem_to_b], graph.toarray()[stem_to_b])
    assert not far[np.ix_(LABELS == "B", LABELS == "Stem")].any()


def test_no_cell_is_dropped_and_a_cell_without_an_edge_rests():
    labels = LABELS.copy()
    labels[20] = "B"  # alone among cells of A, which is no child of B
    found = phylogeny_mask(ring(N, reach=2), labels, TREE)
    assert found.shape == (N, N)
    assert (np.diff(found.indptr) > 0).all()
    prior = prior_transition(found, np.arange(N))
    assert prior[20, 20] == 1.0
    np.testing.assert_allclose(prior.sum(axis=1), 1.0)


def test_labels_may_be_numbers_or_categories():
    graph = ring(N, reach=4)
    codes = np.repeat([0, 1, 2, 3], N // 4)
    by_number = phylogeny_mask(graph, codes, {0: [1], 1: [2, 3]})
    by_name = phylogeny_mask(graph, pd.Categorical(LABELS), TREE)
    np.testing.assert_array_equal(by_number.toarray(), by_name.toarray())


@pytest.mark.parametrize(
    ("labels", "children", "says"),
    [
        (LABELS, {"Stem": ["C"]}, "the phylogeny names C, and no cell is of it; clusters are A"),
        (LABELS[:-1], TREE, "39 labels for 40 cells"),
        ([None, *LABELS[1:]], TREE, "1 cells have no cluster"),
    ],
)
def test_wrong_phylogenies_are_refused(labels, children, says):
    with pytest.raises(DataError, match=says):
        phylogeny_mask(ring(N), labels, children)


def tree_of_cells():
    """Stem – Inter – A and B, as clouds on a line that forks, with their neighbour graph."""
    rng = np.random.default_rng(3)
    spots = {"Stem": (0, 0), "Inter": (3, 0), "A": (6, 3), "B": (6, -3)}
    sizes = {"Stem": 400, "Inter": 60, "A": 150, "B": 80}
    xy = np.concatenate([rng.normal(spots[k], 1.0, (sizes[k], 2)) for k in spots])
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(xy, 10)
    return graph + graph.T, np.repeat(list(spots), list(sizes.values()))


def test_a_phylogeny_is_read_off_the_graph():
    graph, labels = tree_of_cells()
    found = infer_phylogeny(graph, labels, "Stem")
    assert {k: set(v) for k, v in found.items()} == {
        "Stem": {"Inter"}, "Inter": {"A", "B"}, "A": set(), "B": set(),
    }  # fmt: skip
    turned = infer_phylogeny(graph, labels, "A")
    assert turned["A"] == ("Inter",)
    assert set(turned["Inter"]) == {"Stem", "B"}
    assert phylogeny_mask(graph, labels, found).shape == graph.shape


def test_a_phylogeny_is_inferred_of_connected_clusters_alone():
    apart = sparse.block_diag([ring(20), ring(20)])
    with pytest.raises(DataError, match="no edge of the graph leads on to A, B"):
        infer_phylogeny(apart, LABELS, "Stem")
    with pytest.raises(DataError, match="no cell is of cluster Root; the root is one of A"):
        infer_phylogeny(ring(N), LABELS, "Root")


def test_chances_made_elsewhere_are_checked_and_normalised(time):
    prior = prior_transition(ring(N), time)
    found, notes = check_transition(prior)
    assert notes == ()
    np.testing.assert_allclose(found.toarray(), prior.toarray(), rtol=1e-12)
    single, notes = check_transition(prior.toarray().astype(np.float32), N)
    assert notes == ()
    np.testing.assert_allclose(single.sum(axis=1), 1.0, rtol=1e-14)
    twice, notes = check_transition(2 * prior.toarray())
    assert notes == ("40 rows did not sum to 1 and were divided by their sum",)
    np.testing.assert_allclose(twice.toarray(), prior.toarray(), rtol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.eye(3), "the transition matrix is 3 x 3 and there are 4 cells"),
        (-np.eye(4), "entries below 0"),
        (np.diag([1, 1, 0, 1.0]), "leads nowhere from 1 of 4 cells .number 2.; give those"),
        (np.full((4, 4), np.inf), "not finite"),
    ],
)
def test_chances_that_are_none_are_refused(matrix, says):
    with pytest.raises(DataError, match=says):
        check_transition(matrix, 4)
