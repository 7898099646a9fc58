"""Where a model starts: the table of initial values (specs/vae.md A.4, Decisions 2, 4, 12)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import vae_inputs_cases
from scipy import sparse

from celldyn.errors import ConfigError
from celldyn.jobs import run
from celldyn.vae.building import build_job
from celldyn.vae.config import ModelConfig
from celldyn.vae.counts import counts_of

G = 40


def data_of(n_obs=300, features=(("rna", G),), **options):
    """Return data with n_ambient 3 + 2, n_dispersion 4, n_library 5, n_scaling 2 + 3."""
    sizes = {"n_ambient": (3, 2), "n_dispersion": 4, "n_library": 5, "n_scaling": (2, 3)}
    made = vae_inputs_cases.inputs(n_obs=n_obs, features=features, **{**sizes, **options})
    parts = [
        dataclasses.replace(
            part, counts=counts_of(sparse.csr_matrix(part.counts.dense.astype(np.float32)))
        )
        for part in made.modalities
    ]
    return dataclasses.replace(made, modalities=tuple(parts))


DATA = data_of()


def built(data=DATA, seed=0, **options):
    return run(build_job(data, ModelConfig(**options), seed=seed), bar=False)


def part_of(**options):
    return built(**options).module.part(0)


def mean_of_fractions(data=DATA):
    dense, totals = data.modalities[0].counts.csr, data.modalities[0].totals
    matrix = sparse.csr_matrix((dense.data, dense.indices, dense.indptr), shape=dense.shape)
    return np.asarray(matrix.multiply(1 / totals[:, None]).mean(axis=0)).ravel()


def test_shapes_are_those_of_the_keys():
    features = part_of(preset="seed").features
    assert features.log_background.shape == (3 + 2, G)
    assert features.log_theta_mean.shape == features.log_theta_log_sd.shape == (4, G)
    assert features.rate_raw.shape == (4,)
    assert features.scaling_raw.shape == (2 + 3, G)
    part = part_of(preset="seed")
    assert part.library_mean.shape == part.library_variance.shape == (5,)
    gene = part_of(preset="seed", dispersion="gene").features
    assert gene.log_theta_mean.shape == (1, G)
    assert part_of(data=data_of(n_scaling=())).features.scaling_raw.shape == (1, G)


def test_the_seed_starts_at_its_prior_means():
    features = part_of(preset="seed").features
    log_theta = features.log_theta_mean.detach()
    assert log_theta.mean() == pytest.approx(math.log(9), abs=0.03)
    assert log_theta.std() == pytest.approx(0.1, abs=0.02)
    assert features.log_theta_log_sd.exp().unique().tolist() == pytest.approx([0.1])
    assert features.rate.tolist() == pytest.approx([3.0] * 4, abs=1e-6)
    beta = features.log_background.detach()
    assert beta.mean() == pytest.approx(math.log(0.01), abs=0.005)
    assert beta.std() == pytest.approx(0.01, abs=0.002)
    y = features._factor(features.scaling_raw)
    assert y.unique().tolist() == pytest.approx([math.log(2) / 0.7])


def test_the_equilibrium_of_the_dispersion_prior_is_lambda_squared():
    features = part_of(preset="seed", dispersion_init="prior").features
    with torch.no_grad():
        features.log_theta_log_sd.fill_(-8.0)  # a point
    features.log_theta_mean.requires_grad_()
    for theta, sign in ((9.0, 0), (4.0, -1), (20.0, 1)):
        with torch.no_grad():
            features.log_theta_mean.fill_(math.log(theta))
        features.log_theta_mean.grad = None
        features.global_terms()["dispersion_kl"].backward()
        slope = features.log_theta_mean.grad.mean().item()
        assert slope == pytest.approx(0, abs=1e-5) if not sign else np.sign(slope) == sign


def test_another_prior_starts_at_its_own_equilibrium():
    features = part_of(preset="seed", dispersion_hyper_prior_mean=0.5).features
    assert features.log_theta_mean.mean().item() == pytest.approx(math.log(4), abs=0.03)
    assert features.rate.tolist() == pytest.approx([2.0] * 4, abs=1e-6)


def test_the_library_prior_is_that_of_log_totals():
    part, data = part_of(preset="seed", library_centring=False), DATA
    logs = np.log(data.modalities[0].totals)
    for k in range(5):
        own = logs[data.library.codes == k]
        assert part.library_mean[k].item() == pytest.approx(own.mean(), rel=1e-5)
        assert part.library_variance[k].item() == pytest.approx(0.5 * own.var(), rel=1e-4)
    assert part.library_offset == 0
    bias = part.encoder.library_head.bias[0].item()
    assert bias == pytest.approx(np.mean(part.library_mean.numpy()), rel=1e-5)


@pytest.mark.parametrize("sensitivity", [None, 0.2])
def test_centred_library_sizes_are_relative_to_the_average_cell(sensitivity):
    part = part_of(preset="seed", library_log_means_centering_sensitivity=sensitivity)
    want = math.log(sensitivity or 1.0)
    assert part.library_mean.mean().item() == pytest.approx(want, abs=1e-5)
    absolute = part_of(preset="seed", library_centring=False).library_mean
    np.testing.assert_allclose(part.library_mean + part.library_offset, absolute, rtol=1e-5)
    part = part_of()
    assert part.library_mean.mean().item() == pytest.approx(0, abs=1e-5)
    assert (part.library_weight_mean.item(), part.library_weight_log_sd.item()) == (0, -2)


@pytest.mark.parametrize("preset", ["seed", "recommended"])
def test_the_model_starts_at_the_means_of_the_data(preset):
    """ρ + s at z = 0 is each gene's mean, on the scale of the library, where s leaves room."""
    part = part_of(preset=preset, use_additive_background=False)
    rate = torch.nn.functional.softplus(part.decoder.out.bias.detach()).numpy()
    want = mean_of_fractions() * math.exp(float(part.library_offset))
    np.testing.assert_allclose(rate, want, rtol=0.02, atol=2e-3 * want.mean())


