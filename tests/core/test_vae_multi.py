"""The model of several modalities: latent spaces, defaults by modality, what is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vae_cases import multiome

from celldyn.errors import ConfigError
from celldyn.vae import RegularizedMultimodalVI
from celldyn.vae.predicting import Cells, evaluating

MODES = {
    "concatenation": {},
    "weighted_mean": {"modality_weights": "equal"},
    "weighted_mean, universal": {"modality_weights": "universal"},
    "weighted_mean, cell": {"modality_weights": "cell"},
    "single_encoder": {},
}


def fitted(mode: str = "concatenation", missing: int = 0, epochs: int = 2, **model):
    mdata = multiome(missing=missing)
    RegularizedMultimodalVI.setup_mudata(
        mdata, batch_key="batch", nn_conditioning_covariate_keys=["site"]
    )
    n_latent = 4 if "weighted" in mode else {"rna": 4, "atac": 3}
    made = RegularizedMultimodalVI(
        mdata,
        n_hidden={"rna": 16, "atac": 8},
        n_latent=n_latent,
        latent_mode=mode.split(",")[0],
        **MODES[mode],
        **model,
    )
    made.train(max_epochs=epochs, batch_size=64)
    return made


@pytest.fixture(scope="module", params=list(MODES))
def model(request):
    return fitted(request.param, missing=20)


def test_shapes_of_the_seeds_parameters():
    """n_latent={"rna": 96, "atac": 32} is the seed's own example."""
    mdata = multiome()
    RegularizedMultimodalVI.setup_mudata(mdata, batch_key="batch")
    model = RegularizedMultimodalVI(mdata, n_latent={"rna": 96, "atac": 32})
    model.train(max_epochs=1)
    assert model.get_latent_representation().shape == (120, 128)
    slices = model.get_modality_latents()
    assert {name: z.shape for name, z in slices.items()} == {"rna": (120, 96), "atac": (120, 32)}
    whole = np.concatenate([slices["rna"], slices["atac"]], axis=1)
    np.testing.assert_array_equal(whole, model.get_latent_representation())


def test_optional_corrections_are_the_seeds_table():
    """Background on in RNA alone, scaling on in ATAC alone; library and dispersion in both."""
    model = fitted(epochs=1)
    rna, atac = (model.module.part(m) for m in range(2))
    assert rna.features.log_background is not None
    assert atac.features.log_background is None
    assert rna.features.scaling_raw is None
    assert atac.features.scaling_raw is not None
    for part in (rna, atac):
        assert part.learns_library
        assert part.config.library_log_vars_weight == 0.5
        assert part.config.regularise_dispersion
        assert part.decoder.first.categories.shape[0] == 3  # the site, not the batch
    background = model.get_background()
    assert background["rna"].shape == (40, 2)
    assert background["atac"].shape == (30, 0)
    assert model.get_background_shares()["atac"].empty
    assert model.get_dispersion(modality="atac").shape == (30, 2)


def test_any_parameter_may_differ_by_modality():
    model = fitted(
        epochs=1,
        dispersion={"rna": "gene-batch", "atac": "gene"},
        use_additive_background={"rna": False, "atac": True},
        use_feature_scaling=True,
        n_layers={"rna": 2},
    )
    rna, atac = (model.module.part(m) for m in range(2))
    assert rna.features.log_theta_mean.shape == (2, 40)
    assert atac.features.log_theta_mean.shape == (1, 30)
    assert (rna.features.log_background is None, atac.features.log_background is None) == (
        True,
        False,
    )
    assert rna.features.scaling_raw.shape == (3, 40)
    assert (rna.config.n_layers, atac.config.n_layers) == (2, 1)
    assert list(model.get_dispersion(modality="atac").columns) == ["all"]


def test_the_callers_order_is_kept():
    mdata = multiome()
    RegularizedMultimodalVI.setup_mudata(
        mdata, modalities={"peaks": "atac", "genes": "rna"}, batch_key="batch"
    )
    model = RegularizedMultimodalVI(mdata, n_hidden=8, n_latent={"peaks": 2, "genes": 5})
    assert model.modalities == ("peaks", "genes")
    assert model.module.spec.slices == {"peaks": (0, 2), "genes": (2, 7)}
    RegularizedMultimodalVI.setup_mudata(mdata, modalities=["rna"], batch_key="batch")
    alone = RegularizedMultimodalVI(mdata, n_hidden=8, n_latent=3)
    assert alone.get_latent_representation().shape == (120, 3)


def test_every_method_in_every_mode(model):
    n_latent = model.module.spec.n_latent
    z = model.get_latent_representation()
    assert z.shape == (120, n_latent)
    mean, variance = model.get_latent_representation(return_dist=True)
    np.testing.assert_allclose(mean, z, rtol=1e-5, atol=1e-6)
    assert (variance > 0).all()
    draws = np.stack([model.get_latent_representation(give_mean=False, seed=k) for k in range(60)])
    if model.config.modality_weights != "cell":  # then the weights are drawn, too
        lacks = np.arange(120) >= 100
        standard = (draws - mean) / np.sqrt(variance)
        assert standard[:, ~lacks].std() == pytest.approx(1, abs=0.05)
    assert model.get_elbo() < 0
    assert model.get_marginal_ll(n_mc_samples=60) > np.mean(
        [model.get_elbo(seed=k) for k in range(5)]
    )
    for name, n_features in (("rna", 40), ("atac", 30)):
        share = model.get_normalized_expression(modality=name)
        assert share.shape == (120, n_features)
        np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
        assert model.get_latent_library_size(modality=name).shape == (120,)
        assert model.get_likelihood_parameters(modality=name)["mean"].shape == (120, n_features)
        assert model.posterior_predictive_sample(modality=name).shape == (120, n_features)
        table = model.differential_expression(
            groupby="type", group1="t0", modality=name, n_samples=100
        )
        assert len(table) == n_features
        matrix = model.get_feature_correlation_matrix(n_samples=1, modality=name)
        assert matrix.shape == (n_features, n_features)
        assert model.get_modality_attribution()[name]["attribution"].shape == (120, n_latent)
    assert set(model.get_normalized_expression()) == {"rna", "atac"}
    with pytest.raises(ConfigError, match="'protein'"):
        model.get_normalized_expression(modality="protein")


