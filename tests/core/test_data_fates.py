"""Chances of fates as colours."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celldyn.data import Source, column
from celldyn.data.columns import obsm_columns, sources
from celldyn.data.fates import OPEN, UNCERTAIN, blend, fate_colours, fate_names
from celldyn.errors import DataError

RED, BLUE = "#ff0000", "#0000ff"


@pytest.fixture
def adata() -> ad.AnnData:
    made = ad.AnnData(np.zeros((4, 1), np.float32))
    chances = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8], [np.nan, np.nan]])
    made.obsm["fate_probabilities"] = chances
    made.uns["celldyn"] = {"fates": json.dumps({"names": ["Mono", "Ery"]})}
    return made


def test_what_is_certain_has_its_own_colour_and_what_is_open_is_grey() -> None:
    rgba = blend(np.array([[1.0, 0.0], [0.0, 3.0], [0.5, 0.5], [0.0, 0.0]]), [RED, BLUE])
    np.testing.assert_allclose(rgba[0], [1, 0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(rgba[1], [0, 0, 1, 1], atol=1e-6)
    np.testing.assert_allclose(rgba[2], [OPEN, OPEN, OPEN, 1], atol=1e-6)
    np.testing.assert_allclose(rgba[3], rgba[2], atol=1e-6)


def test_the_likelier_a_fate_the_more_of_its_colour() -> None:
    p = np.linspace(0.5, 1.0, 6)
    red = blend(np.column_stack([p, 1 - p]), [RED, BLUE])
    assert (np.diff(red[:, 0] - red[:, 2]) > 0).all()


def test_where_the_fate_is_not_certain_most_is_grey() -> None:
    rgba = blend(np.array([[1.0, 0.0]]), [RED, BLUE], np.array([False]))
    expected = np.array([1, 0, 0]) + UNCERTAIN * (OPEN - np.array([1, 0, 0]))
    np.testing.assert_allclose(rgba[0, :3], expected, atol=1e-6)


def test_chances_without_a_colour_each_are_refused() -> None:
    with pytest.raises(DataError, match="give a colour for each fate"):
        blend(np.ones((2, 3)), [RED, BLUE])


def test_the_column_has_the_likeliest_fate_and_the_blend(adata: ad.AnnData) -> None:
    held = column(adata, Source("obsm", "fate_probabilities"))
    assert held.categories == ["Mono", "Ery"]
    np.testing.assert_array_equal(held.codes, [0, 0, 1, -1])
    np.testing.assert_allclose(held.rgba, blend(np.asarray(adata.obsm["fate_probabilities"]),
                                                held.colours))  # fmt: skip
    assert Source("obsm", "fate_probabilities") in sources(adata)
    assert held.label == "fates"


def test_one_fate_is_named_and_is_a_column_of_values(adata: ad.AnnData) -> None:
    assert obsm_columns(adata, "fate_probabilities") == ["Mono", "Ery"]
    values = column(adata, Source("obsm", "fate_probabilities", "Ery")).values
    np.testing.assert_allclose(values[:3], [0, 0.5, 0.8])


def test_fates_have_the_colours_of_the_cells_that_come_to_them(adata: ad.AnnData) -> None:
    adata.obs["fate"] = pd.Categorical(["Mono", "Ery", "Ery", "Mono"])
    adata.uns["fate_colors"] = np.array([BLUE, RED], dtype=object)  # Ery, Mono
    assert fate_colours(adata, ["Mono", "Ery", "other"])[:2] == [RED, BLUE]


@pytest.mark.parametrize("held", [None, "no JSON", json.dumps([1]), {"names": ["a"]}])
def test_names_that_are_not_there_are_none(adata: ad.AnnData, held: object) -> None:
    adata.uns["celldyn"]["fates"] = held
    assert fate_names(adata) == (["a"] if isinstance(held, dict) else [])
    assert obsm_columns(adata, "fate_probabilities") == ["0", "1"]
