"""The flow along walks: compiled, and by torchdiffeq with automatic differentiation."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch

from celldyn.landscape.config import ODEConfig
from celldyn.landscape.potential import Potential
from celldyn.landscape.walk_flow import walk_flow
from celldyn.landscape.walk_sweep import can_sweep, compile_sweep, sweep


def steep(d=10, hidden=(32, 32), confinement=0.0, seed=0):
    """A potential along which cells move by about their spread."""
    torch.manual_seed(seed)
    potential = Potential(d, hidden, confinement=confinement)
    with torch.no_grad():
        potential.gamma.fill_(0.7)
        for layer in potential.layers:
            layer.weight.mul_(3.0)
    return potential


def pulled(potential, z0, weights, n_times, substeps):
    """Return paths, and gradients by the start and every parameter."""
    z0 = z0.clone().requires_grad_()
    paths = walk_flow(potential, z0, n_times, ODEConfig(), substeps)
    asked = [z0, *potential.parameters()]
    return [paths.detach(), *torch.autograd.grad((paths * weights).sum(), asked)]


@pytest.mark.parametrize(
    ("n_walks", "d", "hidden", "n_times", "substeps", "confinement"),
    [
        (256, 10, (32, 32), 20, 1, 0.0),
        (65, 3, (8,), 7, 3, 0.3),
        (5, 9, (5, 13, 4), 2, 2, 0.1),
        (1, 1, (1,), 4, 1, 0.0),
    ],
)
def test_compiled_is_the_twin(n_walks, d, hidden, n_times, substeps, confinement):
    potential = steep(d, hidden, confinement)
    z0, weights = torch.randn(n_walks, d), torch.randn(n_times, n_walks, d)
    assert can_sweep(potential, z0)
    found = pulled(potential, z0, weights, n_times, substeps)
    exact = copy.deepcopy(potential).double()
    assert not can_sweep(exact, z0.double())
    truth = pulled(exact, z0.double(), weights.double(), n_times, substeps)
    assert found[0].shape == (n_times, n_walks, d)
    assert torch.equal(found[0][0], z0)
    for one, other in zip(found, truth, strict=True):
        assert one.shape == other.shape
        # float32 knows 1e-7 of each term, and terms cancel in a gradient that few walks make
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_cells_move_and_go_downhill():
    potential = steep()
    paths = sweep(potential, torch.randn(64, 10), 20, 1)
    assert (paths[-1] - paths[0]).norm(dim=1).mean() > 0.1
    assert (potential(paths).diff(dim=0) <= 1e-5).all()


def test_a_step_repeats_to_the_last_bit():
    potential, z0, weights = steep(), torch.randn(70, 10), torch.randn(6, 70, 10)
    first, second = (pulled(potential, z0, weights, 6, 1) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_nan_is_told():
    z0 = torch.randn(3, 10)
    z0[1, 4] = torch.nan
    paths = sweep(steep(), z0, 3, 1)
    assert torch.isnan(paths[-1, 1]).all()
    assert torch.isfinite(paths[:, [0, 2]]).all()


def test_what_there_is_no_compiled_code_for():
    z0 = torch.zeros(2, 10)
    assert not can_sweep(Potential(10, activation="softplus"), z0)
    assert not can_sweep(Potential(10), z0.double())
    softplus = Potential(10, activation="softplus")
    assert walk_flow(softplus, z0, 5, ODEConfig(), 1).shape == (5, 2, 10)


def test_what_is_compiled_beforehand_is_what_training_calls():
    from celldyn.landscape.sweep_kernels import flow_back, flow_down

    compile_sweep()
    before = [len(kernel.signatures) for kernel in (flow_down, flow_back)]
    pulled(steep(), torch.randn(9, 10), torch.randn(5, 9, 10), 5, 2)
    assert [len(kernel.signatures) for kernel in (flow_down, flow_back)] == before


def test_kernels_wait_until_they_are_called():
    """Numba takes half a second to import: not for whoever only opens a result."""
    code = "import sys, celldyn.landscape.walk_sweep; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
