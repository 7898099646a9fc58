"""Sections that lie on top of each other are noticed, others are not."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from celldyn.data import propose_section, read, samples, section_columns, set_section_key


def tissue(offset: float) -> ad.AnnData:
    """Three sections, each `offset` to the right of the one before."""
    rng = np.random.default_rng(0)
    which = np.repeat([0, 1, 2], 200)
    adata = ad.AnnData(np.ones((600, 2), np.float32))
    adata.obs["slice"] = pd.Categorical([f"s{i}" for i in which])
    adata.obs["cell_type"] = pd.Categorical(np.where(rng.random(600) < 0.5, "A", "B"))
    adata.obs["score"] = rng.random(600)
    adata.obsm["spatial"] = rng.uniform(0, 100, (600, 2)) + np.outer(which, [offset, 0.0])
    return adata


@pytest.mark.parametrize(("offset", "proposed"), [(0.0, "slice"), (5.0, "slice"), (110.0, None)])
def test_only_overlapping_sections_are_proposed(offset, proposed):
    assert propose_section(tissue(offset)) == proposed


def test_types_that_mix_are_no_sections():
    adata = tissue(0.0)
    del adata.obs["slice"]
    assert propose_section(adata) is None


def test_nothing_is_proposed_once_a_column_is_chosen():
    adata = tissue(0.0)
    set_section_key(adata, "cell_type")
    assert propose_section(adata) is None


def test_nothing_is_proposed_without_coordinates():
    adata = tissue(0.0)
    del adata.obsm["spatial"]
    assert propose_section(adata) is None


def test_columns_of_fractions_and_of_one_value_are_no_sections():
    adata = tissue(0.0)
    adata.obs["one"] = "same"
    assert section_columns(adata) == ["slice", "cell_type"]


def test_the_samples_say_their_sections_themselves():
    assert propose_section(samples.load("three_sections")) is None


def test_the_batches_of_the_real_tissue_are_proposed(starmap_path):
    assert propose_section(read(starmap_path)) == "batch"
