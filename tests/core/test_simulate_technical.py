"""Technical noise: the law of every factor, and what each step does to the molecules."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse, stats

from celldyn import keys
from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.simulate import SimulationConfig, score
from celldyn.simulate.estimate import estimate
from celldyn.simulate.inversion import quantile
from celldyn.simulate.measure.diffusion import REACH_SD, spill_job
from celldyn.simulate.measure.effects import mean_effects
from celldyn.simulate.measure.means import strata_block, with_effects
from celldyn.simulate.measure.soup import soup_job
from celldyn.simulate.measure.technical import detection, technical_job
from celldyn.simulate.measure.thinning import binomial_quantile, split_ambient_job
from celldyn.simulate.simulator import simulate_job
from celldyn.simulate.specs import TechnicalSpec
from celldyn.simulate.streams import uniforms

SEED = 3


def names(n):
    return [f"gene_{k}" for k in range(n)]


def effects_of(n_cells=20, n_genes=10, n_sections=1, **spec):
    section = np.arange(n_cells) % n_sections
    return mean_effects(TechnicalSpec(**spec), names(n_genes), section, np.arange(n_cells), SEED)


def measured(counts, centre=None, section=None, threads=None, mean=None, **spec):
    n_cells, n_genes = counts.shape
    job = technical_job(
        counts,
        TechnicalSpec(**spec),
        gene_names=names(n_genes),
        cell_ids=np.arange(n_cells),
        centre=np.zeros((n_cells, 2)) if centre is None else centre,
        section=np.zeros(n_cells, int) if section is None else section,
        seed=SEED,
        mean=mean,
        threads=threads,
    )
    return run(job, bar=False)


def poisson(n_cells, n_genes, mean, seed=0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.poisson(mean, (n_cells, n_genes)).astype(np.int32))


def lattice(side, step):
    grid = np.arange(side) * step
    return np.column_stack([np.repeat(grid, side), np.tile(grid, side)]).astype(float)


def same(a, b):
    return a.shape == b.shape and (a != b).nnz == 0


def test_all_effects_are_off_by_default():
    effects = effects_of(n_sections=2)
    assert effects.batch_names == ("all",)
    assert (effects.y == 1).all()
    assert (effects.library == 1).all()
    assert not effects.has_ambient
    assert effects.theta is None
    assert "theta" not in effects.truth()


def test_libraries_are_lognormal_with_mean_one():
    library = effects_of(200_000, 1, library_cv=0.5).library
    # The standard error of the mean is 0.5 / sqrt(2e5) = 0.0011.
    assert library.mean() == pytest.approx(1.0, abs=0.005)
    assert library.std() == pytest.approx(0.5, abs=0.01)
    assert stats.skew(np.log(library)) == pytest.approx(0.0, abs=0.03)
    assert np.log(library).std() == pytest.approx(np.sqrt(np.log(1.25)), rel=0.01)


def test_batches_have_libraries_of_their_own():
    effects = effects_of(4000, 1, n_sections=2000, batch_by="section", library_batch_sd=0.3)
    level = np.log(effects.library[:2000])
    assert np.array_equal(effects.library[:2000], effects.library[2000:])
    assert level.std() == pytest.approx(0.3, rel=0.06)
    assert np.exp(level).mean() == pytest.approx(1.0, abs=4 * 0.3 / np.sqrt(2000))


def test_gene_factors_and_ambient_follow_their_gammas():
    effects = effects_of(
        40,
        5000,
        n_sections=4,
        batch_by="section",
        batch_shape=200,
        ambient_shape=1,
        ambient_rate=100,
    )
    assert effects.y.shape == effects.ambient.shape == (4, 5000)
    assert effects.y.mean() == pytest.approx(1.0, abs=0.003)
    assert effects.y.var() == pytest.approx(1 / 200, rel=0.05)
    exponential = stats.kstest(effects.ambient.ravel(), stats.expon(scale=0.01).cdf)
    assert exponential.pvalue > 0.001
    assert stats.kstest(effects.y.ravel(), stats.gamma(200, scale=1 / 200).cdf).pvalue > 0.001
    assert abs(np.corrcoef(effects.y[0], effects.y[1])[0, 1]) < 0.06


def test_inverse_root_of_theta_is_exponential():
    theta = effects_of(1, 20_000, theta_rate=2.0).theta
    assert stats.kstest(theta**-0.5, stats.expon(scale=0.5).cdf).pvalue > 0.001


def test_random_batches_are_even_and_fixed_by_the_cell():
    effects = effects_of(30_000, 1, batch_by="random", n_batches=3)
    assert np.abs(np.bincount(effects.batch) - 10_000).max() < 4 * np.sqrt(30_000 * 2 / 9)
    spec = TechnicalSpec(batch_by="random", n_batches=3, library_cv=0.4, ambient_rate=10)
    part = mean_effects(spec, ["gene_7", "gene_2"], [0, 0], [12, 345], SEED)
    whole = mean_effects(spec, names(10), np.zeros(400, int), np.arange(400), SEED)
    assert np.array_equal(part.batch, whole.batch[[12, 345]])
    assert np.array_equal(part.library, whole.library[[12, 345]])
    assert np.array_equal(part.y, whole.y[:, [7, 2]])
    assert np.array_equal(part.ambient, whole.ambient[:, [7, 2]])


def test_strata_carry_the_same_means_as_the_blocks():
    rng = np.random.default_rng(1)
    mu, theta = rng.random((3, 10)), rng.random((3, 10)) + 1
    of, scale = rng.integers(0, 3, 50), rng.random(50) + 0.5
    effects = effects_of(50, 10, 2, batch_by="section", library_cv=0.5, theta_rate=1.0)
    means, thetas = with_effects(strata_block(mu, theta, of, scale), effects)(slice(0, 50))
    assert np.array_equal(thetas, effects.theta[None, :])
    by_hand = effects.library[7] * mu[of[7], 4] * scale[7] * effects.y[1, 4]
    assert means[7, 4] == pytest.approx(by_hand, rel=1e-13)


def test_ambient_is_no_stratum_and_does_not_grow_with_the_cell():
    mu, theta = np.full((1, 4), 0.5), np.ones((1, 4))
    effects = effects_of(2, 4, ambient_rate=2.0, library_cv=0.3)
    of, scale = np.zeros(2, int), np.array([1.0, 3.0])
    mean, _ = with_effects(strata_block(mu, theta, of, scale), effects)(slice(0, 2))
    wanted = effects.library[:, None] * (0.5 * scale[:, None] + effects.ambient[0])
    np.testing.assert_allclose(mean, wanted, rtol=1e-13)


def test_binomial_quantiles_are_exact():
    rng = np.random.default_rng(0)
    n = rng.integers(0, 300, 20_000)
    n[:12_000] %= 40
    p, tail = rng.random(n.size), rng.random(n.size)
    p[:200], p[200:400] = 0.0, 1.0
    k = binomial_quantile(tail, n, p)
    assert k.min() >= 0
    assert (k <= n).all()
    assert (k[:200] == 0).all()
    assert (k[200:400] == n[200:400]).all()
    law = stats.binom(n, p)
    assert (law.sf(k) < tail + 1e-12).all()
    assert (law.sf(k - 1) >= tail - 1e-12)[k > 0].all()


def test_binomial_quantiles_never_fall_with_the_probability():
    tail, n = np.full(999, 0.37), np.full(999, 25)
    p = np.linspace(0, 1, 999)
    assert (np.diff(binomial_quantile(tail, n, p)) >= 0).all()
    assert (np.diff(binomial_quantile(tail, 4 * n, p)) >= 0).all()


def test_counts_with_ambient_have_its_mean_and_split_by_its_share():
    n_cells, n_genes = 4000, 6
    mu, theta = np.linspace(0.0, 2.0, n_genes)[None], np.full((1, n_genes), 5.0)
    effects = effects_of(n_cells, n_genes, ambient_rate=2.0, library_cv=0.3)
    native = strata_block(mu, theta, np.zeros(n_cells, int), np.ones(n_cells))
    mean, _ = with_effects(native, effects)(slice(0, n_cells))
    chance = uniforms(SEED, "test", n_cells, n_genes).ravel()
    drawn = quantile(chance, mean.ravel(), np.full(mean.size, 5.0)).reshape(mean.shape)
    sd = np.sqrt((mean + mean**2 / 5).sum(axis=0))
    assert (np.abs(drawn.sum(axis=0) - mean.sum(axis=0)) < 4 * sd).all()
    counts = sparse.csr_matrix(drawn)
    job = split_ambient_job(
        counts, native, effects, gene_names=names(n_genes), cell_ids=np.arange(n_cells), seed=1
    )
    ambient = run(job, bar=False)
    rest = counts - ambient
    assert ambient.data.min() > 0
    assert rest.data.min() >= 0
    share = effects.ambient[0] / (mu[0] + effects.ambient[0])
    total = drawn.sum(axis=0)
    got = np.asarray(ambient.sum(axis=0)).ravel()
    assert got[0] == total[0]
    assert (np.abs(got - total * share) <= 4 * np.sqrt(total * share * (1 - share)) + 1e-9).all()


def test_soup_has_the_share_and_the_proportions_of_its_batch(monkeypatch):
    rng = np.random.default_rng(0)
    mu, of, scale = rng.random((3, 6)) + 0.1, rng.integers(0, 3, 90), rng.random(90) + 0.5
    native = strata_block(mu, np.ones((3, 6)), of, scale)
    shares = [0.0, 0.25]
    bare = effects_of(90, 6, 2, batch_by="section", library_cv=0.5, ambient_share=shares)
    assert not bare.has_ambient
    effects = run(soup_job(native, bare), bar=False)
    means, _ = with_effects(native, replace(effects, y=np.ones_like(effects.y)))(slice(0, 90))
    own = effects.library[:, None] * native(slice(0, 90))[0]
    for b, share in enumerate(shares):
        here = effects.batch == b
        total, spilled = means[here].sum(axis=0), (means - own)[here].sum(axis=0)
        np.testing.assert_allclose(spilled, share * total, atol=1e-12)
        np.testing.assert_allclose(
            effects.ambient[b] / max(effects.ambient[b].sum(), 1e-300),
            own[here].sum(axis=0) / own[here].sum() * (share > 0),
            atol=1e-12,
        )
    monkeypatch.setattr("celldyn.simulate.measure.soup._VALUES", 6 * 7)
    blocks = run(soup_job(native, bare, threads=2), bar=False)
    np.testing.assert_allclose(blocks.ambient, effects.ambient, rtol=1e-13)


def spilled(**technical):
    config = SimulationConfig(
        n_cells=600, n_celltype=3, n_genes=60, marker_mu=4.0, seed=2,
        extra_genes=[{"name": "Tf1"}],
        targets=[{"gene": "Myc", "regulators": {"Tf1": 0.5}}], technical=technical or None,
    )  # fmt: skip
    return config, run(simulate_job(config), bar=False).adata


def test_counts_have_the_ambient_share_of_their_batch():
    shares = [0.05, 0.3]
    config, adata = spilled(batch_by="random", n_batches=2, ambient_share=shares, theta_rate=1.0)
    truth = adata.uns["truth"]["technical"]
    assert truth["ambient_share"].tolist() == shares
    ambient = adata.layers[keys.TRUTH_AMBIENT()]
    for b, share in enumerate(shares):
        here = (adata.obs["batch"].cat.codes == b).to_numpy()
        assert ambient[here].sum() / adata.X[here].sum() == pytest.approx(share, abs=0.015)
    assert estimate(config).n_molecules == pytest.approx(adata.X.sum(), rel=0.05)
    again = spilled(batch_by="random", n_batches=2, ambient_share=shares, theta_rate=1.0)[1]
    assert same(again.X, adata.X)


def test_soup_leaves_what_regulates_untouched():
    plain, soup = spilled()[1], spilled(ambient_share=[0.4])[1]
    for adata in (plain, soup):
        assert "Myc" in adata.uns["truth"]["betas"]
    np.testing.assert_array_equal(
        plain.uns["truth"]["betas"]["Myc"]["values"], soup.uns["truth"]["betas"]["Myc"]["values"]
    )
    native = soup.X - soup.layers[keys.TRUTH_AMBIENT()]
    assert native.sum() == pytest.approx(plain.X.sum(), rel=0.03)


def test_a_recovered_background_and_dispersion_are_scored():
    adata = spilled(batch_by="random", n_batches=2, ambient_share=[0.1, 0.2], theta_rate=1.0)[1]
    technical = adata.uns["truth"]["technical"]
    code = adata.obs["batch"].cat.codes.to_numpy()
    adata.obs["vae_background_share"] = technical["ambient_share"][code] + 0.01 * (code == 1)
    adata.varm["vae_dispersion"] = 1.2 * np.column_stack([technical["theta"]] * 2)
    table = score(adata, "vae").set_index(["what", "metric"])["value"]
    assert table["vae_background_share", "largest error"] == pytest.approx(0.01)
    assert table["vae_background_share of batch_1", "estimate less truth"] == pytest.approx(0.01)
    assert table["vae_background_share", "rank correlation"] == pytest.approx(1.0)
    assert table["vae_dispersion", "median over truth"] == pytest.approx(1.2)
    assert table["vae_dispersion", "rank correlation"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("technical", "message"),
    [
        ({"ambient_share": [0.1, 0.2]}, "one per batch: 1"),
        ({"ambient_share": [1.0]}, "between 0 and 0.95"),
        ({"ambient_share": [0.1], "ambient_rate": 1.0}, "not both"),
        ({"batch_by": "section", "ambient_share": [0.1, 0.2]}, "n_sections = 1"),
    ],
)
def test_shares_that_fit_no_batch_are_refused(technical, message):
    with pytest.raises(ConfigError, match=message):
        SimulationConfig(n_cells=10, n_celltype=2, n_genes=10, technical=technical)


def test_with_all_steps_off_the_counts_stay_untouched():
    counts = poisson(30, 5, 1.0)
    result = measured(counts)
    assert result.counts is counts
    assert result.layers == {}
    assert result.truth == {}


def test_detection_thins_every_gene_by_its_own_share():
    counts = poisson(3000, 8, 3.0)
    result = measured(counts, detection=0.4, detection_cv=0.3)
    share = result.truth["detection"]
    before, after = (np.asarray(c.sum(axis=0)).ravel() for c in (counts, result.counts))
    assert (np.abs(after - before * share) < 4 * np.sqrt(before * share * (1 - share))).all()
    assert (counts - result.counts).data.min() >= 0
    assert result.truth["molecules"] == {"before": before.sum(), "detection": after.sum()}


def test_detection_varies_between_genes_as_asked():
    spec = TechnicalSpec(detection=0.3, detection_cv=0.4)
    share = detection(spec, names(20_000), SEED)
    assert share.mean() == pytest.approx(0.3, abs=0.005)
    assert share.std() == pytest.approx(0.12, abs=0.005)
    assert detection(spec.replace(detection=0.9, detection_cv=1.0), names(999), SEED).max() == 1
    assert np.array_equal(detection(spec, ["gene_5"], SEED), share[5:6])


def test_a_cell_is_measured_alike_alone_and_among_others():
    counts = poisson(400, 20, 1.0)
    spec = TechnicalSpec(detection=0.5, dropout_midpoint=0.8, swap_rate=0.2)
    rows = np.array([3, 77, 200])
    means = np.full(20, 1.0)

    def block(part):
        return np.broadcast_to(means, (part.stop - part.start, 20)), means[None]

    whole, part = (
        run(
            technical_job(
                counts[who],
                spec,
                gene_names=names(20),
                cell_ids=who,
                centre=np.zeros((len(who), 2)),
                section=np.zeros(len(who), int),
                seed=SEED,
                mean=block,
            ),
            bar=False,
        ).counts
        for who in (np.arange(400), rows)
    )
    assert same(whole[rows], part)


def test_dropout_loses_whole_values_by_a_logistic_in_the_log_mean():
    means = np.array([0.2, 1.0, 5.0])
    counts = sparse.csr_matrix(np.full((20_000, 3), 2, dtype=np.int32))

    def block(rows):
        return np.broadcast_to(means, (rows.stop - rows.start, 3)), np.ones((1, 3))

    result = measured(counts, mean=block, dropout_midpoint=1.0, dropout_slope=2.0)
    assert set(result.counts.data) == {2}
    kept = np.asarray((result.counts > 0).sum(axis=0)).ravel() / 20_000
    wanted = 1 / (1 + np.exp(-2.0 * np.log(means)))
    assert kept == pytest.approx(wanted, abs=4 * 0.5 / np.sqrt(20_000))


def test_diffusion_keeps_every_molecule_and_moves_it_as_the_spill_matrix_says():
    step, sd, side = 4.0, 8.0, 61
    centre = lattice(side, step)
    middle = (side * side) // 2
    counts = sparse.csr_matrix(([40_000], ([middle], [1])), shape=(side**2, 2), dtype=np.int32)
    result = measured(counts, centre, diffusion_um=sd)
    spill = result.truth["spill"]
    assert result.counts.sum() == 40_000
    assert result.counts[:, [0]].nnz == 0
    np.testing.assert_allclose(spill.sum(axis=1), 1.0, rtol=1e-12)
    squared = ((centre - centre[middle]) ** 2).sum(axis=1)
    got = np.asarray(result.counts[:, [1]].todense()).ravel()
    expected = spill[[middle]].toarray().ravel()
    moved = (got * squared).sum() / 40_000
    # The sd of d² is about its mean, 2 sd².
    assert moved == pytest.approx(expected @ squared, abs=4 * 2 * sd**2 / np.sqrt(40_000))
    cut = REACH_SD**2 / 2
    truncated = 2 * sd**2 * (1 - cut * np.exp(-cut) / (1 - np.exp(-cut)))
    assert expected @ squared == pytest.approx(truncated, rel=0.02)
    reached = expected > 0
    fit = ((got - 40_000 * expected)[reached] ** 2 / (40_000 * expected[reached])).sum()
    assert fit < stats.chi2.ppf(0.9999, reached.sum() - 1)


def test_spill_is_the_kernel_between_neighbours_of_one_section():
    rng = np.random.default_rng(4)
    centre, section = rng.random((120, 2)) * 60, rng.integers(0, 2, 120)
    spill = run(spill_job(centre, section, 5.0), bar=False).toarray()
    d2 = ((centre[:, None] - centre[None]) ** 2).sum(axis=2)
    kernel = np.exp(-d2 / 50) * (d2 <= 225) * (section[:, None] == section[None])
    np.testing.assert_allclose(spill, kernel / kernel.sum(axis=1, keepdims=True), atol=1e-12)


def test_cells_without_neighbours_keep_their_molecules():
    counts = poisson(9, 4, 2.0)
    assert same(measured(counts, lattice(3, 100.0), diffusion_um=5.0).counts, counts)


def test_a_diffusion_that_joins_everything_is_refused(monkeypatch):
    monkeypatch.setattr("celldyn.simulate.measure.diffusion._MOST_PAIRS", 1000)
    with pytest.raises(DataError, match="diffusion_um"):
        measured(poisson(100, 2, 1.0), diffusion_um=5.0)


def test_swaps_keep_the_total_of_a_cell_and_spread_over_the_other_genes():
    n_genes = 5
    dense = np.zeros((10_000, n_genes), dtype=np.int32)
    dense[:, 2] = 6
    result = measured(sparse.csr_matrix(dense), swap_rate=0.3)
    assert (np.asarray(result.counts.sum(axis=1)).ravel() == 6).all()
    got = np.asarray(result.counts.sum(axis=0)).ravel() / 60_000
    wanted = np.full(n_genes, 0.3 / 4)
    wanted[2] = 0.7
    assert got == pytest.approx(wanted, abs=4 * np.sqrt(0.21 / 60_000))
    assert measured(sparse.csr_matrix(dense[:, [2]]), swap_rate=0.3).counts.sum() == 60_000


def test_steps_are_kept_as_layers():
    counts = poisson(100, 6, 2.0)
    spec = {"detection": 0.8, "dropout_midpoint": 1.0, "diffusion_um": 4.0, "swap_rate": 0.1}
    result = measured(counts, lattice(10, 6.0), keep_steps=True, **spec)
    assert list(result.layers) == [
        "before_technical",
        "after_detection",
        "after_dropout",
        "after_diffusion",
        "after_swaps",
    ]
    assert result.layers["before_technical"] is counts
    assert same(result.layers["after_swaps"], result.counts)
    totals = [int(layer.sum()) for layer in result.layers.values()]
    assert totals[0] > totals[1] > totals[2] == totals[3] == totals[4]
    assert list(result.truth["molecules"].values()) == totals


def test_the_result_does_not_depend_on_blocks_or_threads(monkeypatch):
    counts, centre = poisson(400, 12, 1.5), lattice(20, 6.0)
    spec = {"detection": 0.8, "dropout_midpoint": 1.0, "diffusion_um": 4.0, "swap_rate": 0.1}
    whole = measured(counts, centre, threads=2, **spec)
    monkeypatch.setattr("celldyn.simulate.measure.entries._ENTRIES", 37)
    monkeypatch.setattr("celldyn.simulate.measure.tally._BUCKET", 50)
    monkeypatch.setattr("celldyn.simulate.measure.diffusion._PAIRS", 41)
    small = measured(counts, centre, threads=1, **spec)
    assert same(whole.counts, small.counts)
    assert whole.counts.has_canonical_format


@pytest.mark.parametrize(
    ("counts", "genes", "message"),
    [
        (poisson(5, 3, 1.0).tocsc(), 3, "csc"),
        (poisson(5, 3, 1.0).astype(float), 3, "float64"),
        (poisson(5, 3, 1.0), 4, "4 genes"),
    ],
)
def test_counts_that_do_not_fit_are_refused(counts, genes, message):
    job = technical_job(
        counts,
        TechnicalSpec(detection=0.5),
        gene_names=names(genes),
        cell_ids=np.arange(5),
        centre=np.zeros((5, 2)),
        section=np.zeros(5),
        seed=0,
    )
    with pytest.raises(DataError, match=message):
        run(job, bar=False)
