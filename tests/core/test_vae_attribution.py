"""Attribution: the closed form is the derivative, whatever the decoder is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vae_cases import SETUPS, multiome, tissue

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.vae import RegularizedMultimodalVI
from celldyn.vae.attribution import How, attribution_job
from celldyn.vae.config import KeysConfig, ModelConfig
from celldyn.vae.module import VAEModule
from celldyn.vae.predicting import Cells, evaluating
from celldyn.vae.preparing import prepare
from celldyn.vae.spec import ModuleSpec

SHAPES = {
    "one layer": {},
    "three layers, both norms": {"n_layers": 3, "use_batch_norm": "both"},
    "no layer norm": {"n_layers": 2, "use_layer_norm": "none"},
    "softmax": {"scale_activation": "softmax"},
    "many dimensions": {"n_latent": 50, "n_layers": 2},
    "many dimensions, softmax": {"n_latent": 50, "scale_activation": "softmax"},
    "simplex, told the batch": {"latent_distribution": "ln", "use_batch_in_decoder": True},
}


def cells_of(setup: str, **model) -> Cells:
    """A module with random weights in double precision, and its cells."""
    inputs = prepare(tissue(16, 15), KeysConfig(**SETUPS[setup]))
    torch.manual_seed(0)
    module = VAEModule(ModuleSpec.of(inputs, ModelConfig(n_hidden=20, preset="seed", **model)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return Cells.all(module.double().eval(), inputs)


def attribution(cells: Cells, **how) -> np.ndarray:
    return run(attribution_job(cells, How(**how)), bar=False)["rna"]["attribution"]


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("setup", ["batch and decoder", "purposes"])
def test_the_closed_form_is_the_jacobian(setup, shape):
    """Against torch.func.jacfwd of the module's own mean, in double precision."""
    cells = cells_of(setup, **SHAPES[shape])
    module = cells.module
    batch = next(cells.batches())
    with evaluating(module):
        posterior = module.encode(batch)
        z, size = module.latent(posterior, batch), posterior.library[0][0]
    # Cells do not touch each other: the sum over cells has each cell's own derivatives.
    jacobian = torch.func.jacfwd(lambda z: module.mean(0, z, size, batch).sum(dim=0))
    exact = torch.stack([jacobian(z)[:, k].abs().mean(dim=0) for k in range(len(z))])
    found = attribution(cells)
    np.testing.assert_allclose(found, exact.detach().numpy(), rtol=1e-6)
    close = attribution(cells, method="finite_difference", eps=1e-6)
    np.testing.assert_allclose(close, found, rtol=1e-3, atol=1e-6 * found.max())
    np.testing.assert_allclose(attribution(cells, method="jacfwd"), found, rtol=1e-6)


@pytest.mark.parametrize("reference", ["zero", "mean", "reference"])
@pytest.mark.parametrize("removed", ["cat_covs", "feature_scaling", "all"])
def test_covariates_are_replaced(removed, reference):
    cells = cells_of("purposes", n_layers=2)
    given = {"remove_covariates": removed, "covariate_reference": reference}
    found = attribution(cells, **given)
    np.testing.assert_allclose(attribution(cells, method="jacfwd", **given), found, rtol=1e-6)
    assert np.abs(found / attribution(cells) - 1).max() > 1e-4


def test_the_reference_category_is_what_cells_of_it_are_told():
    cells = cells_of("batch and decoder")
    found = attribution(cells, remove_covariates="all", covariate_reference="reference")
    first = [groups.codes == 0 for groups in cells.inputs.conditioning]
    here = np.logical_and.reduce(first)
    assert here.any()
    np.testing.assert_allclose(found[here], attribution(cells)[here], rtol=1e-6)


def test_a_scaling_of_zero_is_one():
    cells = cells_of("purposes")
    with torch.no_grad():
        cells.module.part(0).features.scaling_raw.fill_(np.log(np.expm1(0.7)))  # a factor of 1
    removed = attribution(cells, remove_covariates="feature_scaling")
    np.testing.assert_allclose(removed, attribution(cells), rtol=1e-6)


@pytest.fixture(scope="module")
def model():
    mdata = multiome()
    RegularizedMultimodalVI.setup_mudata(
        mdata, batch_key="batch", nn_conditioning_covariate_keys=["site"]
    )
    made = RegularizedMultimodalVI(
        mdata, n_hidden={"rna": 32, "atac": 16}, n_latent={"rna": 5, "atac": 3}
    )
    made.train(max_epochs=2)
    return made


def test_every_modality_has_its_view_of_all_dimensions(model):
    found = model.get_modality_attribution()
    z = model.get_latent_representation()
    assert list(found) == ["rna", "atac"]
    for values in found.values():
        assert values["attribution"].shape == (120, 8)
        assert (values["attribution"] >= 0).all()
        mean = values["attribution"].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(values["mean"], mean)
        np.testing.assert_allclose(values["weighted_z"], z * values["attribution"], rtol=1e-6)
        np.testing.assert_allclose(values["weighted_z_mean"], z * mean, rtol=1e-5)
    again = model.get_modality_attribution(batch_size=7)
    np.testing.assert_allclose(again["atac"]["mean"], found["atac"]["mean"], rtol=1e-5)
    h2b = model.get_modality_attribution(attribution_method="h2b")
    np.testing.assert_array_equal(h2b["rna"]["mean"], found["rna"]["mean"])
    some = model.get_modality_attribution(indices=[5, 9])
    np.testing.assert_allclose(
        some["rna"]["attribution"], found["rna"]["attribution"][[5, 9]], rtol=1e-4
    )


def test_half_precision_is_off_by_less_than_a_percent(model):
    exact = model.get_modality_attribution()["rna"]
    rough = model.get_modality_attribution(precision="bfloat16")["rna"]
    np.testing.assert_allclose(rough["attribution"], exact["attribution"], rtol=0.01)
    np.testing.assert_allclose(rough["mean"], exact["mean"], rtol=2e-3)


def test_it_is_stored_and_tabulated(model):
    found = model.get_modality_attribution()
    written = model.store_attribution_results(found)
    assert written == {"obsm/X_vae_rna", "obsm/X_vae_atac"}
    np.testing.assert_array_equal(model.mdata.obsm["X_vae_atac"], found["atac"]["weighted_z_mean"])
    table = model.attribution_table(found)
    assert table.shape == (8, 2)
    with pytest.raises(DataError, match="2 cells"):
        model.store_attribution_results(model.get_modality_attribution(indices=[0, 1]))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"attribution_method": "guess"}, "attribution_method"),
        ({"remove_covariates": True}, "remove_covariates"),
        ({"covariate_reference": "none"}, "covariate_reference"),
        ({"eps": 0.0}, "eps"),
    ],
)
def test_what_is_not_known_is_refused(model, given, says):
    with pytest.raises(ConfigError, match=says):
        model.get_modality_attribution(**given)


def test_it_is_a_job_that_says_how_far_it_is():
    cells = cells_of("batch", n_latent=50)
    job = attribution_job(Cells(cells.module, cells.inputs, np.tile(cells.at, 400), 64))
    step = next(job)
    assert step.stage == "attribution"
    assert 0 <= step.done < step.total == 6400
    job.close()
