"""The environment for other libraries' agents: it passes their own tests, and moves as ours."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from environment_model_cases import N_CELLS, config, gathered, trained

from celldyn.environment.adapters import to_pettingzoo, to_torchrl
from celldyn.environment.line_fit import LineFit
from celldyn.environment.stepping import step
from celldyn.environment.train import tissue_of
from celldyn.environment.world import World
from celldyn.errors import ConfigError, DataError, UnavailableError

SEES = 2 * 2 + 4


def zoo(**changes):
    pytest.importorskip("pettingzoo")
    return to_pettingzoo(gathered(), config(**changes))


def rl(n_environments=3, **changes):
    pytest.importorskip("torchrl")
    return to_torchrl(gathered(), config(**changes), n_environments=n_environments)


# --- PettingZoo -------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"discrete": True}, {"force_bound": 0.5}])
def test_pettingzoo_finds_its_own_api(changes):
    from pettingzoo.test import parallel_api_test

    env = zoo(num_cells_min=N_CELLS, num_cells_max=N_CELLS, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(env, num_cycles=20)
    parallel_api_test(zoo(**changes), num_cycles=20)  # other cells in every episode


def test_pettingzoo_seeds_are_seeds():
    from pettingzoo.test import parallel_seed_test

    parallel_seed_test(lambda: zoo(), num_cycles=8)


def test_an_agent_is_a_cell_with_what_it_sees():
    env = zoo()
    seen, infos = env.reset(seed=5)
    assert 6 <= len(env.agents) <= 10
    assert set(env.agents) <= set(gathered().obs_names)
    assert infos == {agent: {} for agent in env.agents}
    at = [gathered().obs_names.index(agent) for agent in env.agents]
    features = np.stack([seen[agent][4:] for agent in env.agents])
    np.testing.assert_array_equal(features, gathered().seen[at].numpy())
    np.testing.assert_array_equal(env.state(), np.stack(list(seen.values())))
    assert env.observation_space(env.agents[0]).contains(seen[env.agents[0]])


def test_actions_are_forces_and_rewards_are_their_terms():
    env = zoo(min_time=0.2, max_time=0.2, terminate_random=False)
    env.reset(seed=1)
    agents, before = list(env.agents), torch.from_numpy(env.state())
    actions = {agent: np.full(2, k / 4, np.float32) for k, agent in enumerate(agents)}
    force = torch.from_numpy(np.stack(list(actions.values())))
    seen, rewards, terminated, truncated, infos = env.step(actions)
    x, v, _ = step(before[:, :2], before[:, 2:4], force, config())
    np.testing.assert_allclose(env.state()[:, :2], x, atol=1e-6)
    np.testing.assert_allclose(env.state()[:, 2:4], v, atol=1e-6)
    for k, agent in enumerate(agents):
        assert set(infos[agent]) == {"pinning", "velocity", "action"}
        np.testing.assert_allclose(rewards[agent], sum(infos[agent].values()), atol=1e-6)
        np.testing.assert_allclose(infos[agent]["action"], -1e-3 * (k / 4) ** 2, atol=1e-9)
    assert not any(terminated.values())
    assert not any(truncated.values())
    assert set(seen) == set(agents)
    _, _, terminated, truncated, _ = env.step(actions)
    assert env.agents == []
    assert all(truncated.values())
    assert not any(terminated.values())
    assert env.step({}) == ({}, {}, {}, {}, {})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda actions: actions.popitem(), "1 cell has no action"),
        (lambda actions: actions.update({next(iter(actions)): [0.0]}), "2 finite numbers"),
        (lambda actions: actions.update({next(iter(actions)): [np.nan, 0]}), "2 finite numbers"),
    ],
)
def test_a_wrong_action_moves_nothing(spoil, said):
    env = zoo()
    env.reset(seed=1)
    before, actions = env.state(), {agent: np.zeros(2) for agent in env.agents}
    spoil(actions)
    with pytest.raises(DataError, match=said):
        env.step(actions)
    np.testing.assert_array_equal(env.state(), before)


# --- TorchRL ----------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"discrete": True}, {"force_bound": 0.5}])
@pytest.mark.parametrize("n_environments", [1, 4])
def test_torchrl_finds_its_own_specs(changes, n_environments):
    env = rl(n_environments, **changes)
    from torchrl.envs.utils import check_env_specs

    check_env_specs(env, break_when_any_done="both")


def test_environments_are_reset_each_by_itself():
    env = rl(4)
    from torchrl.envs.utils import step_mdp

    env.set_seed(0)
    now = env.reset()
    cut = 0
    for _ in range(30):
        now = env.rand_action(now)
        new = env.step(now)["next"]
        over = new["truncated"][:, 0]
        torch.testing.assert_close(new["done"], new["truncated"])
        assert not new["terminated"].any()
        there = new["cells", "mask"]
        assert (new["cells", "reward"][~there] == 0).all()
        assert (new["cells", "observation"][~there] == 0).all()
        now = step_mdp(env.step(now))
        if over.any():
            cut += int(over.sum())
            kept = env._world.position[~over].clone()
            now.set("_reset", new["truncated"])
            now = env.reset(now)
            torch.testing.assert_close(env._world.position[~over], kept, rtol=0, atol=0)
            assert (env._world.time[over] == 0).all()
    assert cut >= 4


def test_the_same_seed_is_the_same_rollout():
    one, two = rl(), rl()
    for env in (one, two):
        env.set_seed(7)
    torch.manual_seed(0)
    first = one.rollout(5, auto_reset=True)
    torch.manual_seed(0)
    second = two.rollout(5, auto_reset=True)
    assert (first["cells", "observation"] == second["cells", "observation"]).all()


# --- what rewards are told by ------------------------------------------------------------------


def test_a_line_tells_what_is_on_a_line():
    world = World(tissue_of(gathered()), config(), 2, torch.Generator().manual_seed(0))
    target = world.targets()[0]
    place = target * torch.tensor([2.0, -0.5]) + 3
    told = LineFit(world, 0)(place)
    torch.testing.assert_close(told[world.mask], target[world.mask], atol=1e-4, rtol=1e-4)


def test_networks_of_a_model_give_its_rewards():
    fitted = trained()
    env = to_torchrl(gathered(), fitted.config, pinning=fitted.pinning)
    env.rollout(2)
    with pytest.raises(ConfigError, match="of other targets"):
        to_torchrl(gathered(), fitted.config, pinning=())
    with pytest.raises(ConfigError, match="another space than one of 3 dimensions"):
        to_torchrl(gathered(), config(dim=3), pinning=fitted.pinning)
    with pytest.raises(ConfigError, match="n_environments is 0"):
        to_torchrl(gathered(), config(), n_environments=0)


@pytest.mark.parametrize(
    ("make", "module"), [(to_pettingzoo, "pettingzoo"), (to_torchrl, "torchrl")]
)
def test_without_the_library_a_sentence_says_what_to_install(monkeypatch, make, module):
    for name in list(sys.modules):
        if name.split(".")[0] == module:
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"celldyn.environment.{module}_adapter", raising=False)
    with pytest.raises(UnavailableError, match=r"napari-celldyn\[rl\]"):
        make(gathered(), config())
