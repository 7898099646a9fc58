"""Embeddings: which tables are one, and a UMAP that can be stopped."""

from __future__ import annotations

import time
from contextlib import closing

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celldyn import data
from celldyn.data.embed import umap_file
from celldyn.errors import DataError, MissingKeyError


def two_clouds(n: int = 120, n_genes: int = 60) -> ad.AnnData:
    """Counts of two cell states that share no gene."""
    rng = np.random.default_rng(0)
    first = np.arange(n) < n // 2
    rates = np.where(first[:, None], np.arange(n_genes) < n_genes // 2, np.arange(n_genes) >= 30)
    adata = ad.AnnData(rng.poisson(0.1 + 5.0 * rates).astype(np.float32))
    adata.obs["state"] = np.where(first, "a", "b")
    return adata


def test_embeddings_are_tables_of_states_the_usual_ones_first():
    adata = two_clouds()
    n = adata.n_obs
    for key in ("zz", "X_scvi", "X_pca", "X_umap", "spatial", "X_spatial", "betas_Myc"):
        adata.obsm[key] = np.random.default_rng(1).random((n, 3))
    adata.obsm["frame"] = pd.DataFrame(np.ones((n, 2)), index=adata.obs_names)
    adata.obsm["words"] = pd.DataFrame({"a": ["x"] * n, "b": ["y"] * n}, index=adata.obs_names)
    adata.obsm["one"] = np.ones((n, 1))
    adata.obsm["cell_radii"] = np.ones((n, 8))
    assert data.embedding_keys(adata) == ["X_umap", "X_pca", "X_scvi", "frame", "zz"]


def test_two_axes_with_nan_where_a_cell_is_not_in_it():
    adata = two_clouds()
    table = np.arange(3.0 * adata.n_obs).reshape(-1, 3)
    table[4, 2] = np.inf
    adata.obsm["X_pca"] = table
    got = data.embedding(adata, "X_pca", (0, 2))
    assert np.isnan(got[4]).all()
    np.testing.assert_array_equal(np.delete(got, 4, 0), np.delete(table[:, [0, 2]], 4, 0))
    assert np.isinf(adata.obsm["X_pca"]).any()  # the table itself is left alone


@pytest.mark.parametrize(
    ("key", "says"), [("X_umap", "there are: X_pca"), ("spatial", "no embedding")]
)
def test_what_is_no_embedding_is_said_with_what_there_is(key, says):
    adata = two_clouds()
    adata.obsm["X_pca"] = adata.obsm["spatial"] = np.ones((adata.n_obs, 2))
    with pytest.raises(MissingKeyError, match=says):
        data.embedding(adata, key)


def test_a_umap_is_made_from_the_latent_space_where_there_is_one():
    adata = two_clouds()
    x = adata.X
    np.testing.assert_array_equal(data.umap_input(adata), x)
    assert not np.shares_memory(data.umap_input(adata), x)
    adata.obsm["X_pca"] = np.ones((adata.n_obs, 4))
    assert data.umap_input(adata).shape[1] == 4
    adata.obsm["X_vae"] = np.ones((adata.n_obs, 5))
    assert data.umap_input(adata).shape[1] == 5
    with pytest.raises(DataError, match="9 cells are too few"):
        data.umap_input(adata[:9])


def test_a_umap_holds_states_apart(tmp_path):
    adata = two_clouds()
    sparse.save_npz(tmp_path / "counts.npz", sparse.csr_matrix(adata.X))
    umap_file(str(tmp_path / "counts.npz"), str(tmp_path / "umap.npy"), "0")
    xy = np.load(tmp_path / "umap.npy")
    assert xy.shape == (adata.n_obs, 2)
    first = (adata.obs["state"] == "a").to_numpy()
    centres = xy[first].mean(axis=0), xy[~first].mean(axis=0)
    apart = np.linalg.norm(centres[0] - centres[1])
    assert apart > 4 * max(xy[first].std(axis=0).max(), xy[~first].std(axis=0).max())


def test_a_stopped_job_leaves_no_program_behind(monkeypatch):
    from celldyn.data import child

    begun = []
    popen = child.subprocess.Popen
    monkeypatch.setattr(
        child.subprocess, "Popen", lambda *a, **k: begun.append(popen(*a, **k)) or begun[0]
    )
    with closing(data.umap_job(two_clouds().X)) as job:
        assert next(job).stage == "starting"
        assert begun[0].poll() is None
        start = time.perf_counter()
    assert begun[0].poll() is not None
    assert time.perf_counter() - start < 0.5


def test_what_the_libraries_say_is_said():
    job = data.umap_job(np.full((20, 5), np.nan, np.float32))
    with pytest.raises(DataError, match="UMAP could not be made"):
        for _ in job:
            pass
