"""Differences between groups: planted genes are found, others are not, batches do not count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.vae import AmbientRegularizedSCVI
from celldyn.vae.differential import Comparison, called

N_OBS, N_VARS = 400, 40
PLANTED = ["g0", "g1", "g2"]


@pytest.fixture(scope="module")
def model():
    """Two types that differ in three genes, by 8, 8 and 1/8; g3 differs by batch alone."""
    rng = np.random.default_rng(0)
    kind, batch = rng.integers(2, size=N_OBS), rng.integers(2, size=N_OBS)
    mean = np.tile(rng.gamma(4, 1.0, N_VARS) + 1, (N_OBS, 1))
    mean[:, :3] = 2.0
    mean[kind == 0, 0] *= 8
    mean[kind == 0, 1] *= 8
    mean[kind == 1, 2] *= 8
    mean[batch == 1, 3] *= 6
    x = rng.poisson(mean * rng.lognormal(0, 0.2, (N_OBS, 1)))
    obs = pd.DataFrame(
        {"type": pd.Categorical([f"t{k}" for k in kind]), "batch": [f"b{k}" for k in batch]},
        index=[f"c{k}" for k in range(N_OBS)],
    )
    var = pd.DataFrame(index=[f"g{k}" for k in range(N_VARS)])
    adata = AnnData(csr_matrix(x.astype(np.float32)), obs=obs, var=var)
    AmbientRegularizedSCVI.setup_anndata(
        adata, batch_key="batch", nn_conditioning_covariate_keys=["batch"]
    )
    made = AmbientRegularizedSCVI(
        adata, n_hidden=32, n_latent=4, use_additive_background=False, use_feature_scaling=False
    )
    made.train(max_epochs=100, batch_size=64, plan_kwargs={"lr": 4e-3})
    return made


def test_planted_genes_are_found_and_others_are_not(model):
    table = model.differential_expression(groupby="type", group1="t0", group2="t1", n_samples=2000)
    assert set(table.index[:3]) == set(PLANTED)
    found = table.index[table["is_de_fdr_0.05"]]
    assert set(PLANTED) <= set(found)
    assert len(found) <= 6
    for gene, fold in zip(PLANTED, (3, 3, -3), strict=True):
        assert table.loc[gene, "lfc_mean"] == pytest.approx(fold, abs=0.9)
        assert table.loc[gene, "lfc_median"] == pytest.approx(fold, abs=0.9)
    others = table.drop(index=PLANTED)
    assert others["lfc_mean"].abs().median() < 0.25
    assert (table["lfc_min"] <= table["lfc_median"]).all()
    np.testing.assert_allclose(table["proba_de"] + table["proba_not_de"], 1)
    x = pd.DataFrame(model.adata.X.toarray(), columns=model.adata.var_names)
    first = (model.adata.obs["type"] == "t0").to_numpy()
    np.testing.assert_allclose(table["raw_mean1"], x[first].mean()[table.index], rtol=1e-5)
    np.testing.assert_allclose(
        table["non_zeros_proportion2"], (x[~first] > 0).mean()[table.index], rtol=1e-5
    )
    assert (table["comparison"] == "t0 vs t1").all()


def test_which_is_higher(model):
    table = model.differential_expression(
        groupby="type", group1="t0", mode="vanilla", n_samples=2000
    )
    assert set(table.index[:2]) == {"g0", "g1"}
    assert table.loc["g2", "proba_m1"] < 0.01
    np.testing.assert_allclose(table["proba_m1"] + table["proba_m2"], 1)
    p = table["proba_m1"].clip(0.5 / 2000, 1 - 0.5 / 2000)
    np.testing.assert_allclose(table["bayes_factor"], np.log(p / (1 - p)), rtol=1e-6)
    assert (table["group2"] == "rest").all()


def test_batch_correction_takes_the_batch_away(model):
    batch = (model.adata.obs["batch"] == "b1").to_numpy()
    plain = model.differential_expression(idx1=batch, n_samples=2000)
    assert plain.loc["g3", "lfc_mean"] == pytest.approx(np.log2(6), abs=0.9)
    corrected = model.differential_expression(idx1=batch, n_samples=2000, batch_correction=True)
    assert abs(corrected.loc["g3", "lfc_mean"]) < 0.5
    assert corrected.loc["g3", "proba_de"] < plain.loc["g3", "proba_de"]


def test_all_groups_one_after_the_other(model):
    table = model.differential_expression(groupby="type", n_samples=300, gene_list=["g0", "g9"])
    assert table.shape[0] == 4
    assert list(dict.fromkeys(table["comparison"])) == ["t0 vs rest", "t1 vs rest"]
    up, down = (table[table["group1"] == name].loc["g0", "lfc_mean"] for name in ("t0", "t1"))
    assert up == pytest.approx(-down, abs=0.4)


def test_some_genes_at_a_time_are_all_the_same(model, monkeypatch):
    given = {"groupby": "type", "group1": "t0", "n_samples": 500}
    whole = model.differential_expression(**given)
    monkeypatch.setattr("celldyn.vae.differential.VALUES_AT_ONCE", 500 * 7)
    parts = model.differential_expression(**given)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-4, atol=1e-5)


def test_fewer_pairs_than_batches_are_enough_to_run(model):
    table = model.differential_expression(
        groupby="type", group1="t0", n_samples=1, batch_correction=True
    )
    assert len(table) == N_VARS


def test_the_expected_share_of_false_ones_is_kept():
    probability = np.array([0.99, 0.2, 0.95, 0.9, 0.5])
    found = called(probability, Comparison(fdr_target=0.06))
    # Sorted: .99, .95, .90 have 0.01, 0.03 and 0.053 expected false ones; .5 makes it 0.165.
    np.testing.assert_array_equal(found, [True, False, True, True, False])
    assert not called(np.array([0.5, 0.4]), Comparison(fdr_target=0.05)).any()


def test_what_is_not_there_is_said(model):
    with pytest.raises(ConfigError, match="nothing to compare"):
        model.differential_expression()
    with pytest.raises(MissingKeyError, match="nonesuch"):
        model.differential_expression(groupby="nonesuch")
    with pytest.raises(DataError, match="t9"):
        model.differential_expression(groupby="type", group1="t9")
    with pytest.raises(DataError, match="no cells"):
        model.differential_expression(idx1=[], idx2=[0])
    with pytest.raises(ConfigError, match="mode"):
        model.differential_expression(groupby="type", mode="guess")
