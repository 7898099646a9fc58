"""Betas that follow place and neighbourhood, solved in closed form."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import PAIRS, config, estimator, tissue

from celldyn.betas import SpatialCellularProgramsEstimator, fit_job, prepare
from celldyn.betas.evidence import Moments, evidence_job
from celldyn.betas.seed_model import SeedFit
from celldyn.betas.varying.basis import BROAD, FINE, LEVEL, NICHE, Basis
from celldyn.betas.varying.cluster import Cluster, Surroundings
from celldyn.betas.varying.gates import Carriers, Layout, together
from celldyn.jobs import run

SIDE = 600.0


def varying(n=900, seed=0, noise=0.5, depth=0.8):
    """One cell type; y = 1 + (1 + depth cos(2πx/SIDE)) · Tf1 − Tf2 + noise."""
    rng = np.random.default_rng(seed)
    X = rng.gamma(2.0, 1.0, (n, 5))
    xy = rng.uniform(0, SIDE, (n, 2))
    gate = 1 + depth * np.cos(2 * np.pi * xy[:, 0] / SIDE)
    X[:, 0] = 1 + gate * X[:, 1] - X[:, 2] + noise * rng.normal(size=n)
    names = ["Target", "Tf1", "Tf2", "Tf3", "Tf4"]
    adata = ad.AnnData(X, var=pd.DataFrame(index=names))
    adata.obs["type"] = pd.Categorical(rng.choice(["a", "b"], n))
    adata.obsm["spatial"] = xy
    return adata, gate


def model_of(adata, **more):
    options = {"cluster_annot": None, "layer": None, "use_ligands": False} | more
    return SpatialCellularProgramsEstimator(
        adata, "Target", regulators=["Tf1", "Tf2", "Tf3", "Tf4"], **options
    )


def fitted(adata, **more):
    model = model_of(adata)
    model.fit(**({"num_epochs": 1, "vision_model": "smooth", "pbar": False} | more))
    return model


def test_a_gate_that_is_a_wave_comes_back():
    adata, gate = varying()
    linear, smooth = fitted(adata, num_epochs=0), fitted(adata)
    betas = smooth.get_betas()
    assert np.corrcoef(betas["beta_Tf1"], gate)[0, 1] > 0.98
    assert np.abs(betas["beta_Tf1"] - gate).mean() < 0.1
    assert np.abs(betas["beta_Tf2"] + 1).mean() < 0.1
    key = next(iter(smooth.scores))
    assert smooth.scores[key] > linear.scores[key] + 0.1
    assert smooth.heldout_scores[key] > linear.heldout_scores[key] + 0.1
    row = smooth.result.score_table().iloc[0]
    assert row["seed_r2"] == linear.scores[key]
    assert row["seed_heldout_r2"] == linear.heldout_scores[key]


def test_scores_are_those_of_exactly_these_betas():
    adata, _ = varying()
    model = fitted(adata)
    betas = model.get_betas()
    y = adata.X[:, 0]
    predicted = betas["beta0"] + (
        betas[[f"beta_{name}" for name in model.modulators]].to_numpy()
        * adata[:, model.modulators].X
    ).sum(axis=1)
    r2 = 1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2)
    assert next(iter(model.scores.values())) == pytest.approx(r2, abs=1e-9)


def test_what_does_not_vary_stays_as_it_is():
    spreads = []
    for seed in range(5):
        adata, _ = varying(600, seed=seed, noise=1.0, depth=0.0)
        betas = fitted(adata).get_betas()
        spreads.append(betas["beta_Tf1"].std())
        assert betas["beta_Tf1"].mean() == pytest.approx(1.0, abs=0.1)
    assert np.median(spreads) < 0.03


def test_no_epochs_are_the_linear_model_exactly():
    adata, _ = varying()
    linear = fitted(adata, num_epochs=0).get_betas()
    assert len(linear.drop_duplicates()) == 1
    again = fitted(adata, num_epochs=0, vision_model="cnn").get_betas()
    pd.testing.assert_frame_equal(linear, again)


def test_same_seed_same_betas_and_twice_asked_the_same():
    adata, _ = varying()
    first, second = fitted(adata), fitted(adata)
    pd.testing.assert_frame_equal(first.get_betas(), second.get_betas())
    pd.testing.assert_frame_equal(first.get_betas(), first.betadata)


def test_neighbours_can_be_what_betas_follow():
    """The regulator acts only where type b is rare; place as such says nothing."""
    rng = np.random.default_rng(1)
    adata, _ = varying(2000, seed=1)
    x, y = adata.obsm["spatial"].T
    patches = np.sin(x / 25) * np.sin(y / 25) > 0  # far finer than any wave that is tried
    kind = np.where(rng.random(2000) < np.where(patches, 0.85, 0.15), "b", "a")
    adata.obs["type"] = pd.Categorical(kind)
    share = np.where(patches, 0.2, 1.8)
    adata.X[:, 0] = 1 + share * adata.X[:, 1] - adata.X[:, 2] + 0.5 * rng.normal(size=2000)
    model = model_of(adata, cluster_annot="type", radius=30)
    model.fit(num_epochs=1, vision_model="smooth", pbar=False)
    beta = model.get_betas()["beta_Tf1"]
    for label in "ab":
        at = kind == label
        assert np.corrcoef(beta[at], share[at])[0, 1] > 0.5


def test_a_model_goes_to_other_cells_of_the_tissue_and_back(tmp_path):
    adata, gate = varying(1200)
    model = fitted(adata)
    path = model.export(tmp_path)
    again = model_of(adata)
    again.load(path)
    pd.testing.assert_frame_equal(again.get_betas(), model.get_betas())
    assert again.scores == model.scores
    assert again.heldout_scores == model.heldout_scores
    half = adata[::2].copy()
    other = model_of(half)
    other.load(path)
    assert np.corrcoef(other.get_betas()["beta_Tf1"], gate[::2])[0, 1] > 0.95
    assert other.get_betas()["beta_Tf1"].corr(model.get_betas()["beta_Tf1"][::2]) > 0.99


def test_waves_end_where_the_tissue_ended(tmp_path):
    adata, _ = varying()
    path = fitted(adata).export(tmp_path)
    far = adata.copy()
    far.obsm["spatial"] = far.obsm["spatial"] + 1e5
    model = model_of(far)
    model.load(path)
    beta = model.get_betas()["beta_Tf1"]
    assert beta.std() < 0.1
    assert beta.mean() == pytest.approx(1.0, abs=0.15)


def test_clusters_that_fail_collapse_to_the_intercept():
    adata = tissue(300, noise=0.3)
    at = (adata.obs["cell_type_int"] == 2).to_numpy()
    rng = np.random.default_rng(3)
    adata.layers["imputed_count"][at, 0] = rng.normal(5, 1, at.sum())
    model = estimator(adata)
    model.fit(num_epochs=1, vision_model="smooth", pbar=False, skip_clusters=[7])
    betas = model.get_betas()
    mean = adata.layers["imputed_count"][at, 0].mean()
    assert betas.loc[at, "beta0"].to_numpy() == pytest.approx(mean)
    assert not betas.loc[at].iloc[:, 1:].to_numpy().any()
    skipped = (adata.obs["cell_type_int"] == 7).to_numpy()
    assert not betas[skipped].to_numpy().any()


def test_the_job_closes_at_once():
    adata, _ = varying()
    settings = config(
        cluster_annot=None, layer=None, use_ligands=False, num_epochs=1, vision_model="smooth",
        heldout_folds=5, regulators=["Tf1", "Tf2"],
    )  # fmt: skip
    job = fit_job(prepare(adata, settings, lr=PAIRS), settings)
    seen = [next(job) for _ in range(3)]
    job.close()
    assert seen[0].total == 2
    with pytest.raises(StopIteration):
        next(job)


def grid(side=40):
    axis = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def test_waves_are_orthonormal_longest_first():
    xy = np.vstack([[0, 0], [300, 200], grid() * [300, 200]])
    counts = np.zeros((len(xy), 2))
    basis = Basis.over(xy, counts, 12)
    assert list(basis.kinds) == [LEVEL] + [BROAD] * 4 + [FINE] * 8
    values = basis.at(grid() * [300, 200], counts[2:])
    np.testing.assert_allclose(values.T @ values / len(values), np.eye(13), atol=1e-9)
    frequency = ((basis.waves / [300, 200]) ** 2).sum(axis=1)
    assert (np.diff(frequency) >= 0).all()
    assert basis.waves[0].tolist() == [1, 0]
    outside = basis.at(np.array([[310.0, 10.0], [-5.0, 0.0]]), np.zeros((2, 2)))
    np.testing.assert_array_equal(outside[:, 1:], 0.0)


def test_counts_are_standardised_and_never_extrapolated():
    xy, counts = grid(), np.random.default_rng(0).poisson(5, (1600, 3)).astype(float)
    counts[:, 1] = 4.0  # says nothing
    basis = Basis.over(xy, counts, 0)
    assert list(basis.kinds) == [LEVEL, NICHE, NICHE]
    values = basis.at(xy, counts)[:, 1:]
    inside = np.abs(values).max(axis=1) < 3
    shown = counts[:, [0, 2]]
    standard = (shown - shown.mean(axis=0)) / shown.std(axis=0)
    np.testing.assert_allclose(values[inside], standard[inside])
    crowd = basis.at(xy[:1], np.full((1, 3), 1000.0))
    np.testing.assert_array_equal(crowd[0, 1:], [3.0, 3.0])


def test_evidence_finds_noise_and_penalties():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(800, 60))
    groups = np.repeat([0, 1, 2], 20)
    w = np.concatenate([0.5 * rng.normal(size=20), np.zeros(20), 0.1 * rng.normal(size=20)])
    r = Z @ w + 0.7 * rng.normal(size=800)
    found = run(evidence_job(Moments.of(Z, r), groups, 3, n_updates=60), bar=False)
    assert found.noise**-0.5 == pytest.approx(0.7, rel=0.05)
    assert found.precision[0] ** -0.5 == pytest.approx(0.5, rel=0.35)
    assert found.precision[2] ** -0.5 == pytest.approx(0.1, rel=0.5)
    assert found.precision[1] > 20 * found.precision[2]
    # Given the penalties, the weights are those of ridge regression.
    penalty = found.precision[groups]
    live = np.isfinite(penalty)
    matrix = found.noise * Z[:, live].T @ Z[:, live] + np.diag(penalty[live])
    exact = np.linalg.solve(matrix, found.noise * Z[:, live].T @ r)
    np.testing.assert_allclose(found.weights[live], exact, atol=1e-10)
    assert not found.weights[~live].any()


def test_evidence_begins_where_another_ended():
    rng = np.random.default_rng(2)
    Z = rng.normal(size=(300, 20))
    r = Z[:, :3].sum(axis=1) + rng.normal(size=300)
    groups = np.zeros(20, int)
    long = run(evidence_job(Moments.of(Z, r), groups, 1, n_updates=200), bar=False)
    warm = run(evidence_job(Moments.of(Z, r), groups, 1, start=long, n_updates=1), bar=False)
    np.testing.assert_allclose(warm.weights, long.weights, atol=0.02)


def gates_of(n_clusters=3, seed=0):
    """Clusters of one section with linear models of their own, and all columns written out."""
    rng = np.random.default_rng(seed)
    n = 120
    xy, types = rng.uniform(0, 100, (n * n_clusters, 2)), np.repeat(np.arange(n_clusters), n)
    around = Surroundings(xy, types, n_clusters, 20.0)
    clusters = []
    for k in range(n_clusters):
        cells = np.flatnonzero(types == k)
        X = rng.gamma(2, 1, (n, 4))
        y = X @ rng.normal(size=4) + rng.normal(size=n) + k
        at = [np.arange(0, 60), np.arange(60, 120)]
        models = [(rng.normal(), rng.normal(size=4)) for _ in range(3)]
        fit = SeedFit(*models[0], 0.5, 0.4, tuple(models[1:]))
        clusters.append(Cluster(X, y, np.ones(4, int), xy[cells], cells, k, at, fit, around))
    basis = Basis.over(xy, around.counts, 7)
    layout = Layout(basis, np.array([0, 2, 3]), n_clusters)
    return clusters, layout, [Carriers.of(each, layout) for each in clusters]


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_moments_are_those_of_the_columns_written_out(fold):
    clusters, layout, carriers = gates_of()
    rows, left = [], []
    size, n_shared = 2 * len(layout.broad), layout.n_shared
    for k, each in enumerate(clusters):
        kept = np.arange(120) if fold is None else each.folds[1 - fold]
        intercept, coef = (
            (each.seed.intercept, each.seed.coef) if fold is None else each.seed.fold_linear[fold]
        )
        values = layout.basis.at(each.xy, each.around.counts[each.cells])
        r = each.y - intercept - each.X @ coef
        noise = np.sqrt(np.mean(r[kept] ** 2))
        own = each.X[:, layout.own] * coef[layout.own]
        parts = np.column_stack((np.full(120, each.y.std()), own.sum(axis=1), own)) / noise
        shared = np.einsum("ir,ij->irj", parts, values)
        whole = np.zeros((120, n_shared + 3 * size))
        whole[:, :n_shared] = shared.reshape(120, -1)
        alone = shared[:, :2][:, :, layout.broad].reshape(120, -1)
        whole[:, n_shared + k * size : n_shared + (k + 1) * size] = alone
        rows.append(whole[kept])
        left.append(r[kept] / noise)
    expected = Moments.of(np.vstack(rows), np.concatenate(left))
    found = together(carriers, fold)
    np.testing.assert_allclose(found.gram, expected.gram, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(found.cross, expected.cross, rtol=1e-8, atol=1e-7)
    assert found.power == pytest.approx(expected.power)
    assert found.n == expected.n
    assert len(layout.groups) == len(found.cross)


def test_betas_are_the_linear_ones_times_their_gates():
    clusters, layout, carriers = gates_of()
    weights = np.random.default_rng(5).normal(size=len(layout.groups))
    here = layout.weights_of(weights, 1)
    betas = carriers[1].betas(here, None)
    seed, values = clusters[1].seed, carriers[1].values
    gate = values @ here.T
    np.testing.assert_allclose(betas[:, 0], seed.intercept + clusters[1].y.std() * gate[:, 0])
    np.testing.assert_allclose(betas[:, 3], seed.coef[2] * (1 + gate[:, 1] + gate[:, 3]))
    np.testing.assert_allclose(betas[:, 2], seed.coef[1])  # has no gate
    alone = len(layout.groups) - layout.n_shared
    assert alone == 3 * 2 * len(layout.broad)
    shared = layout.weights_of(np.r_[weights[: layout.n_shared], np.zeros(alone)], 1)
    np.testing.assert_array_equal(shared[2:], here[2:])
    assert np.abs(shared[:2] - here[:2]).max() > 0


def test_cell_types_share_what_a_place_does():
    """A cell type of few cells follows the gate that the others show."""
    adata, gate = varying(1500)
    adata.obs["type"] = pd.Categorical(np.where(np.arange(1500) % 12, "many", "few"))
    few = (adata.obs["type"] == "few").to_numpy()
    whole = model_of(adata, cluster_annot="type")
    whole.fit(num_epochs=1, vision_model="smooth", pbar=False)
    alone = fitted(adata[few].copy())
    lent = np.corrcoef(whole.get_betas()["beta_Tf1"][few], gate[few])[0, 1]
    own = np.corrcoef(alone.get_betas()["beta_Tf1"], gate[few])[0, 1]
    assert lent > 0.97
    assert lent > own
