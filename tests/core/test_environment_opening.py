"""Environments from files, ours and CellTRIP's: whole, with the names of data, and used as one."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from environment_model_cases import same, trained
from environment_reference_cases import PolicyLike, SettingsLike, write_weights

from celldyn.environment.importing import has_names, import_celltrip, with_names
from celldyn.environment.mask_file import write_mask
from celldyn.environment.opening import is_ours, open_policy
from celldyn.environment.saved import load, save
from celldyn.errors import ConfigError, FileFormatError

RNG = np.random.default_rng(2)
COUNTS = RNG.poisson(4.0, size=(20, 9)).astype(float) + 1
PLACES = RNG.normal(size=(20, 2)) * 3 + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """CellTRIP's three files, of a model that sees expression and tells places."""
    made = tmp_path_factory.mktemp("celltrip")
    write_weights(made / "m-0800.weights", PolicyLike(3, 4, [2], heads=4))
    SettingsLike(COUNTS, PLACES).write(made / "m.pre")
    write_mask(made / "m.mask", np.arange(20) % 2)
    return made


def imported(folder, **how):
    files = folder / "m-0800.weights", folder / "m.pre", folder / "m.mask"
    return import_celltrip(*files, heads=4, spatial=[1], **how)


def test_three_files_make_an_environment(folder):
    fitted = imported(folder)
    assert (fitted.inputs, fitted.targets, fitted.spatial) == ((0,), (1,), (1,))
    assert (fitted.dim, fitted.config.attention_heads, fitted.config.attention_blocks) == (3, 4, 1)
    assert fitted.config.log_modalities == [0]
    assert fitted.config.sample_counts == [100, 0]
    np.testing.assert_array_equal(fitted.train_mask, np.arange(20) % 2 == 1)
    assert fitted.notes == (
        "Imported from m-0800.weights with 4 heads of attention, as no file says how many there "
        "were.",
    )
    network, settings = PolicyLike(3, 4, [2], heads=4), SettingsLike(COUNTS, PLACES)
    (features,) = fitted.preprocessing.transform([COUNTS], [0])
    np.testing.assert_allclose(features, settings.features[0], atol=1e-5)
    x, v = torch.randn(20, 3), torch.randn(20, 3)
    seen = torch.from_numpy(features)
    torch.testing.assert_close(
        fitted.policy.mean_action(x, v, fitted.policy.embed(seen)), network(x, v, seen)[0],
        atol=2e-6, rtol=1e-5,
    )  # fmt: skip


def test_what_was_imported_is_saved_as_ours(folder, tmp_path):
    fitted = imported(folder)
    back = open_policy(save(fitted, tmp_path / "a.safetensors"))
    same(back, fitted)
    assert back.notes == fitted.notes
    assert not any(map(has_names, back.preprocessing.maps))


def test_features_get_names_of_data_once(folder):
    genes = [f"g{k}" for k in range(9)]
    table = anndata.AnnData(COUNTS, var=pd.DataFrame(index=genes))
    fitted = with_names(imported(folder), [table, None])
    assert fitted.preprocessing.maps[0].names == tuple(genes)
    assert list(map(has_names, fitted.preprocessing.maps)) == [True, False]
    places = anndata.AnnData(PLACES, var=pd.DataFrame(index=["x", "y"]))
    both = with_names(fitted, [None, places]).preprocessing
    assert [each.names for each in both.maps] == [tuple(genes), ("x", "y")]
    other = anndata.AnnData(COUNTS[:, ::-1], var=pd.DataFrame(index=genes[::-1]))
    assert with_names(fitted, [other, None]) is fitted
    expected = imported(folder).preprocessing.transform([COUNTS], [0])[0]
    np.testing.assert_allclose(fitted.preprocessing.transform([other], [0])[0], expected)
    with pytest.raises(FileFormatError, match="9 features of modality 0, and the data have 8"):
        with_names(imported(folder), [table[:, :8], None])
    named = imported(folder, feature_names=[genes, ["x", "y"]])
    assert named.preprocessing.maps[1].names == ("x", "y")


def test_all_modalities_may_be_seen_and_told(tmp_path):
    write_weights(tmp_path / "a.weights", PolicyLike(3, 6, [4, 2]))
    SettingsLike(COUNTS, PLACES).write(tmp_path / "a.pre")
    fitted = import_celltrip(tmp_path / "a.weights", tmp_path / "a.pre")
    assert fitted.inputs == fitted.targets == (0, 1)
    assert fitted.train_mask is None


@pytest.mark.parametrize(
    ("n_features", "targets", "said"),
    [
        (5, [2], "sees 5 features, and the preprocessing gives 4 and 2"),
        (4, [3], "tells modalities of 3 features, and the preprocessing gives 4 and 2"),
        (4, [1, 4, 2], "tells modalities of 1 and 4 and 2 features"),
    ],
)
def test_a_checkpoint_for_other_features_is_refused(tmp_path, folder, n_features, targets, said):
    write_weights(tmp_path / "a.weights", PolicyLike(3, n_features, targets))
    with pytest.raises(FileFormatError, match=said):
        import_celltrip(tmp_path / "a.weights", folder / "m.pre")


def test_both_kinds_are_opened_by_what_is_in_them(folder, tmp_path):
    fitted = trained()
    ours = save(fitted, tmp_path / "a.safetensors")
    assert is_ours(ours)
    assert not is_ours(folder / "m-0800.weights")
    same(open_policy(ours), fitted)
    same(open_policy(ours, ours), load(ours))
    mask = write_mask(tmp_path / "a.mask", np.ones(24))
    assert open_policy(ours, mask_fname=mask).train_mask.all()
    theirs = open_policy(folder / "m-0800.weights", folder / "m.pre", heads=4, spatial=[1])
    same(theirs, imported(folder))


def test_files_that_do_not_belong_together(folder, tmp_path):
    ours = save(trained(), tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match="has its own preprocessing"):
        open_policy(ours, folder / "m.pre")
    with pytest.raises(FileFormatError, match="20 cells, and the data have 24"):
        open_policy(ours, mask_fname=folder / "m.mask")
    with pytest.raises(ConfigError, match=r"give its \.pre file"):
        open_policy(folder / "m-0800.weights")
    with pytest.raises(FileFormatError, match="is not there"):
        open_policy(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(FileFormatError, match="no checkpoint"):
        open_policy(tmp_path / "empty", folder / "m.pre")


def test_a_manager_of_their_files_knows_features_by_the_names_of_the_data(folder):
    from celldyn.environment import BasicManager

    genes = anndata.AnnData(COUNTS, var=pd.DataFrame(index=[f"g{k}" for k in range(9)]))
    manager = BasicManager(
        policy_fname=folder / "m-0800.weights", preprocessing_fname=folder / "m.pre",
        mask_fname=folder / "m.mask", adatas=[genes, None], spatial=[1],
        policy_kwargs={"attention_heads": 4},
    )  # fmt: skip
    manager.reset_env()
    manager.add_perturbation("g3", feature_targets=0, clamping="post")
    times, states = manager.simulate(time=1.0, skip_time=0.5, progress_bar=False)
    assert times.tolist() == [0, 0.5, 1]
    assert states[0].shape == (3, 20, 2)
    np.testing.assert_array_equal(manager.get_mask(), np.arange(20) % 2 == 1)
    with pytest.raises(FileFormatError, match="9 features of modality 0, and the data have 8"):
        BasicManager(fitted=imported(folder), adatas=[genes[:, :8], None])
