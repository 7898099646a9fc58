"""What is taken out of a data set: rows, library sizes, moments, and what is refused."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch
from landscape_input_cases import lsd_adata
from scipy import sparse

from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import Progress
from celldyn.landscape.inputs import read_inputs, read_inputs_job
from celldyn.landscape.rows import DenseRows, DeviceRows, SparseRows, spread_rows

CELLS = np.array([3, 0, 3, 29])


def as_array(matrix):
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("density_of", [0.05, 4.0])
def test_rows_are_those_of_the_matrices_sparse_or_dense(dense, density_of):
    adata = lsd_adata(dense=dense, density_of=density_of)
    inputs = read_inputs(adata)
    assert (inputs.n_obs, inputs.n_vars) == adata.shape
    assert inputs.genes == tuple(adata.var_names)
    for found, matrix in (
        (inputs.expression(CELLS), adata.X),
        (inputs.counts(torch.from_numpy(CELLS)), adata.layers["raw"]),
    ):
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), as_array(matrix)[CELLS].astype(np.float32))
    assert inputs.notes == ()


@pytest.mark.parametrize("density_of", [0.05, 4.0])
def test_what_is_smaller_is_kept_whatever_was_given(density_of):
    kinds = {
        type(read_inputs(lsd_adata(dense=dense, density_of=density_of))._counts)
        for dense in (False, True)
    }
    assert kinds == ({SparseRows} if density_of < 1 else {DenseRows})


def test_rows_are_copies():
    adata = lsd_adata(dense=True)
    before = adata.X.copy()
    read_inputs(adata).expression(CELLS).zero_()
    np.testing.assert_array_equal(adata.X, before)


@pytest.mark.parametrize("kind", ["csc", "backed", "view", "float64", "split", "bool_graph"])
def test_every_way_to_hold_a_matrix_gives_the_same(kind, tmp_path):
    adata = lsd_adata(density_of=0.2)
    wanted = as_array(adata.layers["raw"])[CELLS]
    if kind == "csc":
        adata.layers["raw"] = adata.layers["raw"].tocsc()
    elif kind == "backed":
        adata.write_h5ad(tmp_path / "a.h5ad")
        adata = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    elif kind == "view":
        adata = adata[:]
    elif kind == "float64":
        adata.layers["raw"] = adata.layers["raw"].astype(np.float64)
    elif kind == "split":  # an entry in two halves
        csr = adata.layers["raw"]
        twice = sparse.csr_matrix(
            (np.repeat(csr.data, 2), np.repeat(csr.indices, 2), 2 * csr.indptr), shape=csr.shape
        )
        adata.layers["raw"], wanted = twice, 2 * wanted
    else:
        adata.obsp["connectivities"] = adata.obsp["connectivities"] > 0
    inputs = read_inputs(adata)
    np.testing.assert_array_equal(inputs.counts(CELLS).numpy(), wanted)
    assert inputs.graph().nnz == adata.obsp["connectivities"].nnz


def test_the_compiled_gather_is_its_twin():
    from celldyn.landscape.row_kernels import spread_rows as compiled

    csr = sparse.random_array((40, 17), density=0.3, format="csr", rng=1, dtype=np.float32)
    indptr = csr.indptr.astype(np.int64)
    cells = np.array([5, 39, 5, 0, 12])
    outs = [np.full((5, 17), 7, np.float32) for _ in range(2)]
    for spread, out in zip((spread_rows, compiled), outs, strict=True):
        spread(indptr, csr.indices.astype(np.int32), csr.data, cells, out)
        np.testing.assert_array_equal(out, csr.toarray()[cells])


def test_rows_made_dense_on_a_device_are_the_same():
    csr = sparse.random_array((40, 17), density=0.3, format="csr", rng=1, dtype=np.float32)
    rows = SparseRows(csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data, 17)
    there = DeviceRows.of(rows, torch.device("cpu"))
    for cells in (CELLS, torch.from_numpy(CELLS), np.empty(0, np.int64)):
        torch.testing.assert_close(there.take(cells), rows.take(cells), rtol=0, atol=0)
    whole = rows.dense_on(torch.device("cpu"))
    np.testing.assert_array_equal(whole.values.numpy(), csr.toarray())


def test_a_number_that_is_no_cell_is_no_memory_beyond_the_matrix():
    inputs = read_inputs(lsd_adata(density_of=0.05))
    with pytest.raises(IndexError):
        inputs.counts(np.array([30]))


def test_library_is_the_total_of_the_modelled_genes():
    adata = lsd_adata()
    adata.obs["librarysize"] *= 2.5
    inputs = read_inputs(adata)
    np.testing.assert_array_equal(inputs.library, as_array(adata.layers["raw"]).sum(1))
    np.testing.assert_allclose(inputs.library_given, 2.5 * inputs.library)
    np.testing.assert_allclose(inputs.log_library(CELLS).exp(), inputs.library[CELLS], rtol=1e-6)
    (note,) = inputs.notes
    assert "2.5 times the total of the 12 genes" in note


def test_library_sizes_that_are_absent_or_0_are_told():
    adata = lsd_adata()
    raw = adata.layers["raw"].toarray()
    raw[4] = 0
    adata.layers["raw"] = raw
    del adata.obs["librarysize"]
    inputs = read_inputs(adata)
    assert inputs.library[4] == 1
    assert any("1 cell without counts" in note for note in inputs.notes)
    assert any("obs has no 'librarysize'" in note for note in inputs.notes)
    assert np.isfinite(inputs.log_library([4]).item())


def test_means_are_shares_of_all_counts():
    adata = lsd_adata()
    raw = as_array(adata.layers["raw"])
    means = read_inputs(adata).gene_means()
    np.testing.assert_allclose(means, raw.sum(0) / raw.sum(), rtol=1e-6)
    assert means.sum() == pytest.approx(1)


def two_states(theta, n=2000):
    """Two states, far apart in every gene, whose counts have a known inverse dispersion."""
    rng = np.random.default_rng(3)
    state = np.arange(n) % 2
    shares = np.array([[1.0] * 100 + [9.0] * 100, [9.0] * 100 + [1.0] * 100]) / 1000
    mean = shares[state] * rng.uniform(1000, 4000, n)[:, None]
    raw = rng.poisson(mean * rng.gamma(theta, 1 / theta, mean.shape)).astype(np.float32)
    near = (np.arange(n) + 2) % n
    graph = sparse.csr_array((np.ones(n), (np.arange(n), near)), shape=(n, n))
    adata = anndata.AnnData(np.log1p(raw), layers={"raw": raw})
    adata.obsp["connectivities"] = sparse.csr_matrix(graph + graph.T)
    return adata


@pytest.mark.parametrize("theta", [0.5, 5.0, 40.0])
def test_dispersion_is_that_of_the_noise_and_not_of_the_states(theta):
    adata = two_states(theta)
    found = read_inputs(adata).dispersion_start()
    assert np.median(found) == pytest.approx(theta, rel=0.15)
    del adata.obsp["connectivities"]
    blind = read_inputs(adata).dispersion_start()
    assert np.median(blind) < 2  # without a graph states count as noise


def test_dispersion_stays_in_its_bounds_whatever_the_counts():
    adata = lsd_adata()
    raw = as_array(adata.layers["raw"])
    raw[:, 1] = 0
    raw[:, 2] = 5
    raw[:, 3] = 0
    raw[7, 3] = 10_000
    adata.layers["raw"] = raw
    found = read_inputs(adata).dispersion_start()
    assert np.isfinite(found).all()
    assert found.min() >= 0.05
    assert found.max() <= 100
    assert found[1] == 100


def test_cells_that_no_walk_leaves_and_parts_are_told():
    adata = lsd_adata()
    graph = adata.obsp["connectivities"].tolil()
    graph[:15, 15:] = graph[15:, :15] = 0
    graph[4, :] = graph[:, 4] = 0
    adata.obsp["connectivities"] = graph.tocsr()
    notes = read_inputs(adata).notes
    assert any("1 cell without a neighbour" in note for note in notes)
    assert any("falls into 2 parts" in note for note in notes)


def test_a_data_set_without_a_graph_says_so_when_it_is_asked():
    adata = lsd_adata()
    del adata.obsp["connectivities"]
    inputs = read_inputs(adata)
    assert inputs.connectivities is None
    with pytest.raises(MissingKeyError, match="no neighbour graph"):
        inputs.graph()


def spoilt(what):
    adata = lsd_adata(dense=True)
    raw, X = adata.layers["raw"], adata.X
    if what == "one cell":
        return adata[:1].copy()
    if what == "one gene":
        return adata[:, :1].copy()
    if what == "same name":
        adata.var_names = ["gene0", "gene0", *adata.var_names[2:]]
    elif what == "no layer":
        del adata.layers["raw"]
    elif what == "no X":
        adata.X = None
    elif what == "X of counts":
        adata.X = raw.copy()
    elif what == "X of 0":
        adata.X = np.zeros_like(X)
    elif what == "X scaled":
        adata.X = X - X.mean(0)
    elif what == "X NaN":
        X[3, 4] = np.nan
    elif what == "X text":
        adata.X = np.full(X.shape, "a", dtype=object)
    elif what == "raw halves":
        raw[2, 1] = 0.5
    elif what == "raw below 0":
        raw[2, 1] = -1
    elif what == "raw NaN":
        raw[2, 1] = np.nan
    elif what == "raw of 0":
        raw[:] = 0
    elif what == "library text":
        adata.obs["librarysize"] = "many"
    elif what == "library NaN":
        adata.obs["librarysize"] = np.nan
    elif what == "graph NaN":
        adata.obsp["connectivities"].data[0] = np.nan
    return adata


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("one cell", "1 cell, and a landscape needs 2"),
        ("one gene", "1 gene, and a landscape needs 2"),
        ("same name", "'gene0' stands more than once"),
        ("no layer", "layer 'raw' with the raw counts is not there"),
        ("no X", "no X"),
        ("X of counts", "X holds whole numbers"),
        ("X of 0", "X is 0 everywhere"),
        ("X scaled", "below 0"),
        ("X NaN", "not finite"),
        ("X text", "instead of numbers"),
        ("raw halves", "0.5, which is not a raw count"),
        ("raw below 0", "-1, which is not a raw count"),
        ("raw NaN", "nan, which is not a raw count"),
        ("raw of 0", "no counts at all"),
        ("library text", "not numeric"),
        ("library NaN", "not finite"),
        ("graph NaN", "not finite"),
    ],
)
def test_what_cannot_serve_is_refused_in_a_sentence(what, said):
    with pytest.raises((DataError, MissingKeyError), match=said):
        read_inputs(spoilt(what))


def test_x_that_is_on_no_log_scale_is_told():
    adata = lsd_adata(dense=True)
    adata.X = np.expm1(adata.X) + 0.25
    assert any("not seem to be on a log scale" in note for note in read_inputs(adata).notes)


def test_reading_is_a_job_that_leaves_the_data_as_they_are():
    adata = lsd_adata()
    before = adata.copy()
    job = read_inputs_job(adata)
    assert isinstance(next(job), Progress)
    job.close()
    read_inputs(adata)
    assert (adata.X != before.X).nnz == 0
    assert (adata.layers["raw"] != before.layers["raw"]).nnz == 0
