"""The potential: its equation, its derivatives, that it stays finite far out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from celldyn.errors import ConfigError
from celldyn.landscape import Potential
from celldyn.landscape.potential import log_cosh

ACTIVATIONS = ["logcosh", "relu", "softplus", "identity"]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def made(activation="logcosh", hidden=(7, 5), d=3, **options):
    potential = Potential(d, hidden, activation, **options).double()
    with torch.no_grad():
        potential.gamma.fill_(0.7)
    return potential


def states(n=11, d=3, scale=2.0):
    return scale * torch.randn(n, d, dtype=torch.float64)


def test_it_is_the_equation_of_the_page():
    potential, z = Potential(4, (6, 5)).double(), states(9, 4)
    with torch.no_grad():
        potential.gamma.fill_(-0.3)
    weights = [w.detach().numpy() for w in potential.parameters()]
    _, W1, b1, W2, b2, w3, b3 = sorted(weights, key=lambda w: w.ndim == 0, reverse=True)

    def lc(a):
        return np.log(np.cosh(a))

    h1 = lc(z.numpy() @ W1.T + b1)
    a3 = lc(h1 @ W2.T + b2) @ w3.T + b3
    expected = 1 / (1 + np.exp(0.3)) * lc(a3[:, 0])
    np.testing.assert_allclose(potential(z).detach().numpy(), expected, rtol=1e-12)


def test_it_has_the_parameters_of_sclsd_without_the_dead_ones():
    assert sum(p.numel() for p in Potential(10).parameters()) == 1453 - 11
    assert Potential(10).gamma.item() == 0.0
    assert Potential(10).z_dim == 10


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(8,), (7, 5), (6, 5, 4)])
@pytest.mark.parametrize("confinement", [0.0, 0.3])
def test_the_gradient_is_that_of_autograd(activation, hidden, confinement):
    potential, z = made(activation, hidden, confinement=confinement), states().requires_grad_()
    (expected,) = torch.autograd.grad(potential(z).sum(), z)
    torch.testing.assert_close(potential.gradient(z), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["logcosh", "softplus", "relu", "identity"])
@pytest.mark.parametrize("confinement", [0.0, 0.3])
def test_the_hessian_is_that_of_autograd(activation, confinement):
    potential, z = made(activation, confinement=confinement), states()
    expected = torch.stack(
        [torch.autograd.functional.hessian(lambda x: potential(x[None]).sum(), one) for one in z]
    )
    torch.testing.assert_close(potential.hessian(z), expected, rtol=1e-10, atol=1e-12)
    largest = torch.linalg.eigvalsh(expected)[:, -1]
    torch.testing.assert_close(
        potential.hessian_max_eigenvalue(z), largest, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("activation", ["logcosh", "softplus"])
def test_parameters_learn_through_the_gradient(activation):
    potential, z = made(activation), states().requires_grad_()
    weights = [*potential.parameters(), z]
    aim = torch.randn(11, 3, dtype=torch.float64)
    (by_autograd,) = torch.autograd.grad(potential(z).sum(), z, create_graph=True)
    expected = torch.autograd.grad((by_autograd * aim).sum(), weights, allow_unused=True)
    found = torch.autograd.grad((potential.gradient(z) * aim).sum(), weights, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        one = torch.zeros(()) if one is None else one
        other = torch.zeros_like(one) if other is None else other
        torch.testing.assert_close(one, other.to(one), rtol=1e-9, atol=1e-12)


def test_second_derivatives_hold_at_zero():
    a = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(log_cosh, (a,))
    slope = torch.autograd.grad(log_cosh(a).sum(), a, create_graph=True)[0]
    torch.testing.assert_close(
        torch.autograd.grad(slope.sum(), a)[0], torch.ones(3, dtype=torch.float64)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 89.0, 1e4, 1e30])
def test_log_cosh_is_exact_and_finite(size, dtype):
    a = torch.tensor([size, -size], dtype=dtype, requires_grad=True)
    found = log_cosh(a)
    expected = np.logaddexp(size, -size) - math.log(2)
    tolerance = 1e-7 if dtype == torch.float32 else 1e-15
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=2e-7, atol=tolerance)
    slope = torch.autograd.grad(found.sum(), a, create_graph=True)[0]
    bend = torch.autograd.grad(slope.sum(), a)[0]
    assert torch.isfinite(torch.stack([found, slope, bend])).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_is_nan_far_out(activation):
    potential = Potential(5, (16, 16), activation)
    for distance in (0.0, 1.0, 1e4):
        z = distance * torch.randn(50, 5)
        for values in (potential(z), potential.gradient(z), potential.hessian(z)):
            assert torch.isfinite(values).all()


@pytest.mark.parametrize("activation", ["logcosh", "relu", "softplus"])
def test_it_is_never_below_zero(activation):
    assert (made(activation)(states(500, scale=30.0)) >= 0).all()


def test_far_out_it_grows_linearly_and_confined_it_grows_as_a_bowl():
    potential, z = made(), states()
    ratio = potential(2e4 * z) / potential(1e4 * z)
    assert (ratio < 2.01).all()
    confined = made(confinement=0.5)
    confined.load_state_dict(potential.state_dict())
    torch.testing.assert_close(confined(z), potential(z) + 0.25 * z.square().sum(1))


def test_the_last_dimension_is_the_state():
    potential, z = made(), states(12).reshape(3, 4, 3)
    assert potential(z).shape == (3, 4)
    assert potential.gradient(z).shape == (3, 4, 3)
    torch.testing.assert_close(potential(z).ravel(), potential(z.reshape(12, 3)))
    assert potential.hessian_max_eigenvalue(z[0, :0]).shape == (0,)


def test_curvatures_are_computed_block_by_block(monkeypatch):
    potential, z = made(), states(40)
    whole = potential.hessian_max_eigenvalue(z)
    monkeypatch.setattr("celldyn.landscape.potential._HESSIAN_VALUES", 100)
    torch.testing.assert_close(potential.hessian_max_eigenvalue(z), whole)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0,), "a potential of 0 dimensions"),
        ((3, ()), r"hidden layers \(\)"),
        ((3, 32), "hidden layers 32; give"),
        ((2.5,), "a potential of 2.5 dimensions"),
        ((3, (8, 0)), "layers of 1 or more units"),
        ((3, (8,), "tanh"), "activation 'tanh' is not known; use logcosh, relu"),
    ],
)
def test_what_is_no_potential_is_refused(arguments, says):
    with pytest.raises(ConfigError, match=says):
        Potential(*arguments)
    with pytest.raises(ConfigError, match="confinement is -1"):
        Potential(3, confinement=-1)
