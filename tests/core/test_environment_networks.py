"""The policy: what it attends to, what leaves it as it is, and what pinning networks tell."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from celldyn.environment import attention
from celldyn.environment.activation import PReLU
from celldyn.environment.attention import Attention, attend, landmarks
from celldyn.environment.config import PolicyConfig
from celldyn.environment.networks import Pinning, Policy
from celldyn.environment.scaling import moments
from celldyn.errors import ConfigError


def parts(n=9, H=2, e=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(1, H, n, e, generator=generator) for _ in range(3))


def by_definition(q, k, v, seen=None):
    n = q.shape[2]
    at = torch.arange(n) if seen is None else seen
    logits = torch.einsum("bhie,bhje->bhij", q, k) / q.shape[-1] ** 0.5
    own = torch.arange(n)[:, None] == at
    return logits.masked_fill(own, -torch.inf).softmax(-1) @ v


def test_a_cell_does_not_see_itself():
    q, k, v = parts()
    assert torch.allclose(attend(q, k, v, None, None), by_definition(q, k, v), atol=1e-6)


def test_blocks_of_queries_see_the_same(monkeypatch):
    q, k, v = parts(n=23)
    whole = by_definition(q, k, v)
    monkeypatch.setattr(attention, "MASK_CELLS", 5)
    assert torch.allclose(attend(q, k, v, None, None), whole, atol=1e-6)


def test_landmarks_are_seen_by_all_but_themselves():
    q, k, v = parts(n=12)
    seen = landmarks(12, 5)
    assert len(seen.unique()) == 5
    assert torch.equal(seen, landmarks(12, 5))
    found = attend(q, k[:, :, seen], v[:, :, seen], seen, None)
    assert torch.allclose(found, by_definition(q, k[:, :, seen], v[:, :, seen], seen), atol=1e-6)


def test_a_cell_alone_takes_nothing_and_gradients_stay_finite():
    q, k, v = (part.requires_grad_() for part in parts(n=1))
    found = attend(q, k, v, None, None)
    assert torch.equal(found, torch.zeros_like(found))
    found.sum().backward()
    assert torch.isfinite(v.grad).all()


def test_places_without_a_cell_are_seen_by_none():
    torch.manual_seed(0)
    layer = Attention(8, 2)
    s, o = torch.randn(2, 6, 8), torch.randn(2, 6, 8)
    mask = torch.arange(6) < torch.tensor([[4], [6]])
    found = layer(s, o, None, mask)
    assert torch.allclose(found[0, :4], layer(s[:1, :4], o[:1, :4], None, None)[0], atol=1e-6)
    assert torch.allclose(found[1], layer(s[1:], o[1:], None, None)[0], atol=1e-6)


def policy(F=5, **config):
    torch.manual_seed(1)
    return Policy(4, F, PolicyConfig(**config))


def state(n=7, d=4, F=5, B=2, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, n, size, generator=generator) for size in (d, d, F))


def test_the_policy_is_what_the_equations_say():
    net = policy()
    with torch.no_grad():
        net.place_scale.follow(torch.randn(8), torch.rand(8) + 3)
        net.feature_scale.follow(torch.randn(5), torch.rand(5) + 3)
    x, v, m = state()
    h, block = net.width, net.blocks[0]
    seen = net.place_scale.now().standardised(torch.cat([x, v], -1))
    features = net.feature_scale.now().standardised(m)
    at, of = net.of_place(seen), net.of_features(features)
    s = net.self_out(net.self_act(at[..., :h] + of[..., :h]))
    o = net.node_out(net.node_act(at[..., h:] + of[..., h:]))
    asks, asked = block.norm_self(s), block.norm_node(o)
    q = block.attention.query(asks).view(2, 7, 2, -1).transpose(1, 2)
    k, u = block.attention.key_value(asked).chunk(2, -1)
    k, u = (each.reshape(2, 7, 2, -1).transpose(1, 2) for each in (k, u))
    taken = by_definition(q, k, u).transpose(1, 2).reshape(2, 7, h)
    s = s + block.attention.out(taken)
    s = s + block.narrow(block.act(block.wide(block.norm_after(s))))
    mean = torch.tanh(net.actor_out(net.actor_act(net.actor_in(net.trunk_act(s)))))
    value = net.critic(net.critic_act(s))[..., 0]
    found = net(x, v, net.embed(m))
    assert torch.allclose(found[0], mean, atol=1e-5)
    assert torch.allclose(found[1], value, atol=1e-5)
    alone = net.mean_action(x[0], v[0], net.embed(m[0]))
    assert torch.allclose(alone, found[0][0].detach(), atol=1e-6)


def test_cells_have_no_order():
    net, order = policy(), torch.randperm(7, generator=torch.Generator().manual_seed(0))
    x, v, m = state()
    found = net(x, v, net.embed(m))[0]
    mixed = net(x[:, order], v[:, order], net.embed(m[:, order]))[0]
    assert torch.allclose(mixed, found[:, order], atol=1e-6)


def test_what_a_change_of_features_adds_is_linear():
    net = policy()
    _, _, m = state()
    change = torch.randn(2, 7, 5)
    net.feature_scale.follow(torch.ones(5), torch.full((5,), 4.0))
    whole, added = net.embed(m + change), net.embed(m).plus(net.embed_change(change))
    for a, b in zip(whole, added, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_scales_that_follow_leave_the_policy_as_it_is():
    net = policy()
    x, v, m = state()
    before = net(x, v, net.embed(m))
    seen = torch.cat([x, v, m], -1) * 7 + 3
    net.follow_inputs(*moments(seen))
    after = net(x, v, net.embed(m))
    assert torch.allclose(after[0], before[0], atol=1e-5)
    values = net.values(before[1])
    net.follow_returns(torch.tensor([40.0]), torch.tensor([3000.0]))
    assert torch.allclose(net.values(net(x, v, net.embed(m))[1]), values, atol=1e-4)
    assert net.return_scale.mean.item() == pytest.approx(0.003 * 40)


def test_it_starts_quiet_and_not_linear():
    net = policy()
    x, v, m = state()
    assert net(x, v, net.embed(m))[0].abs().mean() < 0.2
    assert net.self_act.weight.item() == 0.25
    as_seed = policy(initial_slope=1.0, actor_gain=1.0)
    assert as_seed(x, v, as_seed.embed(m))[0].abs().mean() > 0.2


def test_every_square_part_starts_orthogonal():
    net = policy()
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear) and name != "actor_out":
            shared = name.startswith("of_") or name.endswith("key_value")
            rows = module.weight[: net.width] if shared else module.weight
            few = rows if rows.shape[0] <= rows.shape[1] else rows.T
            assert torch.allclose(few @ few.T, torch.eye(len(few)), atol=1e-5), name


def test_discrete_policies_choose_pushes():
    torch.manual_seed(0)
    net = Policy(4, 5, discrete=True)
    x, v, m = state()
    logits, value = net(x, v, net.embed(m))
    assert logits.shape == (2, 7, 4, 3)
    assert value.shape == (2, 7)
    assert set(net.mean_action(x, v, net.embed(m)).unique().tolist()) <= {0.0, 1.0, 2.0}


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match="3 attention_heads do not divide the width 16"):
        Policy(4, 5, PolicyConfig(attention_heads=3))


def test_many_cells_look_at_landmarks_in_rollout_and_update_alike():
    net = policy(vision="landmarks", vision_size=3)
    x, v, m = state(n=8)
    with torch.no_grad():
        first = net(x, v, net.embed(m))[0]
    assert torch.equal(net(x, v, net.embed(m))[0].detach(), first)
    seen = landmarks(8, 3).tolist()
    unseen = next(i for i in range(8) if i not in seen)
    other = x.clone()
    other[:, unseen] += 5
    moved = net(other, v, net.embed(m))[0]
    kept = [i for i in range(8) if i != unseen]
    assert torch.allclose(moved[:, kept], first[:, kept], atol=1e-6)


def test_pinning_networks_keep_what_they_tell_as_scales_follow():
    torch.manual_seed(0)
    net = Pinning(4, 3)
    x, y = torch.randn(50, 4) * 30, torch.randn(50, 3) * 9 + 100
    before = net(x)
    net.follow(*moments(torch.cat([x, y], -1)))
    assert torch.allclose(net(x), before, atol=1e-4)
    assert net.output_scale.mean.abs().min() > 0.1


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
def test_prelu_is_pytorchs_with_its_gradients(shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    ours, theirs = PReLU(init=0.3).double(), nn.PReLU(init=0.3).double()
    for net in (ours, theirs):
        (net(x) * torch.arange(x.numel()).view(shape)).sum().backward()
    assert torch.allclose(ours.weight.grad, theirs.weight.grad)
    both = x.grad
    x.grad = None
    (2 * theirs(x) * torch.arange(x.numel()).view(shape)).sum().backward()
    assert torch.allclose(both, x.grad)
    assert torch.equal(ours(x), theirs(x))
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
