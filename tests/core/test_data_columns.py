"""What colours the cells: columns, categories, palettes, and the search for names."""

from __future__ import annotations

import itertools
import re
import time

import numpy as np
import pandas as pd
import pytest
from data_cases import tissue

from celldyn import data
from celldyn.data.palette import default_colours
from celldyn.errors import DataError, MissingKeyError

Source = data.Source


def test_numbers_of_every_slot():
    adata = tissue()
    adata.layers["norm"] = adata.X * 2
    adata.raw = adata.copy()
    adata.obs["whole"] = pd.array(np.resize([1, None], adata.n_obs), dtype="Int64")
    adata.obsm["X_pca"] = np.arange(80).reshape(40, 2)
    adata.obsm["X_sparse"] = adata.X.copy()
    adata.obsm["frame"] = pd.DataFrame({"a": np.arange(40.0)}, index=adata.obs_names)
    x = adata.X.toarray()
    for source, wanted, label in [
        (Source("obs", "depth"), adata.obs["depth"], "depth"),
        (Source("X", column="Gene3"), x[:, 3], "Gene3"),
        (Source("layers", "norm", "Gene3"), 2 * x[:, 3], "Gene3 (norm)"),
        (Source("raw", column="Gene3"), x[:, 3], "Gene3 (raw)"),
        (Source("obsm", "X_pca", "1"), np.arange(1, 80, 2), "X_pca: 1"),
        (Source("obsm", "X_sparse", "3"), x[:, 3], "X_sparse: 3"),
        (Source("obsm", "frame", "a"), np.arange(40), "frame: a"),
        (Source("obsm", "frame", "0"), np.arange(40), "frame: 0"),
    ]:
        got = data.column(adata, source)
        assert got.values.dtype == np.float32
        np.testing.assert_allclose(got.values, wanted, rtol=1e-6)
        assert (got.codes, got.categories, got.colours) == (None, None, None)
        assert got.label == source.label == label
        assert not got.diverging
    assert np.isnan(data.column(adata, Source("obs", "whole")).values[1])


def test_coefficients_diverge_and_take_their_names_from_uns():
    adata = tissue()
    adata.obsm["betas_Gene1"] = np.arange(120.0).reshape(40, 3)
    names = ["intercept", "Gene2", "Cxcl12$Cxcr4"]
    adata.uns["celldyn"] = {"betas_Gene1": {"columns": np.array(names)}}
    got = data.column(adata, Source("obsm", "betas_Gene1", "Cxcl12$Cxcr4"))
    assert got.diverging
    np.testing.assert_array_equal(got.values, np.arange(2, 120, 3))
    assert Source("obsm", "betas_Gene1", "Gene2") in data.sources(adata)
    with pytest.raises(MissingKeyError, match="no column 'Sox2'; its columns are: intercept"):
        data.column(adata, Source("obsm", "betas_Gene1", "Sox2"))


def test_categories_have_codes_names_and_colours():
    adata = tissue()
    got = data.column(adata, Source("obs", "cell_type"))
    assert got.values is None
    assert got.categories == ["Astro", "NA", "Oligo", "eL2/3"]
    assert [got.categories[code] for code in got.codes] == list(adata.obs["cell_type"])
    assert got.colours == default_colours(4)
    adata.obs["flag"] = np.resize([True, False], 40)
    assert data.column(adata, Source("obs", "flag")).categories == ["False", "True"]
    adata.obs["some"] = pd.Categorical(np.resize(np.array(["a", None], dtype=object), 40))
    np.testing.assert_array_equal(
        data.column(adata, Source("obs", "some")).codes, np.resize([0, -1], 40)
    )
    assert re.fullmatch("#[0-9a-f]{6}", data.MISSING_COLOUR)
    adata.obsm["frame"] = pd.DataFrame({"t": ["b", "a"] * 20}, index=adata.obs_names)
    assert data.column(adata, Source("obsm", "frame", "t")).categories == ["a", "b"]


def test_a_column_that_is_not_there_is_named():
    adata = tissue()
    for source, says in [
        (Source("obs", "leiden"), "no column 'leiden'; its columns are: cell_type, batch, depth"),
        (Source("obsm", "X_umap", "0"), "no 'X_umap'; its keys are: spatial"),
        (Source("raw", column="Gene1"), "no raw"),
        (Source("X", column="nope"), "'nope' is not among"),
        (Source("layers", "l", "Gene1"), "layer 'l' is not there"),
    ]:
        with pytest.raises(MissingKeyError, match=re.escape(says)):
            data.column(adata, source)


def test_sources_are_the_columns_of_obs_and_obsm():
    adata = tissue()
    adata.obsm["X_umap"] = np.zeros((40, 2))
    assert data.sources(adata) == [
        Source("obs", "cell_type"),
        Source("obs", "batch"),
        Source("obs", "depth"),
        Source("obsm", "X_umap", "0"),
        Source("obsm", "X_umap", "1"),
    ]


# --- labels -----------------------------------------------------------------------------------


