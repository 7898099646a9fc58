"""Where perturbed cells go: chances, arrows and fates beside naive loops."""

from __future__ import annotations

import numpy as np
import pytest
from perturb_cases import fields_of, tissue
from scipy.stats import pearsonr

from celldyn import keys
from celldyn.betas import (
    PerturbConfig,
    TransitionConfig,
    cell_fates,
    embedding_vectors,
    grid_vectors,
    perturb,
    prepare_transitions,
    transition_probabilities,
    transitions_job,
    write_transitions,
)
from celldyn.betas.perturbing import kernels
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import run
from celldyn.perturbation import Perturbation


def cells(n=60, n_genes=9, seed=0):
    rng = np.random.default_rng(seed)
    x, delta = rng.gamma(2, 1, (n, n_genes)), rng.normal(0, 0.3, (n, n_genes))
    delta[5] = 0.0  # goes anywhere
    x[3] = x[4]
    delta[2] = 4e-4  # nothing after rounding
    return x, delta, rng.normal(size=(n, 2))


def naive(x, delta, embedding, k, temperature):
    n = len(x)
    P = np.zeros((n, n))
    for i in range(n):
        near = np.argsort(((embedding - embedding[i]) ** 2).sum(axis=1), kind="stable")[:k]
        for j in near:
            if i == j:
                continue
            a, b = x[j] - x[i], delta[i]
            constant = np.ptp(a) == 0 or np.ptp(b) == 0
            corr = 1.0 if constant else pearsonr(a, b).statistic
            P[i, j] = np.exp(corr / temperature)
        P[i] /= P[i].sum()
    return P


def test_chances_are_those_of_the_formula():
    x, delta, embedding = cells()
    P = transition_probabilities(delta, x, embedding, n_neighbors=12, temperature=0.2)
    truth = naive(x, np.round(delta, 3), embedding, 12, 0.2)
    np.testing.assert_allclose(P.toarray(), truth, atol=1e-10)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    assert (np.diff(P.indptr) == 11).all()
    np.testing.assert_allclose(P[5].data, 1 / 11)
    np.testing.assert_allclose(P[2].data, 1 / 11)
    exact = transition_probabilities(
        delta, x, embedding, n_neighbors=12, temperature=0.2, decimals=None
    )
    np.testing.assert_allclose(exact.toarray(), naive(x, delta, embedding, 12, 0.2), atol=1e-10)


def test_without_the_crowd_rows_sum_to_nothing():
    x, delta, embedding = cells()
    options = {"n_neighbors": 12, "temperature": 0.2}
    P = transition_probabilities(delta, x, embedding, **options)
    less = transition_probabilities(delta, x, embedding, remove_null=True, **options)
    null = transition_probabilities(np.zeros_like(delta), x, embedding, **options)
    np.testing.assert_allclose(less.toarray(), (P - null).toarray(), atol=1e-12)
    np.testing.assert_allclose(less.sum(axis=1), 0.0, atol=1e-12)


def test_blocks_of_cells_change_nothing(monkeypatch):
    from celldyn.betas.perturbing import transitions

    x, delta, embedding = cells()
    whole = transition_probabilities(delta, x, embedding, n_neighbors=12)
    monkeypatch.setattr(transitions, "_PAIRS_AT_ONCE", 12 * 9 * 7)
    parts = transition_probabilities(delta, x, embedding, n_neighbors=12)
    np.testing.assert_array_equal(parts.toarray(), whole.toarray())


def test_cells_on_one_spot_and_few_cells():
    x, delta, _ = cells(6)
    P = transition_probabilities(delta, x, np.zeros((6, 2)), n_neighbors=150)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    assert (P.diagonal() == 0).all()
    assert (embedding_vectors(P, np.zeros((6, 2))) == 0).all()


@pytest.mark.parametrize("name", ["pair_correlations", "row_products"])
def test_kernels_do_what_their_twins_do(name):
    rng = np.random.default_rng(1)
    x, delta, _ = cells()
    kernel, twin = getattr(kernels, name), getattr(kernels, f"{name}_plain")
    if name == "pair_correlations":
        near = rng.integers(0, 60, (20, 7))
        given, shape = (x, delta, 30, near), near.shape
    else:
        betas = rng.normal(size=(60, 4)).astype(np.float32)
        given, shape = (betas, x, rng.permutation(9)[:4]), (60,)
    out, truth = np.empty(shape), np.empty(shape)
    kernel(*given, out)
    twin(*given, truth)
    np.testing.assert_allclose(out, truth, rtol=1e-9)


def test_arrows_are_mean_steps():
    x, delta, embedding = cells()
    P = transition_probabilities(delta, x, embedding, n_neighbors=12, temperature=0.2).toarray()
    away = embedding[None] - embedding[:, None]
    length = np.linalg.norm(away, axis=2)
    unit = away / np.where(length > 0, length, 1.0)[..., None]
    for steps, is_unit in ((unit, True), (away, False)):
        truth = np.einsum("ij,ijk->ik", P, steps)
        found = embedding_vectors(P, embedding, unit=is_unit)
        np.testing.assert_allclose(found, truth, atol=1e-12)


