"""The model of one modality: the seed's examples, every method after every setup, exact values."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import issparse
from vae_cases import SETUPS, tissue

import celldyn.vae as regularizedvi
from celldyn.errors import ConfigError, DataError, MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.vae.config import TrainConfig
from celldyn.vae.course import EarlyStop
from celldyn.vae.options import train_config_of
from celldyn.vae.predicting import Cells, evaluating, misfit

Model = regularizedvi.AmbientRegularizedSCVI


def fitted(setup: str, epochs: int = 2, **model):
    adata = tissue()
    Model.setup_anndata(adata, **SETUPS[setup])
    made = Model(adata, n_hidden=16, n_latent=4, **model)
    made.train(max_epochs=epochs, batch_size=64)
    return made


@pytest.fixture(scope="module", params=list(SETUPS))
def model(request):
    return fitted(request.param)


@pytest.fixture(scope="module")
def told():
    """A model whose decoder is told the batch."""
    adata = tissue()
    Model.setup_anndata(
        adata, layer="counts", batch_key="batch", nn_conditioning_covariate_keys=["batch"]
    )
    made = Model(adata, n_hidden=16, n_latent=4)
    made.train(max_epochs=3)
    return made


# --- the seed's examples ------------------------------------------------------------------------


def test_the_quick_start_runs():
    adata = tissue()
    regularizedvi.AmbientRegularizedSCVI.setup_anndata(
        adata,
        layer="counts",
        batch_key="batch",
        nn_conditioning_covariate_keys=["site", "donor"],
    )
    model = regularizedvi.AmbientRegularizedSCVI(
        adata,
        n_hidden=512,
        n_layers=1,
        n_latent=128,
    )
    model.train(
        train_size=1.0,
        max_epochs=2,
        batch_size=1024,
    )
    latent = model.get_latent_representation()
    assert latent.shape == (adata.n_obs, 128)
    assert np.isfinite(latent).all()


def test_the_purpose_driven_example_runs():
    adata = tissue()
    adata.obs = adata.obs.rename(
        columns={"batch": "embryo_id", "well": "pcr_well", "site": "experiment"}
    )
    regularizedvi.AmbientRegularizedSCVI.setup_anndata(
        adata,
        layer="counts",
        ambient_covariate_keys=["embryo_id", "pcr_well"],
        nn_conditioning_covariate_keys=["experiment"],
        dispersion_key="embryo_id",
        library_size_key="pcr_well",
    )
    model = regularizedvi.AmbientRegularizedSCVI(adata)
    features = model.module.part(0).features
    assert features.log_background.shape == (2 + 4, adata.n_vars)
    assert features.log_theta_mean.shape == (2, adata.n_vars)
    assert features.scaling_raw.shape == (3, adata.n_vars)
    assert model.module.part(0).library_mean.shape == (4,)


# --- every method after every setup -------------------------------------------------------------


def test_latent_states_and_library_sizes(model):
    z = model.get_latent_representation()
    assert z.shape == (120, 4)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, model.get_latent_representation())
    some = model.get_latent_representation(indices=[3, -1, 3])
    np.testing.assert_allclose(some, z[[3, 119, 3]], rtol=1e-5, atol=1e-6)
    mask = np.arange(120) < 7
    assert len(model.get_latent_representation(indices=mask)) == 7
    mean, variance = model.get_latent_representation(return_dist=True)
    np.testing.assert_allclose(mean, z, rtol=1e-6)
    assert (variance > 0).all()
    draw = model.get_latent_representation(give_mean=False)
    standard = (draw - mean) / np.sqrt(variance)
    assert abs(standard.mean()) < 0.2
    assert abs(standard.std() - 1) < 0.15


def test_library_sizes_are_counts(model):
    total = np.asarray(model.adata.X.sum(axis=1)).ravel()
    size = model.get_latent_library_size()
    assert size.shape == (120,)
    assert 0.3 < np.median(size) / np.median(total) < 3
    assert np.corrcoef(np.log(size), np.log(total))[0, 1] > 0.5
    median = model.get_latent_library_size(give_mean=False)
    assert (median <= size).all()


def test_expression_without_technical_effects_sums_to_one(model):
    share = model.get_normalized_expression()
    assert isinstance(share, pd.DataFrame)
    assert list(share.columns) == list(model.adata.var_names)
    assert list(share.index) == list(model.adata.obs_names)
    np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
    scaled = model.get_normalized_expression(library_size=1e4, return_numpy=True)
    np.testing.assert_allclose(scaled, 1e4 * share.to_numpy(), rtol=1e-5)
    few = model.get_normalized_expression(gene_list=["g5", "g2"], indices=[4])
    np.testing.assert_allclose(few.to_numpy(), share.loc[["cell4"], ["g5", "g2"]], rtol=1e-4)
    draws = model.get_normalized_expression(n_samples=3, return_mean=False)
    assert draws.shape == (3, 120, 40)
    np.testing.assert_allclose(draws.sum(axis=2), 1, rtol=1e-5)
    assert np.ptp(draws, axis=0).max() > 0
    overall = model.get_normalized_expression(n_samples_overall=9)
    assert overall.shape == (9, 40)


def test_the_mean_of_counts_is_the_equation(model):
    """μ = exp(ℓ) (ρ + s) y with every part looked up by hand."""
    module, inputs = model.module, model._inputs
    features = module.part(0).features
    batch = next(Cells.all(module, inputs).batches())
    with evaluating(module):
        posterior = module.encode(batch)
        z = module.latent(posterior, batch)
        rho = torch.nn.functional.softplus(module.part(0).decode(z, batch)).numpy()
    s = sum(
        np.exp(features.log_s.detach().numpy())[start : start + len(g)][g.codes]
        for g, start in _with_starts(inputs.ambient)
    )
    y = np.ones_like(rho)
    gamma = np.log1p(np.exp(features.scaling_raw.detach().numpy())) / 0.7
    for groups, start in _with_starts(inputs.scaling):
        y = y * gamma[start : start + len(groups)][groups.codes]
    if not inputs.scaling:
        y = y * gamma
    size = np.exp(posterior.library[0][0].numpy())[:, None]
    made = model.get_normalized_expression(library_size="latent", return_numpy=True)
    np.testing.assert_allclose(made, size * (rho + s) * y, rtol=2e-4)
    parameters = model.get_likelihood_parameters()
    np.testing.assert_allclose(parameters["mean"], made, rtol=1e-5)
    theta = np.exp(features.log_theta_mean.detach().numpy())[inputs.dispersion.codes]
    np.testing.assert_allclose(parameters["dispersions"], theta, rtol=1e-5)
    ambient = (s * y).sum(axis=1) / ((rho + s) * y).sum(axis=1)
    shares = model.get_background_shares()
    for groups, start in _with_starts(inputs.ambient):
        for k in range(len(groups)):
            mean = ambient[groups.codes == k].mean()
            assert shares["share"][start + k] == pytest.approx(mean, rel=1e-3)


def _with_starts(keys):
    start = 0
    for groups in keys:
        yield groups, start
        start += len(groups)


def test_bounds_and_errors(model):
    elbo = model.get_elbo(return_mean=False)
    assert elbo.shape == (120,)
    assert model.get_elbo() == pytest.approx(elbo.mean(), rel=1e-5)
    assert model.get_elbo() < 0
    error = model.get_reconstruction_error()
    assert error > 0
    assert -model.get_elbo() > error  # the KL terms are positive
    several = np.mean([model.get_elbo(seed=k) for k in range(5)])
    assert model.get_marginal_ll(n_mc_samples=100) >= several
    each = model.get_marginal_ll(n_mc_samples=20, return_mean=False, indices=[0, 1])
    assert each.shape == (2,)
    kl = model.get_per_dim_kl()["rna"]
    assert kl.shape == (4,)
    assert (kl >= 0).all()


def test_tables_shares_and_correlations(model):
    background, dispersion = model.get_background(), model.get_dispersion()
    assert list(background.index) == list(model.adata.var_names)
    assert (background.to_numpy() > 0).all()
    assert list(dispersion.columns) == ["b0", "b1"]
    shares = model.get_background_shares()
    assert list(shares.columns[:4]) == ["group", "share", "low", "high"]
    assert list(shares["group"]) == list(background.columns)
    assert (shares["low"] <= shares["share"]).all()
    assert (shares["share"] <= shares["high"]).all()
    for kind in ("spearman", "pearson"):
        matrix = model.get_feature_correlation_matrix(n_samples=2, correlation_type=kind)
        assert matrix.shape == (40, 40)
        np.testing.assert_array_equal(np.diag(matrix), 1)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
        assert (matrix.abs() <= 1 + 1e-6).all(axis=None)


def test_predictive_samples_are_sparse_counts(model):
    one = model.posterior_predictive_sample()
    assert issparse(one)
    assert one.shape == (120, 40)
    assert (one.data == np.round(one.data)).all()
    several = model.posterior_predictive_sample(n_samples=2, gene_list=["g3"], indices=[1, 2])
    assert [each.shape for each in several] == [(2, 1)] * 2


def test_other_data_are_read_by_name(model):
    other = tissue()[::-1, ::-1].copy()
    z = model.get_latent_representation(other)
    np.testing.assert_allclose(z[::-1], model.get_latent_representation(), rtol=1e-4, atol=1e-5)


# --- exact values -------------------------------------------------------------------------------


def test_the_log_evidence_is_the_integral():
    """With one latent dimension and known sizes, quadrature over z gives log p(x) exactly."""
    adata = tissue(12, 8)
    Model.setup_anndata(adata, batch_key="batch", size_factor_key="size")
    model = Model(adata, n_hidden=8, n_latent=1)
    model.train(max_epochs=60, batch_size=12, train_size=1.0)
    module = model.module
    batch = next(Cells.all(module, model._inputs).batches())
    grid = torch.linspace(-8, 8, 801)
    log_p = torch.empty(len(grid), 12, dtype=torch.float64)
    with evaluating(module):
        size = module.encode(batch).library[0][0]
        for k, z in enumerate(grid):
            loss = misfit(module, 0, torch.full((12, 1), float(z)), size, batch)
            log_p[k] = -loss.double() - 0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    exact = torch.logsumexp(log_p, dim=0) + np.log(16 / 800)
    found = model.get_marginal_ll(n_mc_samples=4000, return_mean=False)
    np.testing.assert_allclose(found, exact.numpy(), atol=0.05)


def test_predictive_samples_have_the_models_moments(told):
    """E x = E μ and Var x = E(μ + μ²/θ) + Var μ over draws of z and ℓ."""
    drawn = told.posterior_predictive_sample(n_samples=200)
    x = np.stack([each.toarray() for each in drawn])
    mu = told.get_normalized_expression(
        library_size="latent", n_samples=200, return_mean=False, seed=1
    ).astype(np.float64)
    theta = told.get_likelihood_parameters()["dispersions"]
    variance = (mu + mu**2 / theta).mean(axis=0) + mu.var(axis=0)
    error = (x.mean(axis=0) - mu.mean(axis=0)) / np.sqrt(2 * variance / 200)
    assert (
        abs(error.mean()) < 0.35
    )  # a cell's genes share its draws of ℓ: 120 cells are 120 values
    assert error.std() < 1.3
    assert np.median(x.var(axis=0) / variance) == pytest.approx(1, abs=0.1)


def test_transform_batch_acts_where_the_batch_does(told):
    as_b0 = told.get_normalized_expression(transform_batch="b0", return_numpy=True)
    plain = told.get_normalized_expression(return_numpy=True)
    first = (told.adata.obs["batch"] == "b0").to_numpy()
    np.testing.assert_allclose(as_b0[first], plain[first], rtol=1e-6)
    assert np.abs(as_b0[~first] - plain[~first]).max() > 1e-6
    as_b1 = told.get_normalized_expression(transform_batch={"batch": "b1"}, return_numpy=True)
    both = told.get_normalized_expression(transform_batch=["b0", "b1"], return_numpy=True)
    np.testing.assert_allclose(both, (as_b0 + as_b1) / 2, rtol=1e-5)


def test_transform_batch_of_a_decoder_that_is_not_told_moves_the_background_alone():
    model = fitted("batch")
    with torch.no_grad():
        model.module.part(0).features.log_background[0] += 1.0
    plain = model.get_normalized_expression(return_numpy=True)
    moved = model.get_normalized_expression(transform_batch="b0", return_numpy=True)
    np.testing.assert_array_equal(plain, moved)
    second = (model.adata.obs["batch"] == "b1").to_numpy()
    latent = model.get_normalized_expression(library_size="latent", return_numpy=True)
    as_b0 = model.get_normalized_expression(
        library_size="latent", transform_batch="b0", return_numpy=True
    )
    assert (as_b0[second] > latent[second]).mean() > 0.9


def test_a_category_of_no_key_is_refused(told):
    with pytest.raises(ConfigError, match="no key has"):
        told.get_normalized_expression(transform_batch="b7")
    with pytest.raises(ConfigError, match="no key of the model"):
        told.get_normalized_expression(transform_batch={"site": "s0"})


# --- training -----------------------------------------------------------------------------------


def test_training_again_goes_on():
    model = fitted("batch", epochs=2)
    before = model.module.part(0).decoder.out.weight.detach().clone()
    model.train(max_epochs=3)
    assert list(model.history_table.index) == [0, 1, 2, 3, 4]
    assert not torch.equal(before, model.module.part(0).decoder.out.weight)
    assert list(model.history["elbo_train"].columns) == ["elbo_train"]
    local = model.history["kl_local_train"]["kl_local_train"]
    table = model.history_table
    np.testing.assert_allclose(local, table["kl_z_train"] + table["kl_library_train"])
    assert {"reconstruction_loss_train", "train_loss_epoch"} <= set(model.history)
    assert len(model.train_indices) + len(model.validation_indices) == 120


def test_training_is_a_job():
    adata = tissue()
    Model.setup_anndata(adata, batch_key="batch")
    model = Model(adata, n_hidden=8, n_latent=3)
    job = model.train_job(TrainConfig(max_epochs=2))
    first = next(job)
    assert first.total == 2
    job.close()
    assert not model.is_trained
    run(model.train_job(TrainConfig(max_epochs=2)), bar=False)
    assert model.is_trained


def test_a_min_delta_of_zero_is_a_value():
    given = train_config_of({"early_stopping_min_delta_per_feature": 0.0}, {})
    assert EarlyStop(given, 1000).min_delta == 0.0
    default = train_config_of({"early_stopping_min_delta_per_feature": None}, {})
    assert EarlyStop(default, 1000).min_delta == pytest.approx(0.2)
    absolute = train_config_of({"early_stopping_min_delta": 3.0}, {})
    assert EarlyStop(absolute, 1000).min_delta == 3.0


def test_what_train_takes():
    model = fitted("batch", epochs=1)
    model.train(
        max_epochs=1, accelerator="cpu", devices=1, early_stopping=True, validation_batch_size=7,
        plan_kwargs={"lr": 5e-4, "n_epochs_kl_warmup": 1}, check_val_every_n_epoch=1,
    )  # fmt: skip
    with pytest.raises(TypeError, match="logger"):
        model.train(max_epochs=1, logger=None)
    with pytest.raises(TypeError, match="reduce_lr"):
        model.train(max_epochs=1, plan_kwargs={"reduce_lr": True})
    with pytest.raises(ConfigError, match="max_epochs"):
        model.train(max_epochs=0)


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["use_additive_background", "regularise_dispersion"])
def test_booleans_as_text_are_refused(name):
    adata = tissue()
    Model.setup_anndata(adata, batch_key="batch")
    with pytest.raises(TypeError, match=name):
        Model(adata, **{name: "False"})
    assert Model(adata, **{name: 0}).config.model_dump()[name] is False


@pytest.mark.parametrize("name", ["regularise_dispersion_prior", "dispersion_hyper_prior_beta"])
def test_removed_parameters_name_what_stands_for_them(name):
    adata = tissue()
    Model.setup_anndata(adata, batch_key="batch")
    with pytest.raises(TypeError, match="dispersion_hyper_prior_mean"):
        Model(adata, **{name: 3.0})
    with pytest.raises(TypeError, match="did you mean n_hidden"):
        Model(adata, n_hiden=3)


def test_setups_that_contradict_themselves_are_refused():
    adata = tissue()
    with pytest.raises(ValueError, match="batch_key cannot be combined"):
        Model.setup_anndata(adata, batch_key="batch", dispersion_key="site")
    with pytest.raises(ValueError, match="Either batch_key or ambient_covariate_keys"):
        Model.setup_anndata(adata)
    with pytest.raises(MissingKeyError, match="nonesuch"):
        Model.setup_anndata(adata, batch_key="nonesuch")
    with pytest.raises(NotFittedError, match="set up"):
        Model(tissue())
    with pytest.warns(UserWarning, match="leak"):
        Model.setup_anndata(adata, batch_key="batch", encoder_covariate_keys=["site"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Model.setup_anndata(adata, one_batch=True)


def test_cells_and_genes_that_are_not_there(told):
    with pytest.raises(DataError, match="beyond"):
        told.get_latent_representation(indices=[500])
    with pytest.raises(DataError, match="no cells"):
        told.get_elbo(indices=np.zeros(120, bool))
    for size in ("observed", 0, None):
        with pytest.raises(ConfigError, match="library_size"):
            told.get_normalized_expression(library_size=size)
    with pytest.raises(DataError, match="nonesuch"):
        told.get_normalized_expression(gene_list=["nonesuch"])
    other = tissue()
    other.obs["batch"] = "b9"
    with pytest.raises(DataError, match="load_query_data"):
        told.get_latent_representation(other)


def test_importing_it_is_light():
    script = (
        "import time, sys; import celldyn.vae as v;"
        "v.AmbientRegularizedSCVI; v.RegularizedMultimodalVI; v.fit; v.stored;"
        "print(time.process_time());"
        "print([m for m in ('scanpy', 'pyro', 'matplotlib', 'numba') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, heavy = told.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 4  # 1.4 s where nothing else runs
