"""Perturbations: what becomes of a matrix, which cells they mean, and their way through JSON."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from celldyn.errors import DataError, MissingKeyError
from celldyn.perturbation import KNOCK_OUT, Change, Perturbation

GENES = ["A", "B", "C", "D"]
CELLS = [f"cell_{i}" for i in range(6)]


def counts(seed=0, n=6):
    return np.random.default_rng(seed).poisson(1.0, (n, 4))


def everything():
    return Perturbation(
        {"A": KNOCK_OUT, "B": Change("set", 5.0), "C": Change("multiply", 2.0)},
        cells=np.array([0, 2, 5]),
    )


def test_every_change_by_hand():
    x = np.array([[1.0, 2.0, 3.0, 4.0]] * 6)
    changes = {
        "A": KNOCK_OUT, "B": Change("set", 7), "C": Change("multiply", 2), "D": Change("add", -5)
    }  # fmt: skip
    after = Perturbation(changes, cells=np.array([1, 4])).apply(x, GENES)
    for i in range(6):
        np.testing.assert_array_equal(after[i], [0, 7, 6, 0] if i in (1, 4) else [1, 2, 3, 4])
    unclipped = Perturbation(changes).apply(x, GENES, floor=None)
    np.testing.assert_array_equal(unclipped[:, 3], -1.0)


@pytest.mark.parametrize(
    "kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array]
)
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_sparse_is_dense(kind, dtype):
    x = counts().astype(dtype)
    matrix = kind(x)
    after = everything().apply(matrix, GENES)
    assert type(after) is type(matrix)
    assert after.dtype == dtype
    np.testing.assert_array_equal(after.toarray(), everything().apply(x, GENES))
    np.testing.assert_array_equal(matrix.toarray(), x)
    assert after.has_canonical_format
    assert (after.data != 0).all()


def test_entries_that_are_stored_twice_count_once_changed():
    matrix = sparse.csr_matrix(
        (np.array([1, 2, 4]), np.array([2, 2, 3]), np.array([0, 2, 3])), shape=(2, 4)
    )
    after = Perturbation({"C": Change("add", 1)}).apply(matrix, GENES)
    np.testing.assert_array_equal(after.toarray(), [[0, 0, 4, 0], [0, 0, 1, 4]])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.dictionaries(
        st.sampled_from(GENES),
        st.tuples(st.sampled_from(["knockout", "set", "multiply", "add"]), st.floats(0, 4)),
        min_size=1,
    ),
    st.sets(st.integers(0, 5), min_size=1),
)
def test_any_perturbation_of_any_kind_of_matrix(seed, changes, cells):
    x = counts(seed).astype(float)
    perturbation = Perturbation(
        {gene: Change(*change) for gene, change in changes.items()}, cells=np.array(sorted(cells))
    )
    wanted = x.copy()
    for gene, (kind, value) in changes.items():
        for i in cells:
            old = x[i, GENES.index(gene)]
            new = {"knockout": 0.0, "set": value, "multiply": value * old, "add": old + value}
            wanted[i, GENES.index(gene)] = new[kind]
    np.testing.assert_allclose(perturbation.apply(x, GENES), wanted, rtol=1e-15)
    for kind in (sparse.csr_matrix, sparse.csc_matrix):
        np.testing.assert_array_equal(
            perturbation.apply(kind(x), GENES).toarray(), perturbation.apply(x, GENES)
        )
    again = Perturbation.from_dict(json.loads(json.dumps(perturbation.to_dict())))
    assert again == perturbation


def test_a_factor_of_one_changes_no_bit():
    x = np.random.default_rng(3).random((6, 4)) * 1e-3
    same = Perturbation.multiply({"A": 1.0, "C": 1.0})
    np.testing.assert_array_equal(same.apply(x, GENES), x)
    kept = same.apply(sparse.csr_matrix(x), GENES)
    np.testing.assert_array_equal(kept.toarray(), x)


def test_integers_stay_integers_only_if_whole():
    x = counts()
    assert Perturbation.multiply({"A": 2.0}).apply(x, GENES).dtype == x.dtype
    half = Perturbation.multiply({"A": 0.5}).apply(x, GENES)
    assert half.dtype == np.float64
    np.testing.assert_array_equal(half[:, 0], x[:, 0] / 2)
    small = x.astype(np.uint8)
    assert Perturbation.set_to({"A": 1000.0}).apply(small, GENES).max() == 1000


def test_cells_by_mask_position_and_name_are_the_same_cells():
    adata = AnnData(counts().astype(float))
    adata.obs_names = CELLS
    mask = np.array([1, 0, 0, 1, 0, 1], dtype=bool)
    for cells in (mask, np.array([5, 0, 3, 0]), ["cell_5", "cell_0", "cell_3"]):
        perturbation = Perturbation.knock_out("A", cells=cells)
        np.testing.assert_array_equal(perturbation.rows(adata), [0, 3, 5])
        np.testing.assert_array_equal(perturbation.rows(adata.obs_names), [0, 3, 5])
        after = perturbation.apply(adata.X, GENES, obs_names=CELLS)
        assert (after[[0, 3, 5], 0] == 0).all()
    np.testing.assert_array_equal(Perturbation.knock_out("A").rows(adata), np.arange(6))
    # Names find their cells in another order; positions do not claim to.
    named = Perturbation.knock_out("A", cells=["cell_5"])
    np.testing.assert_array_equal(named.rows(CELLS[::-1]), [0])


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Perturbation({}), DataError, "no gene"),
        (lambda: Perturbation({"A": 0.0}), DataError, "give a Change"),
        (lambda: Change("double"), DataError, "'double'"),
        (lambda: Change("multiply", -1.0), DataError, "at least 0"),
        (lambda: Change("set", np.nan), DataError, "finite"),
        (lambda: Perturbation.knock_out("A", cells=[]), DataError, "in no cell"),
        (lambda: Perturbation.knock_out("A", cells=np.zeros(6, bool)), DataError, "in no cell"),
        (lambda: Perturbation.knock_out("A", cells=[0.5]), DataError, "boolean mask"),
        (lambda: Perturbation.knock_out("A", cells=[-1]), DataError, "from 0"),
        (lambda: Perturbation({"A": KNOCK_OUT}, released_at=0.0), DataError, "above 0"),
        (lambda: Perturbation.knock_out("A", cells=[6]).rows(6), DataError, "there are 6 cells"),
        (lambda: Perturbation.knock_out("A", cells=np.ones(5, bool)).rows(6), DataError, "mask"),
        (lambda: Perturbation.knock_out("A", cells=["x"]).rows(6), DataError, "by name"),
        (lambda: Perturbation.knock_out("A", cells=["x"]).rows(CELLS), MissingKeyError, "'x'"),
        (lambda: Perturbation.knock_out("Z").apply(counts(), GENES), MissingKeyError, "'Z'"),
        (lambda: Perturbation.knock_out("A").apply(counts(), ["A"]), DataError, "gene names"),
        (lambda: Perturbation.from_dict({"genes": {"A": {}}}), DataError, "to_dict"),
        (lambda: Perturbation.from_dict({"genes": {"A": 3}}), DataError, "to_dict"),
    ],
)
def test_what_is_wrong_is_said(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_a_gene_that_is_there_twice_is_refused_only_if_it_is_meant():
    names = ["A", "B", "B", "D"]
    assert (Perturbation.knock_out("D").apply(counts(), names)[:, 3] == 0).all()
    with pytest.raises(DataError, match="more than once"):
        Perturbation.knock_out("B").apply(counts(), names)


def test_a_way_through_json_and_processes():
    for cells in (None, np.array([True, False, True]), np.array([4, 1]), ["x", "y"]):
        perturbation = Perturbation({"A": Change("add", 0.1)}, cells, released_at=2.5)
        for again in (
            Perturbation.from_dict(json.loads(json.dumps(perturbation.to_dict()))),
            pickle.loads(pickle.dumps(perturbation)),  # as between processes, never on disk
        ):
            assert again == perturbation
            assert again.describe() == perturbation.describe()
    assert perturbation != Perturbation({"A": Change("add", 0.1)}, ["x"], released_at=2.5)


def test_it_cannot_be_changed_afterwards():
    cells = np.array([1, 2])
    perturbation = Perturbation.knock_out("A", cells=cells)
    cells[0] = 5
    np.testing.assert_array_equal(perturbation.rows(6), [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        perturbation.cells[0] = 3


def test_it_says_what_it_does():
    one = Perturbation.knock_out("Myc")
    assert one.describe() == "knock-out of Myc"
    many = Perturbation(
        {"A": KNOCK_OUT, "B": Change("multiply", 2), "C": Change("set", 5), "D": Change("add", -1),
         "E": KNOCK_OUT},
        cells=np.array([3, 4, 4]),
        released_at=4.0,
    )  # fmt: skip
    assert many.describe(9) == "knock-out of A, B × 2, C = 5, 2 more in 2 of 9 cells until t = 4"
    assert Perturbation({"D": Change("add", -1)}).describe() == "D − 1"
    assert Perturbation.knock_out("A", cells=["x"]).describe(4) == "knock-out of A in 1 cell"


def test_held_or_released():
    held, pulse = Perturbation.knock_out("A"), Perturbation({"A": KNOCK_OUT}, released_at=2.0)
    assert held.active(0.0)
    assert held.active(1e9)
    assert pulse.active(1.9)
    assert not pulse.active(2.0)
