"""Counts: the negative binomial law, and noise that depends on nothing but seed, cell and gene."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare, kstest, nbinom

from celldyn.errors import DataError, MissingKeyError
from celldyn.simulate import (
    SimulationConfig,
    generate_gene_parameters,
    negative_binomial,
    sample_counts,
)
from celldyn.simulate.inversion import quantile
from celldyn.simulate.streams import hash_bits, name_ids, stream_key, uniforms, unit_interval


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    n_genes = 40
    columns = {"feature_name": [f"gene_{i}" for i in range(n_genes)]}
    for name in ("A", "B"):
        columns[f"{name}_theta"] = rng.gamma(2.0, 1.0, n_genes) + 0.05
        columns[f"{name}_mu"] = rng.gamma(0.5, 2.0, n_genes)
    columns["B_mu"][:3] = [0.0, 40.0, 3000.0]
    return pd.DataFrame(columns)


@pytest.fixture
def cells():
    rng = np.random.default_rng(4)
    return np.where(rng.random(900) < 0.3, "A", "B"), rng.lognormal(0, 0.4, 900)


LAWS = [(0.3, 2.0), (0.05, 0.01), (5.0, 0.5), (20.0, 1e6), (200.0, 5.0), (1e5, 0.8)]


@pytest.mark.parametrize(("mu", "theta"), LAWS)
def test_mean_variance_and_zeros_are_the_negative_binomials(mu, theta):
    n, scale = 60_000, 1.5
    counts = negative_binomial(np.full(n, mu), theta, scale, seed=1)
    mean = mu * scale
    variance = mean + mean**2 / theta
    law = nbinom(theta, theta / (theta + mean))
    kurtosis = float(law.stats("k")) + 3
    assert abs(counts.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(counts.var() - variance) < 5 * variance * np.sqrt((kurtosis - 1) / n)
    zero = (theta / (theta + mean)) ** theta
    assert abs((counts == 0).mean() - zero) < 5 * np.sqrt(zero * (1 - zero) / n) + 1e-12


def test_the_whole_distribution_fits():
    counts = negative_binomial(np.full(50_000, 2.5), 1.3, 1.0, seed=9)
    law = nbinom(1.3, 1.3 / 3.8)
    seen = np.bincount(np.minimum(counts, 12), minlength=13)
    expected = np.append(law.pmf(np.arange(12)), law.sf(11)) * counts.size
    assert chisquare(seen, expected).pvalue > 1e-4


@pytest.mark.parametrize(("mean", "theta"), [(0.2, 0.7), (3.0, 2.0), (23.0, 0.1), (80.0, 4.0)])
def test_quantiles_are_scipys(mean, theta):
    tail = np.linspace(0.001, 0.999, 997)
    expected = nbinom.isf(tail, theta, theta / (theta + mean))
    got = quantile(tail, np.full(tail.size, mean), np.full(tail.size, theta))
    np.testing.assert_array_equal(got, expected)


def test_extremes_stay_finite_and_exact():
    tail, mean, theta = (
        a.ravel()
        for a in np.meshgrid(
            [2.0**-54, 1e-9, 1e-3, 0.5, 1 - 2.0**-53],
            [0.0, 1e-9, 1.0, 24.0, 25.0, 1e5],
            [0.01, 1.0, 1e6],
        )
    )
    with np.errstate(all="raise", under="ignore"):
        counts = quantile(tail, mean, theta)
    law = nbinom(theta, theta / (theta + mean))
    assert (counts >= 0).all()
    assert (law.sf(counts) < tail * (1 + 1e-6)).all()
    some = counts > 0
    assert (law.sf(counts - 1)[some] > tail[some] * (1 - 1e-6)).all()


def test_more_mean_never_gives_less():
    mu = np.logspace(-3, 4, 120)
    cell = np.arange(400)[:, None]
    for theta in (0.05, 1.0, 50.0):
        counts = negative_binomial(mu, theta, 1.0, seed=2, cell=cell, gene=7)
        assert counts.shape == (400, 120)
        assert (np.diff(counts, axis=1) >= 0).all()


def test_elements_do_not_depend_on_their_company():
    mu = np.random.default_rng(0).gamma(1.0, 5.0, 1000)
    whole = negative_binomial(mu, 2.0, 1.0, seed=5)
    part = negative_binomial(mu[333:337], 2.0, 1.0, seed=5, cell=np.arange(333, 337))
    np.testing.assert_array_equal(part, whole[333:337])
    assert negative_binomial(mu[333], 2.0, 1.0, seed=5, cell=333) == whole[333]
    assert (negative_binomial(mu, 2.0, 1.0, seed=6) != whole).any()


def test_a_matrix_is_its_elements(table, cells):
    celltype, scale = cells
    counts = sample_counts(table, celltype, scale, seed=8)
    assert counts.shape == (900, 40)
    assert counts.has_canonical_format
    assert np.issubdtype(counts.dtype, np.integer)
    assert counts.data.min() > 0
    rows = table.set_index("feature_name")
    mu = np.stack([rows[f"{name}_mu"] for name in celltype])
    theta = np.stack([rows[f"{name}_theta"] for name in celltype])
    gene = name_ids(table["feature_name"])
    alone = negative_binomial(
        mu, theta, scale[:, None], 8, cell=np.arange(900)[:, None], gene=gene[None, :]
    )
    np.testing.assert_array_equal(counts.toarray(), alone)


def test_chunks_order_and_subset_change_nothing(table, cells, monkeypatch):
    celltype, scale = cells
    whole = sample_counts(table, celltype, scale, seed=8).toarray()
    for tile, batch in ((1, 1), (333, 50), (1 << 20, 1 << 20)):
        monkeypatch.setattr("celldyn.simulate.counts._TILE", tile)
        monkeypatch.setattr("celldyn.simulate.counts._BATCH", batch)
        again = sample_counts(table, celltype, scale, seed=8)
        np.testing.assert_array_equal(again.toarray(), whole)
    pick = np.random.default_rng(1).permutation(900)[:250]
    some = table.iloc[[30, 2, 11]]
    part = sample_counts(some, celltype[pick], scale[pick], seed=8, cell_ids=pick)
    np.testing.assert_array_equal(part.toarray(), whole[pick][:, [30, 2, 11]])


def test_wrong_parameters_are_named(table, cells):
    celltype, scale = cells
    with pytest.raises(MissingKeyError, match="its cell types are A, B"):
        sample_counts(table, np.full(900, "C"), scale, seed=0)
    with pytest.raises(DataError, match="scale holds -1"):
        sample_counts(table, celltype, np.full(900, -1.0), seed=0)
    with pytest.raises(DataError, match="do not fit 900 cells"):
        sample_counts(table, celltype, scale[:5], seed=0)
    with pytest.raises(DataError, match="cell 0 has no cell type"):
        sample_counts(table, [None, "A"], 1.0, seed=0)
    with pytest.raises(DataError, match="theta holds 0"):
        negative_binomial(1.0, 0.0, 1.0, seed=0)
    with pytest.raises(DataError, match="mu holds nan"):
        negative_binomial([1.0, np.nan], 1.0, 1.0, seed=0)


def test_uniforms_are_uniform_and_unrelated():
    bits = hash_bits(stream_key(0, "counts"), np.arange(300)[:, None], np.arange(300))
    values = unit_interval(bits)
    assert kstest(values.ravel(), "uniform").pvalue > 1e-3
    correlation = np.corrcoef(values)
    assert np.abs(correlation[np.triu_indices(300, 1)]).max() < 6 / np.sqrt(300)
    assert np.unique(bits).size == bits.size


def test_streams_differ_by_seed_and_stage_and_grow_in_place():
    first = uniforms(1, "place", 50, 2)
    assert not np.intersect1d(first, uniforms(2, "place", 50, 2)).size
    assert not np.intersect1d(first, uniforms(1, "type", 50, 2)).size
    np.testing.assert_array_equal(uniforms(1, "place", 80, 2)[:50], first)


def test_types_by_position_are_types_by_name():
    config = SimulationConfig(n_cells=6, n_celltype=3, n_genes=30, n_markers=5, seed=3)
    genes = generate_gene_parameters(config)
    names = np.array(["ct_0", "ct_2", "ct_1", "ct_0", "ct_1", "ct_2"])
    positions = np.array([0, 2, 1, 0, 1, 2])
    by_name = sample_counts(genes, names, 1.0, 5)
    by_position = sample_counts(genes, positions, 1.0, 5)
    assert (by_name != by_position).nnz == 0
    with pytest.raises(MissingKeyError, match="cell 1 is of type 3"):
        sample_counts(genes, np.array([0, 3]), 1.0, 5)
