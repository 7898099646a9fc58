"""First choices read off the data."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celldyn.betas import propose_regulators, propose_target
from celldyn.data import samples, type_columns
from celldyn.errors import DataError


def tissue() -> ad.AnnData:
    """Gene c follows a within types, m marks a type, z is silent."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 150)
    a = rng.poisson(3, 300)
    counts = {
        "a": a, "b": rng.poisson(3, 300), "c": 2 * a + rng.poisson(1, 300) + 20 * kind,
        "m": rng.poisson(1 + 30 * kind), "z": np.zeros(300),
    }  # fmt: skip
    adata = ad.AnnData(sparse.csr_matrix(np.array(list(counts.values()), float).T))
    adata.var_names = list(counts)
    adata.obs["kind"] = pd.Categorical(kind.astype(str))
    return adata


@pytest.mark.parametrize("dense", [False, True])
def test_regulators_vary_with_the_target_within_types(dense):
    adata = tissue()
    if dense:
        adata.X = adata.X.toarray()
    y, a = adata[:, "c"].to_df()["c"], adata[:, "a"].to_df()["a"]
    inside = pd.DataFrame({"y": y, "a": a}).groupby(adata.obs["kind"], observed=True)
    centred = inside.transform(lambda values: values - values.mean())
    found = propose_regulators(adata, "c", adata.obs["kind"].to_numpy())
    assert found[0] == "a"
    assert "c" not in found
    assert "z" not in found
    assert abs(np.corrcoef(centred["y"], centred["a"])[0, 1]) > 0.9
    # Without types the marker of one would win.
    assert propose_regulators(adata, "c", np.zeros(300))[0] == "m"


def test_no_more_than_asked():
    assert len(propose_regulators(tissue(), "c", np.zeros(300), n=2)) == 2


def test_the_target_is_the_gene_of_the_largest_spread():
    assert propose_target(tissue()) == "m"


def test_the_target_is_one_that_a_network_knows():
    assert propose_target(tissue(), among={"b", "nonesuch"}) == "b"
    assert propose_target(tissue(), among={"nonesuch"}) == "m"


def test_no_target_where_nothing_varies():
    adata = tissue()
    adata.X = np.ones(adata.shape)
    with pytest.raises(DataError, match="no gene varies"):
        propose_target(adata)


def test_true_regulators_are_among_the_first_of_the_sample():
    adata = samples.load("two_niches")
    found = propose_regulators(adata, "Target1", adata.obs["cell_type"].to_numpy(), n=5)
    assert {"Tf1", "Tf2"} <= set(found)


def test_type_columns_come_likeliest_first():
    adata = tissue()
    n = adata.n_obs
    adata.obs["region"] = pd.Categorical(np.where(np.arange(n) % 3, "x", "y"))
    adata.obs["leiden"] = pd.Categorical((np.arange(n) % 4).astype(str))
    adata.obs["Cell Type"] = pd.Categorical(np.where(np.arange(n) % 2, "T", "B"))
    adata.obs["cell_type_int"] = np.arange(n) % 2
    adata.obs["score"] = np.linspace(0, 1, n)
    adata.obs["one"] = "same"
    adata.obs["barcode"] = [f"c{i}" for i in range(n)]
    gaps = np.where(np.arange(n) % 2, "u", None)
    adata.obs["gaps"] = pd.Categorical(gaps)
    found = type_columns(adata)
    assert found[:2] == ["Cell Type", "leiden"]
    assert found[-1] == "cell_type_int"
    assert not {"score", "one", "gaps"} & set(found)
