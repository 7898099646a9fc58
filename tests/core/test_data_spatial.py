"""Coordinates, their unit, and sections laid side by side."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from data_cases import tissue
from scipy.spatial.distance import pdist

from celldyn import data
from celldyn.errors import ConfigError, DataError, MissingKeyError


def test_coordinates_are_two_columns_of_float64():
    adata = tissue()
    adata.obsm["spatial"] = np.arange(120, dtype=np.int32).reshape(40, 3)
    xy = data.coordinates(adata)
    assert xy.dtype == np.float64
    np.testing.assert_array_equal(xy, np.arange(120).reshape(40, 3)[:, :2])
    adata.obsm["spatial"] = pd.DataFrame(xy, index=adata.obs_names, columns=["x", "y"])
    np.testing.assert_array_equal(data.coordinates(adata), xy)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_coordinates_that_are_not_finite_are_counted(wrong):
    adata = tissue()
    adata.obsm["spatial"][[3, 9, 9], [0, 0, 1]] = wrong
    with pytest.raises(DataError, match=r"obsm\['spatial'\] is not finite for 2 cells, first 'ce"):
        data.coordinates(adata)


@pytest.mark.parametrize("table", [np.zeros((40, 1)), np.zeros((40, 4)), np.full((40, 2), "a")])
def test_coordinates_of_another_shape_are_refused(table):
    adata = tissue()
    adata.obsm["spatial"] = table
    with pytest.raises(DataError, match=r"obsm\['spatial'\]"):
        data.coordinates(adata)


def test_true_and_false_are_no_coordinates():
    adata = tissue(spatial=False)
    adata.obs["x"], adata.obs["y"] = True, 1.0
    with pytest.raises(DataError, match="no coordinates"):
        data.coordinates(adata)


def test_the_unit_is_unknown_until_somebody_says_it():
    adata = tissue()
    assert data.um_per_unit(adata) is None
    data.set_unit(adata, 0.325)
    assert data.um_per_unit(adata) == 0.325
    data.set_unit(adata, 1.0)
    assert adata.uns["celldyn"] == {"um_per_unit": 1.0, "spatial_unit": "um"}
    data.set_unit(adata, None)
    assert data.um_per_unit(adata) is None
    adata.uns["celldyn"] = {"spatial_unit": "um"}
    assert data.um_per_unit(adata) == 1.0


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_unit_must_be_positive(wrong):
    adata = tissue()
    with pytest.raises(ConfigError, match="um_per_unit"):
        data.set_unit(adata, wrong)
    assert "celldyn" not in adata.uns


def test_the_section_key_names_a_column():
    adata = tissue()
    assert data.section_key(adata) is None
    data.set_section_key(adata, "batch")
    assert data.section_key(adata) == "batch"
    with pytest.raises(MissingKeyError, match="no column 'slice'; its columns are: cell_type"):
        data.set_section_key(adata, "slice")
    assert data.section_key(adata) == "batch"
    del adata.obs["batch"]
    assert data.section_key(adata) is None
    data.set_section_key(adata, None)
    assert data.section_key(adata) is None


def test_sections_side_by_side_do_not_overlap_and_keep_their_distances():
    rng = np.random.default_rng(1)
    xy = rng.uniform(-50, 50, (300, 2)) * [1, 2]
    sections = np.resize(["b", "a", "c"], 300)
    laid = data.side_by_side(xy, pd.Categorical(sections, categories=["b", "unused", "a", "c"]))
    np.testing.assert_allclose(laid[sections == "b"], xy[sections == "b"])
    widest = max(np.ptp(xy[sections == s, 0]) for s in "abc")
    for left, right in ("ba", "ac"):
        space = laid[sections == right, 0].min() - laid[sections == left, 0].max()
        assert space == pytest.approx(0.05 * widest)
        assert laid[sections == right, 1].min() == pytest.approx(laid[sections == "b", 1].min())
    for section in "abc":
        here = sections == section
        np.testing.assert_allclose(pdist(laid[here]), pdist(xy[here]))


def test_one_section_stays_where_it_is():
    xy = np.array([[3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(data.side_by_side(xy, ["a", "a"]), xy)
    assert data.side_by_side(np.empty((0, 2)), []).shape == (0, 2)


def test_sections_of_one_cell_each_still_get_room():
    laid = data.side_by_side(np.zeros((2, 2)), [1, 2], gap=0.5)
    np.testing.assert_array_equal(laid, [[0, 0], [0.5, 0]])


def test_only_tables_of_two_finite_columns_can_stand_in_for_coordinates():
    adata = ad.AnnData(np.ones((3, 2), np.float32))
    adata.obsm["X_umap"] = np.arange(9.0).reshape(3, 3)
    adata.obsm["X_one"] = np.ones((3, 1))
    adata.obsm["X_gap"] = np.array([[0, np.nan], [1, 1], [2, 2]])
    assert data.coordinate_candidates(adata) == ["X_umap"]
    data.use_coordinates(adata, "X_umap")
    np.testing.assert_array_equal(data.coordinates(adata), adata.obsm["X_umap"][:, :2])
    assert data.coordinate_candidates(adata) == []
    assert data.um_per_unit(adata) is None
    with pytest.raises(MissingKeyError, match="X_pca"):
        data.use_coordinates(adata, "X_pca")
