"""The share of ambient RNA per batch: recovered, with an interval, and honest where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_vae_moments import Matrix, groups_of

from celldyn.jobs import run
from celldyn.vae.ambient import UNKNOWN_SHARE, estimate_ambient_job
from celldyn.vae.ambient_mixture import GRID, UNIFORMS, Edge, Pairs, improve
from celldyn.vae.building import build_job
from celldyn.vae.config import ModelConfig
from celldyn.vae.inputs import Groups, Modality, VAEInputs
from celldyn.vae.loader import Minibatches


def spilled(shares, *, n_cells=1500, n_types=5, n_genes=300, seed=0, theta=3.0, off=0.01):
    """Types with markers that are off elsewhere, and what bursts of them in each batch."""
    rng = np.random.default_rng(seed)
    kind, batch = rng.integers(0, n_types, n_cells), rng.integers(0, len(shares), n_cells)
    profile = np.tile(rng.gamma(1.0, 1.5, n_genes), (n_types, 1))
    marker = np.arange(n_genes) % 2 == 0
    owner = rng.integers(0, n_types, n_genes)
    others = np.arange(n_types)[:, None] != owner
    low = profile * off * rng.exponential(size=profile.shape)
    profile = np.where(marker & others, low, profile)
    size = rng.lognormal(0, 0.3, n_cells)
    native = size[:, None] * profile[kind]
    mean = native.copy()
    for b, share in enumerate(shares):
        here = batch == b
        soup = native[here].sum(axis=0) / size[here].sum()
        mean[here] += size[here, None] * share / (1 - share) * soup
    counts = rng.poisson(mean * rng.gamma(theta, 1 / theta, mean.shape))
    return counts, batch


def estimated(counts, batch, **parameters):
    totals = counts.sum(axis=1)
    groups = groups_of(batch)
    return run(estimate_ambient_job(Matrix(counts), groups, totals, **parameters), bar=False)


@pytest.mark.parametrize("theta", [0.7, 5.0])
def test_shares_are_recovered_in_order_within_their_interval(theta):
    shares = np.array([0.05, 0.10, 0.20, 0.30])
    estimate = estimated(*spilled(shares, theta=theta))
    assert np.abs(estimate.share - shares).max() < 0.04
    assert (np.diff(estimate.share) > 0).all()
    assert (estimate.low <= shares).all()
    assert (estimate.high >= shares).all()
    assert (estimate.high - estimate.low).max() < 0.15
    assert estimate.notes == ()


def test_counts_without_background_have_none():
    estimate = estimated(*spilled([0.0, 0.0]))
    assert estimate.share.max() < 0.03
    assert (estimate.low == 0).all()


def test_one_batch_is_enough():
    assert estimated(*spilled([0.2], n_types=3)).share == pytest.approx([0.2], abs=0.04)


def test_profiles_are_those_of_the_batch():
    counts, batch = spilled([0.1, 0.3])
    estimate = estimated(counts, batch)
    assert estimate.profile.sum(axis=1) == pytest.approx([1.0, 1.0])
    for b in (0, 1):
        own = counts[batch == b].sum(axis=0)
        assert estimate.profile[b] == pytest.approx(own / own.sum(), abs=2e-4)
    assert (estimate.profile > 0).all()


def test_cells_that_are_all_alike_cannot_tell():
    counts = np.random.default_rng(0).poisson(2.0, (900, 200))
    estimate = estimated(counts, np.arange(900) % 2)
    assert (estimate.share == UNKNOWN_SHARE).all()
    assert (estimate.low == 0).all()
    assert (estimate.high > 0.9).all()
    assert "Too few genes differ" in estimate.notes[0]


def test_what_all_cells_express_is_not_taken_for_certain():
    # Every type expresses every gene at half or more of its mean.
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 4, 1600)
    profile = 1.2 + 2.4 * (rng.integers(0, 4, 300) == np.arange(4)[:, None])
    counts = rng.poisson(profile[kind])
    estimate = estimated(counts, np.zeros(1600, int))
    assert estimate.low == pytest.approx([0.0])
    assert "cannot be told" in estimate.notes[0]


def test_a_batch_of_few_cells_has_a_wide_interval():
    counts, batch = spilled([0.1, 0.3])
    few = np.flatnonzero((batch == 0) | (np.arange(len(batch)) % 40 == 0))
    estimate = estimated(counts[few], batch[few])
    width = estimate.high - estimate.low
    assert width[1] > 1.5 * width[0]
    assert estimate.share[0] == pytest.approx(0.1, abs=0.04)


def test_a_batch_without_cells_and_cells_without_counts_do_no_harm():
    counts, batch = spilled([0.1, 0.2], n_cells=700)
    counts[:5] = 0
    groups = Groups("well", ("a", "b", "empty"), batch.astype(np.int64))
    job = estimate_ambient_job(Matrix(counts), groups, counts.sum(axis=1))
    estimate = run(job, bar=False)
    for values in (estimate.share, estimate.low, estimate.high, estimate.profile):
        assert np.isfinite(values).all()
    assert estimate.profile[2].sum() == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_shares():
    counts, batch = spilled([0.1, 0.2], n_cells=700)
    first, second = (estimated(counts, batch, seed=4) for _ in range(2))
    assert np.array_equal(first.share, second.share)
    assert np.array_equal(first.low, second.low)


def test_uniform_distributions_sum_to_one_and_end_where_they_should():
    assert UNIFORMS.sum(axis=1) == pytest.approx(np.ones(len(GRID)))
    assert UNIFORMS[1:] @ GRID == pytest.approx(GRID[1:] / 2)


def test_the_edge_is_found_in_exact_data():
    rng = np.random.default_rng(2)
    native = rng.exponential(0.3, 3000) * (rng.random(3000) < 0.6)
    shares = np.array([0.08, 0.25])
    exposure = rng.uniform(20, 200, (3000, 2))
    mean = exposure * ((1 - shares) * native[:, None] + shares)
    size = np.full((3000, 2), 30.0)
    counts = rng.poisson(mean * rng.gamma(size) / size)
    pairs = Pairs(counts.astype(float), exposure, size, np.arange(3000))
    edge = Edge.start(pairs)
    for _ in range(200):
        improve(edge, pairs)
    assert edge.share == pytest.approx(shares, abs=0.01)
    assert edge.weight.sum() == pytest.approx(1.0)


def test_a_closed_job_ends():
    counts, batch = spilled([0.1, 0.2], n_cells=700)
    job = estimate_ambient_job(Matrix(counts), groups_of(batch), counts.sum(axis=1))
    stages = {next(job).stage for _ in range(3)}
    job.close()
    assert stages <= {"reading cells", "clusters", "ambient RNA"}


def test_of_two_cells_with_one_total_the_one_with_more_background_is_smaller():
    counts, batch = spilled([0.05, 0.4], n_cells=600, n_genes=200)
    totals = counts.sum(axis=1).astype(np.float64)
    groups = groups_of(batch)
    names = tuple(f"gene_{g}" for g in range(200))
    rna = Modality("rna", names, Matrix(counts), np.ones(600, bool), totals)
    inputs = VAEInputs((rna,), (groups,), groups, groups)
    module = run(build_job(inputs, ModelConfig()), bar=False).module
    part = module.part(0)
    share = part.features.held_log_share.exp().numpy()
    logs = np.log(totals)
    means = np.array([logs[batch == b].mean() for b in (0, 1)])
    assert np.diff(part.library_mean.numpy() - means) == pytest.approx(
        np.diff(np.log1p(-share)), abs=1e-4
    )
    cells = next(iter(Minibatches(inputs, np.arange(600), 600, shuffle=False)))
    held = module.encode(cells).library[0][0]
    free = part.features.held_log_share.clone()
    part.features.held_log_share.zero_()
    away = (held - module.encode(cells).library[0][0]).detach().numpy()
    part.features.held_log_share.copy_(free)
    per_batch = [away[batch == b] for b in (0, 1)]
    assert np.ptp(per_batch[0]) < 1e-5
    weight = float(torch.exp(part.library_weight_mean.detach() + np.exp(-4.0) / 2))
    step = weight * (np.log1p(-share[1]) - np.log1p(-share[0]))
    assert per_batch[1][0] - per_batch[0][0] == pytest.approx(step, rel=1e-3)


def test_what_follows_batches_has_their_spread_and_what_does_not_is_told():
    rng = np.random.default_rng(3)
    counts, batch = spilled([0.1, 0.1], n_cells=900, n_genes=200)
    counts = rng.poisson(counts * rng.gamma(8.0, 1 / 8.0, (2, 200))[batch])
    groups, names = groups_of(batch), tuple(f"gene_{g}" for g in range(200))
    totals = counts.sum(axis=1).astype(np.float64)
    rna = Modality("rna", names, Matrix(counts), np.ones(900, bool), totals)

    def built(**keys):
        inputs = VAEInputs((rna,), (groups,), groups, groups, batch=groups, **keys)
        return run(build_job(inputs, ModelConfig()), bar=False)

    bare, scaled = built(), built(scaling=(groups,))
    assert any("name it in feature_scaling_covariate_keys" in note for note in bare.notes)
    assert bare.module.part(0).features.scaling_shape == 200.0
    assert not any("feature_scaling_covariate_keys" in note for note in scaled.notes)
    assert float(scaled.module.part(0).features.scaling_shape) == pytest.approx(8.0, rel=0.4)
