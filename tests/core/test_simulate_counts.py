"""Counts: the negative binomial law, and noise that depends on nothing but seed, cell and gene."""

from __future__ import annotations

from contextlib import closing
from hashlib import blake2b
from threading import enumerate as threads_alive

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import chisquare, kstest, nbinom

from celldyn.errors import DataError, MissingKeyError
from celldyn.jobs import run
from celldyn.simulate import (
    SimulationConfig,
    generate_gene_parameters,
    get_theta_gamma_prior,
    negative_binomial,
    sample_counts,
)
from celldyn.simulate.counts import sample_counts_job, sample_means_job, sample_strata_job
from celldyn.simulate.inversion import quantile
from celldyn.simulate.strata import Strata
from celldyn.simulate.streams import hash_bits, name_ids, stream_key, uniforms, unit_interval
from celldyn.simulate.zeros import zero_inflate, zero_inflate_job


def bytes_of(counts):
    return counts.data.tobytes() + counts.indices.tobytes() + counts.indptr.tobytes()


def drained(job):
    """The steps of a job, and its result."""
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as end:
            return steps, end.value


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
    for tile, cached in ((1, 1), (333, 50), (1 << 20, 1 << 20)):
        monkeypatch.setattr("celldyn.simulate.counts._TILE", tile)
        monkeypatch.setattr("celldyn.simulate.blocks._CACHED", cached)
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
    with pytest.raises(MissingKeyError, match="cell 1 is of type 3, and there is none"):
        sample_counts(genes, np.array([0, 3]), 1.0, 5)


def test_the_bytes_are_those_of_the_first_release(table, cells):
    counts = sample_counts(table, *cells, seed=8)
    assert (counts.dtype, counts.indices.dtype, counts.indptr.dtype) == ("i4", "i4", "i4")
    assert blake2b(bytes_of(counts), digest_size=8).hexdigest() == "09aaeff4beb6dd51"


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_chunks_and_threads_give_the_same_bytes(correlation, monkeypatch):
    n_cells = 100_500
    config = SimulationConfig(n_cells=1, n_celltype=2, n_genes=12, n_markers=3, seed=1)
    genes = generate_gene_parameters(config)
    rng = np.random.default_rng(0)
    celltype, scale = rng.integers(0, 2, n_cells), rng.lognormal(0, 0.25, n_cells)
    seen = set()
    for rows, threads in ((1_000, 1), (1_000, 2), (100_000, 1), (100_000, 2)):
        monkeypatch.setattr("celldyn.simulate.counts._TILE", rows * 12)
        job = sample_counts_job(
            genes, celltype, scale, 5, correlation=correlation, threads=threads
        )
        seen.add(bytes_of(run(job, bar=False)))
    assert len(seen) == 1


def test_a_huge_count_widens_the_matrix():
    strata = Strata(
        np.array([[1.0, 1e11]]), np.array([[1.0, 50.0]]), np.array([0, 0]), np.array([1.0, 2.0])
    )
    counts = run(sample_strata_job(strata, ["a", "b"], 0, cell_ids=[0, 1]), bar=False)
    assert counts.dtype == np.int64
    assert counts[1, 1] > 2**31


def test_no_cells_no_genes_and_empty_types(table):
    assert sample_counts(table, np.zeros(0, dtype=int), 1.0, 0).shape == (0, 40)
    assert sample_counts(table.iloc[:0], ["A", "B"], 1.0, 0).shape == (2, 0)
    typed = pd.Categorical(["B", "B"], categories=["A", "B", "unused"])
    by_name = sample_counts(table, ["B", "B"], 1.0, 0)
    np.testing.assert_array_equal(sample_counts(table, typed, 1.0, 0).toarray(), by_name.toarray())


def test_strata_are_types_and_batches(table):
    """Strata that differ by a factor draw what the scaled table draws."""
    rng = np.random.default_rng(6)
    batch, scale, factor = rng.integers(0, 2, 500), rng.lognormal(0, 0.3, 500), [1.0, 1.7]
    mu, theta = table["A_mu"].to_numpy(), table["A_theta"].to_numpy()
    strata = Strata(np.outer(factor, mu), np.stack([theta, theta]), batch, scale)
    drawn = run(
        sample_strata_job(strata, table["feature_name"], 8, cell_ids=np.arange(500)), bar=False
    )
    alone = negative_binomial(
        mu * np.array(factor)[batch, None],
        theta,
        scale[:, None],
        8,
        cell=np.arange(500)[:, None],
        gene=name_ids(table["feature_name"])[None, :],
    )
    np.testing.assert_array_equal(drawn.toarray(), alone)


