"""The simulator from config to AnnData, and as a job."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing

import anndata
import numpy as np
import pytest

from celldyn.data import section_key, um_per_unit
from celldyn.errors import NotFittedError
from celldyn.jobs import Progress, run
from celldyn.simulate import (
    GeneSpec,
    SimulationConfig,
    SpotlessSimulator,
    TargetSpec,
    sample_counts,
    simulate_job,
)


def config(**changes):
    given = {
        "n_cells": 600,
        "n_celltype": 3,
        "n_genes": 30,
        "seed": 2,
        "celltype_proportion": [0.5, 0.3, 0.2],
        "n_domains": 2,
        "n_sections": 2,
        "extra_genes": [GeneSpec(name="Tf1", mu=5.0, celltype_factor={"ct_1": 2.0}, kind="TF")],
        "targets": [TargetSpec(gene="Myc", regulators={"Tf1": 0.5, "hk_0": 0.2})],
    }
    return SimulationConfig(**{**given, **changes})


@pytest.fixture(scope="module")
def simulator():
    made = SpotlessSimulator(config())
    made.simulate_counts()
    return made


def test_steps_ask_for_those_before():
    fresh = SpotlessSimulator(config())
    for name in ("gpar_df", "cell_gdf", "counts", "count_array"):
        with pytest.raises(NotFittedError, match="first"):
            getattr(fresh, name)


def test_cells(simulator):
    cells = simulator.cell_gdf
    assert {"cell_id", "celltype", "x", "y", "domain", "section", "scale"} <= set(cells.columns)
    np.testing.assert_array_equal(cells["cell_id"], np.arange(600))
    shares = cells["celltype"].value_counts(normalize=True)
    assert shares[["ct_0", "ct_1", "ct_2"]].to_numpy() == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
    assert cells["section"].value_counts().tolist() == [300, 300]
    by_type = cells.groupby("celltype", observed=True)["scale"]
    np.testing.assert_allclose(by_type.mean(), 1.0)
    assert cells["scale"].std() == pytest.approx(0.25, abs=0.04)
    first, second = (cells.loc[cells["section"] == s, "x"] for s in ("section_0", "section_1"))
    assert first.min() < second.max()
    assert second.min() < first.max()


def test_counts_are_those_of_the_table(simulator):
    counts = simulator.count_array
    assert counts.shape == (600, 32)
    assert np.issubdtype(counts.dtype, np.integer)
    cells = simulator.cell_gdf
    table = sample_counts(simulator.gpar_df, cells["celltype"], cells["scale"], seed=2)
    np.testing.assert_array_equal(counts[:, :30], table.toarray())
    assert simulator.gene_names[-2:] == ["Tf1", "Myc"]
    assert list(simulator.gpar_df["feature_name"]) == simulator.gene_names[:30]


def test_the_same_config_gives_the_same_tissue_and_another_seed_does_not(simulator):
    again = SpotlessSimulator(config())
    np.testing.assert_array_equal(again.simulate_counts().toarray(), simulator.count_array)
    other = SpotlessSimulator(config(seed=3))
    assert (other.simulate_counts().toarray() != simulator.count_array).any()


def test_everything_is_on_the_anndata_and_survives_a_file(simulator, tmp_path):
    simulator.to_anndata().write_h5ad(tmp_path / "tissue.h5ad")
    adata = anndata.read_h5ad(tmp_path / "tissue.h5ad")
    np.testing.assert_array_equal(adata.X.toarray(), simulator.count_array)
    assert list(adata.var_names) == simulator.gene_names
    np.testing.assert_allclose(adata.obsm["spatial"], simulator.cell_gdf[["x", "y"]])
    assert um_per_unit(adata) == 1.0
    assert section_key(adata) == "section"
    assert {"cell_type", "domain", "section"} <= set(adata.obs.columns)
    assert adata.var.loc["Tf1", "ct_1_mu"] == 10.0
    assert np.isnan(adata.var.loc["Myc", "ct_0_mu"])
    truth = adata.uns["truth"]
    assert int(truth["schema_version"]) == 2
    assert list(truth["cells"]) == list(adata.obs_names)
    assert SimulationConfig.from_dict(json.loads(truth["config"])) == config()
    assert list(truth["betas"]["Myc"]["columns"]) == ["beta0", "beta_Tf1", "beta_hk_0"]
    np.testing.assert_allclose(truth["betas"]["Myc"]["values"][0], [1.0, 0.5, 0.2], rtol=1e-6)
    assert truth["edges"]["source"].tolist() == ["Tf1", "hk_0"]
    assert truth["edges"]["coefficient"].tolist() == [0.5, 0.2]


def test_the_job_reports_and_returns_the_tissue(simulator):
    job, seen = simulate_job(config()), []
    while True:
        try:
            seen.append(next(job))
        except StopIteration as end:
            result = end.value
            break
    assert all(isinstance(p, Progress) for p in seen)
    assert {"gene parameters", "positions", "named genes"} <= {p.stage for p in seen}
    np.testing.assert_array_equal(result.adata.X.toarray(), simulator.count_array)
    assert len(result.cells) == 600
    assert len(result.genes) == 30


def test_counts_are_reported_tile_by_tile_and_can_be_stopped(monkeypatch):
    monkeypatch.setattr("celldyn.simulate.counts._TILE", 600)
    monkeypatch.setattr("celldyn.simulate.counts.Pace.due", lambda _self: True)
    with closing(simulate_job(config())) as job:
        done = [p.done for p in job if p.stage == "counts"]
    assert done == sorted(done)
    assert len(done) > 20
    assert done[-1] == 600
    stopped = simulate_job(config())
    next(p for p in stopped if p.stage == "counts")
    stopped.close()
    with pytest.raises(StopIteration):
        next(stopped)


def test_one_cell_of_one_type():
    result = run(simulate_job(SimulationConfig(n_cells=1, n_celltype=1, n_genes=1)), bar=False)
    assert result.adata.shape == (1, 1)


def test_importing_is_light():
    code = (
        "import sys, celldyn.simulate;"
        "heavy = {'torch', 'matplotlib', 'anndata', 'scanpy', 'sklearn', 'napari', 'qtpy'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
