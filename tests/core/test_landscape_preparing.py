"""From raw counts to what LSD takes: one preparation, looked at from all sides."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celldyn import run
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.landscape import read_inputs
from celldyn.landscape.preparing import count_layer, log_normalised, prepare_job


def counts(n=90, n_vars=60, seed=0):
    """Counts that change along the cells in the first third of the genes."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, n)[:, None]
    mean = np.full((n, n_vars), 3.0)
    mean[:, : n_vars // 3] = 0.5 + 20 * np.where(np.arange(n_vars // 3) % 2, at, 1 - at)
    return anndata.AnnData(
        sparse.csr_matrix(rng.poisson(mean).astype(np.float32)),
        obs=pd.DataFrame({"at": at.ravel()}, index=[f"cell{k}" for k in range(n)]),
        var=pd.DataFrame(index=[f"gene{k}" for k in range(n_vars)]),
        obsm={"spatial": np.column_stack([at, at])},
        uns={"celldyn": {"spatial_unit": "um"}},
    )


@pytest.fixture(scope="module")
def given():
    adata = counts()
    whole = adata.X.toarray()
    whole[4] = 0
    whole[:, 7] = 0
    adata.X = sparse.csr_matrix(whole)
    return adata


@pytest.fixture(scope="module")
def prepared(given):
    return run(prepare_job(given, n_top_genes=25, genes=("GENE59",), n_components=8), bar=False)


def test_it_is_what_lsd_takes(prepared):
    inputs = read_inputs(prepared.adata)
    assert inputs.notes == ()
    np.testing.assert_allclose(inputs.library, prepared.adata.obs["librarysize"])


def test_cells_and_genes_without_counts_and_genes_that_vary_least_are_left_out(prepared):
    adata = prepared.adata
    assert adata.n_obs == 89
    assert "cell4" not in adata.obs_names
    assert "gene7" not in adata.var_names
    assert "gene59" in adata.var_names
    assert adata.n_vars in (25, 26)
    assert "1 cell without counts left out" in prepared.notes
    assert "1 gene without counts left out" in prepared.notes
    assert any("vary least" in note for note in prepared.notes)


def test_logarithms_are_scanpys(given, prepared):
    import scanpy

    own = given[prepared.adata.obs_names].copy()
    scanpy.pp.normalize_total(own, target_sum=1e4)
    scanpy.pp.log1p(own)
    wanted = own[:, prepared.adata.var_names].X.toarray()
    np.testing.assert_allclose(prepared.adata.X.toarray(), wanted, rtol=1e-5)


def test_counts_stay_those_of_the_same_cells_and_genes(given, prepared):
    adata = prepared.adata
    wanted = given[adata.obs_names, adata.var_names].X.toarray()
    np.testing.assert_array_equal(adata.layers["raw"].toarray(), wanted)


def test_neighbours_are_near_and_serve_scanpy(prepared):
    import scanpy

    adata = prepared.adata
    row, column = adata.obsp["connectivities"].nonzero()
    at = adata.obs["at"].to_numpy()
    assert np.abs(at[row] - at[column]).mean() < 0.2  # at random it is 0.33
    scanpy.tl.diffmap(adata)
    assert adata.obsm["X_diffmap"].shape[0] == adata.n_obs


def test_what_else_was_there_comes_along_and_the_given_stays(given, prepared):
    np.testing.assert_array_equal(prepared.adata.obsm["spatial"][:, 0], prepared.adata.obs["at"])
    assert prepared.adata.uns["celldyn"]["spatial_unit"] == "um"
    assert given.shape == (90, 60)
    assert not given.layers
    assert not given.obsp
    assert "neighbors" not in given.uns


def test_neighbours_may_be_found_in_a_table_of_obsm(given):
    adata = given.copy()
    adata.obsm["X_vae"] = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    made = run(prepare_job(adata, n_top_genes=None, use_rep="X_vae"), bar=False).adata
    assert made.n_vars == 59
    row, column = made.obsp["distances"].nonzero()
    own = np.linalg.norm(made.obsm["X_vae"][row] - made.obsm["X_vae"][column], axis=1)
    np.testing.assert_allclose(made.obsp["distances"].data, own, rtol=1e-4)


@pytest.mark.parametrize("place", ["", "raw", "counts"])
def test_counts_are_found_where_they_usually_are(place):
    adata = counts()
    if place:
        adata.layers[place] = adata.X
        adata.X = log_normalised(adata.X)
    assert count_layer(adata) == place


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layer": "umis"}, MissingKeyError, "layer 'umis' is not there"),
        ({"genes": ("Actb",)}, MissingKeyError, "gene 'Actb' is not among"),
        ({"use_rep": "X_scvi"}, MissingKeyError, "no table 'X_scvi'"),
        ({"target_sum": 0}, ConfigError, "target_sum is 0"),
        ({"n_neighbors": 1}, ConfigError, "n_neighbors is 1"),
        ({"n_components": 0}, ConfigError, "n_components is 0"),
        ({"n_top_genes": 0}, ConfigError, "n_top_genes is 0"),
    ],
)
def test_what_cannot_be_is_told(options, error, said):
    with pytest.raises(error, match=said):
        run(prepare_job(counts(), **options), bar=False)


def test_data_without_counts_are_told():
    adata = counts()
    adata.X = log_normalised(adata.X)
    with pytest.raises(MissingKeyError, match="no raw counts are in X"):
        run(prepare_job(adata), bar=False)
    adata.X = sparse.csr_matrix((90, 60), dtype=np.float32)
    with pytest.raises(DataError, match="0 cells and 0 genes have counts"):
        run(prepare_job(adata), bar=False)
