"""The seed's own example, line by line, and what its table of outputs promises."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from landscape_model_cases import line, small_config
from scipy import sparse

from celldyn import keys
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.landscape import LSD, LSDConfig


@pytest.fixture(scope="module")
def trained() -> LSD:
    cfg = small_config()
    cfg.optimizer.adam.lr = 5e-3
    lsd = LSD(line(), cfg, device="cpu")
    lsd.set_prior_transition(prior_time_key="time")
    lsd.prepare_walks()
    lsd.train(6)
    return lsd


def test_the_quick_start_of_the_seed() -> None:
    adata = line(n_cells=80, n_genes=24)
    cfg = LSDConfig()
    cfg.model.z_dim = 10
    cfg.walks.path_len = 50
    cfg.walks.num_walks = 64
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lsd = LSD(adata, cfg, device=device)
    lsd.set_prior_transition(prior_time_key="time")
    lsd.prepare_walks()
    lsd.train(num_epochs=2)
    result = lsd.get_adata()

    assert result.obsm["X_cell_state"].shape == (80, 10)
    assert result.obsm["X_diff_state"].shape == (80, 2)
    for name in ("potential", "entropy", "lsd_pseudotime"):
        assert np.isfinite(result.obs[name]).all()
    assert np.allclose(result.obsp["transitions"].sum(1), 1)
    assert "potential" not in adata.obs

    result = lsd.get_cell_fates(
        adata=result, time_range=15.0, cluster_key="clusters", return_paths=True
    )
    assert set(result.obs["fate"]) <= {"early", "late"}
    assert lsd.paths is not None
    assert lsd.paths.shape[1] == 80

    X = torch.from_numpy(result.X.toarray()).float()
    perturbed, unperturbed = lsd.perturb(
        adata=result, x=X, gene_name=adata.var_names[0], cluster_key="clusters",
        perturbation_level=0,
    )  # fmt: skip
    assert isinstance(perturbed, pd.Categorical)
    assert len(perturbed) == len(unperturbed) == 80


def test_outputs_are_what_the_seed_defines(trained: LSD) -> None:
    result = trained.get_adata()
    with torch.no_grad():
        x = torch.from_numpy(result.X.toarray())
        z, _ = trained.networks.encode(x)
        _, B_scale = trained.networks.encode_B(z)
        V = trained.potential(z).numpy()
    np.testing.assert_allclose(result.obsm["X_cell_state"], z, atol=1e-5)
    np.testing.assert_allclose(result.obs["entropy"], B_scale.log().sum(1), atol=1e-5)
    np.testing.assert_allclose(result.obs["potential"], V, atol=1e-5)
    wanted = (V.max() - V) / (V.max() - V.min() + 1e-8)
    np.testing.assert_allclose(result.obs["lsd_pseudotime"], wanted, atol=1e-4)
    graph = trained.adata.obsp["connectivities"]
    i, j = 10, graph[10].indices
    chances = np.exp(V[i] - V[j])
    np.testing.assert_allclose(
        result.obsp["transitions"][[i], j], chances / chances.sum(), rtol=1e-4
    )


def test_dense_data_gives_the_same_states(trained: LSD) -> None:
    dense = line()
    dense.X, dense.layers["raw"] = dense.X.toarray(), dense.layers["raw"].toarray()
    lsd = LSD(dense, trained.cfg, device="cpu")
    lsd.set_prior_transition(prior_time_key="time")
    lsd.prepare_walks()
    lsd.train(6)
    np.testing.assert_allclose(
        lsd.get_adata().obsm["X_cell_state"], trained.get_adata().obsm["X_cell_state"], atol=1e-3
    )


def test_fates_are_written_with_their_uncertainty(trained: LSD) -> None:
    result = trained.get_cell_fates(cluster_key="clusters", n_runs=16, sigma=0.3)
    chances = result.obsm["fate_probabilities"]
    low, high = result.obsm["fate_low"], result.obsm["fate_high"]
    assert np.allclose(chances.sum(1), 1)
    assert (low <= chances + 1e-6).all()
    assert (chances <= high + 1e-6).all()
    names = json.loads(result.uns[keys.CELLDYN()][keys.FATE_INFO()])["names"]
    assert (np.array(names)[chances.argmax(1)] == result.obs["fate"].astype(str)).all()
    assert ((result.obs["plasticity"] >= 0) & (result.obs["plasticity"] <= 1)).all()
    assert result.obs["fate_certain"].dtype == bool


def test_fates_as_sclsd_gives_them(trained: LSD) -> None:
    fates = trained.get_cell_fates(cluster_key="clusters", method="reference").obs["fate"]
    one = trained.get_cell_fates(cluster_key="clusters", method="nearest", n_runs=0).obs["fate"]
    assert (fates.astype(str) == one.astype(str)).mean() > 0.9


def test_fates_take_the_colours_of_their_clusters(trained: LSD) -> None:
    result = trained.get_adata()
    result.obs["clusters"] = result.obs["clusters"].astype("category")
    result.uns["clusters_colors"] = np.array(["#112233", "#445566"], dtype=object)
    coloured = trained.get_cell_fates(result, cluster_key="clusters", n_runs=0)
    of = dict(zip(coloured.obs["fate"].cat.categories, coloured.uns["fate_colors"], strict=True))
    assert of["early"] == "#112233" if "early" in of else of["late"] == "#445566"


def test_a_matrix_of_ones_own_is_where_walks_go() -> None:
    adata = line()
    ring = sparse.csr_matrix(np.roll(np.eye(120), 1, axis=1))
    lsd = LSD(adata, small_config(), device="cpu")
    lsd.set_prior_transition(prior_transition=ring)
    lsd.prepare_walks(num_walks=5, path_len=4)
    assert (np.diff(lsd.walks.astype(int), axis=1) % 120 == 1).all()


def test_a_phylogeny_keeps_walks_from_going_back() -> None:
    lsd = LSD(line(), small_config(), device="cpu")
    lsd.set_phylogeny({"early": ["late"]}, "clusters")
    lsd.set_prior_transition(prior_time_key="time", beta=0.0)
    lsd.prepare_walks(num_walks=200, path_len=20)
    late = (lsd.adata.obs["clusters"] == "late").to_numpy()[lsd.walks]
    assert (np.diff(late.astype(int), axis=1) >= 0).all()
    assert late.any()
    assert not late.all()


def test_what_is_wrong_is_said_in_a_sentence(trained: LSD) -> None:
    with pytest.raises(MissingKeyError, match="no column 'nothing'"):
        trained.get_cell_fates(cluster_key="nothing")
    with pytest.raises(DataError, match="not the model's 120"):
        trained.get_cell_fates(line(n_cells=50), cluster_key="clusters")
    with pytest.raises(ConfigError, match="no clusters"):
        trained.get_cell_fates(cluster_key=None)
    with pytest.raises(MissingKeyError, match="no column 'when'"):
        trained.set_prior_transition(prior_time_key="when")
    with pytest.raises(DataError, match="not numbers"):
        trained.set_prior_transition(prior_time_key="clusters")


def test_a_copy_is_trained_on_alone_and_another_seed_starts_anew(trained: LSD) -> None:
    before = {name: value.clone() for name, value in trained.networks.state_dict().items()}
    other = trained.copy()
    other.train(1)
    assert other.epoch == trained.epoch + 1
    for name, value in trained.networks.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(other.potential.gamma, trained.potential.gamma)
    fresh = trained.of_seed(99)
    assert fresh.epoch == 0
    assert fresh.walks is None
    assert fresh.cfg.walks.random_state == 99
    assert fresh.suggested_path_len == trained.suggested_path_len
    assert fresh.P is trained.P
