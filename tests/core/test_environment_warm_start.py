"""Imitation before reward: where cells are to go, and that networks learn it."""

from __future__ import annotations

import math

import pytest
import torch

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.stepping import step
from celldyn.environment.tissue import Tissue
from celldyn.environment.trainer import Trainer
from celldyn.environment.warm_start import (
    MOST_FORCE,
    SPREAD,
    in_one_frame,
    places,
    spring,
    warm_start_job,
)
from celldyn.jobs import run


def tissue(n=80, F=5, targets=((2, False),), partitions=1, seed=0):
    """Targets that are linear in features."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, F, generator=generator)
    told = tuple(features @ torch.randn(F, k, generator=generator) for k, _ in targets)
    return Tissue(features, told, tuple(flag for _, flag in targets), torch.arange(n) % partitions)


def test_places_are_the_targets_where_there_is_room():
    made = tissue()
    found = places(made, 4)
    assert torch.equal(found[:, 2:], torch.zeros(80, 2))
    centred = made.targets[0] - made.targets[0].mean(0)
    ratio = found[:, :2] / centred
    assert torch.allclose(ratio, ratio[0, 0].expand(80, 2), atol=1e-3)
    assert found.std(0).max().item() == pytest.approx(SPREAD)


def test_many_features_are_told_by_their_principal_components():
    made = tissue(F=9, targets=((12, False), (1, False)))
    found = places(made, 3)
    covariance = torch.cov(found.T)
    assert torch.allclose(covariance, torch.diag(covariance.diagonal()), atol=1e-3)
    # Both targets count alike: one feature as much as twelve.
    one = made.targets[1][:, 0]
    best = max(abs(float(torch.corrcoef(torch.stack([one, x]))[0, 1])) for x in found.T)
    assert best > 0.6
    few = places(tissue(n=3, F=4, targets=((5, False),)), 4)
    assert torch.isfinite(few).all()


def test_sections_are_turned_into_one_frame():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(120, 4, generator=generator)
    truth = features[:, :2].clone()
    part = torch.arange(120) % 3
    shown = truth.clone()
    for k, angle in enumerate((0.0, 0.5, -0.6)):
        cos, sin = math.cos(angle), math.sin(angle)
        shown[part == k] = truth[part == k] @ torch.tensor([[cos, sin], [-sin, cos]]) + 9 * k
    made = Tissue(features, (shown,), (True,), part)
    found = in_one_frame(made, shown)
    for k in range(3):
        mine, theirs = found[part == k], truth[part == k]
        # Distances stay; frames agree with one another.
        apart, truly = ((each[:, None] - each).norm(dim=-1) for each in (mine, theirs))
        assert torch.allclose(apart, truly, atol=1e-4)
    ridge = torch.linalg.lstsq(features, found).solution
    assert (features @ ridge - found).square().mean() < 0.02 * found.var(0).mean()
    assert torch.allclose(in_one_frame(Tissue(features, (shown,), (True,), part * 0), shown),
                          shown - shown.mean(0), atol=1e-4)  # fmt: skip


def test_the_spring_brings_cells_to_rest_at_their_places():
    config, place = EnvironmentConfig().space, torch.tensor([[3.0, -2.0], [0.1, 0.0]])
    x, v = torch.zeros(2, 2), torch.tensor([[-1.0, 1.0], [0.0, 0.0]])
    for _ in range(300):
        force = spring(x, v, place)
        assert force.abs().max() <= MOST_FORCE
        x, v, _ = step(x, v, force, config)
    assert torch.allclose(x, place, atol=1e-2)
    assert v.abs().max() < 1e-3


@pytest.mark.parametrize("targets", [((2, False),), ((2, True), (6, False))])
def test_networks_learn_to_go_there_and_to_tell_it(targets):
    torch.manual_seed(0)
    made = tissue(targets=targets, partitions=2)
    config = EnvironmentConfig(dim=4, num_cells_min=40, num_cells_max=40, warm_start_steps=300)
    policy = Policy(4, 5)
    pinning = tuple(Pinning(4, k) for k, _ in targets)
    before = policy.log_std.clone()
    job = warm_start_job(policy, pinning, made, config, torch.Generator().manual_seed(0))
    found = run(job, bar=False)
    assert found["imitation"] < 0.03
    assert torch.equal(policy.log_std, before)
    assert policy.place_scale.beta == policy.config.standardization_beta
    # Cells that go where the policy says tell their targets.
    x, v = torch.zeros(80, 4), torch.zeros(80, 4)
    with torch.no_grad():
        embedded = policy.embed(made.features)
        for _ in range(300):
            x, v, _ = step(x, v, policy.mean_action(x, v, embedded), config.space)
    assert v.abs().mean() < 0.02
    target = in_one_frame(made, made.targets[0]) if targets[0][1] else made.targets[0]
    error = (pinning[0](x) - target).square().mean() / target.var(0).mean()
    assert error < 0.15


def test_training_begins_with_it_once_and_learners_begin_alike():
    made = tissue()
    config = EnvironmentConfig(
        dim=4, num_cells_min=20, num_cells_max=20, num_environments=2, update_timesteps=400,
        epoch_size=200, batch_size=100, update_iterations=1, warm_start_steps=40,
        critic_updates=1, min_time=1.0, max_time=2.0, eval_time=0.2, standardization_beta=1e-9,
    )  # fmt: skip
    first, second = Trainer(made, config), Trainer(made, config, rank=1)
    cold = first.policy.actor_out.weight.clone()
    memories = [run(one.rollout_job(), bar=False) for one in (first, second)]
    warm = first.policy.actor_out.weight.clone()
    assert not torch.equal(warm, cold)
    assert torch.equal(second.policy.actor_out.weight, warm)
    assert not torch.equal(memories[0].position, memories[1].position)
    critic = first.policy.critic.weight.clone()
    run(first.learn_job(memories[0]), bar=False)
    # At first only the critic learns (up to the shrinkage of weights).
    assert not torch.allclose(first.policy.critic.weight, critic, atol=1e-5)
    moved = (first.policy.actor_out.weight - warm).abs().max()
    run(first.update_job(), bar=False)
    assert (first.policy.actor_out.weight - warm).abs().max() > moved
