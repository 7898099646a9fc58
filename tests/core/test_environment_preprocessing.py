"""What a policy sees of modalities: hand values, laws, storage formats, and what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from anndata import AnnData, read_h5ad
from environment_data_cases import coordinates, counts, csr, table
from scipy import sparse
from sklearn.decomposition import PCA

from celldyn.environment import Preprocessing
from celldyn.environment import preprocessing_pca as pca
from celldyn.errors import (
    ConfigError,
    DataError,
    FileFormatError,
    MissingKeyError,
    NotFittedError,
)
from celldyn.jobs import Progress

LOGGED = {"sample_counts": (100.0,), "log_modalities": (0,)}


def one(preprocessing, data):
    (features,) = preprocessing.transform([data])
    return features


def test_counts_log_and_standardisation_by_hand():
    X = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    p = Preprocessing((8.0,), (0,), (0,)).fit([X])
    first = np.log1p([2.0, 4.0, 6.0])
    expected = (first - first.mean()) / first.std()
    np.testing.assert_allclose(one(p, X), np.column_stack([expected, expected[::-1]]), rtol=1e-6)
    np.testing.assert_allclose(p.inverse_transform([one(p, X)])[0], 2 * X, rtol=1e-5)


def test_components_are_those_of_scikit_learn():
    X = np.log1p(counts().astype(float))
    features = one(Preprocessing((), (), (6,)).fit([X]), X)
    reference = PCA(6, svd_solver="full").fit_transform((X - X.mean(0)) / X.std(0))
    np.testing.assert_allclose(np.abs(features), np.abs(reference), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"pca_dim": (6,)},
        {"pca_dim": (6,), "standardize": False},
        {"pca_dim": (0,)},
        {"pca_dim": (6,), "top_variant": 15},
    ],
)
def test_storage_does_not_matter(options, tmp_path):
    X = counts()
    dense = table(X)
    p = Preprocessing(**LOGGED, **options).fit([dense])
    expected = one(p, dense)
    for form in (csr, sparse.csc_matrix, sparse.coo_matrix):
        other = Preprocessing(**LOGGED, **options).fit([form(X)])
        np.testing.assert_allclose(one(other, form(X)), expected, atol=1e-5)
    for k, form in enumerate((np.asarray, csr)):
        table(X, form=form).write_h5ad(tmp_path / f"{k}.h5ad")
        backed = read_h5ad(tmp_path / f"{k}.h5ad", backed="r")
        other = Preprocessing(**LOGGED, **options).fit([backed])
        np.testing.assert_allclose(one(other, backed), expected, atol=1e-5)


@pytest.mark.parametrize("form", [np.asarray, csr])
def test_blocks_and_views_on_disk_do_not_matter(form, tmp_path, monkeypatch):
    X = counts()
    table(X, form=form).write_h5ad(tmp_path / "a.h5ad")
    backed = read_h5ad(tmp_path / "a.h5ad", backed="r")
    p = Preprocessing(**LOGGED, pca_dim=(6,)).fit([backed], np.arange(60))
    expected = one(p, table(X))
    monkeypatch.setattr("celldyn.environment.preprocessing_blocks.BLOCK_NUMBERS", 7 * 40)
    small = Preprocessing(**LOGGED, pca_dim=(6,)).fit([backed], np.arange(60))
    np.testing.assert_allclose(one(small, backed), expected, atol=1e-5)
    cells = np.random.default_rng(0).permutation(90)[:31]
    np.testing.assert_allclose(one(p, backed[cells]), expected[cells], atol=1e-5)
    turned = backed[cells, backed.var_names[::-1]]
    np.testing.assert_allclose(one(p, turned), expected[cells], atol=1e-5)


def test_only_training_cells_are_fitted_on():
    X = counts()
    train = np.arange(90) < 60
    p = Preprocessing(**LOGGED, pca_dim=(6,)).fit([X], train)
    poisoned = X.copy()
    poisoned[60:] = 1e4 * counts(30, seed=9)
    q = Preprocessing(**LOGGED, pca_dim=(6,)).fit([poisoned], np.arange(60))
    np.testing.assert_array_equal(one(p, X)[:60], one(q, poisoned)[:60])
    np.testing.assert_allclose(one(p, X)[train].mean(0), 0, atol=1e-5)


def test_centre_of_unstandardised_components_is_that_of_training_cells():
    X = 5.0 + counts()
    p = Preprocessing(pca_dim=(6,), standardize=False).fit([csr(X)], np.arange(60))
    features = one(p, X)
    np.testing.assert_allclose(features[:60].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(p.inverse_transform([features[:60]])[0].mean(0), X[:60].mean(0),
                               rtol=1e-5)  # fmt: skip


def test_few_cells_and_many_features_give_the_same_components():
    X = np.log1p(counts(30, 70).astype(float))
    features = one(Preprocessing(pca_dim=(50,)).fit([csr(X)]), X)
    assert features.shape == (30, 29)  # 30 centred cells span 29 dimensions
    reference = PCA(29, svd_solver="full").fit_transform((X - X.mean(0)) / _std(X))
    np.testing.assert_allclose(np.abs(features), np.abs(reference), atol=1e-5)


def _std(X):
    return np.where(X.std(0) > 0, X.std(0), 1)


def test_large_data_are_reduced_by_subspace_iteration(monkeypatch):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 5)) @ rng.normal(size=(5, 80)) * 3 + rng.normal(size=(120, 80)) * 0.1
    exact = one(Preprocessing(pca_dim=(5,)).fit([X]), X)
    monkeypatch.setattr(pca, "MOST_EXACT", 50)
    first = one(Preprocessing(pca_dim=(5,)).fit([X]), X)
    np.testing.assert_allclose(first, exact, atol=1e-4)
    again = one(Preprocessing(pca_dim=(5,)).fit([csr(X)]), X)
    np.testing.assert_allclose(again, first, atol=1e-5)


def test_components_of_a_sample_of_cells_are_orthonormal_and_repeatable():
    X = counts()
    p = Preprocessing(pca_dim=(6,), max_cells=50).fit([X])
    q = Preprocessing(pca_dim=(6,), max_cells=50).fit([X])
    C = p.maps[0].components
    np.testing.assert_allclose(C @ C.T, np.eye(6), atol=1e-10)
    np.testing.assert_array_equal(C, q.maps[0].components)
    np.testing.assert_allclose(p.maps[0].mean, X.mean(0), rtol=1e-6)  # of all cells
    assert not np.allclose(C, Preprocessing(pca_dim=(6,)).fit([X]).maps[0].components)


def test_coordinates_keep_their_shape():
    xy = coordinates()
    X = np.asarray(xy.X)
    p = Preprocessing((100.0,), (), (512,), spatial=(0,)).fit([xy])
    scale = np.sqrt(X.var(0).mean())
    np.testing.assert_allclose(one(p, xy), (X - X.mean(0)) / scale, atol=1e-4)
    np.testing.assert_allclose(p.inverse_transform([one(p, xy)])[0], X, rtol=1e-5)


def test_cells_without_counts_stay_at_zero():
    X = counts()
    X[3] = 0
    p = Preprocessing(**LOGGED, pca_dim=(0,)).fit([X])
    features = one(p, csr(X))
    assert np.isfinite(features).all()
    np.testing.assert_allclose(p.inverse_transform([features])[0][3], 0, atol=1e-5)


def test_constant_features_are_harmless():
    X = counts()
    X[:, 5] = 7.0
    p = Preprocessing(pca_dim=(0,)).fit([X])
    np.testing.assert_array_equal(one(p, X)[:, 5], 0)
    q = Preprocessing(pca_dim=(6,)).fit([table(X)])
    with pytest.raises(DataError, match="holds gene5, which never varied"):
        q.maps[0].columns(["gene5"])


def test_most_variable_features_are_kept_and_others_told_at_their_average():
    X = np.column_stack([np.tile([0.0, 9.0], 5), np.full(10, 4.0), np.tile([1.0, 2.0], 5)])
    p = Preprocessing(pca_dim=(0,), top_variant=2).fit([table(X)])
    assert p.maps[0].kept.tolist() == [0, 2]
    np.testing.assert_allclose(p.inverse_transform([one(p, table(X))])[0], X, atol=1e-6)
    assert p.maps[0].feature_names == ("gene0", "gene2")
    with pytest.raises(MissingKeyError, match="gene1 was left out"):
        p.maps[0].columns(["gene1"])


@pytest.mark.parametrize("options", [{}, {"standardize": False}, {"top_variant": 30}])
@pytest.mark.parametrize("dim", [0, 6])
def test_a_gene_is_at_a_value_where_its_columns_say_so(options, dim):
    X = table(counts())
    p = Preprocessing((), (0,), (dim,), **options).fit([X])
    m = p.maps[0]
    genes = [m.names[m.kept[4]], m.names[m.kept[1]]]
    z, c = one(p, X).astype(float), m.columns(genes)
    raw = m.expression(z, genes)
    above = raw > 0  # below it expression is told as 0
    np.testing.assert_allclose((z @ c)[above], m.preprocessed(genes, raw)[above], atol=1e-5)
    assert above.mean() > 0.5
    told = p.inverse_transform([z])[0][:, m.positions(genes) if not options.get("top_variant")
                                        else m.kept[m.positions(genes)]]  # fmt: skip
    np.testing.assert_allclose(raw, told, atol=1e-5)
    # The least change of features that sets both genes: z + (t − z c)(cᵀc)⁺cᵀ.
    t = m.preprocessed(genes, [1.0, 2.0])
    moved = z + (t - z @ c) @ np.linalg.pinv(c)
    np.testing.assert_allclose(m.expression(moved, genes), np.tile([1.0, 2.0], (90, 1)), atol=1e-6)


def test_preprocessed_values_by_hand():
    X = table(np.array([[0.0, 1.0], [3.0, 1.0], [8.0, 5.0]]))
    m = Preprocessing((), (0,), (0,)).fit([X]).maps[0]
    logs = np.log1p([0.0, 3.0, 8.0])
    assert m.preprocessed(["gene0"], 3.0) == pytest.approx([(logs[1] - logs.mean()) / logs.std()])
    assert m.preprocessed("gene0", [[0.0], [8.0]]).shape == (2, 1)
    np.testing.assert_array_equal(m.columns(["gene1", "gene0"]), [[0, 1], [1, 0]])


def test_counts_are_restored_where_asked():
    X = counts() + 1
    p = Preprocessing((50.0,), (0,), (0,)).fit([X])
    z, sizes = one(p, X), X.sum(1)
    np.testing.assert_allclose(p.inverse_transform([z])[0].sum(1), 50, rtol=1e-4)
    np.testing.assert_allclose(p.inverse_transform([z], counts=sizes)[0], X, rtol=1e-3)
    typical = p.inverse_transform([z], counts=True)[0].sum(1)
    np.testing.assert_allclose(typical, np.median(sizes), rtol=1e-4)


def test_some_modalities_are_transformed_alone_and_frames_go_back():
    a, xy = table(counts()), coordinates()
    p = Preprocessing((), (0,), (6, 0), spatial=(1,)).fit([a, xy])
    both = p.transform([a, xy])
    np.testing.assert_array_equal(p.transform([xy], 1)[0], both[1])
    np.testing.assert_array_equal(p.transform([xy, a], [1, 0])[1], both[0])
    frames = np.stack([both[1], both[1]])
    back = p.inverse_transform([frames], [1])[0]
    np.testing.assert_allclose(back[1], xy.X, rtol=1e-5)
    assert p.n_features == (6, 2)


def test_features_are_found_by_name():
    a = table(counts())
    p = Preprocessing(pca_dim=(6,)).fit([a])
    wider = AnnData(np.column_stack([np.ones(90), a.X]))
    wider.var_names = ["other", *a.var_names]
    np.testing.assert_array_equal(one(p, wider[:, ::-1]), one(p, a))
    assert p.maps[0].positions(["GENE7"]).tolist() == [7]
    with pytest.raises(MissingKeyError, match="lacks 30 features that were prepared: gene10"):
        one(p, a[:, :10])
    with pytest.raises(MissingKeyError, match="'gen7' is not among the 40 genes"):
        p.maps[0].columns(["gen7"])
    with pytest.raises(DataError, match="39 features, and 40 were prepared"):
        one(p, a.X[:, 1:])


def test_state_is_read_back_bit_for_bit_and_damage_is_refused():
    a, xy = table(counts()), coordinates()
    p = Preprocessing((100.0, 0), (0,), (6, 0), top_variant=30, spatial=(1,)).fit([a, xy])
    arrays, header = p.to_state()
    q = Preprocessing.from_state(arrays, header)
    for mine, theirs in zip(p.transform([a, xy]), q.transform([a, xy]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert q.options == p.options
    for name, bad in (
        ("0/components", arrays["0/components"][:, 1:]),
        ("0/std", -arrays["0/std"]),
        ("0/kept", arrays["0/kept"] + 1000),
        ("1/mean", np.array([np.nan, 0.0])),
    ):
        with pytest.raises(FileFormatError, match="damaged"):
            Preprocessing.from_state({**arrays, name: bad}, header)
    with pytest.raises(FileFormatError):
        Preprocessing.from_state(arrays, {"options": {}})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda X: X.__setitem__((4, 2), np.nan), "holds nan for cell cell4 and feature gene2"),
        (lambda X: X.__setitem__((4, 2), np.inf), "holds inf for cell cell4 and feature gene2"),
        (lambda X: X.__setitem__((4, 2), -1), "holds -1 for cell cell4 .* has no logarithm"),
        (lambda X: X.__setitem__(slice(None), 3), "does not vary across the 90 training cells"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, csr])
def test_bad_values_are_refused_and_nothing_is_changed(spoil, says, form):
    X = counts()
    good = table(X)
    p = Preprocessing(log_modalities=(0,), pca_dim=(6,)).fit([good])
    before, maps = one(p, good), p.maps
    bad = X.copy()
    spoil(bad)
    with pytest.raises(DataError, match=says):
        p.fit([table(bad, form=form)])
    assert p.maps is maps
    np.testing.assert_array_equal(one(p, good), before)


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ([counts(), coordinates(80)], {}, "modality 1 has 80 cells and modality 0 has 90"),
        ([], {}, "there is no modality"),
        ([np.zeros((0, 3))], {}, "modality 0 has no cells"),
        ([np.zeros((3, 0))], {}, "modality 0 has no features"),
        ([np.zeros(3)], {}, "no table"),
        ([np.array([["a", "b"]])], {}, "instead of numbers"),
        ([counts()], {"cells": np.zeros(90, bool)}, "no cell is trained on"),
        ([counts()], {"cells": np.ones(3, bool)}, "3 entries for 90 cells"),
        ([counts()], {"cells": [90]}, "count cells from 0"),
        ([counts()], {"feature_names": [["a"]]}, "1 names were given for the 40 features"),
        ([counts(9, 2)], {"feature_names": [["a", "a"]]}, "feature 'a' of modality 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(data, options, says):
    with pytest.raises(DataError, match=says):
        Preprocessing().fit(data, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sample_counts": (-1.0,)}, "sample_counts"),
        ({"pca_dim": (-1,)}, "pca_dim"),
        ({"top_variant": 0}, "top_variant"),
        ({"spatial": (0,), "log_modalities": (0,)}, "both in spatial and in log_modalities"),
        ({"log_modalities": (2,)}, "log_modalities names modality 2, and there are 1"),
        ({"pca_dim": (3, 4)}, "pca_dim has 2 numbers for 1 modalities"),
    ],
)
def test_bad_options_are_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        Preprocessing(**options).fit([counts()])


@pytest.mark.parametrize("dim", [6, 30])
def test_a_fit_that_is_stopped_changes_nothing_and_leaves_no_thread(dim, monkeypatch):
    monkeypatch.setattr("celldyn.environment.preprocessing_blocks.BLOCK_NUMBERS", 7 * 40)
    X, other = counts(), counts(seed=5)
    p = Preprocessing(log_modalities=(0,), pca_dim=(6,)).fit([X])
    maps, before = p.maps, set(threading.enumerate())
    p.pca_dim = (dim,)
    for word in range(1, 8):  # it says more than so many: 13 blocks are read
        job = p.fit_job([other])
        for _ in range(2 * word):
            assert isinstance(next(job), Progress)
        job.close()
        assert p.maps == maps
    assert not set(threading.enumerate()) - before
    p.fit([other])
    assert p.maps != maps


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(NotFittedError):
        Preprocessing().transform([counts()])
    a = table(counts())
    p = Preprocessing((), (0,), (6,)).fit([a])
    with pytest.raises(DataError, match="has 6 features, and 5 were given"):
        p.inverse_transform([np.zeros((3, 5))])
    with pytest.raises(DataError, match="2 modalities were given where 1 are expected"):
        p.transform([a, a])
    with pytest.raises(DataError, match="no logarithm"):
        p.maps[0].preprocessed(["gene1"], -0.5)
    with pytest.raises(DataError, match="not finite"):
        p.maps[0].preprocessed(["gene1"], np.nan)
    table(counts(), form=sparse.csc_matrix).write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(DataError, match="stored by columns"):
        one(p, read_h5ad(tmp_path / "c.h5ad", backed="r"))