@pytest.mark.parametrize("preset", ["seed", "recommended"])
def test_given_library_sizes_start_on_their_own_scale(preset):
    data = data_of(size_factor=True)
    part = built(data, preset=preset, use_additive_background=False).module.part(0)
    rate = torch.nn.functional.softplus(part.decoder.out.bias.detach()).sum().item()
    expected = np.log(data.size_factor) + np.log(rate)
    off = np.log(data.modalities[0].totals) - expected
    assert np.mean(off) == pytest.approx(0, abs=0.02)


def test_the_background_may_start_at_a_share_of_the_mean():
    part = part_of(background_init="fraction", bg_init_gene_fraction=0.3)
    unit = math.exp(float(part.library_offset))
    s = part.features.log_background.detach().exp().numpy()
    want = np.broadcast_to(0.3 * mean_of_fractions() * unit, s.shape)
    np.testing.assert_allclose(s, want, rtol=0.06, atol=1e-7)


def test_the_background_starts_and_is_held_at_its_estimate():
    made = built()
    part, estimates = made.module.part(0), made.ambient["rna"]
    assert [len(one.share) for one in estimates] == [3, 2]
    shares = [one.share / 2 for one in estimates]  # two keys, whose backgrounds add
    np.testing.assert_allclose(
        part.features.held_log_share.exp(), np.concatenate(shares), rtol=1e-4, atol=1e-4
    )
    codes = torch.stack([torch.from_numpy(g.codes) for g in DATA.ambient], 1) + torch.tensor(
        [0, 3]
    )
    rate = torch.nn.functional.softplus(part.decoder.out.bias).sum()
    native = rate.detach().expand(DATA.n_obs)
    assert part.features.hold_term(codes, native).item() < 2
    off = part.features.hold_term(codes, native / 1.5).item()
    assert off > 20
    free = part_of(hold_background=False).features
    assert free.hold_term(codes, native) is None


def test_weights_come_from_the_seed():
    one, same, other = built(seed=1), built(seed=1), built(seed=2)
    first, second = one.module.state_dict(), same.module.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    name = "parts.0.decoder.out.weight"
    assert not torch.equal(first[name], other.module.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "background", "scaling"),
    [("rna", True, False), ("atac", False, True), ("x", False, False)],
)
def test_which_terms_a_modality_has_by_default(name, background, scaling):
    features = ((name, 20), ("other", 15))
    part = built(data_of(features=features)).module.part(0)
    assert (part.features.log_background is not None) is background
    assert (part.features.scaling_raw is not None) is scaling
    assert part.config.regularise_dispersion
    assert part.learns_library
    alone = built(data_of(features=features[:1])).module.part(0).features
    assert alone.log_background is not None
    assert alone.scaling_raw is not None


def test_wrong_wishes_are_told():
    two = data_of(features=(("rna", 20), ("atac", 15)))
    with pytest.raises(ConfigError, match="latent spaces of one size, and rna has 4, atac has 6"):
        built(
            two,
            latent_mode="weighted_mean",
            n_latent=4,
            per_modality={"atac": {"n_latent": 6}},
        )
    with pytest.raises(ConfigError, match="'protein', which is not a modality"):
        built(two, per_modality={"protein": {"n_latent": 6}})
    with pytest.raises(ConfigError, match="n_latents, which is not a parameter"):
        ModelConfig(per_modality={"rna": {"n_latents": 6}})
