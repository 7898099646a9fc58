"""CellTRIP's own files: policies and preprocessing come out as the page's equations say."""

from __future__ import annotations

import os
import pickle
import re

import numpy as np
import pytest
import torch
from environment_reference_cases import PolicyLike, SettingsLike, write_weights

from celldyn.environment.networks import Embedded
from celldyn.environment.reference_settings import named, read_settings
from celldyn.environment.reference_weights import build_policy, read_weights
from celldyn.errors import ConfigError, FileFormatError

RNG = np.random.default_rng(1)


def tensors(*shape):
    return torch.from_numpy(RNG.normal(size=shape).astype(np.float32))


def assert_same(read, network, n_features):
    x, v, m = tensors(9, network.d), tensors(9, network.d), tensors(9, n_features)
    mean, value = network(x, v, m)
    policy = read.policy
    with torch.no_grad():
        got, critic = policy(x[None], v[None], Embedded(*policy.embed(m)).repeat(1))
    torch.testing.assert_close(got[0], mean, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(policy.values(critic)[0], value, atol=1e-5, rtol=1e-5)
    assert float(policy.log_std.detach()) == -0.25
    assert len(read.pinning) == len(network.pinning)
    for mine, its in zip(read.pinning, network.pinning, strict=True):
        torch.testing.assert_close(mine(x), its(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("d", "n_features", "targets", "heads", "blocks"),
    [
        (4, 6, [6], 2, 1),
        (2, 5, [2, 3], 4, 3),
        (3, 12, [3], 1, 1),  # as many features as the width, and as many targets as dimensions
        (2, 4, [32], 2, 12),  # as many features as places
        (2, 32, [8], 8, 1),  # as wide as the layer after attention
    ],
)
def test_a_policy_does_what_its_file_says(tmp_path, d, n_features, targets, heads, blocks):
    network = PolicyLike(d, n_features, targets, heads, blocks)
    write_weights(tmp_path / "a.weights", network)
    read = build_policy(read_weights(tmp_path / "a.weights"), heads=heads)
    assert read.notes == ()
    assert (read.policy.dim, read.policy.n_features) == (d, n_features)
    assert len(read.policy.blocks) == blocks
    assert_same(read, network, n_features)


RENAMINGS = {
    "a module around it": [(r"^", "module.")],
    "slopes apart": [
        (r"^self_embed\.0", "self_act"), (r"^node_embed\.0", "node_act"),
        (r"^actor\.0", "act_a"), (r"^actor\.2", "act_b"), (r"^critic\.0", "act_c"),
        (r"^(self|node)_embed\.1", r"\1_out"), (r"^blocks\.(\d)\.mlp\.1", r"slope_\1"),
    ],
    "other words": [
        (r"_feat_embed", "_suffix"), (r"^blocks", "residual_blocks"), (r"^actor", "decider"),
        (r"layer_norms", "norms"), (r"standardization", "scaler"), (r"mean_sq", "second_moment"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("how", RENAMINGS)
def test_names_that_are_not_known_are_told_by_what_stands_around_them(how):
    network = PolicyLike(4, 7, [5, 2], blocks=2)
    state = dict(network.state_dict())
    for old, new in RENAMINGS[how]:
        state = {re.sub(old, new, name): value for name, value in state.items()}
    read = build_policy(state)
    assert_same(read, network, 7)
    if how == "slopes apart":
        assert "in the order of the file" in read.notes[0]
    else:
        assert read.notes == ()


def test_what_does_not_fit_is_told():
    network = PolicyLike(4, 7, [5])
    state = dict(network.state_dict())
    read = build_policy({**state, "extra.thing": tensors(3, 3)})
    assert "extra.thing" in read.notes[0]
    assert_same(read, network, 7)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("self_pos_embed", "self_pos_embed"),
        ("node_pos_embed", "node embedding of places"),
        ("feat_embed", "embeddings of features"),
        ("actor.1", "actor's first layer"),
        ("critic.1", "critic"),
        ("in_proj_weight", "0 attentions"),
        ("layer_norms.2", "2 normalisations"),
        ("out_proj", "not whole"),
        ("log_std", "log_std"),
        ("return_standardization", "running scale of returns"),
        (r"^input_standardization", "running scale of features|running scale of places"),
        ("pinning", "no pinning networks"),
        (r"pinning.0.mlp.0", "pinning network 0"),
        ("self_embed.0", "4 slopes|5 slopes"),
        ("actor.3.bias", "no bias"),
    ],
)
def test_what_is_missing_is_one_sentence(left_out, said):
    state = PolicyLike(4, 7, [5]).state_dict()
    some = {name: value for name, value in state.items() if not re.search(left_out, name)}
    assert len(some) < len(state)
    with pytest.raises(FileFormatError, match=said):
        build_policy(some)


def test_heads_are_asked_for_since_files_have_none():
    network = PolicyLike(4, 7, [5], heads=4)
    assert_same(build_policy(network.state_dict(), heads=4), network, 7)
    with pytest.raises(ConfigError, match="3 heads do not divide the width 16"):
        build_policy(network.state_dict(), heads=3)


class Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_runs_nothing(tmp_path, zipped):
    file, flag = tmp_path / "a.weights", tmp_path / "flag"
    torch.save({"policy": {"w": torch.ones(2)}, "more": Touches(flag)}, file,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    with pytest.raises(FileFormatError, match="no checkpoint of tensors alone"):
        read_weights(file)
    file.write_bytes(pickle.dumps(Touches(flag)))
    with pytest.raises(FileFormatError, match="no checkpoint of tensors alone"):
        read_weights(file)
    assert not flag.exists()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({}, "holds no policy"),
        ([1, 2], "holds no policy"),
        ({"a": 1}, "holds no policy"),
        ({"w": torch.tensor([float("nan")])}, "not finite"),
        ({"w": torch.ones(1).expand(1 << 40)}, "of another kind"),
        ({"w": torch.ones(2).to_sparse()}, "of another kind"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "of another kind"),
    ],
)
def test_tensors_that_no_policy_has_are_refused(tmp_path, policy, said):
    torch.save({"policy": policy}, tmp_path / "a.weights")
    with pytest.raises(FileFormatError, match=said):
        read_weights(tmp_path / "a.weights")


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileFormatError, match="is not there"):
        read_weights(tmp_path / "a.weights")
    (tmp_path / "a.weights").write_bytes(b"nonsense")
    with pytest.raises(FileFormatError, match="no checkpoint"):
        read_weights(tmp_path / "a.weights")


# --- preprocessing ----------------------------------------------------------------------------


def data():
    counts = RNG.poisson(3.0, size=(40, 9)).astype(float) + RNG.poisson(1, size=(40, 1))
    return counts, RNG.normal(size=(40, 2)) * [3.0, 1.0] + [5.0, -2.0]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("keep", [None, 6])
@pytest.mark.parametrize("protocol", [4, 5])
def test_a_preprocessing_does_what_its_file_says(tmp_path, sparse, keep, protocol):
    counts, places = data()
    settings = SettingsLike(counts, places, sparse=sparse, keep=keep)
    settings.write(tmp_path / "a.pre", protocol)
    read = read_settings(tmp_path / "a.pre", spatial=[1])
    assert read.notes == ()
    got = read.preprocessing.transform([counts, places])
    for mine, its in zip(got, settings.features, strict=True):
        np.testing.assert_allclose(mine, its, atol=2e-5)
    assert read.preprocessing.options["log_modalities"] == (0,)
    assert read.preprocessing.maps[0].n_raw == 9
    assert read.preprocessing.n_features == (4, 2)


def test_the_inverse_is_that_of_the_file(tmp_path):
    counts, places = data()
    settings = SettingsLike(counts, places, dim=9)
    settings.write(tmp_path / "a.pre")
    preprocessing = read_settings(tmp_path / "a.pre", [1]).preprocessing
    back = preprocessing.inverse_transform(preprocessing.transform([counts, places]))
    shares = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(back[0], 100 * shares, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(back[1], places, rtol=1e-4)


def test_settings_in_other_forms_mean_the_same(tmp_path):
    counts, places = data()
    settings = SettingsLike(counts, places)
    changes = {
        "pre_log": [0],
        "sample_count": np.array([100.0, 0.0]),
        "standardize_mean": [settings.mean[0], settings.place_mean[0]],
        "filter_mask": None,
        "modal_dims": (4, 2),
    }
    settings.write(tmp_path / "a.pre", **changes)
    got = read_settings(tmp_path / "a.pre").preprocessing.transform([counts, places])
    np.testing.assert_allclose(got[0], settings.features[0], atol=2e-5)


def test_what_is_odd_is_told(tmp_path):
    counts, places = data()
    SettingsLike(counts, places, per_axis=True).write(tmp_path / "a.pre", novelty=1)
    notes = read_settings(tmp_path / "a.pre", spatial=[1]).notes
    assert "scaled per axis" in notes[0]
    assert "novelty" in notes[1]
    std = np.ones((1, 9))
    std[0, 3] = 0
    SettingsLike(counts, places).write(tmp_path / "b.pre", standardize_std=[std, None])
    assert "never varied" in read_settings(tmp_path / "b.pre").notes[0]


def test_features_get_the_names_of_the_data(tmp_path):
    counts, places = data()
    SettingsLike(counts, places).write(tmp_path / "a.pre")
    preprocessing = read_settings(tmp_path / "a.pre").preprocessing
    genes = [f"g{k}" for k in range(9)]
    whole = named(preprocessing, [genes, ["x", "y"]])
    np.testing.assert_array_equal(
        whole.maps[0].columns(["g3"])[:, 0], preprocessing.maps[0].columns(["3"])[:, 0]
    )
    with pytest.raises(FileFormatError, match="9 features of modality 0, and the data have 8"):
        named(preprocessing, [genes[:8], ["x", "y"]])
    with pytest.raises(FileFormatError, match="has 2 modalities, and 1 were given"):
        named(preprocessing, [genes])


@pytest.mark.parametrize(
    "changes",
    [
        {"modal_dims": None, "pca_class": None, "standardize_std": None,
         "is_sparse_transform": None},
        {"modal_dims": []},
        {"pca_class": [1, None]},
        {"standardize_mean": [np.ones((1, 4)), None]},
        {"standardize_std": [np.array(["a"] * 9), None]},
        {"standardize_std": [np.full((1, 9), np.nan), None]},
        {"filter_mask": [np.zeros(9, bool), None]},
        {"filter_mask": [np.ones(8, bool), None]},
        {"filter_mask": [np.arange(3), None]},
        {"sample_count": [np.inf, None]},
        {"sample_count": ["many", None]},
        {"pre_log": ["yes", "no"]},
        {"pre_log": [True, False, True]},
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_one_sentence(tmp_path, changes):
    SettingsLike(*data()).write(tmp_path / "a.pre", **changes)
    with pytest.raises(FileFormatError, match=r"a\.pre"):
        read_settings(tmp_path / "a.pre")


def test_whitened_components_are_refused(tmp_path):
    settings = SettingsLike(*data())
    settings.pca.whiten = True
    settings.write(tmp_path / "a.pre")
    with pytest.raises(FileFormatError, match="whitened"):
        read_settings(tmp_path / "a.pre")
    (tmp_path / "b.pre").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(FileFormatError, match=r"b\.pre is no preprocessing"):
        read_settings(tmp_path / "b.pre")
