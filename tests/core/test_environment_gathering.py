"""Data on their way to a policy: files, cells that match, roles, partitions, held-out cells."""

from __future__ import annotations

import fsspec
import mudata
import numpy as np
import pytest
import torch
from environment_data_cases import coordinates, counts, csr, table
from scipy import sparse

from celldyn.environment import (
    as_modality,
    gather,
    gather_job,
    modalities_of,
    read_adatas,
)
from celldyn.environment.config import DataConfig
from celldyn.environment.gathering import roles
from celldyn.environment.preprocessing_blocks import Modality
from celldyn.errors import (
    ConfigError,
    DataError,
    FileFormatError,
    MissingKeyError,
    UnavailableError,
)
from celldyn.jobs import Progress, run

IMPUTE = {"target_modalities": [1], "spatial": [1], "pca_dim": [6, 0], "log_modalities": [0]}


def pair(**obs):
    return [table(counts(), form=csr, **obs), coordinates()]


def test_expression_and_coordinates_are_gathered():
    data = gather(pair(), DataConfig(**IMPUTE))
    assert (data.inputs, data.targets, data.spatial) == ((0,), (1,), (1,))
    assert [tuple(each.shape) for each in data.modalities] == [(90, 6), (90, 2)]
    assert all(each.dtype == torch.float32 for each in data.modalities)
    assert data.obs_names[3] == "cell3"
    assert data.feature_names[1] == ("x", "y")
    assert data.train.all()
    assert not data.partition.any()
    assert data.partition_names == ()
    torch.testing.assert_close(data.seen, data.modalities[0])


@pytest.mark.parametrize(
    ("given", "inputs", "targets"),
    [
        ({}, (0, 1, 2), (0, 1, 2)),
        ({"target_modalities": [1]}, (0, 2), (1,)),
        ({"target_modalities": [2, 1], "input_modalities": [1]}, (1,), (1, 2)),
        ({"input_modalities": [2]}, (2,), (0, 1, 2)),
        ({"target_modalities": [0, 1, 2]}, (0, 1, 2), (0, 1, 2)),
    ],
)
def test_roles(given, inputs, targets):
    assert roles(3, DataConfig(**given)) == (inputs, targets)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"target_modalities": [3]}, "target_modalities names modality 3, and there are 3"),
        ({"input_modalities": []}, "input_modalities is empty"),
        ({"spatial": [-1]}, "spatial names modality -1"),
    ],
)
def test_roles_that_cannot_be_are_refused(given, says):
    with pytest.raises(ConfigError, match=says):
        roles(3, DataConfig(**given))


def test_a_share_of_the_cells_is_trained_on_and_alone_fitted_on():
    config = DataConfig(**IMPUTE, train_split=0.8)
    data = gather(pair(), config, seed=3)
    assert data.train.sum() == 72
    assert "72 cells of 90 are trained on" in data.notes
    np.testing.assert_array_equal(data.train, gather(pair(), config, seed=3).train)
    assert (data.train != gather(pair(), config, seed=4).train).any()
    features = data.modalities[0].numpy()
    np.testing.assert_allclose(features[data.train].mean(0), 0, atol=1e-5)
    changed = pair()
    X = changed[0].X.toarray()
    X[~data.train] = 50
    other = gather([table(X), changed[1]], config, seed=3)
    np.testing.assert_allclose(other.modalities[0].numpy()[data.train], features[data.train],
                               atol=1e-5)  # fmt: skip


def test_partitions_are_combinations_of_columns_and_are_held_out_whole():
    batch, drug = np.repeat(["b", "a", "c"], 30), np.tile(["no", "yes"], 45)
    tables = pair(batch=batch, drug=drug)
    data = gather(tables, DataConfig(**IMPUTE, partition_cols=["batch", "drug"]))
    assert data.partition_names == ("a, no", "a, yes", "b, no", "b, yes", "c, no", "c, yes")
    assert data.partition[:2].tolist() == [2, 3]
    assert data.partition.dtype == np.int64
    split = {"train_split": 0.7, "train_partitions": True}
    held = gather(tables, DataConfig(**IMPUTE, partition_cols=["batch"], **split))
    per = [held.train[held.partition == k] for k in range(3)]
    assert sorted(each.mean() for each in per) == [0, 1, 1]
    assert held.notes[1].startswith("held out: ")
    with pytest.raises(DataError, match="a share of the partitions"):
        gather(tables, DataConfig(**IMPUTE, **split))