@pytest.mark.parametrize(
    ("mu", "theta", "of", "scale", "problem"),
    [
        ([[1.0]], [[1.0, 2.0]], [0], [1.0], "do not fit"),
        ([[1.0]], [[1.0]], [1], [1.0], "cells are of strata 1 to 1"),
        ([[1.0]], [[1.0]], [0], [1.0, 1.0], "size factors"),
        ([[1.0]], [[-1.0]], [0], [1.0], "theta holds -1"),
        ([[np.inf]], [[1.0]], [0], [1.0], "mu holds inf"),
    ],
)
def test_strata_that_do_not_fit_are_refused(mu, theta, of, scale, problem):
    with pytest.raises(DataError, match=problem):
        Strata(np.array(mu), np.array(theta), np.array(of), np.array(scale))


def test_names_and_identities_that_do_not_fit_are_refused():
    strata = Strata(np.ones((1, 2)), np.ones((1, 2)), np.zeros(3), np.ones(3))
    with pytest.raises(DataError, match="1 names for 2 genes"):
        run(sample_strata_job(strata, ["a"], 0, cell_ids=np.arange(3)), bar=False)
    with pytest.raises(DataError, match="do not fit 3 cells"):
        run(sample_strata_job(strata, ["a", "b"], 0, cell_ids=np.arange(4)), bar=False)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_means_of_their_own_give_the_counts_of_strata(table, cells, correlation, monkeypatch):
    celltype, scale = cells
    classes = ["odd" if i % 2 else "even" for i in range(40)]
    whole = sample_counts(
        table.assign(gene_type=classes), celltype, scale, seed=8, correlation=correlation
    )
    code = (celltype == "B").astype(int)
    mu, theta = (np.stack([table[f"{t}_{what}"] for t in ("A", "B")]) for what in ("mu", "theta"))

    def block(rows):
        return mu[code[rows]] * scale[rows, None], theta[code[rows]]

    for tile in (40, 1 << 18):
        monkeypatch.setattr("celldyn.simulate.counts._MEANS_TILE", tile)
        own = run(
            sample_means_job(
                block,
                900,
                table["feature_name"],
                8,
                cell_ids=np.arange(900),
                correlation=correlation,
                classes=classes,
            ),
            bar=False,
        )
        assert bytes_of(own) == bytes_of(whole)


def test_means_of_their_own_with_one_theta_per_gene_and_wrong_blocks():
    def draw(mean, theta):
        job = sample_means_job(
            lambda _: (mean, theta), 3, ["a", "b"], 0, cell_ids=np.arange(3), stage="other"
        )
        return run(job, bar=False).toarray()

    mean = np.full((3, 2), 9.0)
    np.testing.assert_array_equal(
        draw(mean, np.array([[2.0, 5.0]])), draw(mean, np.tile([2.0, 5.0], (3, 1)))
    )
    with pytest.raises(DataError, match="do not fit 3 cells × 2 genes"):
        draw(mean[:2], np.ones((1, 2)))
    with pytest.raises(DataError, match="mu holds -9"):
        draw(-mean, np.ones((1, 2)))


def test_correlated_genes_keep_their_margins():
    strata = Strata(
        np.array([[2.5, 0.1]]), np.array([[1.3, 0.5]]), np.zeros(50_000), np.ones(50_000)
    )
    counts = run(
        sample_strata_job(
            strata, ["a", "b"], 3, cell_ids=np.arange(50_000), correlation=0.7, classes=["k", "k"]
        ),
        bar=False,
    ).toarray()
    for gene, (mean, theta, last) in enumerate([(2.5, 1.3, 12), (0.1, 0.5, 3)]):
        law = nbinom(theta, theta / (theta + mean))
        seen = np.bincount(np.minimum(counts[:, gene], last), minlength=last + 1)
        expected = np.append(law.pmf(np.arange(last)), law.sf(last - 1)) * len(counts)
        assert chisquare(seen, expected).pvalue > 1e-4


def test_genes_of_a_class_are_correlated_and_others_are_not():
    n = 20_000
    strata = Strata(np.full((1, 4), 200.0), np.full((1, 4), 1e4), np.zeros(n), np.ones(n))
    classes = ["k", "k", "l", "l"]
    for wanted in (0.2, 0.6):
        job = sample_strata_job(
            strata, list("abcd"), 1, cell_ids=np.arange(n), correlation=wanted, classes=classes
        )
        seen = np.corrcoef(run(job, bar=False).toarray().T)
        # Counts of so high a mean are nearly normal: their correlation is that of the scores.
        np.testing.assert_allclose([seen[0, 1], seen[2, 3]], wanted, atol=0.025)
        assert np.abs(seen[:2, 2:]).max() < 0.03


