"""A panel gives each gene what it gets alone, and tells how it stands."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from betas_tissue import PAIRS, sections, tissue
from panel_tissue import SCORES, TARGETS, config, fitted, network, prepared, smooth

from celldyn.betas import fit_job, prepare
from celldyn.betas.panel import BetaStore, fit_panel, panel_job
from celldyn.betas.panel.chunk import divided
from celldyn.errors import ConfigError
from celldyn.jobs import run


def alone(adata, settings, gene):
    settings = settings.of_gene(gene)
    inputs = prepare(adata, settings, grn=network(), lr=PAIRS, ligand_target=SCORES)
    return run(fit_job(inputs, settings), bar=False)


def assert_same(one, other, *, atol=1e-9):
    assert one.modulators == other.modulators
    assert one.kinds == other.kinds
    assert one.dropped == other.dropped
    assert one.radii == other.radii
    assert one.config == other.config
    assert one.notes == other.notes
    np.testing.assert_allclose(one.values, other.values, atol=atol)
    np.testing.assert_allclose(one.coefficients, other.coefficients, atol=atol)
    for mine, its in zip(one.fits, other.fits, strict=True):
        assert (mine.section, mine.cluster, mine.status) == (its.section, its.cluster, its.status)
        scores = [[fit.r2, fit.heldout_r2, fit.seed_r2] for fit in (mine, its)]
        np.testing.assert_allclose(*scores, atol=max(atol, 1e-6))


CASES = {
    "a given penalty": {"heldout_folds": 0},
    "held-out blocks": {"heldout_folds": 3, "penalty": "given"},
    "a chosen penalty": {"heldout_folds": 4},
    "Bayesian ridge": {"heldout_folds": 3, "estimator": "bayesian"},
    "ARD": {"estimator": "ard"},
    "regulators by cell type": {"heldout_folds": 4, "cluster_regulators": True},
    "other kernels": {"kernel": "gaussian", "normalisation": "n_cells", "include_self": False},
    "no ligands, nothing standardised": {"use_ligands": False, "standardise": False},
    "clusters left out": {"skip_clusters": ["2"], "heldout_folds": 3},
    "all cells alike": {"cluster_annot": None, "heldout_folds": 3},
}


@pytest.mark.parametrize("name", CASES)
def test_a_gene_of_a_panel_is_the_gene_alone(tmp_path, name):
    adata = sections(120)
    settings = config(section_key="section", **CASES[name])
    store = fitted(tmp_path / "a.zarr", adata, settings)
    for gene in TARGETS:
        one, other = store.result(gene), alone(adata, settings, gene)
        assert_same(one, other)
    assert any("intercept" not in fit.status for gene in store for fit in store.result(gene).fits)


def test_activity_thresholds_hold_for_a_panel_too(tmp_path):
    adata = tissue(noise=0.2)
    rng = np.random.default_rng(1)
    table = adata.to_df().loc[:, ["LigA", "LigB", "RecA"]] * (rng.random((240, 3)) < 0.6)
    adata.uns["cell_thresholds"] = table
    store = fitted(tmp_path / "a.zarr", adata)
    assert_same(store.result("Target"), alone(adata, config(), "Target"))


def test_betas_that_vary_are_kept_for_every_cell(tmp_path):
    adata = smooth()
    settings = config(genes=["Target", "RecA"], num_epochs=1, vision_model="smooth",
                      heldout_folds=3)  # fmt: skip
    store = fitted(tmp_path / "a.zarr", adata, settings)
    expected = alone(adata, settings, "Target")
    one = store.result("Target")
    assert_same(one, expected, atol=1e-4)  # float32
    assert len(np.unique(one.values[:, 1])) > 300
    for mine, its in zip(one.states, expected.states, strict=True):
        assert set(mine) == set(its)
        for part in its:
            np.testing.assert_allclose(mine[part], its[part], atol=1e-6)
    assert store["Target"].dense is not None
    assert store["RecA"].dense is None  # nothing explains it: no betas to vary


def test_how_genes_are_divided_does_not_matter(tmp_path):
    adata = tissue(noise=0.3)
    settings = config(heldout_folds=3, penalty="given")
    one = fitted(tmp_path / "a.zarr", adata, settings.replace(chunk=1))
    four = fitted(tmp_path / "b.zarr", adata, settings.replace(chunk=4))
    for gene in TARGETS:
        np.testing.assert_allclose(one.result(gene).values, four.result(gene).values, atol=1e-6)


def test_chunks_shrink_to_what_memory_holds(monkeypatch):
    inputs = prepared()
    assert [len(chunk) for chunk in divided(inputs, config())] == [3, 1]
    monkeypatch.setattr("celldyn.betas.panel.chunk.STATISTICS_BYTES", 8 * 3 * 5**2)
    assert [len(chunk) for chunk in divided(inputs, config())] == [1, 1, 1, 1]
    assert [t.gene for chunk in divided(inputs, config()) for t in chunk] == TARGETS


def test_the_job_tells_how_it_stands(tmp_path):
    settings = config(heldout_folds=3)
    inputs = prepared(settings=settings)
    store = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    done, there = [], []
    job = panel_job(inputs, settings, store)
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            result = end.value
            break
        done.append(step.done)
        assert step.total == 4
        if step.metrics:
            gene = step.message
            there.append(gene)
            assert gene in BetaStore.open(store.path)  # written before it is told
            fits = store.result(gene).fits
            sizes = [fit.n_cells for fit in fits]
            r2 = np.average([fit.r2 for fit in fits], weights=sizes)
            heldout = np.average([fit.heldout_r2 for fit in fits], weights=sizes)
            assert step.metrics == pytest.approx({f"r2/{gene}": r2, f"heldout/{gene}": heldout})
    assert there == TARGETS
    assert result.fitted == tuple(TARGETS)
    assert done == sorted(done)
    assert done[-1] == 4
    assert len(set(done)) > 30
    table = result.table()
    assert table["gene"][0] == "Target"
    assert table["heldout_r2"].is_monotonic_decreasing


def test_a_closed_job_leaves_whole_genes_and_is_gone_on_with(tmp_path):
    settings = config(heldout_folds=3, chunk=2)
    inputs = prepared(settings=settings)
    whole = fitted(tmp_path / "whole.zarr", settings=settings)
    store = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    job = panel_job(inputs, settings, store)
    for step in job:
        if step.metrics:
            break
    started = time.perf_counter()
    job.close()
    assert time.perf_counter() - started < 0.5
    assert store.genes == ["Target"]
    again = BetaStore.create(tmp_path / "a.zarr", inputs, settings)
    result = run(panel_job(inputs, settings, again), bar=False)
    assert result.kept == ("Target",)
    assert result.fitted == ("RecA", "LigB", "Tf2")
    for gene in TARGETS:
        np.testing.assert_array_equal(again.result(gene).values, whole.result(gene).values)


def test_more_genes_can_join_a_store(tmp_path):
    adata = tissue(noise=0.3)
    fitted(tmp_path / "a.zarr", adata, config(genes=["Target"]))
    store = fitted(tmp_path / "a.zarr", adata, config(genes=["Target", "RecA"]))
    assert store.genes == ["RecA", "Target"]


def test_one_call_fits_and_writes(tmp_path):
    adata = tissue(noise=0.3)
    store = fit_panel(adata, config(), tmp_path / "a.zarr", bar=False, grn=network(), lr=PAIRS)
    table = store.gene_table().set_index("gene")
    assert adata.var["betas_r2"]["Target"] == table["r2"]["Target"] > 0.5
    assert np.isnan(adata.var["betas_r2"]["Silent"])
    with pytest.raises(ConfigError, match="fit_panel_on_ray"):
        fit_panel(adata, config(workers=2), tmp_path / "b.zarr", grn=network(), lr=PAIRS)


def test_the_solver_says_nothing_on_a_panel_of_collinear_columns(tmp_path):
    adata = tissue(90, noise=0.3)
    adata.layers["imputed_count"][:, 2] = 2 * adata.layers["imputed_count"][:, 1]  # Tf2 = 2 Tf1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        store = fitted(tmp_path / "a.zarr", adata)
    assert store.result("Target").fits[0].r2 > 0.5


def test_a_cluster_in_which_a_gene_is_silent_keeps_its_mean(tmp_path):
    adata = tissue(noise=0.3)
    adata.layers["imputed_count"][adata.obs["type"] == "7", 0] = 4.0
    settings = config(heldout_folds=4)
    store = fitted(tmp_path / "a.zarr", adata, settings)
    silent = store.result("Target").fits[2]
    assert silent.status == "intercept only: target is constant"
    assert store["Target"].coefficients[2, 0] == 4.0
    assert_same(store.result("Target"), alone(adata, settings, "Target"))


def test_results_know_what_they_were_fitted_with(tmp_path):
    store = fitted(tmp_path / "a.zarr", settings=config(score_threshold=0.1))
    result = store.result("Target")
    assert result.config.target_gene == "Target"
    assert result.config.score_threshold == 0.1
    assert replace(result).species == "mouse"


@pytest.fixture
def one_thread():
    """Threads of networks so small only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_networks_of_several_genes_are_trained_together_and_as_alone(tmp_path):
    adata = smooth(150)
    settings = config(
        genes=["Target", "LigB"], num_epochs=3, vision_model="cnn", spatial_dim=8,
        penalty="given", score_threshold=0.0, device="cpu",
        activation="sigmoidx2",
    )  # fmt: skip
    store = fitted(tmp_path / "a.zarr", adata, settings)
    result = store.result("Target")
    assert_same(result, alone(adata, settings, "Target"), atol=1e-3)
    assert "columns" in result.states[0], [fit.r2 for fit in result.fits]
    assert store.result("LigB").losses[0]
