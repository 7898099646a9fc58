"""The tree of parameters: set leaf by leaf, checked as it is set, there and back as JSON."""

from __future__ import annotations

import pytest

from celldyn.errors import ConfigError
from celldyn.landscape import LSDConfig
from celldyn.landscape.config import KLScheduleConfig, WassersteinScheduleConfig


def test_the_example_of_the_seed_runs():
    cfg = LSDConfig()
    cfg.model.z_dim = 10
    cfg.model.B_dim = 2
    cfg.model.V_coeff = 0.01
    cfg.walks.path_len = 50
    cfg.walks.num_walks = 4096
    cfg.walks.batch_size = 256
    cfg.optimizer.adam.lr = 1e-3
    assert (cfg.walks.path_len, cfg.optimizer.adam.lr) == (50, 1e-3)


def test_every_default_is_that_of_sclsd():
    cfg = LSDConfig()
    dims = cfg.model.layer_dims
    assert (cfg.model.z_dim, cfg.model.B_dim, cfg.model.V_coeff) == (10, 2, 0.01)
    assert (dims.B_decoder, dims.z_decoder, dims.x_encoder) == ((32, 64), (128, 256), (512, 256))
    assert (dims.z_encoder, dims.xl_encoder, dims.potential) == ((64, 32), (64, 32), (32, 32))
    assert dims.potential_af == "logcosh"
    adam, walks = cfg.optimizer.adam, cfg.walks
    assert (adam.lr, adam.eta_min, adam.T_0, adam.T_mult) == (1e-3, 1e-5, 40, 1)
    assert (walks.batch_size, walks.path_len, walks.num_walks) == (256, 10, 4096)
    assert (walks.random_state, walks.beta, walks.self_loop) == (42, 50.0, False)
    assert (cfg.model.library, cfg.model.likelihood) == ("observed", "zinb")
    assert (cfg.ode.method, cfg.optimizer.kl_schedule.af) == ("rk4", 1.0)


def test_two_trees_share_nothing():
    one, other = LSDConfig(), LSDConfig()
    one.model.layer_dims.potential = [64, 64]
    one.optimizer.adam.lr = 0.5
    assert other == LSDConfig() != one
    assert other.optimizer.adam.lr == 1e-3


@pytest.mark.parametrize(
    ("part", "name", "value", "says"),
    [
        ("model", "z_dim", 0, "z_dim must be greater than or equal to 1 (given: 0)."),
        ("model", "z_dim", 2.5, "z_dim must be a valid integer"),
        ("model", "zdim", 3, "zdim is not a parameter of ModelConfig (it has z_dim, "),
        ("model", "library", "mine", "library must be 'observed', 'inferred' or 'reference'"),
        ("model", "layer_dims", 3, "layer_dims must be a valid dictionary or instance of Layer"),
        ("model", "layer_dims", {"potential": [0]}, "layer_dims: potential.0 must be greater"),
        ("walks", "path_len", 1, "path_len must be greater than or equal to 2"),
        ("walks", "beta", float("nan"), "beta must be a finite number"),
        ("ode", "method", "rk5", "method must be 'rk4' or 'dopri5'"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence_and_changes_nothing(part, name, value, says):
    cfg = LSDConfig()
    with pytest.raises(ConfigError) as refused:
        setattr(getattr(cfg, part), name, value)
    assert says in str(refused.value)
    assert str(refused.value).count(". ") == 0
    assert cfg == LSDConfig()


def test_a_wrong_tree_is_refused_at_once():
    with pytest.raises(ConfigError, match="walks: path_len must be greater"):
        LSDConfig(walks={"path_len": -1})
    with pytest.raises(ConfigError, match="it has model, optimizer, walks, training, ode"):
        LSDConfig(walk={})


def test_a_branch_may_be_given_as_a_dict():
    cfg = LSDConfig()
    cfg.walks = {"path_len": 7}
    assert cfg.walks.path_len == 7
    assert cfg.walks.num_walks == 4096
    cfg.walks.num_walks = 3
    assert cfg.walks.num_walks == 3


@pytest.mark.parametrize(
    ("given", "kept"),
    [("sp", "softplus"), ("id", "identity"), ("LogCosh", "logcosh"), (None, "identity")],
)
def test_activations_have_the_short_names_of_sclsd(given, kept):
    cfg = LSDConfig()
    cfg.model.layer_dims.potential_af = given
    assert cfg.model.layer_dims.potential_af == kept


def test_an_activation_that_could_not_be_saved_is_refused_with_what_to_use():
    with pytest.raises(ConfigError, match=r"given by its name.*logcosh, relu, softplus"):
        LSDConfig().model.layer_dims.potential_af = object()


def test_there_and_back_as_dict_and_json():
    cfg = LSDConfig()
    cfg.model.layer_dims.x_encoder = [64]
    cfg.optimizer.kl_schedule.min_af = 0.1
    assert LSDConfig.from_dict(cfg.to_dict()) == cfg
    assert LSDConfig.from_json(cfg.to_json()) == cfg
    assert cfg.to_dict()["model"]["layer_dims"]["x_encoder"] == [64]
    assert LSDConfig.from_dict({"model": {"z_dim": 3}}).walks.path_len == 10


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_what_is_no_config_in_json_is_refused(text):
    with pytest.raises(ConfigError, match="not a LSDConfig in JSON; write it with to_json"):
        LSDConfig.from_json(text)


def test_the_weight_of_b_is_constant_until_its_ends_differ():
    assert [KLScheduleConfig(af=2.0).weight(epoch) for epoch in (0, 50, 500)] == [2.0] * 3
    warming = KLScheduleConfig(min_af=0.0, max_af=1.0, max_epoch=10)
    assert [warming.weight(epoch) for epoch in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]


def test_the_weight_of_steps_falls_in_a_straight_line():
    schedule = WassersteinScheduleConfig()
    found = [schedule.weight(epoch) for epoch in (0, 25, 50, 200)]
    assert found == pytest.approx([1e-3, 5.5e-4, 1e-4, 1e-4])


def test_presets_are_whole_trees_that_differ_in_what_they_say():
    seed, recommended = LSDConfig.preset("seed"), LSDConfig.preset("recommended")
    assert seed == LSDConfig()
    assert recommended.walks.path_len < seed.walks.path_len
    assert recommended.training.num_epochs == recommended.optimizer.adam.T_0
    assert recommended.model == seed.model
    assert LSDConfig.from_json(recommended.to_json()) == recommended
    reference = LSDConfig.preset("reference")
    assert (reference.model.library, reference.model.penalty_scale) == ("reference",) * 2
    assert not reference.walks.resample
    recommended.walks.path_len = 9
    assert LSDConfig.preset("recommended").walks.path_len == 4


def test_a_preset_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="no preset 'best'; use one of seed, recommended"):
        LSDConfig.preset("best")
