"""One step, its rewards, its advantages and running scales, against values worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from celldyn.environment.actions import draw, entropy, log_prob
from celldyn.environment.config import EnvironmentConfig, SpaceConfig
from celldyn.environment.optimiser import Adam
from celldyn.environment.returns import generalised_advantage
from celldyn.environment.rewarding import Moment, distance_gap, rewards, target_variance
from celldyn.environment.scaling import RunningScale, Scale, rescale_input, rescale_output
from celldyn.environment.stepping import start, step
from celldyn.errors import ConfigError, DataError


def tensor(*rows):
    return torch.tensor(rows)


# --- a step --------------------------------------------------------------------------------------


def test_velocity_changes_first_and_moves_the_cell():
    x, v, out = step(tensor([1.0, 0.0]), tensor([0.5, -0.2]), tensor([1.0, -2.0]), SpaceConfig())
    assert torch.allclose(v, tensor([0.6, -0.4]))
    assert torch.allclose(x, tensor([1.06, -0.04]))
    assert not out.any()


def test_friction_comes_before_the_bound_on_speed():
    config = SpaceConfig(friction_force=2.0, vel_bound=0.5)
    _, v, _ = step(
        tensor([0.0, 0.0, 0.0]), tensor([0.9, -0.1, 0.0]), tensor([1.0, 0.0, 1.0]), config
    )
    # 0.9 + 0.1 - 0.2 = 0.8, cut to 0.5; |-0.1| < 0.2 rests; 0.1 < 0.2 rests
    assert torch.allclose(v, tensor([0.5, 0.0, 0.0]))


def test_forces_are_bounded():
    _, v, _ = step(tensor([0.0]), tensor([0.0]), tensor([9.0]), SpaceConfig(force_bound=2.0))
    assert torch.allclose(v, tensor([0.2]))


def test_pushes_are_back_none_and_forth():
    config = SpaceConfig(discrete=True, discrete_force=2.0)
    _, v, _ = step(torch.zeros(1, 3), torch.zeros(1, 3), tensor([0.0, 1.0, 2.0]), config)
    assert torch.allclose(v, tensor([-0.2, 0.0, 0.2]))


def test_lengths_are_bounded_where_space_is_spherical():
    config = SpaceConfig(spherical=True, vel_bound=1.0, friction_force=1.0)
    _, v, _ = step(torch.zeros(1, 2), tensor([3.0, 4.0]), torch.zeros(1, 2), config)
    assert torch.allclose(v, tensor([0.6, 0.8]))
    slow = SpaceConfig(spherical=True, vel_bound=10.0, friction_force=1.0)
    _, v, _ = step(torch.zeros(1, 2), tensor([0.3, 0.4]), torch.zeros(1, 2), slow)
    assert torch.allclose(v, tensor([0.24, 0.32]), atol=1e-6)


@pytest.mark.parametrize(
    ("spherical", "place"),
    [(False, [2.0, 1.9]), (True, [2 / math.sqrt(1.9), 1.8 / math.sqrt(1.9)])],
)
def test_a_cell_that_meets_the_end_of_space_stops_there(spherical, place):
    config = SpaceConfig(pos_bound=2.0, vel_bound=9.0, spherical=spherical)
    x, v, out = step(tensor([1.9, 1.8], [0.0, 0.0]), tensor([1.0, 1.0], [1.0, 0.0]),
                     torch.zeros(2, 2), config)  # fmt: skip
    assert out.tolist() == [True, False]
    assert torch.equal(v[0], torch.zeros(2))
    assert torch.allclose(v[1], tensor([1.0, 0.0])[0])
    if not spherical:
        assert torch.allclose(x[0], torch.tensor(place))
    else:
        assert x[0].norm() == pytest.approx(2.0, abs=1e-5)


def test_halving_the_time_step_comes_to_nearly_the_same_place():
    def after(delta):
        config = SpaceConfig(delta=delta, vel_bound=10.0)
        x, v = torch.zeros(1, 2), torch.zeros(1, 2)
        for _ in range(round(2 / delta)):
            x, v, _ = step(x, v, tensor([1.0, -0.5]), config)
        return x

    assert torch.allclose(after(0.01), tensor([2.0, -1.0]), atol=0.02)
    assert torch.allclose(after(0.01), after(0.02), atol=0.03)


def test_what_is_no_step_is_refused():
    with pytest.raises(DataError, match="one of each per cell"):
        step(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 2), SpaceConfig())
    with pytest.raises(DataError, match="not finite"):
        step(torch.zeros(1, 1), torch.zeros(1, 1), tensor([math.nan]), SpaceConfig())


def test_cells_start_normal_and_within_the_bound_on_speed():
    x, v = start((1, 40_000, 1), SpaceConfig(), torch.Generator().manual_seed(0))
    assert x.std() == pytest.approx(1.0, abs=0.02)
    # E min(|N|, 1) = 2 (φ(0) − φ(1)) + 2 (1 − Φ(1))
    assert v.abs().mean() == pytest.approx(0.6313, abs=0.01)
    assert v.abs().max() <= 1
    x, v = start((1, 4000, 3), SpaceConfig(uniform_bounds=True, pos_rand_bound=2.0))
    assert x.abs().max() <= 2
    assert x.mean() == pytest.approx(0, abs=0.05)
    again = [start((1, 5, 2), SpaceConfig(), torch.Generator().manual_seed(3))[0] for _ in "ab"]
    assert torch.equal(*again)


# --- rewards -------------------------------------------------------------------------------------


def config(**weights):
    none = dict.fromkeys(("reward_pinning", "penalty_velocity", "penalty_action"), 0.0)
    return EnvironmentConfig(**{**none, **weights})


ONE = Moment(torch.zeros(2, 2), tensor([0.4, -0.2], [0.0, 0.0]))
TWO = Moment(tensor([1.0, 1.0], [0.0, 2.0]), tensor([0.1, 0.1], [0.5, 0.5]))
NONE = ([], [])


def test_becoming_slower_is_rewarded_by_the_second():
    found = rewards(ONE, TWO, torch.zeros(2, 2), [], NONE, config(penalty_velocity=2.0))
    # 0.1/0.1 * 2 * (0.3 − 0.1), (0 − 0.5)
    assert torch.allclose(found["velocity"], torch.tensor([0.4, -1.0]))
    assert list(found) == ["velocity"]


def test_pushes_cost_by_the_step():
    found = rewards(ONE, TWO, tensor([1.0, 3.0], [0.0, 0.0]), [], NONE, config(penalty_action=1.0))
    assert torch.allclose(found["action"], torch.tensor([-5e-3, 0.0]))


def test_origin_and_bound():
    out = torch.tensor([True, False])
    found = rewards(ONE, TWO, torch.zeros(2, 2), [], NONE,
                    config(reward_origin=1.0, penalty_bound=3.0), out_of_bounds=out)  # fmt: skip
    assert torch.allclose(found["origin"], torch.tensor([-1.0, -2.0]))
    assert torch.allclose(found["bound"], torch.tensor([-3.0, 0.0]))


def test_pinning_is_the_gain_in_quality_over_targets():
    target = tensor([0.0, 0.0], [2.0, 4.0])
    variance = target_variance(target)
    assert variance == pytest.approx((1 + 4) / 2)  # across cells, then over features
    before, after = tensor([1.0, 1.0], [2.0, 4.0]), tensor([0.0, 0.0], [2.0, 3.0])
    found = rewards(ONE, TWO, torch.zeros(2, 2), [target], ([before], [after]),
                    config(reward_pinning=1.0))["pinning"]  # fmt: skip
    e_0, e_1 = 1 / 2.5, 0.5 / 2.5  # cell 0 before, cell 1 after
    expected = [5 * (1 - 1 / (1 + 10 * e_0)), 5 * (1 / (1 + 10 * e_1) - 1)]
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)


def test_several_targets_count_alike():
    target = tensor([0.0], [2.0])
    off, right = target + 1, target
    found = rewards(ONE, TWO, torch.zeros(2, 2), [target, target],
                    ([off, off], [right, off]), config(reward_pinning=1.0))["pinning"]  # fmt: skip
    assert torch.allclose(found, torch.full((2,), 5 * 0.5 * (1 - 1 / 11)), atol=1e-6)


def test_pinning_telescopes_and_does_not_care_where_the_origin_of_targets_is():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(6, 3, generator=generator)
    told = [target + torch.randn(6, 3, generator=generator) for _ in range(4)]

    def total(shift):
        return sum(
            rewards(ONE, TWO, torch.zeros(2, 2), [target + shift], ([a + shift], [b + shift]),
                    config(reward_pinning=1.0))["pinning"]
            for a, b in pairwise(told)
        )  # fmt: skip

    whole = rewards(ONE, TWO, torch.zeros(2, 2), [target], ([told[0]], [told[-1]]),
                    config(reward_pinning=1.0))["pinning"]  # fmt: skip
    assert torch.allclose(total(0.0), whole, atol=1e-5)
    assert torch.allclose(total(100.0), whole, atol=1e-3)


def test_coordinates_are_turned_onto_the_truth_but_not_mirrored():
    angle = 0.7
    turn = tensor([math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)])
    target = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))
    turned, mirrored = target @ turn + 3, target * tensor([1.0, -1.0])[0]

    def gain(told, **change):
        weights = config(reward_pinning=1.0, **change)
        return rewards(ONE, TWO, torch.zeros(2, 2), [target], ([torch.zeros(8, 2)], [told]),
                       weights, spatial=[True])["pinning"]  # fmt: skip

    best = gain(target)
    assert torch.allclose(gain(turned), best, atol=1e-4)
    assert gain(mirrored).mean() < best.mean() - 0.3
    assert torch.allclose(gain(mirrored, reflection=True), best, atol=1e-4)


def test_cells_that_are_not_there_change_nothing():
    target = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    told = target + 0.3
    mask = torch.tensor([True, True, True, False, False])
    part = rewards(ONE, TWO, torch.zeros(2, 2), [target[:3]], ([torch.zeros(3, 2)], [told[:3]]),
                   config(reward_pinning=1.0), spatial=[True])["pinning"]  # fmt: skip
    whole = rewards(ONE, TWO, torch.zeros(2, 2), [target], ([torch.zeros(5, 2)], [told]),
                    config(reward_pinning=1.0), spatial=[True], mask=mask)["pinning"]  # fmt: skip
    assert torch.allclose(whole[:3], part, atol=1e-5)


def test_distances_in_space_are_to_be_those_of_targets():
    position, target = tensor([0.0, 0.0], [3.0, 4.0]), tensor([0.0] * 4, [1.0] * 4)
    gap = distance_gap(position, [target], None, 1e-7)
    # |5 − 2/√4|² = 16; a cell's own distance is left out; mean over both cells
    assert torch.allclose(gap, torch.full((2,), math.log(16) / 2), atol=1e-5)
    found = rewards(Moment(position, position), Moment(position * 2, position), torch.zeros(2, 2),
                    [target], NONE, config(reward_distance=1.0))["distance"]  # fmt: skip
    assert torch.allclose(found, torch.full((2,), (math.log(16) - math.log(81)) / 2), atol=1e-4)


# --- advantages ----------------------------------------------------------------------------------


def test_advantages_by_hand():
    rewards_, values = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 1.5])
    final, cut = torch.tensor([0.0, 4.0, 2.0]), torch.tensor([False, True, False])
    found = generalised_advantage(rewards_, values, final, cut, gamma=0.9, lam=0.5)
    d2 = 3 + 0.9 * 2 - 1.5
    d1 = 2 + 0.9 * 4 - 1.0  # cut: the state beyond is worth 4, and nothing comes back from later
    d0 = 1 + 0.9 * 1.0 - 0.5
    assert torch.allclose(found, torch.tensor([d0 + 0.45 * d1, d1, d2]))
    bare = generalised_advantage(rewards_, values, final, cut, gamma=0.9, lam=0.5, bootstrap=False)
    assert bare[1] == pytest.approx(1.0)
    assert bare[2] == pytest.approx(1.5)


def test_a_constant_reward_with_right_values_gives_no_advantage():
    values = torch.full((50, 3), 1 / (1 - 0.99))
    found = generalised_advantage(
        torch.ones(50, 3), values, values, torch.rand(50, 3) < 0.2, gamma=0.99, lam=0.95
    )
    assert found.abs().max() < 2e-4


# --- scales --------------------------------------------------------------------------------------


def test_scales_follow_moments_by_hand():
    scale = RunningScale(0.25, 1)
    old, new = scale.update(tensor([3.0], [5.0]))
    assert old.std.item() == 1.0
    assert new.mean.item() == pytest.approx(1.0)  # 0.25 * 4
    square = 0.75 + 0.25 * 17
    assert new.std.item() == pytest.approx(math.sqrt(square - 1))


def test_rows_that_are_not_there_do_not_count():
    whole, part = RunningScale(0.1, 2), RunningScale(0.1, 2)
    x = torch.randn(2, 5, 2)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    part.update(x, mask)
    whole.update(x[:, :3])
    assert torch.allclose(part.mean, whole.mean)
    assert torch.allclose(part.square, whole.square)
    before = part.mean.clone()
    part.update(x, torch.zeros(2, 5, dtype=torch.bool))
    assert torch.equal(part.mean, before)


def test_rescaling_keeps_the_function():
    torch.manual_seed(0)
    linear = nn.Linear(3, 4).double()
    old = Scale(torch.randn(3).double(), torch.rand(3).double() + 0.5)
    new = Scale(torch.randn(3).double() * 9, torch.rand(3).double() * 4 + 0.1)
    x = torch.randn(7, 3).double()
    before = linear(old.standardised(x))
    rescale_input(linear, old, new)
    assert torch.allclose(linear(new.standardised(x)), before, atol=1e-12)
    out_old = Scale(torch.randn(4).double(), torch.rand(4).double() + 0.5)
    out_new = Scale(torch.randn(4).double(), torch.rand(4).double() + 0.5)
    before = linear(x) * out_old.std + out_old.mean
    rescale_output(linear, out_old, out_new)
    assert torch.allclose(linear(x) * out_new.std + out_new.mean, before, atol=1e-12)


# --- actions and optimiser -----------------------------------------------------------------------


def test_chances_of_forces_are_those_of_a_normal():
    mean, log_std = torch.randn(5, 3), torch.tensor(-0.4)
    action, log = draw(mean, log_std, torch.Generator().manual_seed(0))
    law = torch.distributions.Normal(mean, log_std.exp())
    assert torch.allclose(log, law.log_prob(action).sum(-1), atol=1e-5)
    assert torch.allclose(log_prob(mean, log_std, action), log, atol=1e-5)
    assert torch.allclose(entropy(mean, log_std), law.entropy().sum(-1)[0])


def test_chances_of_pushes_are_those_of_their_logits():
    logits = torch.tensor([0.0, 1.0, -1.0]).expand(20_000, 2, 3)
    action, log = draw(logits, torch.zeros(()), torch.Generator().manual_seed(0), discrete=True)
    share = np.bincount(action.int().flatten().numpy(), minlength=3) / action.numel()
    assert share == pytest.approx(logits[0, 0].softmax(-1).numpy(), abs=0.01)
    law = torch.distributions.Categorical(logits=logits)
    assert torch.allclose(log, law.log_prob(action.long()).sum(-1), atol=1e-5)
    assert torch.allclose(entropy(logits, torch.zeros(()), discrete=True),
                          law.entropy().sum(-1), atol=1e-5)  # fmt: skip


def test_adam_is_pytorchs():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = Adam(ours, 1e-2, clip_norm=0.5)
    other = torch.optim.Adam(
        theirs.parameters(), 1e-2, betas=(0.99, 0.99), eps=1e-5, weight_decay=1e-5
    )
    for k in range(5):
        x = torch.randn(6, 4, generator=torch.Generator().manual_seed(k)) * 9
        mine.zero_grad()
        ours(x).square().sum().backward()
        mine.step()
        other.zero_grad()
        theirs(x).square().sum().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        other.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_parameters_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="min_time 200 is above max_time 128"):
        SpaceConfig(min_time=200)
    with pytest.raises(ConfigError, match="no episode ever ends"):
        SpaceConfig(terminate_max_time=False, terminate_random=False)
    with pytest.raises(ConfigError, match="num_cells_min 5 is above num_cells_max 4"):
        EnvironmentConfig(num_cells_min=5, num_cells_max=4)
    with pytest.raises(ConfigError, match="both say which cells train"):
        EnvironmentConfig(train_mask="train", train_split=0.5)