def test_correlated_counts_of_a_subset_are_those_of_the_whole(table, cells):
    celltype, scale = cells
    named = table.assign(gene_type=["odd" if i % 2 else "even" for i in range(40)])
    whole = sample_counts(named, celltype, scale, seed=8, correlation=0.3).toarray()
    pick = np.random.default_rng(1).permutation(900)[:250]
    part = sample_counts(
        named.iloc[[30, 2]], celltype[pick], scale[pick], 8, cell_ids=pick, correlation=0.3
    )
    np.testing.assert_array_equal(part.toarray(), whole[pick][:, [30, 2]])
    assert (whole != sample_counts(named, celltype, scale, seed=8).toarray()).any()
    with pytest.raises(MissingKeyError, match="no column 'gene_type'"):
        sample_counts(table, celltype, scale, 8, correlation=0.5)
    with pytest.raises(DataError, match=r"correlation of the genes is 1\.5"):
        sample_counts(named, celltype, scale, 8, correlation=1.5)


ZEROS_BY_ALPHA = [(0.5, 0.7001), (1.0, 0.5755), (2.0, 0.4767), (5.0, 0.4086)]


@pytest.mark.parametrize(("alpha", "zeros"), ZEROS_BY_ALPHA)
def test_zeros_over_the_prior_on_theta(alpha, zeros):
    """E[(theta / (theta + 1))^theta] over theta ~ Gamma(alpha, 1), at mean 1."""
    prior = get_theta_gamma_prior(alpha=alpha, rate=1.0)
    # On the scale of sqrt(theta) the density of alpha = 1/2 has no pole.
    exact = quad(
        lambda r: 2 * r * prior.pdf(r * r) * (r * r / (r * r + 1)) ** (r * r), 1e-12, 8, limit=200
    )[0]
    assert exact == pytest.approx(zeros, abs=5.1e-5)
    n = 200_000
    theta = np.maximum(prior.rvs(n, random_state=1), 1e-300)
    seen = (negative_binomial(1.0, theta, 1.0, seed=4) == 0).mean()
    assert abs(seen - exact) < 5 * np.sqrt(exact * (1 - exact) / n)


def test_zero_inflated_counts_follow_their_law():
    n, rate, mean, theta = 40_000, np.array([0.0, 0.3, 0.8]), 1.5, 2.0
    strata = Strata(np.full((1, 3), mean), np.full((1, 3), theta), np.zeros(n), np.ones(n))
    counts = run(sample_strata_job(strata, list("abc"), 2, cell_ids=np.arange(n)), bar=False)
    inflated = zero_inflate(counts, rate, 2, list("abc"))
    zero = rate + (1 - rate) * (theta / (theta + mean)) ** theta
    seen = 1 - np.bincount(inflated.indices, minlength=3) / n
    assert (np.abs(seen - zero) < 5 * np.sqrt(zero * (1 - zero) / n)).all()
    kept = inflated.toarray() > 0
    np.testing.assert_array_equal(inflated.toarray()[kept], counts.toarray()[kept])
    np.testing.assert_array_equal(inflated.toarray()[:, 0], counts.toarray()[:, 0])


def test_zero_inflation_depends_on_cell_and_gene_alone(table, cells, monkeypatch):
    counts = sample_counts(table, *cells, seed=8)
    names = table["feature_name"].tolist()
    whole = zero_inflate(counts, 0.4, 1, names)
    monkeypatch.setattr("celldyn.simulate.zeros._TILE", 7)
    for threads in (1, 2):
        again = run(zero_inflate_job(counts, 0.4, 1, names, threads=threads), bar=False)
        assert bytes_of(again) == bytes_of(whole)
    pick = np.array([700, 3, 44])
    part = zero_inflate(counts[pick][:, [5, 9]], 0.4, 1, ["gene_5", "gene_9"], cell_ids=pick)
    np.testing.assert_array_equal(part.toarray(), whole[pick][:, [5, 9]].toarray())
    more = zero_inflate(counts, np.linspace(0.4, 1.0, 900)[:, None], 1, names)
    assert (more.toarray() <= whole.toarray()).all()
    assert zero_inflate(counts, 1.0, 1, names).nnz == 0
    with pytest.raises(DataError, match=r"leaves \[0, 1\]"):
        zero_inflate(counts, 1.2, 1, names)
    with pytest.raises(DataError, match="does not fit 900 × 40"):
        zero_inflate(counts, np.full(7, 0.1), 1, names)
    with pytest.raises(DataError, match="do not fit 900 × 40 counts"):
        zero_inflate(counts, 0.1, 1, names[:3])


def test_progress_rises_to_the_end_and_a_stopped_job_leaves_no_thread(table, monkeypatch):
    monkeypatch.setattr("celldyn.simulate.counts._TILE", 400)
    monkeypatch.setattr("celldyn.simulate.counts.Pace.due", lambda _self: True)
    celltype = np.arange(2_000) % 2
    steps, counts = drained(sample_counts_job(table, celltype, 1.0, 0))
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert len(done) > 100
    assert (done[-1], steps[-1].total) == (2_000, 2_000)
    assert counts.shape == (2_000, 40)
    job = sample_counts_job(table, celltype, 1.0, 0)
    with closing(job):
        for _ in range(20):
            next(job)
    assert not [t for t in threads_alive() if t.name.startswith("celldyn-simulate")]
