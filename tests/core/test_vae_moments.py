"""Priors and initial values that are read off the counts: exact where they are sums, laws else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from celldyn.jobs import run
from celldyn.vae.batch_factors import MOST_SHAPE, SEED_SHAPE, apart, factor_shape_job
from celldyn.vae.clusters import cluster_job, kmeans_job
from celldyn.vae.dispersion import GRID, dispersion_job, moments_job
from celldyn.vae.inputs import Csr, Groups
from celldyn.vae.moments import library_prior, mean_expression, moment_dispersion


class Matrix:
    """Counts in memory that tell how many cells are read at once."""

    def __init__(self, counts):
        self.counts = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
        self.most = 0

    @property
    def shape(self):
        return self.counts.shape

    def rows(self, at):
        self.most = max(self.most, len(at))
        part = self.counts[at]
        part.sort_indices()
        pointers, columns = part.indptr.astype(np.int64), part.indices.astype(np.int32)
        return Csr(pointers, columns, part.data, part.shape[1])


def groups_of(codes):
    codes = np.asarray(codes, dtype=np.int64)
    return Groups("batch", tuple(f"batch_{k}" for k in range(codes.max() + 1)), codes)


def draw(rng, mean, theta):
    return rng.poisson(mean * rng.gamma(theta, 1 / theta, mean.shape))


@pytest.fixture(scope="module")
def tissue():
    """1,200 cells of 4 types in 2 batches, 300 genes; θ per gene."""
    rng = np.random.default_rng(0)
    kind, batch = rng.integers(0, 4, 1200), rng.integers(0, 2, 1200)
    profile = rng.gamma(1.0, 1.5, (4, 300)) + 0.05
    theta = rng.exponential(0.7, 300) ** -2.0
    size = rng.lognormal(0, 0.3, 1200)
    counts = draw(rng, size[:, None] * profile[kind], np.minimum(theta, 1e6))
    return counts, kind, batch, theta


def test_library_prior_is_mean_and_population_variance_of_log_totals():
    totals = np.array([1.0, np.e**2, 7.0, 0.0])
    mean, variance = library_prior(totals, groups_of([0, 0, 1, 1]))
    assert mean == pytest.approx([1.0, np.log(7) / 2])
    assert variance == pytest.approx([1.0, (np.log(7) / 2) ** 2])
    empty = Groups("batch", ("a", "b"), np.zeros(4, np.int64))
    assert library_prior(totals, empty)[0][1] == 0


def test_mean_expression_is_the_mean_share_of_a_cell():
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.7, (900, 12))
    counts[3] = 0
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    assert mean_expression(Matrix(counts), totals) == pytest.approx(shares.mean(axis=0))
    highest = np.sort(shares, axis=0)[-9:].mean(axis=0)
    assert mean_expression(Matrix(counts), totals, top=True) == pytest.approx(highest, rel=1e-5)


def test_means_are_read_in_blocks_and_do_not_depend_on_them(monkeypatch):
    counts = np.random.default_rng(2).poisson(1.0, (250, 7))
    totals = counts.sum(axis=1)
    whole = [mean_expression(Matrix(counts), totals, top=top) for top in (False, True)]
    monkeypatch.setattr("celldyn.vae.moments._BLOCK", 40)
    matrix = Matrix(counts)
    for top, expected in zip((False, True), whole, strict=True):
        assert mean_expression(matrix, totals, top=top) == pytest.approx(expected)
    assert matrix.most == 40


def test_excess_over_power_is_one_over_theta_without_bias():
    # Small groups of cells: their means' own noise must not pass for dispersion.
    rng = np.random.default_rng(3)
    theta = np.repeat([0.5, 2.0, 1e6], 400)
    mean = np.repeat(rng.gamma(2.0, 0.5, (60, 1, 1200)), 20, axis=1).reshape(1200, 1200)
    counts = sparse.csr_matrix(draw(rng, mean, theta))
    job = moments_job(counts, np.ones(1200), np.repeat(np.arange(60), 20), 60)
    moments = run(job, bar=False)
    for at in (slice(0, 400), slice(400, 800), slice(800, 1200)):
        phi = moments.excess[at].sum() / moments.power[at].sum()
        assert phi == pytest.approx(1 / theta[at][0], rel=0.04, abs=0.01)


def test_the_error_of_the_moments_is_what_they_say():
    rng = np.random.default_rng(4)
    phi, mean = 0.3, np.full((400, 3000), 1.2)
    counts = sparse.csr_matrix(draw(rng, mean, np.full(3000, 1 / phi)))
    job = moments_job(counts, np.ones(400), np.zeros(400, np.int64), 1)
    moments = run(job, bar=False)
    estimate = moments.excess / moments.power
    at = int(np.abs(GRID - phi).argmin())
    sd = np.sqrt(np.median(moments.noise[at])) / np.median(moments.power)
    assert estimate.std() == pytest.approx(sd, rel=0.2)


def test_dispersions_come_in_order_and_at_their_level(tissue):
    counts, _, batch, theta = tissue
    totals = counts.sum(axis=1)
    found = moment_dispersion(Matrix(counts), totals, groups_of(batch))
    assert found.shape == (2, 300)
    for row in found:
        assert stats.spearmanr(row, theta)[0] > 0.9
        assert np.exp(np.median(np.log(row / theta))) == pytest.approx(1.0, rel=0.3)
    whole = moment_dispersion(Matrix(counts), totals, Groups.one(1200))
    assert whole.shape == (1, 300)
    assert np.median(whole[0] / theta) == pytest.approx(1.0, rel=0.2)


def test_groups_differ_where_their_dispersions_do(tissue):
    rng = np.random.default_rng(5)
    _, kind, batch, _ = tissue
    profile = rng.gamma(2.0, 1.0, (4, 300)) + 0.2
    theta = np.exp(rng.normal(0.7, 1.0, (2, 300)))
    counts = draw(rng, profile[kind], theta[batch])
    found = moment_dispersion(Matrix(counts), counts.sum(axis=1), groups_of(batch))
    own = np.mean([stats.spearmanr(found[k], theta[k])[0] for k in (0, 1)])
    other = np.mean([stats.spearmanr(found[k], theta[1 - k])[0] for k in (0, 1)])
    assert own > 0.85
    assert abs(other) < 0.3


def test_genes_that_say_nothing_go_where_the_others_are():
    rng = np.random.default_rng(6)
    counts = draw(rng, np.full((600, 200), 3.0), np.full(200, 4.0))
    counts[:, 150:] = 0
    counts[0, 150:] = 1
    found = moment_dispersion(Matrix(counts), counts.sum(axis=1), Groups.one(600))[0]
    assert found[150:] == pytest.approx(np.full(50, np.median(found[:150])), rel=0.3)
    assert np.median(found[:150]) == pytest.approx(4.0, rel=0.25)


def test_types_are_found_across_batches_though_noise_is_larger(tissue):
    counts, kind, batch, _ = tissue
    clusters = run(cluster_job(Matrix(counts), groups_of(batch)), bar=False)
    purity = [np.bincount(kind[clusters.codes == k]).max() for k in range(clusters.n_clusters)]
    assert sum(purity) > 0.97 * 1200
    again = run(cluster_job(Matrix(counts), groups_of(batch)), bar=False)
    assert np.array_equal(clusters.codes, again.codes)


def test_noise_has_no_components():
    counts = np.random.default_rng(7).poisson(2.0, (800, 200))
    clusters = run(cluster_job(Matrix(counts), Groups.one(800)), bar=False)
    assert clusters.scores.shape == (800, 0)
    assert set(clusters.codes) == {0}


def test_a_large_data_set_is_drawn_from(tissue):
    counts, _, batch, theta = tissue
    job = cluster_job(Matrix(counts), groups_of(batch), most_cells=500)
    clusters = run(job, bar=False)
    assert len(clusters.cells) == 500
    assert (np.diff(clusters.cells) > 0).all()
    assert clusters.counts.shape == (500, 300)
    job = dispersion_job(Matrix(counts), counts.sum(axis=1), groups_of(batch), clusters=clusters)
    assert stats.spearmanr(run(job, bar=False)[0], theta)[0] > 0.8


def test_kmeans_finds_what_lies_apart():
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 5, 500)
    points = (10 * np.eye(5)[truth] + rng.normal(0, 0.3, (500, 5))).astype(np.float32)
    codes = run(kmeans_job(points, 5, np.random.default_rng(0)), bar=False)
    assert len({(a, b) for a, b in zip(codes, truth, strict=True)}) == 5
    assert (run(kmeans_job(np.zeros((7, 2), np.float32), 3, rng), bar=False) == 0).all()


@pytest.mark.parametrize("n_cells", [1, 2, 5])
def test_a_few_cells_have_values_that_are_finite(n_cells):
    counts = np.random.default_rng(9).poisson(1.0, (n_cells, 4))
    counts[0] = 0
    totals = counts.sum(axis=1)
    found = moment_dispersion(Matrix(counts), totals, Groups.one(n_cells))
    assert np.isfinite(found).all()
    assert np.isfinite(mean_expression(Matrix(counts), totals, top=True)).all()


@pytest.mark.parametrize("shape", [10.0, 100.0])
def test_how_far_genes_differ_between_batches_is_told_from_their_noise(shape):
    rng = np.random.default_rng(10)
    kind, batch = rng.integers(0, 3, 1200), rng.integers(0, 3, 1200)
    profile = rng.gamma(2.0, 1.0, (3, 300)) + 0.1
    factor = rng.gamma(shape, 1 / shape, (3, 300))
    theta = np.full(300, 2.0)
    counts = draw(rng, profile[kind] * factor[batch], theta)
    clusters = run(cluster_job(Matrix(counts), groups_of(batch)), bar=False)
    found = run(factor_shape_job(clusters, groups_of(batch), theta), bar=False)
    assert found == pytest.approx(shape, rel=0.25)


def test_batches_that_do_not_differ_have_no_factors():
    rng = np.random.default_rng(11)
    counts = draw(rng, np.tile(rng.gamma(2.0, 1.0, 300), (900, 1)), np.full(300, 2.0))
    for codes, expected in ((rng.integers(0, 3, 900), MOST_SHAPE), (np.zeros(900), SEED_SHAPE)):
        groups = groups_of(codes)
        clusters = run(cluster_job(Matrix(counts), groups), bar=False)
        found = run(factor_shape_job(clusters, groups, np.full(300, 2.0)), bar=False)
        assert found >= min(expected, 400.0)


def test_batches_that_will_not_mix_are_told():
    assert apart("lane", 200.0) == []
    assert "differ by about 32 % between groups of 'lane'" in apart("lane", 10.0)[0]
