"""Every wrong file gets one sentence, and nothing is changed or allocated for it."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import tracemalloc

import h5py
import numpy as np
import pytest
import zarr
from anndata import AnnData
from data_cases import tissue
from scipy.sparse import csr_matrix

from celldyn import data
from celldyn.errors import CelldynError, DataError, FileFormatError

HUGE = 10**12


def missing(folder):
    return folder / "nowhere.h5ad"


def empty(folder):
    path = folder / "empty.h5ad"
    path.touch()
    return path


def truncated(folder):
    path = data.write(tissue(), folder / "cut.h5ad")
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def text_as_h5ad(folder):
    path = folder / "text.h5ad"
    path.write_text("cell,x,y\na,1,2\n")
    return path


def h5ad_as_txt(folder):
    return data.write(tissue(), folder / "real.h5ad").rename(folder / "real.txt")


def pickled(folder):
    path = folder / "model.h5ad"
    path.write_bytes(pickle.dumps({"a": 1}))
    return path


def gzipped(folder):
    path = folder / "table.csv"
    path.write_bytes(gzip.compress(b"cell,x,y\na,1,2\n"))
    return path


def unknown_folder(folder):
    path = folder / "pictures"
    path.mkdir()
    (path / "one.png").write_bytes(b"\x89PNG")
    return path


def empty_folder(folder):
    path = folder / "nothing"
    path.mkdir()
    return path


def other_hdf5(folder):
    path = folder / "other.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.ones(3)
    return path


def claims_much(folder):
    path = data.write(tissue(), folder / "huge.h5ad")
    with h5py.File(path, "a") as file:
        del file["X"]
        x = file.create_dataset("X", (40, HUGE), "float32", chunks=(40, 1024))
        x.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return path


def claims_much_zarr(folder):
    path = data.write(tissue(), folder / "huge.zarr")
    shutil.rmtree(path / "X")
    zarr.open_group(path, mode="a")  # so that it stays a group
    array = zarr.create_array(
        path / "X", shape=(40, HUGE), chunks=(40, 1024), dtype="float32", zarr_format=2
    )
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return path


def claims_much_in_one_chunk(folder):
    path = data.write(tissue(), folder / "chunk.zarr")
    metadata = path / "obsm" / "spatial" / ".zarray"
    held = json.loads(metadata.read_text())
    held["chunks"] = [HUGE, 2]
    metadata.write_text(json.dumps(held))
    return path


def with_csr(folder, name, edit):
    path = data.write(tissue(), folder / f"{name}.h5ad")
    with h5py.File(path, "a") as file:
        edit(file["X"])
    return path


def index_outside(folder):
    def edit(x):
        x["indices"][3] = 999

    return with_csr(folder, "outside", edit)


def negative_index(folder):
    def edit(x):
        x["indices"][3] = -5

    return with_csr(folder, "negative", edit)


def pointers_backwards(folder):
    def edit(x):
        x["indptr"][5] = x["indptr"][7] + 1

    return with_csr(folder, "backwards", edit)


def wrong_shape(folder):
    def edit(x):
        x.attrs["shape"] = np.array([HUGE, 12])

    return with_csr(folder, "shape", edit)


def codes_outside(folder):
    path = data.write(tissue(), folder / "codes.h5ad")
    with h5py.File(path, "a") as file:
        file["obs/cell_type/codes"][0] = 100
    return path


def external_link(folder):
    path = data.write(tissue(), folder / "link.h5ad")
    with h5py.File(path, "a") as file:
        file["layers/secret"] = h5py.ExternalLink("other.h5", "/weights")
    return path


def text_matrix(folder):
    path = data.write(tissue(), folder / "textual.h5ad")
    with h5py.File(path, "a") as file:
        del file["X"]
        x = file.create_dataset("X", data=np.full((40, 12), "a", dtype=object))
        x.attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    return path


def zarr_pickle(folder):
    path = data.write(tissue(), folder / "trap.zarr")
    metadata = path / "obs" / "cell_type" / "categories" / ".zarray"
    held = json.loads(metadata.read_text())
    held["filters"] = [{"id": "pickle", "protocol": 4}]
    metadata.write_text(json.dumps(held))
    return path


def damaged_zarr(folder):
    path = data.write(tissue(), folder / "damaged.zarr")
    (path / "obs" / ".zattrs").write_text("{")
    (path / "X" / "data" / ".zarray").write_text("{]")
    return path


def doubled_cells(folder):
    adata = tissue()
    adata.obs_names = ["a", "a", *adata.obs_names[2:]]
    return data.write(adata, folder / "doubled_cells.h5ad")


def doubled_genes(folder):
    adata = tissue()
    adata.var_names = ["Sox2", "Sox2", *adata.var_names[2:]]
    return data.write(adata, folder / "doubled_genes.h5ad")


def no_cells(folder):
    return data.write(tissue()[:0].copy(), folder / "no_cells.h5ad")


def no_genes(folder):
    return data.write(tissue()[:, :0].copy(), folder / "no_genes.h5ad")


def no_xy_table(folder):
    path = folder / "genes.csv"
    path.write_text("cell,Sox2,Myc\na,1,2\nb,3,4\n")
    return path


def noise_table(folder):
    path = folder / "noise.csv"
    path.write_bytes(bytes(range(256)) * 4)
    return path


def lying_matrix_market(folder):
    path = folder / "tenx"
    path.mkdir()
    (path / "barcodes.tsv").write_text("a\nb\n")
    (path / "features.tsv").write_text("id1\tSox2\tGene Expression\n")
    head = "%%MatrixMarket matrix coordinate integer general\n"
    (path / "matrix.mtx").write_text(f"{head}1 2 {HUGE}\n1 1 5\n")
    return path


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "is not there"),
        (empty, "empty file"),
        (truncated, "cut short"),
        (text_as_h5ad, "not an HDF5 file"),
        (h5ad_as_txt, "an AnnData .h5ad file by its contents"),
        (pickled, "pickle"),
        (gzipped, "gzip"),
        (unknown_folder, "nothing in it that can be read"),
        (empty_folder, "empty folder"),
        (other_hdf5, "it holds weights"),
        (claims_much, "/X in huge.h5ad claims"),
        (claims_much_zarr, "X in huge.zarr claims"),
        (claims_much_in_one_chunk, "spatial in chunk.zarr claims"),
        (index_outside, "sparse matrix X is damaged"),
        (negative_index, "sparse matrix X is damaged"),
        (pointers_backwards, "sparse matrix X is damaged"),
        (wrong_shape, "is damaged"),
        (codes_outside, "is damaged"),
        (external_link, "link to another file"),
        (text_matrix, "instead of numbers"),
        (zarr_pickle, "stores a pickle"),
        (damaged_zarr, "is damaged"),
        (doubled_cells, "the cell name 'a' stands more than once"),
        (doubled_genes, "the gene name 'Sox2' stands more than once"),
        (no_cells, "no cells"),
        (no_genes, "no genes"),
        (no_xy_table, "no coordinates"),
        (noise_table, "noise.csv"),
        (lying_matrix_market, "claims"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_wrong_file_gets_one_sentence(make, says, tmp_path):
    path = make(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    tracemalloc.start()
    with pytest.raises((FileFormatError, DataError)) as caught:
        data.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    sentence = str(caught.value)
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert caught.value.remedy
    assert peak < 100 * 2**20
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


@pytest.mark.parametrize("make", [pointers_backwards, wrong_shape, claims_much, doubled_genes])
def test_a_wrong_file_is_refused_backed_as_well(make, tmp_path):
    path = make(tmp_path)
    with pytest.raises(CelldynError):
        data.read(path, backed=True)
    path.unlink()  # no handle is left on it


def test_an_index_outside_is_refused_when_backed_genes_are_read(tmp_path):
    adata = data.read(index_outside(tmp_path), backed=True)
    with pytest.raises(DataError, match="damaged"):
        data.expression(adata, ["Gene1", "Gene2"])


def test_a_dataset_of_one_value_compressed_well_is_not_refused(tmp_path):
    adata = tissue()
    path = data.write(adata, tmp_path / "flat.h5ad")
    with h5py.File(path, "a") as file:
        file.create_dataset("uns/flat", data=np.zeros((2000, 2000)), compression="gzip")
    assert data.read(path).uns["flat"].shape == (2000, 2000)


def test_a_large_nearly_empty_sparse_matrix_is_not_refused(tmp_path):
    shape = (60_000, 2_000)
    adata = AnnData(csr_matrix(shape, dtype=np.float32))
    for ending in (".h5ad", ".zarr"):
        assert data.read(data.write(adata, tmp_path / f"wide{ending}")).shape == shape
