"""Neighbours, received ligands and counts against their formulas, written out."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from celldyn.betas.diffusion import (
    kernel_matrix,
    neighbour_counts,
    neighbour_counts_job,
    received_ligands,
    received_ligands_job,
)
from celldyn.betas.kernels import GAUSSIAN_CUT, kernel_reach
from celldyn.betas.neighbours import NeighbourFinder, radius_graph, within
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import Progress, run


@pytest.fixture
def tissue():
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, 300, (240, 2))
    xy[17] = xy[40]  # two cells at one place are neighbours, not one cell
    return xy, rng.gamma(1.0, 2.0, (240, 5)), np.repeat(["a", "b", "c"], 80)


def all_distances(xy):
    return np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("sectioned", [False, True])
@pytest.mark.parametrize("n_axes", [2, 3])
def test_graph_is_the_distance_matrix_within_the_radius(tissue, sectioned, n_axes):
    xy = np.column_stack((tissue[0], tissue[1][:, :1]))[:, :n_axes]
    sections = tissue[2] if sectioned else None
    graph = radius_graph(xy, 60.0, sections=sections)
    distance = all_distances(xy)
    near = distance <= 60.0
    if sectioned:
        near &= sections[:, None] == sections[None]
    np.testing.assert_array_equal(graph.toarray(), np.where(near, distance, 0.0))
    # Explicit zeros: oneself, and the other cell at the same place.
    assert graph.nnz == near.sum()
    assert graph.has_sorted_indices
    assert graph.dtype == np.float64


def test_cells_at_exactly_the_radius_are_neighbours_and_smaller_radii_reuse_the_graph(tissue):
    line = np.column_stack((np.arange(10.0), np.zeros(10)))
    assert np.diff(radius_graph(line, 2.0).indptr).tolist() == [3, 4, 5, 5, 5, 5, 5, 5, 4, 3]
    xy = tissue[0]
    small = within(radius_graph(xy, 90.0), 31.0)
    np.testing.assert_array_equal(small.toarray(), radius_graph(xy, 31.0).toarray())
    assert small.nnz == radius_graph(xy, 31.0).nnz


def test_a_graph_too_large_is_refused_before_it_is_built():
    xy = np.random.default_rng(0).uniform(0, 1, (20_000, 2))
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"20000 neighbours per cell.*smaller radius"):
        radius_graph(xy, 10.0)
    assert time.process_time() - started < 2.0
    estimate = NeighbourFinder.build(xy, None).estimate_pairs(0.05)
    assert estimate == pytest.approx(radius_graph(xy, 0.05).nnz, rel=0.1)


def test_wrong_places_are_refused_in_a_sentence(tissue):
    xy = tissue[0]
    with pytest.raises(DataError, match="1 cells have no finite coordinates"):
        radius_graph(np.where(np.arange(240)[:, None] == 3, np.nan, xy), 10.0)
    with pytest.raises(ConfigError, match="positive, finite radius"):
        radius_graph(xy, 0.0)
    with pytest.raises(DataError, match="sections has 3 entries for 240 cells"):
        radius_graph(xy, 1.0, sections=["a", "b", "c"])
    with pytest.raises(DataError, match="sections: 1 cells have none"):
        radius_graph(xy, 1.0, sections=[None] + ["a"] * 239)


def by_formula(xy, levels, radii, kernel, normalisation, scale, include_self, sections):
    """R_il written out: one ligand, one cell, one neighbour at a time."""
    distance = all_distances(xy)
    received = np.zeros(levels.shape)
    for ligand, radius in enumerate(np.broadcast_to(radii, levels.shape[1])):
        for cell in range(len(xy)):
            total, weight_sum = 0.0, 0.0
            mates = [j for j in range(len(xy)) if sections[j] == sections[cell]]
            for other in mates:
                ratio = distance[cell, other] / radius
                if kernel == "truncated":
                    weight = 0.001 ** (ratio**2) if ratio <= 1 else 0.0
                else:
                    weight = np.exp(-(ratio**2) / 2)
                    weight = weight if weight >= 1e-6 else 0.0
                if other == cell and not include_self:
                    weight = 0.0
                total += weight * levels[other, ligand]
                weight_sum += weight
            divisor = {"weights": weight_sum or 1.0, "n_cells": len(mates), "none": 1.0}
            received[cell, ligand] = scale * total / divisor[normalisation]
    return received


@pytest.mark.parametrize("kernel", ["truncated", "gaussian"])
@pytest.mark.parametrize("normalisation", ["weights", "n_cells", "none"])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("sectioned", [True, False])
def test_received_ligands_follow_the_formula(
    tissue, kernel, normalisation, include_self, sectioned
):
    xy, levels, sections = (array[::4] for array in tissue)
    levels, radii = levels[:, :3], np.array([40.0, 9.0, 40.0])
    received = received_ligands(
        xy,
        levels,
        radii,
        kernel=kernel,
        normalisation=normalisation,
        scale_factor=3.0,
        include_self=include_self,
        sections=sections if sectioned else None,
    )
    flat = sections if sectioned else np.zeros(len(xy))
    truth = by_formula(xy, levels, radii, kernel, normalisation, 3.0, include_self, flat)
    np.testing.assert_allclose(received, truth, rtol=1e-12, atol=1e-14)
    assert received.dtype == np.float64


def test_a_crop_has_the_values_of_the_section_inside(tissue):
    xy, levels, _ = tissue
    radius = 50.0
    whole = received_ligands(xy, levels, radius)
    kept = np.flatnonzero((xy > 60).all(axis=1))
    inner = (xy[kept] > 60 + radius).all(axis=1)
    crop = received_ligands(xy[kept], levels[kept], radius)
    assert inner.sum() > 20
    np.testing.assert_allclose(crop[inner], whole[kept][inner], rtol=1e-12)
    counted = received_ligands(xy[kept], levels[kept], radius, normalisation="n_cells")
    assert not np.allclose(counted[inner], received_ligands(xy, levels, radius)[kept][inner])


def test_a_uniform_tissue_receives_what_it_sends_and_a_lone_cell_nothing(tissue):
    xy = np.vstack((tissue[0], [[9000.0, 9000.0]]))
    ones = np.ones((241, 1))
    np.testing.assert_allclose(received_ligands(xy, ones, 80.0), 1.0, rtol=1e-13)
    alone = received_ligands(xy, ones, 80.0, include_self=False)
    assert alone[-1, 0] == 0.0
    np.testing.assert_allclose(alone[:-1], 1.0, rtol=1e-13)


def test_a_graph_that_is_there_gives_the_same(tissue):
    xy, levels, sections = tissue
    radii = np.array([30.0, 70.0, 30.0, 55.0, 70.0])
    graph = radius_graph(xy, 75.0, sections=sections)
    fresh = received_ligands(xy, levels, radii, sections=sections)
    reused = received_ligands(xy, levels, radii, sections=sections, graph=graph)
    np.testing.assert_allclose(reused, fresh, rtol=1e-13)
    weights = kernel_matrix(graph, 70.0, sections=sections)
    np.testing.assert_allclose(weights @ levels[:, [1, 4]], fresh[:, [1, 4]], rtol=1e-13)


def test_the_gaussian_is_cut_where_it_says():
    reach = kernel_reach("gaussian", 10.0)
    assert np.exp(-(reach**2) / 200) == pytest.approx(GAUSSIAN_CUT, rel=1e-12)
    pair = np.array([[0.0, 0.0], [reach * 0.9999, 0.0], [-reach * 1.0001, 0.0]])
    received = received_ligands(
        pair, np.diag([0.0, 1.0, 1.0]), 10.0, kernel="gaussian", normalisation="none"
    )
    assert received[0, 1] == pytest.approx(GAUSSIAN_CUT, rel=0.01)
    assert received[0, 2] == 0.0


def test_received_ligands_refuse_what_does_not_fit(tissue):
    xy, levels, _ = tissue
    with pytest.raises(ConfigError, match="kernel 'box' is not known"):
        received_ligands(xy, levels, 10.0, kernel="box")
    with pytest.raises(ConfigError, match="normalisation 'sum' is not known"):
        received_ligands(xy, levels, 10.0, normalisation="sum")
    with pytest.raises(ConfigError, match=r"radii has shape \(2,\) for 5 ligands"):
        received_ligands(xy, levels, [10.0, 20.0])
    with pytest.raises(DataError, match=r"shape \(100, 5\) for 240 cells"):
        received_ligands(xy, levels[:100], 10.0)
    with pytest.raises(DataError, match="not finite"):
        received_ligands(xy, np.where(levels > 1, np.inf, levels), 10.0)


def test_received_ligands_job_yields_often_in_little_memory_and_can_be_stopped():
    rng = np.random.default_rng(0)
    xy, levels = rng.uniform(0, 3000, (12_000, 2)), rng.uniform(size=(12_000, 100))
    tracemalloc.start()
    job = received_ligands_job(xy, levels, 150.0)  # 94 neighbours: a graph of 13.5 MB
    steps = [next(job) for _ in range(6)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(isinstance(step, Progress) for step in steps)
    assert steps[0].total == 12_000
    assert steps[0].done < steps[1].done < steps[-1].done
    assert peak < levels.nbytes + 20e6
    job.close()
    with pytest.raises(StopIteration):
        next(job)


@pytest.mark.parametrize("sectioned", [False, True])
def test_counts_are_the_cells_of_each_type_within_the_radius(tissue, sectioned):
    xy, _, sections = tissue
    types = np.random.default_rng(3).choice(["T", "B", "NK"], len(xy))
    table = neighbour_counts(xy, types, 45.0, sections=sections if sectioned else None)
    near = all_distances(xy) <= 45.0
    if sectioned:
        near &= sections[:, None] == sections[None]
    assert list(table.columns) == ["B_within", "NK_within", "T_within"]
    for name in ("B", "NK", "T"):
        np.testing.assert_array_equal(table[f"{name}_within"], near[:, types == name].sum(axis=1))


def test_counts_job_yields_and_can_be_stopped():
    xy = np.random.default_rng(0).uniform(0, 1000, (6000, 2))
    job = neighbour_counts_job(xy, np.zeros(6000, int), 100.0)
    first, second = next(job), next(job)
    assert first.done < second.done < first.total == 6000
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def test_counts_keep_index_numeric_order_and_unused_categories():
    xy = np.zeros((3, 2))
    table = neighbour_counts(xy, np.array([10, 2, 2]), 1.0)
    assert list(table.columns) == ["2_within", "10_within"]
    assert table.iloc[0].tolist() == [2.0, 1.0]
    labels = pd.Series(pd.Categorical(["z", "z", "a"], ["z", "m", "a"]), index=["c1", "c2", "c3"])
    table = neighbour_counts(xy, labels, 1.0)
    assert list(table.columns) == ["a_within", "m_within", "z_within"]
    assert list(table.index) == ["c1", "c2", "c3"]
    assert table["m_within"].sum() == 0
    with pytest.raises(DataError, match="labels: 1 cells have none"):
        neighbour_counts(xy, ["a", None, "b"], 1.0)


def test_an_empty_tissue_has_empty_results():
    nothing = np.zeros((0, 2))
    assert radius_graph(nothing, 5.0).shape == (0, 0)
    assert run(received_ligands_job(nothing, np.zeros((0, 3)), 5.0), bar=False).shape == (0, 3)
