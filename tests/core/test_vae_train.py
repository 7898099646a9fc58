"""Training: what a course of losses says, when it stops, and where it goes on from."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch
import vae_inputs_cases
from scipy import sparse

from celldyn.errors import ConfigError, DataError, FileFormatError
from celldyn.jobs import run
from celldyn.vae.config import ModelConfig, TrainConfig
from celldyn.vae.counts import counts_of
from celldyn.vae.course import EarlyStop, kl_weight, max_epochs
from celldyn.vae.module import VAEModule
from celldyn.vae.optimiser import adam
from celldyn.vae.spec import ModuleSpec
from celldyn.vae.train import split, train_job

TWO = (("rna", 60), ("atac", 40))


def data_of(n_obs=200, features=(("rna", 60),), **options):
    made = vae_inputs_cases.inputs(n_obs=n_obs, features=features, **options)
    parts = [
        dataclasses.replace(
            part, counts=counts_of(sparse.csr_matrix(part.counts.dense.astype(np.float32)))
        )
        for part in made.modalities
    ]
    return dataclasses.replace(made, modalities=tuple(parts))


DATA = data_of()


def module_of(data=DATA, **options):
    torch.manual_seed(0)
    config = ModelConfig(**{"n_hidden": 16, "n_latent": 3, "hold_background": False, **options})
    module = VAEModule(ModuleSpec.of(data, config))
    for part, modality in zip(module.parts, data.modalities, strict=True):
        part.library_offset.fill_(float(np.log(np.maximum(modality.totals, 1)).mean()))
    return module


def config_of(**values):
    return TrainConfig(**{"max_epochs": 10, "batch_size": 32, "seed": 3, **values})


def numbers(module):
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def trained(config, data=DATA, **options):
    module = module_of(data, **options)
    return module, run(train_job(module, data, config), bar=False)


def test_the_loss_falls_and_every_term_is_told():
    _, history = trained(config_of(max_epochs=40))
    table = history.table
    assert table["elbo_train"].iloc[-1] < table["elbo_train"].iloc[0] - 5
    assert table["elbo_validation"].iloc[-1] < table["elbo_validation"].iloc[0] - 5
    for side in ("train", "validation"):
        parts = [table[f"{term}_{side}"] for term in ("reconstruction", "kl_z", "kl_library")]
        np.testing.assert_allclose(sum(parts), table[f"elbo_{side}"], rtol=1e-5)
    for term in ("dispersion_kl", "dispersion_hyperprior", "scaling_prior", "decoder_l2"):
        assert table[f"{term}_train"].notna().all()
    assert (history.n_train, history.n_validation) == (180, 20)


def test_the_job_tells_epochs_and_losses():
    told = [step for step in train_job(module_of(), DATA, config_of(max_epochs=3)) if step.metrics]
    assert [step.done for step in told] == [1, 2, 3, 3]
    assert set(told[0].metrics) == {
        f"{side}loss/{term}"
        for side in ("", "held-out ")
        for term in ("elbo", "reconstruction", "KL z", "KL library")
    }
    assert set(told[-1].metrics) == {"best epoch"}


def test_the_same_seed_gives_the_same_model():
    first, second = trained(config_of())[0], trained(config_of())[0]
    assert torch.equal(numbers(first), numbers(second))
    other, _ = trained(config_of(seed=4))
    assert not torch.equal(numbers(first), numbers(other))


@pytest.mark.parametrize("early", [False, True])
def test_what_was_stopped_goes_on_to_the_same_model(tmp_path, early):
    values = {"early_stopping": early, "early_stopping_patience": 100}
    whole, history = trained(config_of(**values))
    config = config_of(checkpoint=str(tmp_path / "c.safetensors"), checkpoint_every=3, **values)
    job = train_job(module_of(), DATA, config)
    for step in job:
        if step.metrics and step.done >= 7:
            break
    job.close()
    module = module_of()
    found = run(train_job(module, DATA, config), bar=False)
    assert torch.equal(numbers(module), numbers(whole))
    assert found.rows == history.rows
    assert found.best_epoch == history.best_epoch


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    trained(config_of(max_epochs=1, checkpoint=str(path)))
    with pytest.raises(FileFormatError, match="another model"):
        trained(config_of(checkpoint=str(path)), n_hidden=17)
    with pytest.raises(FileFormatError, match="other parameters"):
        trained(config_of(checkpoint=str(path), lr=0.1))
    path.write_bytes(b"none")
    with pytest.raises(FileFormatError, match=r"c\.safetensors"):
        trained(config_of(checkpoint=str(path)))


def test_early_stopping_keeps_the_best():
    config = config_of(
        max_epochs=400, lr=0.02, early_stopping=True, early_stopping_patience=8, train_size=0.8
    )
    module, history = trained(config)
    assert history.stopped_early
    assert len(history.rows) == history.best_epoch + 8 + 1 < 400
    until_best, _ = trained(
        config.replace(
            early_stopping=False, n_epochs_kl_warmup=133, max_epochs=history.best_epoch + 1
        )
    )
    assert torch.equal(numbers(module), numbers(until_best))


def test_improvement_is_counted_per_feature_unless_it_is_given():
    assert EarlyStop(TrainConfig(), 2000).min_delta == pytest.approx(0.4)
    given = TrainConfig(early_stopping_min_delta=0.0)
    assert EarlyStop(given, 2000).min_delta == 0
    zero = TrainConfig(early_stopping_min_delta_per_feature=0.0)
    assert EarlyStop(zero, 2000).min_delta == 0
    stop = EarlyStop(TrainConfig(early_stopping=True, early_stopping_patience=2), 1000)
    assert [stop.improved(k, loss) for k, loss in enumerate((10, 9.9, 9.7, 9.6))] == [
        True, False, True, False,
    ]  # fmt: skip
    assert not stop.due(3)
    assert stop.due(4)


@pytest.mark.parametrize(
    ("n_obs", "epochs"), [(100, 400), (20_000, 400), (40_000, 200), (10**8, 1)]
)
def test_epochs_by_default(n_obs, epochs):
    assert max_epochs(TrainConfig(), n_obs) == epochs


def test_the_latent_prior_warms_up():
    config = TrainConfig(n_epochs_kl_warmup=4, max_kl_weight=0.5)
    assert [kl_weight(config, k, 9) for k in range(6)] == [0, 0.125, 0.25, 0.375, 0.5, 0.5]
    assert kl_weight(TrainConfig(), 10, 60) == 0.5
    assert kl_weight(TrainConfig(n_epochs_kl_warmup=0), 0, 60) == 1


def test_the_split():
    training, validation = split(101, TrainConfig(seed=1))
    assert (len(training), len(validation)) == (91, 10)
    assert sorted([*training, *validation]) == list(range(101))
    first, _ = split(101, TrainConfig(shuffle_set_split=False))
    assert first[0] == 10
    training, validation = split(100, TrainConfig(train_size=0.5, validation_size=0.2))
    assert (len(training), len(validation)) == (50, 20)
    assert len(split(100, TrainConfig(train_size=1.0))[1]) == 0


def test_early_stopping_without_cells_to_validate():
    with pytest.raises(ConfigError, match="train_size is 1"):
        TrainConfig(train_size=1.0, early_stopping=True)
    with pytest.raises(DataError, match="none are left to validate"):
        split(3, TrainConfig(train_size=0.9, early_stopping=True))


def test_all_cells_may_be_trained_on():
    _, history = trained(config_of(train_size=1.0, max_epochs=2))
    assert history.best_epoch is None
    assert not [name for name in history.table if name.endswith("_validation")]


def test_a_loss_that_is_no_number_leaves_the_model_as_it_was():
    module = module_of()
    before = numbers(module)
    with pytest.raises(DataError, match="not a number any more in epoch 1"):
        run(train_job(module, DATA, config_of(lr=10, feature_lr=10, max_epochs=20)), bar=False)
    assert torch.equal(numbers(module), before)


def test_stopping_is_quick_and_leaves_a_usable_model():
    job = train_job(module := module_of(), DATA, config_of(max_epochs=10_000))
    for step in job:
        if step.done > 2:
            break
    began = time.perf_counter()
    job.close()
    assert time.perf_counter() - began < 0.5
    assert not module.training
    assert torch.isfinite(numbers(module)).all()


def test_per_feature_parameters_have_a_step_of_their_own():
    module = module_of(data_of(features=TWO), latent_mode="concatenation")
    groups = adam(module, TrainConfig(lr=1e-3, modality_lr_multiplier={"atac": 2.0})).param_groups
    of = {id(p): group for group in groups for p in group["params"]}
    rna, atac = module.part(0), module.part(1)
    assert of[id(rna.decoder.out.weight)]["lr"] == 1e-3
    assert of[id(atac.decoder.out.weight)]["lr"] == 2e-3
    assert of[id(rna.features.log_theta_mean)]["lr"] == pytest.approx(1e-2)
    assert of[id(rna.features.log_theta_mean)]["weight_decay"] == 0
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))
    with pytest.raises(ConfigError, match="'protein', which is not a modality"):
        adam(module, TrainConfig(modality_lr_multiplier={"protein": 2.0}))


@pytest.mark.parametrize("mode", ["concatenation", "weighted_mean", "single_encoder"])
def test_modalities_learn_together(mode):
    data = data_of(features=TWO, missing=[("atac", 5), ("rna", 9)])
    weights = "cell" if mode == "weighted_mean" else "equal"
    _, history = trained(
        config_of(max_epochs=25), data, latent_mode=mode, modality_weights=weights
    )
    table = history.table
    assert table["elbo_train"].iloc[-1] < table["elbo_train"].iloc[0] - 5
    both = table["reconstruction/rna_train"] + table["reconstruction/atac_train"]
    np.testing.assert_allclose(both, table["reconstruction_train"], rtol=1e-5)


def test_bfloat16_learns_as_well():
    exact = trained(config_of(precision="float32", max_epochs=25))[1].table
    short = trained(config_of(precision="bfloat16", max_epochs=25))[1].table
    at = exact["elbo_train"].iloc[-1]
    assert short["elbo_train"].iloc[-1] == pytest.approx(at, rel=0.01)


def test_the_optimiser_shrinks_the_decoder_as_its_penalty_does():
    """Adam's decay 2λ/N has the slope of λ/N ‖W‖²; where gradients are clipped the term has it."""
    by_decay = trained(config_of(max_epochs=3), decoder_weight_l2=100.0)[0]
    by_term = trained(config_of(max_epochs=3, gradient_clip=1e9), decoder_weight_l2=100.0)[0]
    free = trained(config_of(max_epochs=3), decoder_weight_l2=0.0)[0]
    torch.testing.assert_close(numbers(by_decay), numbers(by_term), rtol=1e-2, atol=1e-3)
    shrunk, whole = (each.part(0).decoder.squared_norm() for each in (by_decay, free))
    assert shrunk < 0.9 * whole
    table = trained(config_of(max_epochs=3), decoder_weight_l2=100.0)[1].table
    assert (table["decoder_l2_train"] > 0).all()


def test_gradients_may_be_clipped():
    free, clipped = trained(config_of())[0], trained(config_of(gradient_clip=1e-3))[0]
    assert not torch.equal(numbers(free), numbers(clipped))