def test_a_cell_goes_where_its_change_points_to():
    # Cells on a line of one gene; the change makes each more like its right neighbour.
    at = np.linspace(0, 1, 40)
    x = np.column_stack((at, 1 - at, np.zeros(40)))
    embedding = np.column_stack((at, np.zeros(40)))
    delta = np.tile([0.1, -0.1, 0.0], (40, 1))
    arrows = embedding_vectors(
        transition_probabilities(delta, x, embedding, n_neighbors=9), embedding
    )
    assert (arrows[:-1, 0] > 0.9).all()
    back = embedding_vectors(
        transition_probabilities(-delta, x, embedding, n_neighbors=9), embedding
    )
    assert (back[1:, 0] < -0.9).all()


def test_a_grid_sums_the_arrows_of_its_boxes():
    xy = np.array([[0.0, 0.0], [1.0, 1.0], [9.0, 1.0], [10.0, 0.5], [10.0, 9.0]])
    vectors = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    grid = grid_vectors(xy, vectors, n_boxes=2, length=8.0)
    assert grid.box == 5.0
    assert grid.counts.tolist() == [2, 2, 1]
    np.testing.assert_allclose(grid.points, [[2.5, 2.5], [7.5, 2.5], [7.5, 7.5]])
    np.testing.assert_allclose(grid.vectors, [[8.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    assert grid.scale == 2.0
    assert len(grid_vectors(xy, vectors, n_boxes=2, min_cells=2).points) == 2
    longest = np.linalg.norm(grid_vectors(xy, vectors, n_boxes=2).vectors, axis=1).max()
    assert longest == pytest.approx(7.5)
    assert grid_vectors(xy, 0 * vectors).scale == 0
    with pytest.raises(DataError, match="do not fit"):
        grid_vectors(xy, vectors[:3])
    with pytest.raises(ConfigError, match="boxes"):
        grid_vectors(xy, vectors, n_boxes=0)


def test_fates_are_the_types_that_pull_most():
    labels = np.array(["a", "a", "b", "b", "c"])
    P = np.array(
        [
            [0.0, 0.1, 0.4, 0.5, 0.0],  # pulled by b: 0.45 beside its own 0.05
            [0.9, 0.0, 0.1, 0.0, 0.0],  # stays
            [0.0, 0.0, 0.0, 0.2, 0.8],  # c pulls with 0.8
            [0.02, 0.02, 0.02, 0.0, 0.02],  # nothing counts
            [0.5, 0.5, 0.0, 0.0, 0.0],
        ]
    )
    assert cell_fates(P, labels, 0.05).tolist() == ["b", "a", "c", "null", "a"]
    assert cell_fates(P, labels, 0.9).tolist() == ["null"] * 5
    with pytest.raises(DataError, match="labels"):
        cell_fates(P, labels[:2])


def test_wrong_arrays_and_parameters_are_refused():
    x, delta, embedding = cells()
    with pytest.raises(DataError, match="do not fit"):
        transition_probabilities(delta[:, :3], x, embedding)
    with pytest.raises(ConfigError, match="no chances"):
        transition_probabilities(delta, x, embedding, temperature=0)
    delta[0, 0] = np.nan
    with pytest.raises(DataError, match="changes are not finite"):
        transition_probabilities(delta, x, embedding)


def test_arrows_lie_beside_the_perturbation():
    adata, model = tissue()
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    result = perturb(
        adata,
        Perturbation.knock_out("A"),
        PerturbConfig(),
        name="ko",
        fields=fields_of(adata),
        model=model,
        bar=False,
    )
    config = TransitionConfig(n_neighbors=20, temperature=0.2)
    found = run(transitions_job(prepare_transitions(adata, "ko", config), config), bar=False)
    before = np.array(adata[:, list(result.genes)].X)
    P = transition_probabilities(
        result.delta, before, adata.obsm["X_umap"], n_neighbors=20, temperature=0.2
    )
    np.testing.assert_allclose(found.probabilities.toarray(), P.toarray())
    null = transition_probabilities(0 * result.delta, before, adata.obsm["X_umap"], n_neighbors=20)
    np.testing.assert_allclose(
        found.arrows, embedding_vectors(P - null, adata.obsm["X_umap"]), atol=1e-12
    )
    written = write_transitions(adata, found, "ko")
    assert keys.BETAS_TRANSITIONS.path(name="ko") in written
    np.testing.assert_array_equal(adata.obsm["betas_arrows_ko"], found.arrows)
    with pytest.raises(MissingKeyError, match="no embedding"):
        prepare_transitions(adata, "ko", TransitionConfig(embedding="X_tsne"))