def test_reconstruction_is_the_sum_over_features_and_modalities(model):
    by_feature = model.get_per_feature_reconstruction_loss()
    for name, values in by_feature.items():
        assert values.sum() == pytest.approx(
            model.get_reconstruction_error(modality=name), rel=1e-4
        )
    total = sum(values.sum() for values in by_feature.values())
    assert total == pytest.approx(model.get_reconstruction_error(), rel=1e-4)


def test_kl_by_dimension_sums_to_the_models(model):
    found = model.get_per_dim_kl()
    single = model.module.spec.latent_mode == "single_encoder"
    assert set(found) == ({"joint"} if single else {"rna", "atac"})
    batch = next(Cells.all(model.module, model._inputs).batches())
    with evaluating(model.module):
        terms = model.module.loss_terms(batch)
    share = {"joint": 1.0, "rna": 1.0, "atac": 100 / 120}
    for name, values in found.items():
        term = float(terms[f"kl_z/{name}"])
        assert values.sum() * share[name] == pytest.approx(term, rel=1e-3)


def test_a_missing_modality_says_nothing_and_is_imputed():
    model = fitted(missing=20, epochs=20)
    z = model.get_modality_latents()
    assert (z["atac"][100:] == 0).all()
    assert (z["atac"][:100] != 0).any()
    mean, variance = model.get_latent_representation(return_dist=True)
    np.testing.assert_array_equal(variance[100:, 4:], 1)
    assert not mean[100:, 4:].any()
    share = model.get_normalized_expression(modality="atac", return_numpy=True)
    np.testing.assert_allclose(share[100:].sum(axis=1), 1, rtol=1e-5)
    size = model.get_latent_library_size(modality="atac")
    assert 0.5 < np.median(size[100:]) / np.median(size[:100]) < 2
    expected = model.get_normalized_expression(modality="atac", library_size="latent")
    totals = expected.sum(axis=1)
    assert 0.4 < totals[100:].median() / totals[:100].median() < 2.5


def test_covariate_effects():
    model = fitted(epochs=3)
    effects = model.get_covariate_effects()
    site = [f"site=s{k}" for k in range(3)]
    assert list(effects["rna"].columns) == site
    assert list(effects["atac"].columns) == [*site, *(f"scaling {name}" for name in site)]
    np.testing.assert_allclose(effects["rna"].sum(axis=1), 0, atol=1e-5)
    with torch.no_grad():
        for part in model.module.parts:
            part.decoder.first.categories.zero_()
    none = model.get_covariate_effects(modality="rna")["rna"]
    np.testing.assert_allclose(none, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"n_hidden": {"protein": 3}}, "'protein', which is not a modality"),
        ({"latent_mode": {"rna": "concatenation"}}, "same for all modalities"),
        (
            {"latent_mode": "weighted_mean", "n_latent": {"rna": 3, "atac": 4}},
            "latent spaces of one size",
        ),
        ({"latent_mode": "symmetric"}, "latent_mode"),
        ({"n_latent": {"rna": 0}}, "n_latent"),
    ],
)
def test_what_does_not_fit_is_refused(given, says):
    mdata = multiome()
    RegularizedMultimodalVI.setup_mudata(mdata, batch_key="batch")
    with pytest.raises(ConfigError, match=says):
        RegularizedMultimodalVI(mdata, **given)


def test_setup_checks_as_that_of_one_modality_does():
    mdata = multiome()
    with pytest.raises(ValueError, match="batch_key cannot be combined"):
        RegularizedMultimodalVI.setup_mudata(mdata, batch_key="batch", library_size_key="site")
    with pytest.raises(ValueError, match="Either batch_key or ambient_covariate_keys"):
        RegularizedMultimodalVI.setup_mudata(mdata)
    RegularizedMultimodalVI.setup_mudata(mdata, batch_key="batch")
    with pytest.raises(TypeError, match="use_feature_scaling"):
        RegularizedMultimodalVI(mdata, use_feature_scaling={"atac": "False"})


def test_shared_spaces_have_no_slices():
    model = fitted("weighted_mean", epochs=1)
    with pytest.raises(ConfigError, match="share one latent space"):
        model.get_modality_latents()
    with pytest.raises(ConfigError, match="protein"):
        model.train(max_epochs=1, plan_kwargs={"modality_lr_multiplier": {"protein": 2.0}})
    model.train(max_epochs=1, plan_kwargs={"modality_lr_multiplier": {"atac": 2.0}})


def test_layers_by_modality():
    mdata = multiome()
    for name in ("rna", "atac"):
        mdata[name].layers["raw"] = mdata[name].X.copy()
        mdata[name].X = mdata[name].X * 0.5
    RegularizedMultimodalVI.setup_mudata(
        mdata, batch_key="batch", layers={"rna": "raw", "atac": "raw"}
    )
    RegularizedMultimodalVI(mdata, n_hidden=8, n_latent=2)
    RegularizedMultimodalVI.setup_mudata(mdata, batch_key="batch", layers={"rna": "raw"})
    with pytest.raises(ValueError, match=r"whole numbers|counts"):
        RegularizedMultimodalVI(mdata, n_hidden=8, n_latent=2)
