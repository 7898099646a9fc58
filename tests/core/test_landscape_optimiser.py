"""Adam as PyTorch has it, without what that loads."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from landscape_model_cases import small_config

from celldyn.landscape import optimiser
from celldyn.landscape.config import AdamConfig
from celldyn.landscape.networks import Networks
from celldyn.landscape.optimiser import GENE_LR_RATIO, Optimiser, adam_by_tensors

RATES = (1e-2, 1e-2, 5e-3, 1e-3)


def networks():
    torch.manual_seed(0)
    return Networks(12, small_config())


def loss_of(nets, k):
    torch.manual_seed(k)
    z = torch.randn(8, 4)
    return (
        nets.potential(z).sum() * 30
        + nets.decode_B(torch.randn(8, 2))[0].square().sum()
        + (nets.log_theta * torch.randn(12)).sum()
    )


def by_pytorch(nets):
    """Train as `torch.optim` does, gradients clipped tensor by tensor."""
    rest = [p for name, p in nets.named_parameters() if name != "log_theta"]
    adam = torch.optim.Adam([{"params": rest}, {"params": [nets.log_theta]}])
    for k, lr in enumerate(RATES):
        adam.zero_grad()
        loss_of(nets, k).backward()
        for p in nets.parameters():
            if p.grad is not None:
                torch.nn.utils.clip_grad_norm_([p], 10.0)
        for group, ratio in zip(adam.param_groups, (1.0, GENE_LR_RATIO), strict=True):
            group["lr"] = ratio * lr
        adam.step()
    return nets


def assert_alike(one, other):
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_those_of_pytorch(fused, monkeypatch):
    start = networks()
    truth, nets = by_pytorch(copy.deepcopy(start)), copy.deepcopy(start)
    if not fused:

        def by_tensors(p, g, m, v, _, steps, *, lr, **how):
            adam_by_tensors(p, g, m, v, steps, lr)

        monkeypatch.setattr(torch, "_fused_adam_", by_tensors)
    mine = Optimiser(nets, AdamConfig(), {})
    for k, lr in enumerate(RATES):
        mine.step(loss_of(nets, k), lr)
    assert_alike(nets, truth)
    moved = (nets.log_theta - start.log_theta).abs()
    assert (moved > 0.01).all()
    assert torch.equal(nets.z_decoder.linear[0].weight, start.z_decoder.linear[0].weight)


def test_it_goes_on_with_what_it_remembers():
    whole, halves = networks(), networks()
    one = Optimiser(whole, AdamConfig(), {})
    remembered = {}
    for k, lr in enumerate(RATES):
        one.step(loss_of(whole, k), lr)
        part = Optimiser(halves, AdamConfig(), remembered)
        part.step(loss_of(halves, k), lr)
        remembered = part.state()
    assert_alike(halves, whole)
    assert remembered.keys() == one.state().keys()
    assert "exp_avg.log_theta" in remembered
    assert not any("z_decoder" in name for name in remembered)  # it had no gradient
    assert remembered["step.log_theta"] == len(RATES)
    part.state()["exp_avg.log_theta"].zero_()
    assert part.state()["exp_avg.log_theta"].any()


def test_pytorchs_compiler_is_not_loaded():
    code = (
        "import sys, torch; from celldyn.landscape import LSDConfig; "
        "from celldyn.landscape.networks import Networks; "
        "from celldyn.landscape.config import AdamConfig; "
        "from celldyn.landscape.optimiser import Optimiser; n = Networks(5, LSDConfig()); "
        "Optimiser(n, AdamConfig(), {}).step(n.log_theta.sum(), 1e-3); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert optimiser.BETA_1 == 0.9
