"""New data in a model that is there: the reference keeps its states, what is new is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vae_cases import counts, multiome, tissue

from celldyn.errors import ConfigError, DataError, MissingKeyError
from celldyn.vae import AmbientRegularizedSCVI, RegularizedMultimodalVI

PURPOSES = {
    "ambient_covariate_keys": ["batch", "well"],
    "nn_conditioning_covariate_keys": ["site", "donor"],
    "dispersion_key": "batch",
    "library_size_key": "well",
    "feature_scaling_covariate_keys": ["donor"],
    "encoder_covariate_keys": ["site"],
}


def reference(**model):
    adata = tissue()
    with pytest.warns(UserWarning, match="leak"):
        AmbientRegularizedSCVI.setup_anndata(adata, **PURPOSES)
    made = AmbientRegularizedSCVI(adata, n_hidden=16, n_latent=4, **model)
    made.train(max_epochs=3, batch_size=64)
    return made


@pytest.fixture(scope="module")
def ref():
    return reference()


def query(n_obs: int = 60, *, deeper: float = 4.0):
    """Cells of one known and one new batch, new wells, a new site; deeper than the reference."""
    adata = tissue(n_obs)
    x = np.random.default_rng(5).poisson(deeper * counts(n_obs, adata.n_vars, seed=0) + 0.01)
    adata.X = type(adata.layers["counts"])(x.astype(np.float32))
    adata.obs["batch"] = ["b1" if k % 3 else "b_new" for k in range(n_obs)]
    adata.obs["well"] = ["w8", "w9"] * (n_obs // 2)
    adata.obs["site"] = ["s2", "s_new"] * (n_obs // 2)
    return adata


def test_the_reference_keeps_its_states_to_the_bit(ref):
    before = ref.get_latent_representation()
    size = ref.get_latent_library_size()
    model = AmbientRegularizedSCVI.load_query_data(query(), ref)
    held = {name: value.clone() for name, value in model.module.state_dict().items()}
    model.train(max_epochs=4, batch_size=32, plan_kwargs={"weight_decay": 0.1})
    np.testing.assert_array_equal(model.get_latent_representation(ref.adata), before)
    np.testing.assert_array_equal(model.get_latent_library_size(ref.adata), size)
    np.testing.assert_array_equal(ref.get_latent_representation(), before)
    moved = {
        name: (value != held[name]).flatten(1).any(dim=1).nonzero().flatten().tolist()
        for name, value in model.module.state_dict().items()
        if value.ndim > 1 and not torch.equal(value, held[name])
    }
    first = "parts.0.{}.first.categories".format
    assert moved == {
        first("encoder"): [3],  # after s0, s1, s2
        first("decoder"): [3],
        "parts.0.features.log_theta_mean": [2],  # after b0, b1
        "parts.0.features.log_theta_log_sd": [2],
        "parts.0.features.log_background": [2, 7, 8],  # after b0, b1; after w0 to w3
    }


def test_training_makes_the_new_cells_more_likely(ref):
    model = AmbientRegularizedSCVI.load_query_data(query(), ref)
    before = model.get_elbo()
    model.train(max_epochs=15, batch_size=32, train_size=1.0)
    assert model.get_elbo() > before
    assert len(model.history_table) == 3 + 15
    assert model.get_latent_representation().shape == (60, 4)


def test_new_groups_start_where_their_cells_are(ref):
    """Four times the counts: a library prior log 4 above, and θ at the mean of those known."""
    model = AmbientRegularizedSCVI.load_query_data(query(), ref)
    assert model.setup.categories["batch"] == ("b0", "b1", "b_new")
    old, new = ref.module.part(0), model.module.part(0)
    known, added = new.library_mean[:4], new.library_mean[4:]
    torch.testing.assert_close(known, old.library_mean)
    above = float(added.mean() - known.mean())
    assert above == pytest.approx(np.log(4), abs=0.35)
    theta, held = new.features.log_theta_mean, old.features.log_theta_mean
    torch.testing.assert_close(theta[2], held.mean(dim=0))
    torch.testing.assert_close(theta[:2], held)
    s = torch.exp(new.features.log_background)
    assert torch.isfinite(s).all()
    torch.testing.assert_close(
        new.decoder.first.categories[[0, 1, 2, 4, 5]], old.decoder.first.categories
    )
    kin = old.decoder.first.categories[:3].mean(dim=0)
    torch.testing.assert_close(new.decoder.first.categories[3], kin)
    shares = model.get_background_shares().set_index("group")
    assert np.isfinite(shares.loc["batch=b_new", ["share", "low", "high"]].astype(float)).all()
    assert np.isnan(shares.loc["batch=b0", "share"])


def test_a_query_of_known_categories_gives_the_references_states(ref):
    model = AmbientRegularizedSCVI.load_query_data(ref.adata, ref)
    np.testing.assert_array_equal(
        model.get_latent_representation(), ref.get_latent_representation()
    )
    with pytest.raises(DataError, match="nothing to learn"):
        model.train(max_epochs=1)


def test_genes_are_matched_by_name(ref):
    adata = query()
    model = AmbientRegularizedSCVI.load_query_data(adata, ref)
    shuffled = AmbientRegularizedSCVI.load_query_data(adata[:, ::-1].copy(), ref)
    np.testing.assert_allclose(
        shuffled.get_latent_representation(), model.get_latent_representation(), atol=1e-5
    )
    fewer = adata[:, 3:].copy()
    made = AmbientRegularizedSCVI.prepare_query_anndata(fewer, ref)
    assert list(made.var_names) == list(ref.adata.var_names)
    assert made.X[:, :3].sum() == 0
    np.testing.assert_array_equal(made.X[:, 3:].toarray(), fewer.X.toarray())
    by_hand = AmbientRegularizedSCVI.load_query_data(made, ref)
    by_name = AmbientRegularizedSCVI.load_query_data(fewer, ref)
    np.testing.assert_array_equal(
        by_name.get_latent_representation(), by_hand.get_latent_representation()
    )
    fewer.var_names = [f"other{k}" for k in range(fewer.n_vars)]
    with pytest.raises(DataError, match="no feature"):
        AmbientRegularizedSCVI.prepare_query_anndata(fewer, ref)


def test_a_saved_reference_and_a_saved_query(ref, tmp_path):
    ref.save(tmp_path / "ref")
    adata = query()
    model = AmbientRegularizedSCVI.load_query_data(adata, tmp_path / "ref")
    model.train(max_epochs=1)
    model.save(tmp_path / "query")
    again = AmbientRegularizedSCVI.load(tmp_path / "query", adata)
    again.train(max_epochs=2)
    np.testing.assert_array_equal(
        again.get_latent_representation(ref.adata), ref.get_latent_representation()
    )


def test_what_is_asked_to_learn_learns(ref):
    adata = query()
    first = "parts.0.encoder.first.weight"
    model = AmbientRegularizedSCVI.load_query_data(adata, ref, freeze_expression=False)
    model.train(max_epochs=1)
    old, new = ref.module.state_dict(), model.module.state_dict()
    assert not torch.equal(new[first], old[first])
    assert torch.equal(new["parts.0.decoder.out.weight"], old["parts.0.decoder.out.weight"])
    model = AmbientRegularizedSCVI.load_query_data(adata, ref, unfrozen=True)
    model.train(max_epochs=1)
    new = model.module.state_dict()
    assert not torch.equal(new["parts.0.decoder.out.weight"], old["parts.0.decoder.out.weight"])


def test_batch_norm_stays():
    ref = reference(use_batch_norm="both", n_layers=2, use_batch_in_decoder=True)
    before = ref.get_latent_representation()
    model = AmbientRegularizedSCVI.load_query_data(query(), ref)
    model.train(max_epochs=2)
    np.testing.assert_array_equal(model.get_latent_representation(ref.adata), before)


def test_several_modalities():
    mdata = multiome()
    RegularizedMultimodalVI.setup_mudata(
        mdata, batch_key="batch", nn_conditioning_covariate_keys=["site"]
    )
    ref = RegularizedMultimodalVI(mdata, n_hidden=12, n_latent=3)
    ref.train(max_epochs=2)
    before = ref.get_latent_representation()
    other = multiome(60)
    other.obs["batch"] = "b_new"
    model = RegularizedMultimodalVI.load_query_data(other, ref)
    model.train(max_epochs=2)
    np.testing.assert_array_equal(model.get_latent_representation(mdata), before)
    assert model.get_latent_representation().shape == (60, 6)
    with pytest.raises(ConfigError, match="several modalities"):
        RegularizedMultimodalVI.prepare_query_anndata(other["rna"], ref)


def test_a_query_without_a_column_is_refused(ref):
    adata = query()
    del adata.obs["well"]
    with pytest.raises(MissingKeyError, match="well"):
        AmbientRegularizedSCVI.load_query_data(adata, ref)
