"""Writing is whole or not at all, and loses nothing."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from data_cases import tissue

from celldyn import data
from celldyn.config import Config, param
from celldyn.errors import DataError, FileFormatError

ENDINGS = pytest.mark.parametrize("ending", [".h5ad", ".zarr"])


def rich():
    """A tissue with something in every slot."""
    adata = tissue()
    n = adata.n_obs
    adata.obs["text"] = np.resize(["NA", "nan", ""], n)
    adata.obs["some"] = np.resize(np.array(["a", None], dtype=object), n)
    adata.obs["whole"] = pd.array(np.resize([1, None], n), dtype="Int64")
    adata.obs["flag"] = np.resize([True, False], n)
    adata.obs["ordered"] = pd.Categorical(
        np.resize(["low", "high"], n), categories=["low", "mid", "high"], ordered=True
    )
    adata.var["length"] = np.arange(adata.n_vars)
    adata.layers["counts"] = adata.X.copy()
    adata.raw = adata.copy()
    adata.obsm["scores"] = pd.DataFrame(
        {"a": np.arange(n), "name": np.resize(["NA", "b"], n)}, index=adata.obs_names
    )
    adata.obsm["betas_Gene1"] = np.full((n, 2), np.nan)
    adata.varm["loadings"] = np.ones((adata.n_vars, 3))
    adata.obsp["near"] = adata.X @ adata.X.T
    adata.uns["celldyn"] = {"betas_Gene1": {"columns": np.array(["intercept", "Gene2"])}}
    adata.uns["cell_type_colors"] = np.array(["#112233"] * 4, dtype=object)
    data.set_unit(adata, 0.5)
    data.set_section_key(adata, "batch")
    data.record(adata, "test", config={})
    return adata


@ENDINGS
def test_all_comes_back(ending, tmp_path):
    made = rich()
    before = made.obs.dtypes.to_dict()
    read = data.read(data.write(made, tmp_path / f"a{ending}"))
    assert made.obs.dtypes.to_dict() == before, "writing changed the data set"
    made.obs["some"] = made.obs["some"].astype("category")
    pd.testing.assert_frame_equal(read.obs, made.obs, check_index_type=False)
    pd.testing.assert_frame_equal(read.var, made.var, check_index_type=False)
    pd.testing.assert_frame_equal(read.obsm["scores"], made.obsm["scores"], check_index_type=False)
    for slot in ("obsm", "varm", "obsp", "layers"):
        assert set(getattr(read, slot)) == set(getattr(made, slot))
    np.testing.assert_array_equal(read.obsp["near"].toarray(), made.obsp["near"].toarray())
    np.testing.assert_array_equal(read.raw.X.toarray(), made.raw.X.toarray())
    assert data.um_per_unit(read) == 0.5
    assert data.section_key(read) == "batch"
    assert data.records(read) == data.records(made)
    assert list(data.labels(read, "cell_type")) == list(made.obs["cell_type"])
    assert data.category_colours(read, "cell_type") == ["#112233"] * 4
    again = data.read(data.write(read, tmp_path / f"b{ending}"))
    pd.testing.assert_frame_equal(again.obs, read.obs)
    assert data.records(again) == data.records(made)


@ENDINGS
def test_a_failure_midway_leaves_the_old_file(ending, tmp_path):
    path = data.write(tissue(), tmp_path / f"a{ending}")
    bad = tissue()
    bad.obs["cell_type"] = "changed"
    bad.uns["thing"] = object()  # uns is written after X and obs
    with pytest.raises(DataError, match="uns holds something that cannot be stored"):
        data.write(bad, path)
    assert list(data.read(path).obs["cell_type"]) == list(tissue().obs["cell_type"])
    assert list(tmp_path.iterdir()) == [path], "a draft was left behind"


@ENDINGS
def test_the_file_of_a_backed_data_set_can_be_overwritten(ending, tmp_path):
    made = tissue()
    path = data.write(made, tmp_path / f"a{ending}")
    backed = data.read(path, backed=True)
    wanted = data.gene_column(made, "Gene4")
    backed.obs["niche"] = ["NA"] * made.n_obs
    for _ in range(2):
        data.write(backed, path)
        np.testing.assert_array_equal(data.gene_column(backed, "Gene4"), wanted)
    read = data.read(path)
    assert (read.obs["niche"] == "NA").all()
    np.testing.assert_array_equal(data.gene_column(read, "Gene4"), wanted)


@pytest.mark.parametrize("name", ["a.csv", "a.loom", "a", "a.h5ad.pkl"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(FileFormatError, match=r"only \.h5ad and \.zarr can be written"):
        data.write(tissue(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_stands_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "a.h5ad").mkdir()
    (tmp_path / "b.zarr").write_text("mine")
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "c.zarr" / "thesis.txt").write_text("mine")
    for name in ("a.h5ad", "b.zarr", "c.zarr"):
        with pytest.raises(FileFormatError, match="give another name"):
            data.write(tissue(), tmp_path / name)
    assert (tmp_path / "c.zarr" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a: a.obs.__setitem__("mixed", ["a", 1] * 20), "'mixed' of obs mixes text"),
        (lambda a: a.obs.__setitem__("day", pd.Timestamp("2020-01-01")), "'day' of obs holds"),
        (lambda a: a.uns.__setitem__("a", {"b/c": 1}), "the key 'b/c' of uns"),
        (lambda a: a.uns.__setitem__(3, 1), "the key 3 of uns"),
    ],
)
def test_what_cannot_be_stored_is_named(spoil, says, tmp_path):
    adata = tissue()
    spoil(adata)
    with pytest.raises(DataError) as caught:
        data.write(adata, tmp_path / "a.h5ad")
    assert says in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_file_is_what_other_tools_read(tmp_path):
    path = data.write(rich(), tmp_path / "a.h5ad")
    with h5py.File(path) as file:
        assert file.attrs["encoding-type"] == "anndata"
    assert json.loads((data.write(rich(), tmp_path / "a.zarr") / ".zattrs").read_text())


# --- provenance -------------------------------------------------------------------------------


class _Settings(Config):
    radius_um: float = param(100.0, "How far a signal reaches.", unit="µm", gt=0)


def test_records_tell_what_was_done():
    adata = tissue()
    assert data.records(adata) == []
    data.record(adata, "betas.fit", config=_Settings(), seed=3, seconds=1.5, inputs={"n": {2, 1}})
    data.record(adata, "plot", config={"a": np.float32(0.5), "b": np.arange(2)})
    first, second = data.records(adata)
    assert first["action"] == "betas.fit"
    assert first["config"] == {"radius_um": 100.0}
    assert (first["seed"], first["device"], first["seconds"]) == (3, "cpu", 1.5)
    assert first["inputs"] == {"n": [1, 2]}
    assert {"celldyn", "python", "numpy", "anndata"} <= first["versions"].keys()
    assert pd.Timestamp(first["time"]).tzinfo is not None
    assert second["config"] == {"a": 0.5, "b": [0, 1]}


def test_recording_keeps_what_else_is_under_celldyn():
    adata = tissue()
    data.set_unit(adata, 2.0)
    data.record(adata, "x", config={})
    assert data.um_per_unit(adata) == 2.0
    adata.uns["celldyn"]["records"] = np.array(["{damaged", *adata.uns["celldyn"]["records"]])
    assert len(data.records(adata)) == 1
