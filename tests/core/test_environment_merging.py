"""Several files as one modality: in memory, and left on disk."""

from __future__ import annotations

import fsspec
import numpy as np
import pytest
import torch
from anndata import concat
from anndata.experimental import AnnCollection
from environment_data_cases import counts, csr, table

from celldyn.environment import gather, merge_adatas, read_adatas
from celldyn.environment.config import DataConfig
from celldyn.errors import DataError


@pytest.mark.parametrize("form", [np.asarray, csr])
def test_collections_of_files_are_one_modality_that_stays_on_disk(form, tmp_path):
    parts = [table(counts(), form=form, batch=["a"] * 90),
             table(counts(40, seed=3)[:, :30], form=form, batch=["b"] * 40)]  # fmt: skip
    parts[1].obs_names = [f"other{i}" for i in range(40)]
    for k, part in enumerate(parts):
        part.write_h5ad(tmp_path / f"{k}.h5ad")
    backed = read_adatas(*(tmp_path / f"{k}.h5ad" for k in range(2)), backed=True)
    one = AnnCollection(backed, join_vars="inner", join_obs="inner")
    whole = concat(parts, join="inner")
    config = DataConfig(pca_dim=[6], log_modalities=[0], partition_cols=["batch"])
    cells = np.random.default_rng(0).permutation(130)[:100]
    for mine, theirs in ((one, whole), (one[cells], whole[cells])):
        data, expected = gather([mine], config), gather([theirs], config)
        torch.testing.assert_close(data.modalities[0], expected.modalities[0], atol=1e-5, rtol=0)
        np.testing.assert_array_equal(data.partition, expected.partition)
        assert data.obs_names == expected.obs_names
        assert data.feature_names == expected.feature_names


@pytest.mark.parametrize("backed", [False, True])
def test_tables_are_merged(backed, tmp_path):
    parts = [table(counts(), batch=["a"] * 90), table(counts(40)[:, :30], batch=["b"] * 40)]
    with pytest.raises(
        DataError, match="table 0, table 1 have cells of the same name, such as 'cell0'"
    ):
        merge_adatas(parts)
    parts[1].obs_names = [f"other{i}" for i in range(40)]
    expected = gather([concat(parts, join="inner")], DataConfig(pca_dim=[6]))
    for k, part in enumerate(parts):
        part.write_h5ad(tmp_path / f"{k}.h5ad")
    tables = read_adatas(*(tmp_path / f"{k}.h5ad" for k in range(2)), backed=backed)
    whole = merge_adatas(tables)
    assert hasattr(whole, "adatas") == backed  # a collection stays on disk
    data = gather([whole], DataConfig(pca_dim=[6]))
    torch.testing.assert_close(data.modalities[0], expected.modalities[0], atol=1e-5, rtol=0)
    assert merge_adatas(tables[:1]) is tables[0]
    parts[1].var_names = [f"other{j}" for j in range(30)]
    with pytest.raises(DataError, match="have no feature in common"):
        merge_adatas(parts, ["a.h5ad", "b.h5ad"])


@pytest.mark.parametrize("form", [np.asarray, csr])
@pytest.mark.parametrize("here", [False, True])
def test_tables_of_other_machines_are_merged_where_they_are(form, here, tmp_path):
    parts = [table(counts(), form=form), table(counts(40, seed=3), form=form)]
    parts[1].obs_names = [f"other{i}" for i in range(40)]
    memory = fsspec.filesystem("memory")
    names = []
    for k, part in enumerate(parts):
        part.write_h5ad(tmp_path / f"{k}.h5ad")
        memory.pipe_file(f"/merged/{k}.h5ad", (tmp_path / f"{k}.h5ad").read_bytes())
        names.append(f"memory://merged/{k}.h5ad")
    if here:
        names[0] = tmp_path / "0.h5ad"
    whole = merge_adatas(read_adatas(*names, backed=True))
    assert isinstance(whole, AnnCollection)
    data = gather([whole], DataConfig(pca_dim=[6]))
    expected = gather([concat(parts, join="inner")], DataConfig(pca_dim=[6]))
    torch.testing.assert_close(data.modalities[0], expected.modalities[0], atol=1e-5, rtol=0)