@pytest.mark.parametrize("yes_and_no", [(True, False), (1, 0), (1.0, 0.0), ("yes", "no")])
def test_a_column_says_who_is_trained_on(yes_and_no):
    train = np.arange(90) % 3 > 0
    data = gather(pair(fit=np.where(train, *yes_and_no)), DataConfig(**IMPUTE, train_mask="fit"))
    np.testing.assert_array_equal(data.train, train)


def test_a_file_says_who_is_trained_on(tmp_path):
    train = np.arange(90) % 3 > 0
    file = tmp_path / "run.mask"
    np.savetxt(file, train.astype(float))
    data = gather(pair(), DataConfig(**IMPUTE, train_mask=str(file)))
    np.testing.assert_array_equal(data.train, train)
    np.savetxt(file, train[:-1].astype(float))
    with pytest.raises(DataError, match="of 89 cells whether they train, and there are 90"):
        gather(pair(), DataConfig(**IMPUTE, train_mask=str(file)))


@pytest.mark.parametrize(
    ("obs", "config", "error", "says"),
    [
        ({}, {"partition_cols": ["batch"]}, MissingKeyError, "no column 'batch'"),
        ({}, {"train_mask": "fit"}, MissingKeyError, "no column 'fit'"),
        ({"fit": ["a"] * 90}, {"train_mask": "fit"}, DataError, "neither yes nor no"),
        ({"fit": [0] * 90}, {"train_mask": "fit"}, DataError, "no cell is trained on"),
        (
            {"batch": ["a"] * 89 + [None]},
            {"partition_cols": ["batch"]},
            DataError,
            "cell89 has no value",
        ),
    ],
)
def test_columns_that_do_not_serve_are_refused(obs, config, error, says):
    with pytest.raises(error, match=says):
        gather(pair(**obs), DataConfig(**IMPUTE, **config))


def test_modalities_that_disagree_on_a_column_are_refused():
    tables = pair(batch=["a"] * 90)
    tables[1].obs["batch"] = ["a"] * 89 + ["b"]
    with pytest.raises(DataError, match=r"disagree on obs\['batch'\] of cell cell89"):
        gather(tables, DataConfig(**IMPUTE, partition_cols=["batch"]))


def test_cells_are_matched_by_name():
    a, xy = pair()
    expected = gather([a, xy], DataConfig(**IMPUTE))
    shuffled = xy[np.random.default_rng(0).permutation(90)]
    data = gather([a, shuffled], DataConfig(**IMPUTE))
    torch.testing.assert_close(data.modalities[1], expected.modalities[1])
    with pytest.raises(DataError, match="modality 1 has 80 cells and modality 0 has 90"):
        modalities_of([a, xy[:80]])
    other = xy.copy()
    other.obs_names = ["someone", *other.obs_names[1:]]
    with pytest.raises(DataError, match="modality 1 has no cell 'cell0'"):
        modalities_of([a, other])
    other.obs_names = ["cell1", *other.obs_names[1:]]
    with pytest.raises(DataError, match="cell 'cell1' of modality 0 is there more than once"):
        modalities_of([other, a])


