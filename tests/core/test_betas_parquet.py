"""SpaceTravLR's files of betas: what it writes is read, and what is written it can read."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from panel_tissue import TARGETS, config, fitted, sections, tissue

from celldyn.betas.panel import export_betadata, import_betadata
from celldyn.errors import ConfigError, DataError, FileFormatError, MissingKeyError


def table(adata, *, rows="cells"):
    """Betas as SpaceTravLR lays them out: columns that are all 0 are absent."""
    rng = np.random.default_rng(0)
    n = adata.n_obs if rows == "cells" else 3
    names = ["beta0", "beta_LigA$RecB", "beta_Tf2", "beta_LigB#Tf1", "beta_Tf1"]
    return pd.DataFrame(rng.normal(size=(n, 5)), columns=names)


@pytest.mark.parametrize("where", ["index", "column", "feather"])
def test_rows_of_cells(tmp_path, where):
    adata = tissue(60)
    betas = table(adata).set_index(adata.obs_names)
    path = tmp_path / f"Target_betadata.{'feather' if where == 'feather' else 'parquet'}"
    if where == "index":
        betas.to_parquet(path)
    elif where == "column":
        betas.rename_axis("CellID").reset_index().to_parquet(path)
    else:
        betas.astype(np.float32).rename_axis("CellID").reset_index().to_feather(path)
    shuffled = adata[np.random.default_rng(1).permutation(60)].copy()
    field = import_betadata(path, shuffled)["Target"]
    names = field.modulators.names
    assert names == ["Tf2", "Tf1", "LigA$RecB", "LigB#Tf1"]
    expected = betas.loc[shuffled.obs_names, ["beta0", *(f"beta_{name}" for name in names)]]
    np.testing.assert_allclose(field.values(), expected, rtol=1e-6)
    assert field.dense is not None
    assert field.modulators.radii == {"LigA": 100.0, "LigB": 100.0}


def test_rows_of_clusters(tmp_path):
    adata = tissue(60)
    betas = table(adata, rows="clusters").assign(Cluster=["7", "0", "5"])
    betas.to_feather(tmp_path / "Target_betadata.feather")
    field = import_betadata(tmp_path, adata, cluster_annot="type")["Target"]
    assert field.dense is None
    own = adata.obs["type"].to_numpy()
    at = betas.set_index("Cluster").loc[["7"], ["beta0", "beta_Tf2"]].to_numpy()
    np.testing.assert_array_equal(field.values()[own == "7"][:, :2], np.repeat(at, 20, axis=0))
    assert not field.values()[own == "2"].any()  # no row: no betas
    with pytest.raises(ConfigError, match="cluster_annot"):
        import_betadata(tmp_path, adata)
    adata.obs["other"] = "x"
    with pytest.raises(DataError, match="no cluster"):
        import_betadata(tmp_path, adata, cluster_annot="other")


def test_cells_that_share_their_betas_are_kept_in_few_rows(tmp_path):
    adata = tissue(60)
    rows = table(adata, rows="clusters").to_numpy()[adata.obs["type"].astype("category").cat.codes]
    betas = pd.DataFrame(rows, adata.obs_names, table(adata).columns)
    betas.to_parquet(tmp_path / "Target_betadata.parquet")
    field = import_betadata(tmp_path, adata)["Target"]
    assert field.dense is None
    assert len(field.coefficients) == 3
    np.testing.assert_array_equal(field.values()[:, 0], betas["beta0"])


def test_a_folder_is_a_mapping_of_genes_with_underscores_and_all(tmp_path):
    adata = tissue(60)
    adata.var_names = ["HLA_A_1", *adata.var_names[1:]]
    table(adata).set_index(adata.obs_names).to_parquet(tmp_path / "HLA_A_1_betadata.parquet")
    table(adata).set_index(adata.obs_names).to_parquet(tmp_path / "Tf3_betadata.parquet")
    (tmp_path / "other.parquet").write_bytes(b"")
    (tmp_path / "run_params.json").write_text(json.dumps({"radius": 250}))
    fields = import_betadata(tmp_path, adata)
    assert sorted(fields) == ["HLA_A_1", "Tf3"]
    assert fields["Tf3"].modulators.radii["LigA"] == 250.0
    fields = import_betadata(tmp_path, adata, radii={"LigA": 30.0, "LigB": 60.0})
    assert fields["Tf3"].modulators.radii == {"LigA": 30.0, "LigB": 60.0}
    with pytest.raises(ConfigError, match="ligand LigB"):
        import_betadata(tmp_path, adata, radii={"LigA": 30.0})


def test_a_cell_without_a_row_has_no_betas(tmp_path):
    adata = tissue(60)
    betas = table(adata).set_index(adata.obs_names)
    betas.iloc[:50].to_parquet(tmp_path / "Target_betadata.parquet")
    field = import_betadata(tmp_path, adata)["Target"]
    assert not field.values()[50:].any()
    np.testing.assert_array_equal(field.values()[:50, 0], betas["beta0"][:50])


@pytest.mark.parametrize(
    ("betas", "error", "says"),
    [
        (pd.DataFrame({"x": [1.0]}, ["cell0"]), FileFormatError, "no column of betas"),
        (pd.DataFrame({"beta0": ["much"]}, ["cell0"]), FileFormatError, "no numbers"),
        (pd.DataFrame({"beta0": [np.nan]}, ["cell0"]), FileFormatError, "not finite"),
        (pd.DataFrame({"beta0": [1.0, 2.0]}, ["cell0"] * 2), FileFormatError, "two rows"),
        (pd.DataFrame({"beta0": [1.0]}, ["elsewhere"]), DataError, "no cell"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, betas, error, says):
    betas.to_parquet(tmp_path / "Target_betadata.parquet")
    with pytest.raises(error, match=says):
        import_betadata(tmp_path, tissue(60))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileFormatError, match="has no betas"):
        import_betadata(tmp_path, tissue(60))
    path = tmp_path / "Target_betadata.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileFormatError, match="damaged"):
        import_betadata(path, tissue(60))
    table(tissue(60)).to_parquet(tmp_path / "Nobody_betadata.parquet")
    with pytest.raises(MissingKeyError, match="Nobody"):
        import_betadata(tmp_path / "Nobody_betadata.parquet", tissue(60))


@pytest.mark.parametrize("file_format", ["parquet", "feather"])
@pytest.mark.parametrize("rows", ["cells", "clusters"])
def test_a_store_goes_out_and_comes_back(tmp_path, file_format, rows):
    adata = tissue(noise=0.3)
    store = fitted(tmp_path / "a.zarr", adata, config(cluster_annot="type"))
    files = export_betadata(store, tmp_path / "out", rows=rows, file_format=file_format)
    assert sorted(file.name for file in files) == [
        f"{gene}_betadata.{file_format}" for gene in sorted(TARGETS)
    ]
    assert json.loads((tmp_path / "out" / "run_params.json").read_text())["radius"] == 100.0
    fields = import_betadata(tmp_path / "out", adata, cluster_annot="type")
    for gene in TARGETS:
        result, field = store.result(gene), fields[gene]
        column = {name: 1 + k for k, name in enumerate(result.modulators)}
        kept = [0, *(column[name] for name in field.modulators.names)]
        np.testing.assert_allclose(field.values(), result.values[:, kept], atol=1e-12)
        left_out = np.setdiff1d(np.arange(result.values.shape[1]), kept)
        assert not result.values[:, left_out].any()


def test_a_result_needs_names_and_clusters_need_one_section(tmp_path):
    adata = sections(120)
    store = fitted(tmp_path / "a.zarr", adata, config(section_key="section"))
    result = store.result("Target")
    with pytest.raises(ConfigError, match="obs_names"):
        export_betadata(result, tmp_path / "out")
    with pytest.raises(ConfigError, match="several sections"):
        export_betadata(result, tmp_path / "out", rows="clusters")
    (file,) = export_betadata(result, tmp_path / "out", obs_names=list(adata.obs_names))
    back = pd.read_parquet(file)
    assert back.index.name == "CellID"
    np.testing.assert_array_equal(back["beta_Tf1"], store.betas("Target")["beta_Tf1"])
