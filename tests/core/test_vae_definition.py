"""The fused loss equals the model's statement in torch.distributions, term by term."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vae_inputs_cases
from vae_definition import Definition

from celldyn.vae.config import ModelConfig
from celldyn.vae.module import VAEModule
from celldyn.vae.spec import ModuleSpec

TWO = (("rna", 23), ("atac", 17))
SMALL = {"n_hidden": 8, "n_latent": 3, "library_n_hidden": 4}

ONE_MODALITY = {
    "recommended": {},
    "seed": {"preset": "seed"},
    "two layers": {"n_layers": 2},
    "three layers, first told only": {"n_layers": 3, "deeply_inject_covariates": False},
    "batch norm": {"use_batch_norm": "both", "use_layer_norm": "none", "n_layers": 2},
    "batch in decoder": {"use_batch_in_decoder": True},
    "simplex": {"latent_distribution": "ln"},
    "softmax": {"scale_activation": "softmax"},
    "gene": {"dispersion": "gene"},
    "background prior": {"regularise_background": True, "additive_bg_prior_alpha": 2.0},
    "no background": {"use_additive_background": False},
    "no scaling": {"use_feature_scaling": False},
    "free dispersion": {"regularise_dispersion": False},
    "no jacobian": {"dispersion_jacobian": False},
    "sqrt": {"dispersion_prior_direction": "sqrt"},
    "sqrt, no jacobian": {"dispersion_prior_direction": "sqrt", "dispersion_jacobian": False},
    "theta by cell": {"theta_noise": "cell"},
    "sum of factors": {"feature_scaling_combination": "sum"},
    "minibatch scale": {"global_scale": "minibatch"},
    "absolute library": {"library_centring": False, "residual_library_encoder": False},
    "sensitivity": {"library_log_means_centering_sensitivity": 0.2},
    "held background": {"hold_background": True},
    "weight's prior": {"library_obs_w_prior_rate": 2.5, "decoder_weight_l2": 0.3},
}
TWO_MODALITIES = {
    "concatenation": {"latent_mode": "concatenation"},
    "sizes of their own": {"per_modality": {"atac": {"n_latent": 5, "n_hidden": 6}}},
    "held backgrounds": {"hold_background": True, "use_additive_background": True},
    "weighted, equal": {"latent_mode": "weighted_mean", "modality_weights": "equal"},
    "weighted, universal": {"latent_mode": "weighted_mean", "modality_weights": "universal"},
    "weighted, by cell": {"latent_mode": "weighted_mean", "modality_weights": "cell"},
    "single encoder": {"latent_mode": "single_encoder", "n_layers": 2},
    "seed": {"preset": "seed"},
    "simplex": {"latent_distribution": "ln", "latent_mode": "weighted_mean"},
    "all terms in both": {"use_additive_background": True, "use_feature_scaling": True},
}


def scattered(module, seed=1):
    """Move every number of a module off its initial value, so that nothing cancels."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        for m, part in enumerate(module.parts):
            part.library_mean.normal_(generator=generator)
            part.library_variance.uniform_(0.1, 0.5, generator=generator)
            centred = part.config.library_centring
            part.library_offset.fill_(3.0 + m if centred else 0.0)
            part.features.held_log_share.uniform_(-3, -1, generator=generator)
            part.native_part.fill_(-0.2)
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0, generator=generator)
            if name.endswith("running_mean"):
                buffer.normal_(generator=generator)
    return module


