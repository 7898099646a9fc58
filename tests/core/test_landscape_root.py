"""Pseudotime from a root: scanpy's of one cell, the mean of several, the depth of a cluster."""

from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from landscape_cases import ring
from scipy import sparse
from scipy.stats import spearmanr

from celldyn import run
from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.jobs import Progress
from celldyn.landscape.graph import neighbour_graph
from celldyn.landscape.root import (
    _from,
    pseudotime_from_root,
    pseudotime_from_root_job,
    pseudotime_job,
    root_cells,
)


def line(n=200, reach=4, seed=0):
    """Cells along a line, each a neighbour of those near it."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(n), reach)
    column = row + np.tile(np.arange(1, reach + 1), n)
    inside = column < n
    values = rng.uniform(0.5, 1, row.size)[inside]
    half = sparse.csr_array((values, (row[inside], column[inside])), shape=(n, n))
    adata = AnnData(
        np.zeros((n, 2), np.float32),
        obs=pd.DataFrame(
            {"clusters": np.array(["a", "b", "c", "d"])[np.arange(n) * 4 // n]},
            index=[f"cell{k}" for k in range(n)],
        ),
    )
    adata.obsp["connectivities"] = sparse.csr_matrix(half + half.T)
    return adata


def rises(time):
    """Whether time rises with the number of the cell, but for the noise of the graph's weights."""
    return spearmanr(time, np.arange(len(time))).statistic > 0.98


@pytest.mark.parametrize("root", [0, 77])
def test_of_one_cell_it_is_scanpys(root):
    import scanpy

    adata = line()
    found = pseudotime_from_root(adata, root)
    adata.obsp["distances"] = adata.obsp["connectivities"]
    adata.uns["neighbors"] = {
        "connectivities_key": "connectivities", "distances_key": "distances",
        "params": {"n_neighbors": 8, "method": "umap"},
    }  # fmt: skip
    adata.uns["iroot"] = root
    scanpy.tl.diffmap(adata)
    scanpy.tl.dpt(adata)
    np.testing.assert_allclose(found, adata.obs["dpt_pseudotime"], atol=2e-3)
    assert found[root] == 0
    assert found.max() == 1


def test_it_grows_along_a_line_from_its_end():
    assert rises(pseudotime_from_root(line(), "cell0"))


def test_of_several_it_is_the_mean_of_theirs():
    places = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(_from(places, np.array([0])), [0, 0.25, 1])
    np.testing.assert_allclose(_from(places, np.array([0, 1])), [0, 0, 1])
    assert rises(pseudotime_from_root(line(), [0, 1, 2]))


@pytest.mark.parametrize(
    "root", ["cell3", ["cell3"], 3, [3], np.arange(200) == 3, np.array(["cell3"], object)]
)
def test_cells_are_named_in_any_way(root):
    np.testing.assert_array_equal(root_cells(line(), root), [3])


@pytest.mark.parametrize(("cluster", "low", "high"), [("a", 0, 12), ("d", 188, 200)])
def test_a_cluster_at_an_end_begins_at_its_tip(cluster, low, high):
    found = pseudotime_from_root(line(), cluster, cluster_key="clusters")
    assert low <= np.argmin(found) < high


def test_a_cluster_in_the_middle_begins_in_its_middle():
    adata = line()
    adata.obs["clusters"] = np.where(np.abs(np.arange(200) - 100) < 20, "stem", "other")
    found = pseudotime_from_root(adata, "stem", cluster_key="clusters")
    assert abs(int(np.argmin(found)) - 100) <= 6


def test_cells_that_no_root_is_connected_with_have_no_time():
    adata = line()
    graph = adata.obsp["connectivities"].tolil()
    graph[100:, :100] = graph[:100, 100:] = 0
    graph[99, :] = graph[:, 99] = 0
    adata.obsp["connectivities"] = graph.tocsr()
    found = pseudotime_from_root(adata, 0)
    assert np.isnan(found[99:]).all()
    assert rises(found[:99])
    both = pseudotime_from_root(adata, [0, 99, 199])
    assert np.isfinite(both).all()
    np.testing.assert_allclose(both[:99], found[:99], atol=1e-9)
    assert both[99] == both[199] == 0
    assert rises(-both[100:])


@pytest.mark.parametrize("n", [2, 3, 12])
def test_few_cells_have_a_time_too(n):
    graph = neighbour_graph(line(n, reach=1).obsp["connectivities"])
    found = run(pseudotime_job(graph, np.array([0])), bar=False)
    assert found[0] == 0
    assert found.max() == 1
    assert np.isfinite(found).all()


def test_the_same_seed_gives_the_same_time():
    adata = line()
    np.testing.assert_array_equal(pseudotime_from_root(adata, 0), pseudotime_from_root(adata, 0))
    other = pseudotime_from_root(adata, 0, seed=5)
    np.testing.assert_allclose(other, pseudotime_from_root(adata, 0), atol=1e-6)


def test_neighbours_are_computed_where_there_are_none():
    rng = np.random.default_rng(0)
    at = np.linspace(0, 1, 120)
    adata = AnnData(np.zeros((120, 2), np.float32))
    adata.obsm["X_pca"] = np.column_stack([10 * at, rng.normal(0, 0.1, (120, 3))])
    found = pseudotime_from_root(adata, 0)
    assert np.corrcoef(found, at)[0, 1] > 0.97
    assert "connectivities" not in adata.obsp


@pytest.mark.parametrize(
    ("root", "options", "error", "said"),
    [
        ("nobody", {}, MissingKeyError, "no cell nobody"),
        (200, {}, MissingKeyError, "no cell 200"),
        (-1, {}, MissingKeyError, "no cell -1"),
        ([], {}, DataError, "no cells"),
        (np.zeros(200, bool), {}, DataError, "no cells"),
        (np.ones(3, bool), {}, DataError, "mask of 3"),
        (np.arange(200), {}, DataError, "every cell"),
        ("z", {"cluster_key": "clusters"}, MissingKeyError, "there are: a, b, c, d"),
        ("a", {"cluster_key": "types"}, MissingKeyError, "no column 'types'"),
        (0, {"n_components": 1}, ConfigError, "n_components is 1"),
    ],
)
def test_a_root_that_is_none_is_told(root, options, error, said):
    with pytest.raises(error, match=said):
        pseudotime_from_root(line(), root, **options)


def test_a_stopped_search_ends_soon():
    n = 60_000
    graph = neighbour_graph(ring(n, reach=15))
    job = pseudotime_job(graph, np.array([0]))
    with closing(job):
        while next(job).message != "diffusion components":
            pass
        assert isinstance(next(job), Progress)
        start = time.perf_counter()
    assert time.perf_counter() - start < 0.5


def test_it_looks_at_the_data_when_it_is_called():
    with pytest.raises(MissingKeyError):
        pseudotime_from_root_job(line(), "nobody")