def test_na_is_a_name_and_not_a_missing_value():
    labels = data.labels(tissue(), "cell_type")
    assert "NA" in labels.categories
    assert (labels == "NA").sum() == 10
    assert not labels.isna().any()


def test_labels_are_strings_whatever_the_column():
    adata = tissue()
    adata.obs["leiden"] = np.resize([10, 2], 40)
    assert list(data.labels(adata, "leiden").categories) == ["2", "10"]
    adata.obs["mixed"] = pd.Categorical(np.resize(np.array([1, "1", "b"], dtype=object), 40))
    assert list(data.labels(adata, "mixed").categories) == ["1", "b"]
    adata.obs["unused"] = pd.Categorical(["a"] * 40, categories=["z", "a"])
    assert list(data.labels(adata, "unused").categories) == ["a"]


def test_missing_labels_are_counted():
    adata = tissue()
    adata.obs["some"] = pd.Categorical([None, *["a"] * 39])
    with pytest.raises(DataError, match=r"obs\['some'\] has no value for 1 cell, first 'cell0'"):
        data.labels(adata, "some")
    with pytest.raises(MissingKeyError, match="its columns are: cell_type, batch, depth, some"):
        data.labels(adata, "type")


# --- colours ----------------------------------------------------------------------------------


def test_stored_colours_come_first_and_the_palette_fills_in():
    adata = tissue()
    adata.uns["cell_type_colors"] = np.array(["#ABCDEF", "red", "no colour"], dtype=object)
    assert data.category_colours(adata, "cell_type") == [
        "#abcdef",
        "#ff0000",
        *default_colours(4)[2:],
    ]
    adata.uns["cell_type_colors"] = np.array([[1.0, 0.0, 0.0, 1.0]] * 4)
    assert data.category_colours(adata, "cell_type") == ["#ff0000"] * 4


# Machado et al. 2009, severity 1, on linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def lab(colour, sight):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(SIGHTS[sight]) @ linear, 0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(
    ("sight", "least"), [("normal", 20), ("deuteranopia", 12), ("protanopia", 12)]
)
def test_twenty_colours_are_told_apart(sight, least):
    seen = [lab(colour, sight) for colour in default_colours(20)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > least


def test_beyond_the_palette_colours_are_generated():
    colours = default_colours(120)
    assert len(set(colours)) == 120
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
    assert default_colours(20) == colours[:20]
    assert default_colours(0) == []


# --- search -----------------------------------------------------------------------------------


def test_search_finds_what_contains_the_text_and_puts_beginnings_first():
    index = data.NameIndex(["Cxcr4", "cd4", "Cd40", "ACD4", "Sox2", "Cd4l"])
    assert index.search("CD4") == ["cd4", "Cd40", "Cd4l", "ACD4"]
    assert index.search("cd4", limit=1) == ["cd4"]
    assert index.search(" x") == ["Cxcr4", "Sox2"]
    assert index.search("") == ["ACD4", "cd4", "Cd40", "Cd4l", "Cxcr4", "Sox2"]
    assert index.search("nothing") == []
    assert index.search("\n") == index.search("")
    assert data.NameIndex([]).search("a") == []
    assert data.NameIndex(["aaa", "aa"]).search("a") == ["aa", "aaa"]


def test_search_agrees_with_a_plain_one_and_is_fast():
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz0123456789-."))
    names = ["".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(36_000)]
    index = data.NameIndex(names)
    for text in ["a", "ab", "zz9", "gm1", "-", "a.b"]:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            found = index.search(text)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.03  # under 0.5 ms where nothing else runs
        beginning = sorted(n for n in names if n.startswith(text))
        containing = sorted(n for n in names if text in n and not n.startswith(text))
        assert found == (beginning + containing)[:50]


def test_the_change_that_a_perturbation_makes_diverges_and_can_be_added():
    adata = tissue()
    x = adata.X.toarray()
    adata.layers["betas_delta_KO"] = np.full(adata.shape, -0.5, np.float32)
    change = data.column(adata, Source("layers", "betas_delta_KO", "Gene3"))
    assert change.diverging
    after = data.column(adata, Source("X", column="Gene3", plus="betas_delta_KO"))
    assert not after.diverging
    np.testing.assert_allclose(after.values, x[:, 3] - 0.5)


def test_the_change_of_fates_in_a_landscape_diverges_and_is_called_by_its_fate():
    adata = tissue()
    adata.obsm["landscape_effect_KO%2Fa"] = np.full((adata.n_obs, 2), -0.25, np.float32)
    source = Source("obsm", "landscape_effect_KO%2Fa", "B")
    with pytest.raises(MissingKeyError, match="no column 'B'"):
        data.column(adata, source)
    info = {"info": '{"names": ["A", "B"]}'}
    adata.uns["celldyn"] = {"landscape_perturbed_KO%2Fa": info}
    shown = data.column(adata, source)
    assert shown.diverging
    assert shown.label == "B: change by KO/a"
    np.testing.assert_array_equal(shown.values, -0.25)
