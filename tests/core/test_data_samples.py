"""The tissues that come with the package, and a real one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from celldyn import data
from celldyn.data import samples
from celldyn.errors import MissingKeyError


def test_there_are_samples_and_each_is_a_tissue():
    assert {"two_niches", "three_sections", "layered_tissue", "two_fates", "gene_fields"} <= set(
        samples.names()
    )
    for name in samples.names():
        assert samples.path(name).stat().st_size < 5e6
        data.check_tissue(samples.load(name))


def test_a_sample_that_is_not_there_is_named():
    with pytest.raises(MissingKeyError, match=r"no sample 'x'; the samples are: .*two_niches"):
        samples.load("x")
    with pytest.raises(MissingKeyError):
        samples.path("../README.md")
    assert samples.path("grn.csv").is_file()


def test_importing_it_costs_nothing_and_every_name_is_there():
    code = (
        "import sys, celldyn.data as d; heavy = {'anndata', 'scanpy', 'torch', 'matplotlib', "
        "'spatialdata'} & set(sys.modules); assert not heavy, heavy; "
        "[getattr(d, name) for name in d.__all__]; assert callable(d.read) and callable(d.labels)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_real_tissue_all_the_way(starmap_path, tmp_path):
    adata = data.read(starmap_path)
    labels = data.labels(adata, "cell_type")
    assert len(labels.categories) == 16
    assert "NA" in labels.categories
    data.require_counts(adata)
    data.set_section_key(adata, "batch")
    xy = data.side_by_side(data.coordinates(adata), adata.obs["batch"])
    spans = [(xy[adata.obs["batch"] == s, 0]) for s in ("BZ0", "BZ1", "BZ2")]
    assert spans[0].max() < spans[1].min()
    assert spans[1].max() < spans[2].min()
    for ending in (".h5ad", ".zarr"):
        for backed in (False, True):
            read = data.read(data.write(adata, tmp_path / f"a{ending}"), backed=backed)
            assert (data.labels(read, "cell_type") == labels).all()
            np.testing.assert_array_equal(data.coordinates(read), data.coordinates(adata))
            gene = str(adata.var_names[5])
            np.testing.assert_array_equal(
                data.gene_column(read, gene.upper()), data.gene_column(adata, gene)
            )
            assert data.section_key(read) == "batch"
