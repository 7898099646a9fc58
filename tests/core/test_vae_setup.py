"""Keys by technical effect: what each stands for, what is refused, what is kept."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from vae_data_cases import multiome, tissue

from celldyn import keys
from celldyn.errors import ConfigError, DataError, FileFormatError, MissingKeyError, NotFittedError
from celldyn.vae.config import KeysConfig, VAEConfig
from celldyn.vae.preparing import prepare, prepare_mudata
from celldyn.vae.roles import ONE_GROUP
from celldyn.vae.setup import Setup, effects_table, setup_anndata, setup_mudata, setup_of

PURPOSES = {
    "ambient_covariate_keys": ["embryo", "pcr_well"],
    "dispersion_key": "embryo",
    "library_size_key": "pcr_well",
}
BOTH = (
    "batch_key cannot be combined with ambient_covariate_keys, dispersion_key, or "
    "library_size_key. Either use batch_key alone (backward compatible) or specify "
    "purpose-specific keys individually."
)


def one(options, spoil=lambda data: data):
    return setup_anndata(spoil(tissue()), KeysConfig(**options))


def several(options, spoil=lambda data: data):
    return setup_mudata(spoil(multiome()), keys=KeysConfig(**options))


either = pytest.mark.parametrize("set_up", [one, several])


# --- seed: "Default behaviour and backward compatibility" ----------------------------------------


@either
def test_batch_key_alone_is_ambient_dispersion_and_library(set_up):
    roles = set_up({"batch_key": "embryo"}).roles
    assert (roles.ambient, roles.dispersion, roles.library) == (("embryo",), "embryo", "embryo")
    assert roles.batch == "embryo"
    assert roles.scaling == roles.conditioning == roles.encoder == ()


@either
@pytest.mark.parametrize("purpose", PURPOSES)
def test_batch_key_beside_a_key_of_one_purpose_is_refused(set_up, purpose):
    with pytest.raises(ValueError, match="batch_key cannot be combined") as caught:
        set_up({"batch_key": "embryo", purpose: PURPOSES[purpose]})
    assert str(caught.value) == BOTH
    assert isinstance(caught.value, ConfigError)


@either
def test_all_cells_may_be_one_batch(set_up):
    setup = set_up({"one_batch": True, "dispersion_key": "embryo"})
    assert setup.roles.ambient == (ONE_GROUP,)
    assert (setup.roles.dispersion, setup.roles.library) == ("embryo", ONE_GROUP)
    assert [note for note in setup.notes if "all cells are one group" in note]
    with pytest.raises(ConfigError, match="one_batch says that all cells are one batch"):
        set_up({"one_batch": True, "batch_key": "embryo"})


@either
def test_what_is_missing_without_batch_key_is_named_one_after_the_other(set_up):
    given = {}
    for name, value in PURPOSES.items():
        with pytest.raises(ValueError, match=f"Either batch_key or {name} must be provided"):
            set_up(given)
        given[name] = value
    roles = set_up(given).roles
    assert roles.ambient == ("embryo", "pcr_well")
    assert (roles.dispersion, roles.library, roles.batch) == ("embryo", "pcr_well", None)


@either
def test_genes_are_scaled_by_what_the_decoder_is_told_unless_said_otherwise(set_up):
    told = {"batch_key": "embryo", "nn_conditioning_covariate_keys": ["experiment", "lane"]}
    assert set_up(told).roles.scaling == ("experiment", "lane")
    assert set_up({**told, "feature_scaling_covariate_keys": ["pcr_well"]}).roles.scaling == (
        "pcr_well",
    )
    assert set_up({**told, "feature_scaling_covariate_keys": []}).roles.scaling == ()


@either
def test_the_encoder_is_told_nothing_unless_asked_and_then_warns(set_up):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set_up({"batch_key": "embryo"}).roles.encoder == ()
    with pytest.warns(UserWarning, match="leak into the latent space") as caught:
        setup = set_up({"batch_key": "embryo", "encoder_covariate_keys": ["experiment"]})
    assert setup.roles.encoder == ("experiment",)
    assert any("leak" in note for note in setup.notes)
    assert caught[0].filename == __file__


@either
def test_all_cells_are_one_batch_only_where_that_is_said(set_up):
    setup = set_up({"one_batch": True, "library_size_key": "pcr_well"})
    assert (setup.roles.ambient, setup.roles.library) == (("",), "pcr_well")
    assert any("all cells are one group" in note for note in setup.notes)
    adata = tissue()
    inputs = prepare(adata, KeysConfig(one_batch=True))
    assert len(inputs.dispersion) == len(inputs.library) == len(inputs.ambient[0]) == 1


def test_standard_scvi_with_ambient_correction():
    setup = setup_anndata(
        tissue(), KeysConfig(batch_key="embryo", nn_conditioning_covariate_keys=["embryo"])
    )
    assert setup.roles.conditioning == setup.roles.ambient == ("embryo",)


# --- seed: "Purpose-driven covariate keys" -------------------------------------------------------


def test_every_technical_effect_has_a_row_that_names_its_parameter():
    table = effects_table()
    assert [list(row) for row in table] == [
        ["Technical effect", "10x Chromium source", "sci-RNA-seq3 source", "parameter", "shape"]
    ] * 5
    assert {row["parameter"]: row["sci-RNA-seq3 source"] for row in table} == {
        "ambient_covariate_keys": "Embryo (lysis batch)",
        "library_size_key": "PCR well (amplification batch)",
        "dispersion_key": "Embryo or experiment",
        "nn_conditioning_covariate_keys": "Experiment batch",
        "feature_scaling_covariate_keys": "Experiment batch",
    }
    assert {row["parameter"] for row in table} <= set(KeysConfig.model_fields)


@pytest.mark.filterwarnings("ignore:encoder_covariate_keys")
def test_every_key_ends_in_the_place_it_is_for():
    options = KeysConfig(
        **PURPOSES,
        nn_conditioning_covariate_keys=["experiment"],
        feature_scaling_covariate_keys=["lane", "experiment"],
        encoder_covariate_keys=["pcr_well"],
        nn_continuous_covariate_keys=["age", "size"],
        size_factor_key="size",
    )
    adata = tissue()
    setup = setup_anndata(adata, options)
    inputs = prepare(adata, setup=setup)
    for part, names in {
        "ambient": ["embryo", "pcr_well"],
        "conditioning": ["experiment"],
        "scaling": ["lane", "experiment"],
        "encoder": ["pcr_well"],
    }.items():
        assert [groups.key for groups in getattr(inputs, part)] == names
    assert (inputs.dispersion.key, inputs.library.key) == ("embryo", "pcr_well")
    assert inputs.batch is None
    np.testing.assert_array_equal(
        inputs.continuous, adata.obs[["age", "size"]].to_numpy(np.float32)
    )
    np.testing.assert_array_equal(inputs.size_factor, adata.obs["size"].astype(np.float32))


def test_categories_keep_the_order_of_the_column():
    setup = setup_anndata(
        tissue(), KeysConfig(**PURPOSES, nn_conditioning_covariate_keys=["lane"])
    )
    assert setup.categories == {
        "embryo": ("e1", "e2", "e3"),
        "pcr_well": ("w2", "w1"),  # as its categories are, not as the alphabet is
        "lane": ("1", "2", "3", "4"),
    }


# --- what is refused -----------------------------------------------------------------------------


@either
@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"batch_key": "embyro"},
            MissingKeyError,
            "batch_key names 'embyro'.*did you mean embryo",
        ),
        ({"batch_key": "Embryo"}, MissingKeyError, "did you mean embryo"),
        ({"batch_key": "qqq"}, MissingKeyError, "columns are: .*experiment"),
        ({"batch_key": "gap"}, DataError, "no value for 3 cells of 120; name a category"),
        (
            {"batch_key": "embryo", "nn_continuous_covariate_keys": ["experiment"]},
            DataError,
            "nn_continuous_covariate_keys names .*'experiment'.*holds names and no numbers",
        ),
        (
            {"batch_key": "embryo", "nn_continuous_covariate_keys": ["hole"]},
            DataError,
            "no finite number for 2 cells",
        ),
        ({"batch_key": "embryo", "size_factor_key": "hole"}, DataError, "no finite number"),
        ({"batch_key": "embryo", "size_factor_key": "nothing"}, DataError, "0 or less in 1 cell;"),
        (
            {"batch_key": "embryo", "nn_conditioning_covariate_keys": ["lane", "lane"]},
            ConfigError,
            "names 'lane' more than once",
        ),
        ({"batch_key": "embryo", "layer": "raw"}, MissingKeyError, "layer 'raw' is not there"),
    ],
)
def test_wrong_keys_are_one_sentence(set_up, options, error, says):
    def spoil(data):
        data.obs["gap"] = ["a", "b", None, None, None, *["a"] * (data.n_obs - 5)]
        data.obs["hole"] = [np.nan, np.inf, *[1.0] * (data.n_obs - 2)]
        data.obs["nothing"] = [0.0, *[1.0] * (data.n_obs - 1)]
        return data

    with pytest.raises(error, match=says) as caught:
        set_up(options, spoil)
    assert "\n" not in str(caught.value)


def test_a_number_for_each_cell_is_no_group_of_cells():
    adata = tissue(1500, 3)
    with pytest.raises(DataError, match="1,500 different values in 1,500 cells"):
        setup_anndata(adata, KeysConfig(batch_key="age"))
    adata.obs["many"] = np.arange(1500) % 600
    assert len(setup_anndata(adata, KeysConfig(batch_key="many")).categories["many"]) == 600


@pytest.mark.filterwarnings("ignore:encoder_covariate_keys")
def test_one_category_is_taken_and_told():
    setup = setup_anndata(
        tissue(),
        KeysConfig(
            batch_key="donor",
            nn_conditioning_covariate_keys=["donor", "lane"],
            encoder_covariate_keys=["donor"],
        ),
    )
    assert setup.roles.ambient == ("donor",)
    assert setup.roles.conditioning == setup.roles.scaling == ("lane",)
    assert setup.roles.encoder == ()
    assert setup.categories["donor"] == ("only",)
    assert "obs['donor'] has one category, so all cells are one group and" in setup.notes[0]
    assert setup.given.nn_conditioning_covariate_keys == ["donor", "lane"]


def test_no_cells_no_genes_doubled_genes():
    options = KeysConfig(batch_key="embryo")
    with pytest.raises(DataError, match="no cells"):
        setup_anndata(tissue()[:0], options)
    with pytest.raises(DataError, match="no features"):
        setup_anndata(tissue()[:, :0], options)
    doubled = tissue()
    doubled.var_names = ["Gene1", "Gene1", *doubled.var_names[2:]]
    with pytest.raises(DataError, match="'Gene1' more than once"):
        setup_anndata(doubled, options)


def test_columns_and_cells_that_stand_twice():
    adata = tissue()
    adata.obs.insert(0, "lane", "x", allow_duplicates=True)
    with pytest.raises(DataError, match="two columns 'lane'"):
        setup_anndata(adata, KeysConfig(batch_key="lane"))
    mdata = multiome()
    mdata.mod["rna"].obs_names = ["same"] * mdata.mod["rna"].n_obs
    with pytest.raises(DataError, match="obs_names_make_unique"):
        setup_mudata(mdata, keys=KeysConfig(batch_key="embryo"))


# --- what is kept --------------------------------------------------------------------------------


def test_the_setup_is_written_on_the_data_set_and_read_back(tmp_path):
    from celldyn.data import read, write

    adata = tissue()
    adata.uns["celldyn"] = {"spatial_unit": "um"}
    setup = setup_anndata(adata, VAEConfig(batch_key="embryo", layer=None, n_latent=3))
    assert adata.uns["celldyn"]["spatial_unit"] == "um"
    assert json.loads(adata.uns["celldyn"][keys.VAE_SETUP.name])["roles"]["library"] == "embryo"
    held = setup_of(read(write(adata, tmp_path / "a.h5ad")))
    assert held == setup == Setup.from_json(setup.to_json())
    assert held.given == KeysConfig(batch_key="embryo")
    # What was given sets up another data set, though batch_key has been spread.
    assert setup_anndata(tissue(30), held.given).roles == setup.roles


def test_no_setup_and_a_damaged_one():
    adata = tissue()
    with pytest.raises(NotFittedError, match="setup_anndata"):
        setup_of(adata)
    for text in ("{}", "[]", "no json", '{"given": {"colour": 1}}'):
        with pytest.raises(FileFormatError):
            Setup.from_json(text)


# --- several modalities --------------------------------------------------------------------------


def test_modalities_keep_the_callers_order_and_names():
    mdata, options = multiome(), KeysConfig(batch_key="well")
    names = lambda setup: [(each.name, each.key) for each in setup.modalities]  # noqa: E731
    assert names(setup_mudata(mdata, keys=options)) == [("rna", "rna"), ("atac", "atac")]
    assert names(setup_mudata(mdata, ["rna", "atac"], options)) == [
        ("rna", "rna"),
        ("atac", "atac"),
    ]
    assert names(setup_mudata(mdata, ["atac", "rna"], options)) == [
        ("atac", "atac"),
        ("rna", "rna"),
    ]
    given = {"peaks": "atac", "genes": "rna"}
    setup = setup_mudata(mdata, given, options)
    assert names(setup) == list(given.items())
    assert setup.is_multimodal
    assert setup_of(mdata) == setup
    inputs = prepare_mudata(mdata, setup)
    assert [each.name for each in inputs.modalities] == ["peaks", "genes"]
    assert [each.counts.shape[1] for each in inputs.modalities] == [10, 15]


def test_a_layer_for_each_modality():
    mdata = multiome()
    mdata["rna"].layers["raw"] = mdata["rna"].X.copy()
    options = KeysConfig(batch_key="well")
    setup = setup_mudata(mdata, None, options, {"rna": "raw"})
    assert [each.layer for each in setup.modalities] == ["raw", None]
    with pytest.raises(MissingKeyError, match=r"modality 'atac': layer 'raw' is not there"):
        setup_mudata(mdata, None, options, "raw")
    with pytest.raises(ConfigError, match="layers names the modality 'protein'"):
        setup_mudata(mdata, None, options, {"protein": "raw"})


@pytest.mark.parametrize(
    ("modalities", "error", "says"),
    [
        (["rna", "protein"], MissingKeyError, "no modality 'protein'; there are rna, atac"),
        ({"a": "rna", "b": "rna"}, ConfigError, "more than once"),
    ],
)
def test_wrong_modalities(modalities, error, says):
    with pytest.raises(error, match=says):
        setup_mudata(multiome(), modalities, KeysConfig(batch_key="well"))


def test_columns_of_the_modalities_serve_where_the_mudata_has_none():
    mdata = multiome()
    del mdata["atac"].obs["experiment"]
    assert "experiment" not in mdata.obs
    with pytest.raises(DataError, match=r"which has no value for 10 cells of 120"):
        setup_mudata(mdata, keys=KeysConfig(batch_key="experiment"))
    for key in ("embryo", "lane"):
        inputs = prepare_mudata(mdata, KeysConfig(batch_key=key))
        true = tissue().obs[key].astype(str)
        assert inputs.dispersion.names == tuple(sorted(set(true)))
        names = np.array(inputs.dispersion.names)[inputs.dispersion.codes]
        assert list(names) == list(true[mdata.obs_names])
