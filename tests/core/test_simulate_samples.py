"""The sample tissues: small, reproducible, and with a truth that a regression can find."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from celldyn.simulate.regulation import Tissue, received

FOLDER = Path(__file__).parents[2] / "sample_data"
REGULATED = ("two_niches", "three_sections", "layered_tissue")
NAMES = (*REGULATED, "two_fates")


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_samples", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def two_niches():
    return anndata.read_h5ad(FOLDER / "two_niches.h5ad")


def test_they_are_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 5e6


@pytest.mark.parametrize("name", NAMES)
def test_they_are_what_the_script_makes(make, name):
    kept, fresh = anndata.read_h5ad(FOLDER / f"{name}.h5ad"), getattr(make, name)()
    np.testing.assert_array_equal(kept.X.toarray(), fresh.X.toarray())
    np.testing.assert_allclose(kept.obsm["spatial"], fresh.obsm["spatial"], rtol=1e-12)
    for column in ("cell_type", "domain", "section"):
        assert kept.obs[column].astype(str).tolist() == fresh.obs[column].astype(str).tolist()


@pytest.mark.parametrize("name", REGULATED)
def test_they_are_ready_for_a_regression(make, name):
    kept, fresh = anndata.read_h5ad(FOLDER / f"{name}.h5ad"), getattr(make, name)()
    np.testing.assert_array_equal(kept.layers["imputed_count"].toarray(), kept.X.toarray())
    assert kept.obs["cell_type_int"].tolist() == fresh.obs["cell_type_int"].tolist()
    for gene, betas in fresh.uns["truth"]["betas"].items():
        np.testing.assert_allclose(
            kept.uns["truth"]["betas"][gene]["values"], betas["values"], rtol=1e-5
        )


def test_priors_are_what_the_script_makes(make):
    for name in ("grn", "ligand_receptor"):
        kept = pd.read_csv(FOLDER / f"{name}.csv")
        pd.testing.assert_frame_equal(kept, getattr(make, name)())


def test_priors_name_genes_of_the_tissue(two_niches):
    grn = pd.read_csv(FOLDER / "grn.csv")
    pairs = pd.read_csv(FOLDER / "ligand_receptor.csv")
    named = {*grn["source"], *grn["target"], *pairs["ligand"], *pairs["receptor"]}
    assert named <= set(two_niches.var_names)
    assert set(grn["cluster"]) == set(two_niches.obs["cell_type"])
    edges = two_niches.uns["truth"]["edges"]
    true = set(zip(edges["source"], edges["target"], strict=True))
    strong = grn[grn["p"] < 0.01]
    assert {(s, t) for s, t in true if "$" not in s} == set(
        zip(strong["source"], strong["target"], strict=True)
    )
    assert {s for s, _ in true if "$" in s} < set(pairs["ligand"] + "$" + pairs["receptor"])


def explained(features, y):
    design = np.column_stack([np.ones(len(y)), features])
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - rest.var() / y.var()


def test_a_linear_regression_per_type_finds_the_regulation(make, two_niches):
    adata = two_niches
    codes = adata.obs["cell_type"].cat.codes.to_numpy().astype(np.intp)
    none = np.zeros(adata.n_obs, dtype=np.intp)
    where = Tissue(np.asarray(adata.obsm["spatial"]), codes, none, none, [], [], 0)

    def of(gene):
        return adata[:, gene].X.toarray().ravel().astype(float)

    scores = {}
    for spec in make._targets():
        pairs = [received(where, of(ligand), spec.radius_um) * of(r) for ligand, r in spec.pairs]
        features = np.stack([*(of(tf) for tf in spec.regulators), *pairs], axis=1)
        for k, name in enumerate(adata.obs["cell_type"].cat.categories):
            here = codes == k
            scores[spec.gene, name] = explained(features[here], of(spec.gene)[here])
    silent = {("Target1", "Endothelial"), ("Target2", "Macrophage"), ("Target3", "Tumour")}
    assert all(scores[key] < 0.05 for key in silent)
    assert all(0.4 < score < 0.8 for key, score in scores.items() if key not in silent)


def test_three_sections_overlap():
    adata = anndata.read_h5ad(FOLDER / "three_sections.h5ad")
    boxes = [
        (xy.min(axis=0), xy.max(axis=0))
        for xy in (
            adata.obsm["spatial"][adata.obs["section"] == s]
            for s in adata.obs["section"].cat.categories
        )
    ]
    assert len(boxes) == 3
    lows, highs = np.stack([b[0] for b in boxes]), np.stack([b[1] for b in boxes])
    assert (lows.max(axis=0) < highs.min(axis=0)).all()


def test_layers_hold_their_own_types():
    adata = anndata.read_h5ad(FOLDER / "layered_tissue.h5ad")
    depth = pd.Series(adata.obsm["spatial"][:, 1], index=adata.obs["cell_type"].astype(str))
    means = depth.groupby(level=0).mean()
    assert means["Upper"] < means["Middle"] < means["Lower"] < means["Deep"]


def test_two_fates_run_from_left_to_right_and_their_drivers_are_known():
    adata = anndata.read_h5ad(FOLDER / "two_fates.h5ad")
    time = adata.obs["truth_time"]
    assert np.corrcoef(adata.obsm["spatial"][:, 0], time)[0, 1] > 0.99
    early, late = time < time.quantile(0.1), time > time.quantile(0.8)
    assert (adata.obs.loc[early, "cell_type"] == "Progenitor").mean() > 0.9
    assert set(adata.obs.loc[late, "cell_type"]) == {"Erythroid", "Monocyte"}
    counts = adata[late].to_df()
    erythroid = adata.obs.loc[late, "cell_type"] == "Erythroid"
    for i in range(8):
        more, less = counts[f"dyn_{i}"][erythroid], counts[f"dyn_{i}"][~erythroid]
        assert (more.mean() > less.mean()) == (i % 2 == 0)


def test_a_cells_place_can_be_told_of_the_waves_of_its_genes(make):
    kept, fresh = anndata.read_h5ad(FOLDER / "gene_fields.h5ad"), make.gene_fields()
    np.testing.assert_array_equal(kept.X, fresh.X)
    truth = kept.uns["truth"]
    mm = kept.obsm["spatial"] / 1000.0
    clean = 2.5 + np.sin(mm @ truth["waves_per_mm"] + truth["phase"])
    np.testing.assert_allclose(np.std(kept.X - clean), 0.3, atol=0.01)
    assert (kept.obs["split"] == "held out").sum() == 200
