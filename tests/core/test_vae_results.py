"""A fit on the data set: what is written, a reopened file, genes denoised, figures and outputs."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from vae_cases import multiome, tissue

from celldyn import keys
from celldyn.data import records
from celldyn.errors import ConfigError, DataError, NotFittedError
from celldyn.jobs import run
from celldyn.vae import (
    AmbientRegularizedSCVI,
    VAEConfig,
    denoise_job,
    fit,
    fit_job,
    prepare,
    stored,
    write_result,
)

SMALL = {"n_hidden": 16, "n_latent": 4, "max_epochs": 3, "batch_size": 64}
KEYS = {"batch_key": "batch", "nn_conditioning_covariate_keys": ["site"]}


@pytest.fixture(scope="module")
def fitted():
    """A data set with a fit on it, and the fit."""
    adata = tissue()
    return adata, fit(adata, VAEConfig(**SMALL, **KEYS), bar=False)


@pytest.fixture
def reopened(fitted, tmp_path):
    fitted[0].write_h5ad(tmp_path / "tissue.h5ad")
    return anndata.read_h5ad(tmp_path / "tissue.h5ad")


# --- what is written ----------------------------------------------------------------------------


def test_everything_is_on_the_data_set(fitted):
    adata, result = fitted
    assert adata.obsm["X_vae"].shape == (120, 4)
    np.testing.assert_array_equal(adata.obsm["X_vae"], result.latent)
    assert "X_vae_rna" not in adata.obsm  # one modality's own space is the space
    assert adata.obs["vae_library"].gt(0).all()
    assert adata.obs["vae_background_share"].between(0, 1).all()
    assert adata.varm["vae_ambient"].shape == (40, 2)
    assert adata.varm["vae_dispersion"].shape == (40, 2)
    assert records(adata)[-1]["action"] == "vae.fit"
    assert result.seconds > 0
    assert list(result.history.index) == [0, 1, 2]
    assert result.attribution["rna"].shape == (4,)


def test_what_was_written_is_named():
    adata = tissue()
    config = VAEConfig(**SMALL, **KEYS)
    before = {slot: set(getattr(adata, slot)) for slot in ("obs", "obsm", "varm", "uns")}
    written = write_result(adata, run(fit_job(prepare(adata, config), config), bar=False))
    added = {
        f"{slot}/{name}" for slot in before for name in set(getattr(adata, slot)) - before[slot]
    }
    home = {f"uns/{name}" for name in adata.uns["celldyn"]}
    assert written == (added - {"uns/celldyn"}) | home


def test_the_result_and_the_class_say_the_same(fitted):
    adata, result = fitted
    model = stored(adata).model(adata)
    assert isinstance(model, AmbientRegularizedSCVI)
    np.testing.assert_allclose(model.get_latent_representation(), result.latent, atol=1e-6)
    np.testing.assert_allclose(model.get_latent_library_size(), result.library, rtol=1e-5)
    shares = model.get_background_shares()
    pd.testing.assert_frame_equal(shares, result.shares, rtol=1e-4)
    mean = pd.Series(result.background_share).groupby(adata.obs["batch"].to_numpy()).mean()
    np.testing.assert_allclose(shares["share"], mean, rtol=1e-4)
    attribution = model.get_modality_attribution()["rna"]["mean"]
    np.testing.assert_allclose(attribution, result.attribution["rna"], rtol=1e-2)
    by_hand = AmbientRegularizedSCVI(adata, n_hidden=16, n_latent=4)
    by_hand.train(max_epochs=3, batch_size=64)
    np.testing.assert_allclose(by_hand.get_latent_representation(), result.latent, atol=1e-5)


def test_a_second_fit_replaces_the_first(fitted):
    adata = fitted[0].copy()
    config = VAEConfig(**{**SMALL, "n_latent": 3}, one_batch=True, use_additive_background=False)
    fit(adata, config, bar=False)
    assert adata.obsm["X_vae"].shape == (120, 3)
    assert "vae_background_share" not in adata.obs
    assert "vae_ambient" not in adata.varm
    assert adata.varm["vae_dispersion"].shape == (40, 1)
    found = stored(adata)
    assert found.shares.empty
    assert not found.background


# --- and read back ------------------------------------------------------------------------------


def test_what_was_made_with_the_first_fit_goes_with_it(fitted):
    adata, result = fitted
    again = adata.copy()
    again.obs[keys.VAE_DENOISED(gene="g1")] = 1.0
    again.obsm[keys.VAE_UMAP.name] = np.zeros((again.n_obs, 2))
    again.layers[keys.NORMALIZED.name] = again.X.copy()
    named = write_result(again, result)
    assert keys.VAE_DENOISED(gene="g1") not in again.obs
    assert keys.VAE_UMAP.name not in again.obsm
    assert keys.NORMALIZED.name not in again.layers
    assert {keys.VAE_DENOISED.path(gene="g1"), keys.VAE_UMAP.path()} <= named


def test_a_reopened_file_has_it_all(fitted, reopened):
    _, result = fitted
    found = stored(reopened)
    pd.testing.assert_frame_equal(found.history, result.history)
    pd.testing.assert_frame_equal(found.shares, result.shares)
    for name in ("background", "dispersion"):
        table, held = getattr(result, name)["rna"], getattr(found, name)["rna"]
        pd.testing.assert_frame_equal(held, table.astype(np.float64), rtol=1e-6)
    np.testing.assert_array_equal(found.attribution["rna"], result.attribution["rna"])
    assert found.latent_slices == {"rna": (0, 4)}
    assert found.modalities == ("rna",)
    assert found.best_epoch == result.best_epoch
    assert found.notes == result.notes
    model = found.model(reopened)
    np.testing.assert_array_equal(model.get_latent_representation(), result.latent)
    assert stored(tissue()) is None


def test_genes_are_denoised_from_the_file_alone(fitted, reopened):
    adata, result = fitted
    found = run(denoise_job(reopened, ["g3", "g1"]), bar=False)
    assert found.shape == (120, 2)
    assert found.dtype == np.float32
    share = stored(adata).model(adata).get_normalized_expression(gene_list=["g3", "g1"])
    np.testing.assert_allclose(found, share * np.median(result.library), rtol=1e-4)
    assert keys.VAE_DENOISED(gene="g3") == "vae_denoised_g3"


def test_denoising_needs_no_counts(reopened):
    reopened.X = None
    del reopened.layers["counts"]
    assert run(denoise_job(reopened, ["g0"]), bar=False).shape == (120, 1)


def test_denoising_says_what_is_wrong(reopened):
    with pytest.raises(NotFittedError, match="no VAE"):
        denoise_job(tissue(), ["g0"])
    with pytest.raises(DataError, match="'nonesuch'"):
        denoise_job(reopened, ["nonesuch"])
    reopened.obsm["X_vae"] = reopened.obsm["X_vae"][:, :2]
    with pytest.raises(DataError, match="latent state"):
        denoise_job(reopened, ["g0"])
    reopened.obs["site"] = "elsewhere"
    reopened.obsm["X_vae"] = np.zeros((120, 4), np.float32)
    with pytest.raises(DataError, match="'elsewhere'"):
        denoise_job(reopened, ["g0"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda held: held.pop("header"),
        lambda held: held.update(header="{}"),
        lambda held: held.update(info=json.dumps({"shares": 3})),
        lambda held: held.update(info="[" * 3),
        lambda held: held.update(schema=99),
        lambda held: held.update(schema="x"),
    ],
)
def test_damaged_values_are_refused_with_a_sentence(reopened, damage):
    damage(reopened.uns["celldyn"]["vae"])
    with pytest.raises(DataError, match=r"fit again|install"):
        stored(reopened)


def test_a_damaged_model_is_refused(reopened):
    held = reopened.uns["celldyn"]["vae"]["tensors"]
    held[len(held) // 2] ^= 255
    with pytest.raises(DataError, match="damaged"):
        stored(reopened).model(reopened)
    reopened.uns["celldyn"]["vae"]["tensors"] = held[:100]
    with pytest.raises(DataError, match="damaged"):
        denoise_job(reopened, ["g0"])


def test_a_fit_of_other_cells_is_not_written(fitted):
    adata, result = fitted
    with pytest.raises(DataError, match="120 cells"):
        write_result(adata[:50].copy(), result)
    other = adata.copy()
    other.obs["batch"] = pd.Categorical(other.obs["batch"].astype(str) + "x")
    config = result.config
    made = run(fit_job(prepare(adata, config), config), bar=False)
    with pytest.raises(DataError, match="fit again"):
        write_result(other, made)


def test_a_mudata_has_it_alike(tmp_path):
    import mudata

    mdata = multiome(missing=20)
    config = VAEConfig(**SMALL, **KEYS)
    result = fit(mdata, config, bar=False)
    assert mdata.obsm["X_vae"].shape == (120, 8)
    assert (mdata.obsm["X_vae_atac"][100:] == 0).all()
    np.testing.assert_array_equal(mdata.obsm["X_vae_rna"], mdata.obsm["X_vae"][:, :4])
    assert mdata.mod["rna"].varm["vae_ambient"].shape == (40, 2)
    assert "vae_ambient" not in mdata.mod["atac"].varm
    with mudata.set_options(pull_on_update=False):
        mdata.write_h5mu(tmp_path / "multiome.h5mu")
        again = mudata.read_h5mu(tmp_path / "multiome.h5mu")
    found = stored(again)
    assert found.modalities == ("rna", "atac")
    assert found.latent_slices == {"rna": (0, 4), "atac": (4, 8)}
    assert set(found.dispersion) == {"rna", "atac"}
    assert run(denoise_job(again, ["peak2"]), bar=False).shape == (120, 1)
    np.testing.assert_allclose(
        found.model(again).get_latent_representation(), result.latent, atol=1e-6
    )


# --- the job ------------------------------------------------------------------------------------


def test_the_job_tells_the_losses_of_every_epoch():
    adata = tissue()
    config = VAEConfig(**SMALL, **KEYS)
    told: dict[str, int] = {}
    stages = []
    job = fit_job(prepare(adata, config), config)
    try:
        while True:
            step = next(job)
            stages.append(step.stage)
            for name in step.metrics:
                told[name] = told.get(name, 0) + 1
    except StopIteration as end:
        result = end.value
    for name in ("elbo", "reconstruction", "KL z", "KL library"):
        assert told[f"loss/{name}"] == 3
        assert told[f"held-out loss/{name}"] == 3
    assert "training" in stages
    assert result.history["elbo_train"].notna().all()


def test_closing_the_job_leaves_the_data_set_alone():
    adata = tissue()
    config = VAEConfig(**{**SMALL, "max_epochs": 10_000}, **KEYS)
    job = fit_job(prepare(adata, config), config)
    for _ in range(5):
        next(job)
    job.close()
    assert not adata.obsm
    assert stored(adata) is None


# --- figures and outputs ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(fitted):
    adata = fitted[0]
    return stored(adata).model(adata)


def test_outputs_of_an_analysis_are_files(model, tmp_path):
    written = model.save_analysis_outputs(tmp_path / "out")
    names = {path.name for path in written}
    assert names == {
        "history.csv", "background.csv", "dispersion.csv", "ambient_shares.csv", "latent.npz",
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    held = np.load(tmp_path / "out" / "latent.npz")
    np.testing.assert_array_equal(held["latent"], model.get_latent_representation())
    assert list(held["cells"]) == list(model.adata.obs_names)
    table = pd.read_csv(tmp_path / "out" / "background.csv", index_col=0)
    np.testing.assert_allclose(table, model.get_background(), rtol=1e-5)


def test_figures_are_drawn(model):
    figure = model.plot_training_diagnostics()
    titles = {axes.get_title() for axes in figure.axes}
    assert "elbo" in titles
    shares = model.plot_ambient_shares(truth={"b0": 0.1, "b1": 0.2})
    assert [label.get_text() for label in shares.axes[0].get_yticklabels()] == ["b0", "b1"]
    for figure in (
        model.plot_ambient_profile(n_genes=5),
        model.plot_dispersion(),
        model.plot_modality_attribution(),
    ):
        assert figure.axes
    layout = np.random.default_rng(0).normal(size=(120, 2))
    figure = model.plot_umap_comparison(["type", "batch"], {"VAE": layout, "other": -layout})
    assert len(figure.axes) >= 4
    with pytest.raises(KeyError, match="nonesuch"):
        model.plot_umap_comparison("nonesuch", {"VAE": layout})
    with pytest.raises(KeyError, match="X_nowhere"):
        model.plot_umap_comparison("type", ["X_nowhere"])


def test_a_config_that_does_not_fit_is_refused():
    adata = tissue()
    config = VAEConfig(**SMALL, **KEYS, per_modality={"atac": {"n_hidden": 3}})
    with pytest.raises(ConfigError, match="not a modality"):
        fit(adata, config, bar=False)
    assert not adata.obsm