def noise_for(module, n_cells, seed=2):
    """Return a value for every random draw."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    noise = {}
    for part in module.parts:
        config, tables = part.config, part.features.log_theta_mean
        by_cell = config.theta_noise == "cell"
        rows = n_cells if by_cell else len(tables)
        noise[f"z/{part.name}"] = normal(n_cells, config.n_latent)
        noise[f"library/{part.name}"] = normal(n_cells)
        noise[f"theta/{part.name}"] = normal(rows, tables.shape[1])
        noise[f"library_weight/{part.name}"] = normal()
    noise["z/joint"] = normal(n_cells, module.spec.n_latent)
    return noise


def compared(data, options, *, training, double, cells=tuple(range(3, 21))):
    torch.manual_seed(0)
    config = ModelConfig(**{**SMALL, "dropout_rate": 0.0, "hold_background": False, **options})
    module = scattered(VAEModule(ModuleSpec.of(data, config)))
    module.n_obs = data.n_obs
    dtype = torch.float64 if double else torch.float32
    module = module.to(dtype).train(training)
    batch = vae_inputs_cases.batch_of(data, cells, dense=double, dtype=dtype)
    noise = noise_for(module, len(batch))
    terms = module.loss_terms(batch, noise=noise, kl_weight=0.37)
    counts = [part.counts.dense[list(cells)] for part in data.modalities]
    definition = Definition(module, batch, counts, noise, n_obs=data.n_obs, training=training)
    globals_ = {**definition.global_terms(), **definition.hold_terms()}
    want = {**definition.local_terms(), **globals_}
    want["elbo"] = want["reconstruction"] + want["kl_z"] + want["kl_library"]
    want["loss"] = want["elbo"] + (0.37 - 1) * want["kl_z"] + sum(globals_.values())
    found = {name: value.item() for name, value in terms.items() if "/" not in name}
    return found, {name: float(value) for name, value in want.items()}


def close(found, want, relative):
    assert found.keys() == want.keys()
    for name in want:
        assert found[name] == pytest.approx(want[name], rel=relative, abs=relative), name


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("options", ONE_MODALITY.values(), ids=ONE_MODALITY)
def test_one_modality(options, training):
    training = training and "use_batch_norm" not in options  # there it is torch's own
    data = vae_inputs_cases.inputs(
        n_encoder=(2,), n_continuous=2, n_ambient=(3, 2), n_scaling=(2, 3)
    )
    found, want = compared(data, options, training=training, double=True)
    close(found, want, 1e-9)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("options", TWO_MODALITIES.values(), ids=TWO_MODALITIES)
def test_two_modalities_of_which_cells_lack_one(options, training):
    missing = [("rna", 4), ("atac", 5), ("atac", 11)]
    data = vae_inputs_cases.inputs(features=TWO, missing=missing, n_continuous=1)
    found, want = compared(data, options, training=training, double=True)
    close(found, want, 1e-9)


@pytest.mark.parametrize("options", ONE_MODALITY.values(), ids=ONE_MODALITY)
def test_the_kernel_in_single_precision(options):
    data = vae_inputs_cases.inputs(features=(("rna", 77),), n_ambient=(3, 2))
    found, want = compared(data, options, training=False, double=False)
    assert found["loss"] == pytest.approx(want["loss"], rel=1e-6)
    assert found["reconstruction"] == pytest.approx(want["reconstruction"], rel=1e-6)


@pytest.mark.parametrize("options", TWO_MODALITIES.values(), ids=TWO_MODALITIES)
def test_the_kernel_in_single_precision_with_two_modalities(options):
    data = vae_inputs_cases.inputs(features=TWO, missing=[("rna", 4), ("atac", 5)])
    found, want = compared(data, options, training=False, double=False)
    assert found["loss"] == pytest.approx(want["loss"], rel=1e-6)


def test_no_key_but_one_group():
    data = vae_inputs_cases.inputs(n_ambient=(1,), n_scaling=(), n_conditioning=(), n_dispersion=1)
    found, want = compared(data, {}, training=True, double=True)
    close(found, want, 1e-9)


def test_given_library_sizes():
    data = vae_inputs_cases.inputs(size_factor=True)
    found, want = compared(data, {}, training=False, double=True)
    assert found["kl_library"] == 0
    close(found, want, 1e-9)


def test_a_share_is_read_off_some_of_many_cells():
    data = vae_inputs_cases.inputs(n_obs=90)
    options = {"hold_background": True}
    found, want = compared(data, options, training=True, double=True, cells=tuple(range(70)))
    close(found, want, 1e-9)


def test_many_more_groups_than_cells():
    data = vae_inputs_cases.inputs(n_obs=40, n_ambient=(35,), n_scaling=(30,), n_dispersion=33)
    found, want = compared(data, {}, training=True, double=True)
    close(found, want, 1e-9)


def test_a_held_share_moves_the_scale_of_a_group_and_no_single_feature():
    data = vae_inputs_cases.inputs()
    torch.manual_seed(0)
    features = scattered(VAEModule(ModuleSpec.of(data, ModelConfig(**SMALL)))).part(0).features
    batch = vae_inputs_cases.batch_of(data, range(20))
    features.hold_term(batch.ambient, torch.full((20,), 50.0)).backward()
    assert features.log_background.grad is None
    assert (features.background_scale.grad != 0).all()


def test_gradients_are_those_of_the_loss():
    data = vae_inputs_cases.inputs(features=TWO, missing=[("atac", 5)])
    options = {"use_additive_background": True, "hold_background": False}
    config = ModelConfig(**SMALL, dropout_rate=0.0, **options)
    torch.manual_seed(0)
    module = scattered(VAEModule(ModuleSpec.of(data, config))).double().train()
    module.n_obs = data.n_obs
    batch = vae_inputs_cases.batch_of(data, range(9), dense=True, dtype=torch.float64)
    noise = noise_for(module, 9)
    module.loss_terms(batch, noise=noise)["loss"].backward()
    rng, h = np.random.default_rng(0), 1e-5
    for name, parameter in module.named_parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        at = int(rng.integers(len(flat)))
        before, losses = float(flat[at]), []
        for shift in (h, -h):
            flat[at] = before + shift
            with torch.no_grad():
                losses.append(float(module.loss_terms(batch, noise=noise)["loss"]))
        flat[at] = before
        slope = (losses[0] - losses[1]) / (2 * h)
        assert float(gradient[at]) == pytest.approx(slope, rel=1e-4, abs=1e-6), name
