"""Scoring against the truth: exact measures, a perfect result, and a real fit."""

from __future__ import annotations

import numpy as np
import pytest

import celldyn
from celldyn import keys
from celldyn.betas import BetasConfig
from celldyn.data import samples
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.simulate import SimulationConfig, SpotlessSimulator, TargetSpec, score
from celldyn.simulate.scoring import metrics


def test_measures_have_their_exact_values():
    truth, estimate = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0, 8.0])
    assert metrics.pearson(truth, estimate) == pytest.approx(1.0)
    assert metrics.pearson(truth, -estimate) == pytest.approx(-1.0)
    assert metrics.spearman(truth, estimate**3) == pytest.approx(1.0)
    assert metrics.slope(truth, estimate) == pytest.approx(2.0)
    assert metrics.relative_error(truth, estimate) == pytest.approx(1.0)
    assert metrics.sign_agreement([1, -1, 0, 2], [3, 1, 5, 1]) == pytest.approx(2 / 3)
    assert metrics.matched_accuracy(list("aabb"), list("yyxx")) == 1.0
    assert metrics.matched_accuracy(list("aabb"), list("xxxy")) == 0.75
    assert metrics.average_precision([1, 0, 1], [3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    square = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    turned = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    assert metrics.mean_cosine(square, turned) == pytest.approx(0.5)


@pytest.mark.parametrize("measure", [metrics.pearson, metrics.spearman, metrics.slope])
def test_what_does_not_vary_has_no_score(measure):
    assert np.isnan(measure(np.zeros(4), np.zeros(4)))


@pytest.fixture(scope="module")
def tissue():
    config = SimulationConfig(
        n_cells=400, n_celltype=2, n_genes=20, seed=3,
        targets=[
            TargetSpec(gene="Myc", regulators={"hk_0": 0.5, "hk_1": -0.2}, field_strength=0.3)
        ],
    )  # fmt: skip
    simulator = SpotlessSimulator(config)
    simulator.simulate_counts()
    return simulator.to_anndata()


def with_betas(adata, columns, values):
    adata = adata.copy()
    adata.obsm[keys.BETAS(gene="Myc")] = values
    adata.uns.setdefault("celldyn", {})[keys.BETAS_INFO(gene="Myc")] = {
        "columns": np.array(columns, dtype=object)
    }
    return adata


def values_of(table, metric):
    return table.loc[table["metric"] == metric].set_index("what")["value"]


def test_the_truth_itself_has_a_perfect_score(tissue):
    truth = tissue.uns["truth"]["betas"]["Myc"]
    columns = [*truth["columns"], "beta_hk_2"]
    values = np.concatenate([truth["values"], np.zeros((tissue.n_obs, 1))], axis=1)
    table = score(with_betas(tissue, columns, values), "betas")
    for metric in ("correlation over cells", "sign agreement", "calibration slope"):
        assert values_of(table, metric).to_numpy() == pytest.approx([1.0, 1.0])
    assert values_of(table, "relative error").to_numpy() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert values_of(table, "average precision of edges")["Myc"] == 1.0
    assert values_of(table, "false positives among non-edges")["Myc"] == 0.0
    assert values_of(table, "edges not found")["Myc"] == 0.0


def test_false_edges_and_missed_ones_are_counted(tissue):
    truth = tissue.uns["truth"]["betas"]["Myc"]
    kept = np.column_stack([truth["values"][:, :2], np.full(tissue.n_obs, 1.0)])
    table = score(with_betas(tissue, ["beta0", "beta_hk_0", "beta_hk_2"], kept), "betas")
    assert values_of(table, "false positives among non-edges")["Myc"] == 1.0
    assert values_of(table, "edges not found")["Myc"] == 0.5
    assert values_of(table, "relative error")["Myc: hk_1"] == pytest.approx(1.0)


def test_some_of_the_cells_are_scored_against_their_own_rows(tissue):
    truth = tissue.uns["truth"]["betas"]["Myc"]
    whole = with_betas(tissue, truth["columns"], np.asarray(truth["values"]))
    some = whole[::-3].copy()
    assert values_of(score(some, "betas"), "relative error").max() < 1e-6
    some.obs_names = [f"x{i}" for i in range(some.n_obs)]
    with pytest.raises(DataError, match="no cell of the truth"):
        score(some, "betas")


def test_a_real_fit_finds_the_edges_of_the_sample():
    adata = samples.load("two_niches")
    config = BetasConfig(
        target_gene="Target1", cluster_annot="cell_type",
        colinks_path=str(samples.path("grn.csv")), lr=str(samples.path("ligand_receptor.csv")),
    )  # fmt: skip
    celldyn.betas.fit(adata, config, bar=False)
    table = score(adata, "betas")
    assert values_of(table, "average precision of edges")["Target1"] > 0.99
    assert values_of(table, "sign agreement")["Target1: Tf1"] > 0.99
    assert values_of(table, "calibration slope")["Target1: Tf1"] == pytest.approx(1.0, abs=0.15)
    assert values_of(table, "edges not found")["Target1"] == 0.0


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        ("betas", "fit one of these genes: Myc"),
        ("landscape", "no true states"),
        ("vae", "nothing of a variational autoencoder"),
        ("environment", "no predicted effect"),
    ],
)
def test_what_is_missing_is_said(tissue, system, sentence):
    with pytest.raises(MissingKeyError, match=sentence):
        score(tissue, system)


def test_an_unknown_system_and_a_tissue_without_truth_are_refused(tissue):
    with pytest.raises(ConfigError, match="choose one of betas, vae, landscape, environment"):
        score(tissue, "weather")
    bare = tissue.copy()
    del bare.uns["truth"]
    with pytest.raises(MissingKeyError, match="carries no truth"):
        score(bare, "betas")


def test_a_latent_space_is_scored_by_its_neighbours(tissue):
    adata = tissue.copy()
    code = adata.obs["cell_type"].cat.codes.to_numpy()
    noise = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    adata.obsm["X_vae"] = 50.0 * code[:, None] + noise
    adata.obs["batch"] = np.where(np.arange(adata.n_obs) % 2, "a", "b")
    table = score(adata, "vae").set_index("metric")["value"]
    assert table["neighbours of the own type"] == 1.0
    assert table["mixing of batches"] == pytest.approx(0.95, abs=0.05)
    adata.obsm["split"] = noise + 100.0 * (np.arange(adata.n_obs) % 2)[:, None]
    apart = score(adata, "vae", latent="split").set_index("metric")["value"]
    assert apart["mixing of batches"] == pytest.approx(0.0, abs=1e-9)
