"""The expression of named genes, out of every kind of matrix."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from data_cases import tissue
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix, random_array

from celldyn import data
from celldyn.data.genes import single_column
from celldyn.errors import DataError, MissingKeyError

KINDS = [csr_matrix, csc_matrix, csr_array, csc_array, lambda m: m.toarray()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_matrix_gives_the_same_genes(kind):
    adata = tissue()
    whole = adata.X.toarray()
    adata.layers["other"] = kind(csr_matrix(whole + 1))
    adata.X = kind(csr_matrix(whole))
    got = data.expression(adata, ["Gene7", "Gene2"])
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, whole[:, [7, 2]])
    np.testing.assert_array_equal(data.expression(adata, ["Gene2"], "other"), whole[:, [2]] + 1)
    for _ in range(2):
        column = data.gene_column(adata, "Gene7")
        assert column.dtype == np.float32
        np.testing.assert_array_equal(column, whole[:, 7])
    np.testing.assert_array_equal(data.gene_column(adata, "gene7", "other"), whole[:, 7] + 1)
    assert data.expression(adata, []).shape == (40, 0)


def test_a_column_is_a_copy():
    adata = tissue()
    adata.X = adata.X.toarray()
    data.gene_column(adata, "Gene0")[:] = -1
    assert adata.X.min() == 0


def test_a_view_gives_its_own_cells():
    adata = tissue()
    part = adata[5:20]
    np.testing.assert_array_equal(
        data.gene_column(part, "Gene3"), adata.X[5:20, 3].toarray()[:, 0]
    )


def test_a_change_of_the_values_is_seen():
    adata = tissue()
    before = data.gene_column(adata, "Gene3")
    adata.X.data *= 2
    np.testing.assert_array_equal(data.gene_column(adata, "Gene3"), 2 * before)


def test_a_scan_by_rows_adds_up_doubled_entries():
    csr = csr_matrix(([1.0, 2.0, 4.0], [1, 1, 0], [0, 2, 2, 3]), shape=(3, 2))
    np.testing.assert_array_equal(single_column(csr, 1), [3, 0, 0])
    np.testing.assert_array_equal(single_column(csr, 0), [0, 0, 4])
    np.testing.assert_array_equal(single_column(csr_matrix((3, 2)), 0), [0, 0, 0])


def test_a_gene_of_many_cells_is_fast():
    rng = np.random.default_rng(0)
    x = random_array((200_000, 200), density=0.05, format="csr", dtype=np.float32, rng=rng)
    adata = AnnData(csr_matrix(x))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        column = data.gene_column(adata, "7")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05  # about 2 ms where nothing else runs
    np.testing.assert_array_equal(column, adata.X[:, [7]].toarray()[:, 0])


def test_a_gene_is_found_whatever_its_case_if_only_one_is_meant():
    adata = tissue()
    assert data.find_gene(adata, "Gene1") == "Gene1"
    assert data.find_gene(adata, "gENE1") == "Gene1"
    adata.var_names = ["MYC", "Myc", *adata.var_names[2:]]
    assert data.find_gene(adata, "Myc") == "Myc"
    with pytest.raises(MissingKeyError, match="could be any of MYC, Myc"):
        data.find_gene(adata, "myc")


def test_a_gene_that_is_not_there_gets_the_closest_names():
    adata = tissue()
    adata.var_names = ["Cxcl12", "Cxcr4", *adata.var_names[2:]]
    with pytest.raises(MissingKeyError, match=r"'Cxcl2' is not among the 12 .*mean Cxcl12"):
        data.find_gene(adata, "Cxcl2")
    with pytest.raises(MissingKeyError, match="check its spelling"):
        data.gene_column(adata, "zzzzzzz")
    with pytest.raises(MissingKeyError, match="'nope' is not among"):
        data.expression(adata, ["Cxcr4", "nope"])


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(
        MissingKeyError, match="layer 'spliced' is not there; there are none; no layer means X"
    ):
        data.expression(tissue(), ["Gene0"], "spliced")
    with pytest.raises(MissingKeyError, match="has no X"):
        data.gene_column(AnnData(obs=tissue().obs, var=tissue().var), "Gene0")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [0.5, -1.0, np.nan, np.inf])
def test_counts_are_whole_and_not_negative(kind, wrong):
    adata = tissue()
    values = adata.X.toarray()
    adata.layers["counts"] = kind(csr_matrix(values))
    data.require_counts(adata, "counts")
    values[4, 4] = wrong
    adata.X = kind(csr_matrix(values))
    with pytest.raises(DataError, match=f"X holds {wrong:g}, which is not a raw count"):
        data.require_counts(adata)


def test_a_tissue_is_checked_whole():
    data.check_tissue(tissue())
    bad = tissue()
    bad.X.indices[0] = 99
    with pytest.raises(DataError, match="the sparse matrix X is damaged"):
        data.check_tissue(bad)
    with pytest.raises(DataError, match="no genes"):
        data.check_tissue(AnnData(obs=pd.DataFrame(index=["a"])))
