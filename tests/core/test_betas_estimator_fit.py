"""What the estimator fits in each cluster, and what it holds out."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from betas_tissue import REGULATORS, estimator, tissue

from celldyn import data
from celldyn.betas import (
    BetasConfig,
    SpatialCellularProgramsEstimator,
    fit,
    read_result,
)
from celldyn.betas.folds import spatial_folds
from celldyn.betas.lasso import group_lasso
from celldyn.data import samples


def test_known_coefficients_come_back():
    model = estimator(tissue(), use_ligands=False)
    assert model.fit(num_epochs=0, pbar=False) is None
    betas = model.get_betas()
    assert list(betas.columns) == ["beta0", "beta_Tf1", "beta_Tf2", "beta_Tf3"]
    slope = {0: 1.0, 2: 2.0, 7: 3.0}
    for label, row in model.models.items():
        np.testing.assert_allclose(row, [1.0, slope[label], -0.5, 0.0], atol=2e-5)
    assert set(model.scores) == set(model.heldout_scores) == {0, 2, 7}
    assert min(model.scores.values()) > 0.999999
    assert min(model.heldout_scores.values()) > 0.999999
    pd.testing.assert_frame_equal(model.betadata, betas)
    assert list(betas.index) == [f"cell{i}" for i in range(240)]
    kinds = model.adata.obs["cell_type_int"].map(slope)
    np.testing.assert_allclose(betas["beta_Tf1"], kinds, atol=2e-5)


def test_seed_is_the_group_lasso_of_the_cluster():
    model = estimator(tissue(noise=1.0))
    model.fit(num_epochs=0, threshold_lambda=0.05, l1_reg=0.01, pbar=False, score_threshold=0.0)
    _, X, y, labels = model.init_data()
    at = labels == 2
    intercept, coef = group_lasso(X[at], y[at], [1, 1, 1, 2, 2, 2], 0.05, 0.01)
    np.testing.assert_allclose(model.models[2], [intercept, *coef], atol=1e-7)
    predicted = intercept + X[at] @ coef
    r2 = 1 - np.sum((y[at] - predicted) ** 2) / np.sum((y[at] - y[at].mean()) ** 2)
    assert model.scores[2] == pytest.approx(r2, abs=1e-7)


def test_bayesian_and_ard_are_those_of_scikit_learn():
    from sklearn.linear_model import ARDRegression, BayesianRidge

    model = estimator(tissue(noise=0.5))
    for name, peer in (("bayesian", BayesianRidge()), ("ard", ARDRegression())):
        model.fit(num_epochs=0, estimator=name, pbar=False, heldout_folds=3)
        _, X, y, labels = model.init_data()
        peer.fit(X[labels == 7], y[labels == 7])
        np.testing.assert_allclose(model.models[7], [peer.intercept_, *peer.coef_], atol=1e-4)
        assert model.scores[7] > 0.9
        assert model.heldout_scores[7] > 0.8


def test_clusters_below_the_threshold_keep_their_mean():
    adata = tissue()
    rng = np.random.default_rng(3)
    at = (adata.obs["cell_type_int"] == 2).to_numpy()
    adata.layers["imputed_count"][at, 0] = rng.normal(5, 1, at.sum())
    model = estimator(adata, use_ligands=False)
    model.fit(num_epochs=0, pbar=False, penalty="given")
    betas = model.get_betas()[at]
    assert (betas["beta0"] == adata.layers["imputed_count"][at, 0].mean()).all()
    assert not betas.iloc[:, 1:].to_numpy().any()
    assert model.scores[2] == 0.0
    row = model.result.score_table().set_index("cluster").loc["2"]
    assert row["status"] == "intercept only: R² below threshold"
    assert 0 < row["seed_r2"] <= 0.2
    assert row["heldout_r2"] < 0.2


def test_constant_small_and_skipped_clusters():
    adata = tissue()
    kind = adata.obs["cell_type_int"].to_numpy().copy()
    adata.layers["imputed_count"][kind == 2, 0] = 4.0
    kind[np.flatnonzero(kind == 0)[:9]] = 11
    adata.obs["cell_type_int"] = kind
    model = estimator(adata)
    model.fit(num_epochs=0, pbar=False, skip_clusters=[7])
    table = model.result.score_table().set_index("cluster")
    assert table.loc["2", "status"] == "intercept only: target is constant"
    assert model.scores[2] == 0.0
    assert table.loc["11", "status"] == "intercept only: too few cells"
    assert np.isnan(model.heldout_scores[11])
    assert table.loc["7", "status"] == "skipped"
    assert set(model.scores) == {0, 2, 11}
    betas = model.get_betas()
    assert (betas.loc[kind == 2, "beta0"] == 4.0).all()
    assert not betas[kind == 7].to_numpy().any()
    few = adata.layers["imputed_count"][kind == 11, 0].mean()
    assert (betas.loc[kind == 11, "beta0"] == few).all()


def test_modulators_that_do_not_vary_are_dropped_and_named():
    model = estimator(tissue(), regulators=[*REGULATORS, "Silent"])
    assert "Silent" in model.modulators
    model.fit(num_epochs=0, pbar=False)
    assert "Silent" not in model.modulators
    assert model.dropped_modulators == ["Silent"]
    assert model.result.dropped == {"": ("Silent",)}
    assert "beta_Silent" not in model.get_betas()


def test_text_labels_gaps_and_x_as_layer():
    adata = tissue(labels=("B/cell", "T cell", "a"))
    model = estimator(adata, cluster_annot="type", layer=None, use_ligands=False)
    model.fit(num_epochs=0, pbar=False)
    assert set(model.scores) == {"B/cell", "T cell", "a"}
    codes = model.init_data()[3]
    assert codes.dtype.kind == "i"
    assert set(codes) == {0, 1, 2}
    numbers = estimator(adata, use_ligands=False)
    numbers.fit(num_epochs=0, pbar=False)
    np.testing.assert_array_equal(numbers.get_betas(), model.get_betas())


def test_the_data_set_is_not_written():
    adata = tissue()
    before = adata.copy()
    model = estimator(adata)
    model.init_data()
    model.fit(num_epochs=0, pbar=False)
    given = model.get_betas()
    given.iloc[:] = 0
    assert set(adata.obsm) == {"spatial"}
    assert not adata.uns
    assert list(adata.obs) == list(before.obs)
    np.testing.assert_array_equal(adata.X, before.X)
    np.testing.assert_array_equal(adata.layers["imputed_count"], before.X)
    assert model.get_betas().to_numpy().any()


def test_folds_divide_the_cells_into_compact_blocks():
    xy = np.random.default_rng(0).uniform(0, 100, (1000, 2))
    folds = spatial_folds(xy, 5, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(1000))
    assert {len(fold) for fold in folds} == {200}
    assert all(np.array_equal(a, b) for a, b in zip(folds, spatial_folds(xy, 5, 1), strict=True))
    member = np.empty(1000, int)
    for k, fold in enumerate(folds):
        member[fold] = k
    nearest = np.argsort(np.linalg.norm(xy[:, None] - xy[None], axis=2), axis=1)[:, 1]
    assert np.mean(member == member[nearest]) > 0.8  # 0.2 if cells were dealt one by one


def test_folds_need_five_cells_each():
    xy = np.random.default_rng(0).uniform(0, 100, (24, 2))
    assert spatial_folds(xy, 5) == []
    assert spatial_folds(xy, 0) == []
    assert len(spatial_folds(xy, 4)) == 4


def test_heldout_r2_sees_through_overfitting():
    rng = np.random.default_rng(0)
    genes = ["Y", *(f"T{i}" for i in range(60))]
    adata = ad.AnnData(rng.gamma(2, 1, (90, 61)), var=pd.DataFrame(index=genes))
    adata.obs["k"] = "a"
    adata.obsm["spatial"] = rng.uniform(0, 100, (90, 2))
    model = SpatialCellularProgramsEstimator(
        adata, "Y", cluster_annot="k", layer=None, regulators=genes[1:], use_ligands=False
    )
    model.fit(num_epochs=0, pbar=False, penalty="given")
    assert model.scores["a"] > 0.5
    assert model.heldout_scores["a"] < 0.0
    model.fit(num_epochs=0, pbar=False, penalty="heldout")
    assert model.scores["a"] == 0.0
    assert model.result.fits[0].status == "intercept only: R² below threshold"
    assert -0.1 < model.heldout_scores["a"] <= 0.0


def test_without_cell_types_all_cells_share_one_model(tmp_path):
    adata = samples.load("two_niches")
    first = SpatialCellularProgramsEstimator(
        adata, "Target1", cluster_annot=None, layer=None, regulators=["Tf1"], use_ligands=False
    )
    first.fit(num_epochs=0, pbar=False, penalty="given")
    betas = first.get_betas()
    assert len(betas.drop_duplicates()) == 1
    x, y = (adata[:, gene].to_df()[gene].to_numpy(float) for gene in ("Tf1", "Target1"))
    slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    np.testing.assert_allclose(betas["beta_Tf1"].iloc[0], slope, rtol=1e-4)
    again = SpatialCellularProgramsEstimator(
        adata, "Target1", cluster_annot=None, layer=None, regulators=["Tf1"], use_ligands=False
    )
    again.load(first.export(tmp_path))
    assert again.get_betas().equals(betas)
    result = fit(
        adata,
        BetasConfig(
            target_gene="Target1", cluster_annot=None, layer=None, regulators=["Tf1"],
            use_ligands=False,
        ),
        bar=False,
    )  # fmt: skip
    adata.write_h5ad(tmp_path / "all.h5ad")
    back = read_result(data.read(tmp_path / "all.h5ad"), "Target1")
    np.testing.assert_array_equal(back.values, result.values)
    assert back.config.cluster_annot is None