def test_a_mudata_is_gathered_in_memory_and_backed(tmp_path):
    a, xy = pair()
    expected = gather([a, xy], DataConfig(**IMPUTE))
    with mudata.set_options(pull_on_update=False):
        mdata = mudata.MuData({"rna": a, "space": xy})
        mdata.obs["fit"] = np.arange(90) < 60
        mdata.write_h5mu(tmp_path / "a.h5mu")
    data = gather(mdata, DataConfig(**IMPUTE, train_mask="fit"))
    assert data.train.sum() == 60
    for backed in (False, True):
        data = gather(read_adatas(tmp_path / "a.h5mu", backed=backed), DataConfig(**IMPUTE))
        for mine, theirs in zip(data.modalities, expected.modalities, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


def test_files_are_read_backed_and_filtered_as_in_memory(tmp_path):
    a, xy = pair()
    names = a.obs_names[10:70]
    for adata, name in ((a, "a"), (xy, "xy")):
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
    paths = [tmp_path / "a.h5ad", str(tmp_path / "xy.h5ad")]
    expected = gather([each[names] for each in (a, xy)], DataConfig(**IMPUTE))
    backed = read_adatas(*paths, backed=True)
    assert all(each.isbacked for each in backed)
    data = gather([each[names] for each in backed], DataConfig(**IMPUTE))
    assert data.obs_names == tuple(names)
    for mine, theirs in zip(data.modalities, expected.modalities, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    with pytest.raises(FileFormatError):
        read_adatas(tmp_path / "nothing.h5mu")
    with pytest.raises(DataError, match="no file was named"):
        read_adatas()


@pytest.mark.parametrize("form", [np.asarray, csr])
def test_views_of_zarr_stay_on_disk(form, tmp_path):
    adata = table(counts(), form=form)
    adata.write_zarr(tmp_path / "a.zarr")
    (backed,) = read_adatas(tmp_path / "a.zarr", backed=True)
    config = DataConfig(pca_dim=[0])
    cells = backed.obs_names[::-2]
    view = Modality(backed[cells])
    assert not isinstance(view._matrix, np.ndarray | sparse.spmatrix)  # nothing was read yet
    data, expected = gather([backed[cells]], config), gather([adata[cells]], config)
    torch.testing.assert_close(data.modalities[0], expected.modalities[0])


@pytest.mark.parametrize("form", [np.asarray, csr])
@pytest.mark.parametrize("backed", [False, True])
def test_files_of_another_machine_are_read(form, backed, tmp_path):
    adata = table(counts(), form=form)
    adata.write_h5ad(tmp_path / "a.h5ad")
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/a.h5ad", (tmp_path / "a.h5ad").read_bytes())
    (found,) = read_adatas("memory://bucket/a.h5ad", backed=backed)
    config = DataConfig(pca_dim=[6], log_modalities=[0])
    data, expected = gather([found[10:60]], config), gather([adata[10:60]], config)
    torch.testing.assert_close(data.modalities[0], expected.modalities[0], rtol=0, atol=1e-5)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_adatas("memory://bucket/nothing.h5ad", backed=backed)
    with pytest.raises(UnavailableError, match="cannot be opened here"):
        read_adatas("nonsense://bucket/a.h5ad", backed=backed)
    with pytest.raises(UnavailableError, match="the only kind"):
        read_adatas("memory://bucket/a.csv")
    memory.pipe_file("/bucket/b.h5ad", b"no hdf5 at all")
    with pytest.raises(FileFormatError):
        read_adatas("memory://bucket/b.h5ad", backed=backed)


def test_parts_of_an_anndata_are_modalities():
    a = table(counts(), form=csr, batch=["x"] * 90)
    a.obsm["spatial"], a.layers["raw"] = np.asarray(coordinates().X), a.X.copy()
    xy, raw = as_modality(a, "obsm/spatial"), as_modality(a, "layers/raw")
    assert list(xy.var_names) == ["x", "y"]
    assert list(xy.obs_names) == list(a.obs_names)
    assert (raw.X != a.X).nnz == 0
    assert as_modality(a) is a
    data = gather([a, xy], DataConfig(**IMPUTE, partition_cols=["batch"]))
    assert data.partition_names == ("x",)
    with pytest.raises(MissingKeyError, match="obsm/spatial"):
        as_modality(a, "obsm/pca")


def test_a_fitted_preprocessing_is_used_as_it_is():
    first = gather(pair(), DataConfig(**IMPUTE))
    tables = [each[:30] for each in pair()]
    job = gather_job(tables, DataConfig(**IMPUTE), preprocessing=first.preprocessing)
    assert isinstance(next(job), Progress)
    again = run(job, bar=False)
    assert again.preprocessing is first.preprocessing
    torch.testing.assert_close(again.modalities[0], first.modalities[0][:30])


def test_the_real_tissue_with_one_section_held_out(starmap_path):
    (adata,) = read_adatas(starmap_path)
    config = DataConfig(
        target_modalities=[1], spatial=[1], sample_counts=[1000, 0], log_modalities=[0],
        pca_dim=[32, 0], partition_cols=["batch"], train_split=0.7, train_partitions=True,
    )  # fmt: skip
    data = gather([adata, as_modality(adata, "obsm/spatial")], config)
    assert data.partition_names == ("BZ0", "BZ1", "BZ2")
    held = np.unique(data.partition[~data.train])
    assert len(held) == 1
    assert not np.isin(data.partition[data.train], held).any()
    features = data.modalities[0].numpy()
    assert features.shape == (3704, 32)
    assert np.isfinite(features).all()
    variance = features[data.train].var(0)
    assert (np.diff(variance) <= 1e-3).all()  # components in order
    np.testing.assert_allclose(features[data.train].mean(0), 0, atol=1e-3)
