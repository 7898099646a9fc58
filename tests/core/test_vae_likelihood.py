"""The Gamma-Poisson beside scipy, Pyro and its own definition, from tiny to huge parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from celldyn.vae.likelihood import gamma_poisson_log_prob, value_and_slopes

COUNTS = [0.0, 1.0, 2.0, 5.0, 16.0, 17.0, 100.0, 1e3, 1e5]
MEANS = [1e-20, 1e-6, 0.3, 1.0, 20.0, 1e3, 1e5]
DISPERSIONS = [1e-8, 1e-3, 0.1, 1.0, 9.0, 15.9, 16.1, 300.0]


def grid(dtype, dispersions=DISPERSIONS):
    x, mu, theta = np.array(list(itertools.product(COUNTS, MEANS, dispersions))).T
    return tuple(torch.tensor(part, dtype=dtype) for part in (x, mu, theta))


def test_as_scipy():
    x, mu, theta = grid(torch.float64)
    # Elsewhere scipy itself cancels.
    fine = (mu > 1e-3) & (theta > 1e-3)
    x, mu, theta = x[fine], mu[fine], theta[fine]
    truth = stats.nbinom.logpmf(x, theta, theta / (theta + mu))
    np.testing.assert_allclose(gamma_poisson_log_prob(x, mu, theta), truth, rtol=1e-9, atol=1e-9)


def test_as_pyro():
    pyro = pytest.importorskip("pyro.distributions")
    generator = torch.Generator().manual_seed(0)
    mu = torch.rand(50, 1, generator=generator, dtype=torch.float64) * 30
    theta = torch.rand(40, generator=generator, dtype=torch.float64) * 10 + 0.1
    x = torch.poisson(mu.expand(50, 40), generator=generator)
    truth = pyro.GammaPoisson(theta, theta / mu).log_prob(x)
    found = gamma_poisson_log_prob(x, mu, theta)
    torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-10)


def test_probabilities_sum_to_one():
    x = torch.arange(4000, dtype=torch.float64)
    for mu, theta in itertools.product((0.01, 3.0, 50.0), (0.3, 5.0, 1e9)):
        log_prob = gamma_poisson_log_prob(x, torch.tensor(mu), torch.tensor(theta).double())
        assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("theta", [1e15, 1e30, np.inf])
def test_without_overdispersion_it_is_poisson(theta):
    x, mu, _ = (part.numpy() for part in grid(torch.float64, [1.0]))
    truth = stats.poisson.logpmf(x, mu)
    found = gamma_poisson_log_prob(*map(torch.tensor, (x, mu)), torch.tensor(theta).double())
    np.testing.assert_allclose(found, truth, rtol=1e-9, atol=1e-4 if theta == 1e15 else 1e-8)


def test_single_precision_is_enough_everywhere():
    """Where Γ-functions of large numbers cancel, float32 by the textbook is wrong by thousands."""
    x, mu, theta = grid(torch.float32, [*DISPERSIONS, 1e5, 1e8])
    truth = gamma_poisson_log_prob(x.double(), mu.double(), theta.double())
    error = (gamma_poisson_log_prob(x, mu, theta) - truth).abs() / truth.abs().clamp(min=1)
    assert error.max() < 2e-6
    textbook = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    textbook = textbook - theta * torch.log1p(mu / theta) - x * torch.log1p(theta / mu)
    assert ((textbook - truth).abs() / truth.abs().clamp(min=1)).max() > 1


def test_slopes_are_those_of_the_definition():
    x, mu, theta = grid(torch.float64)
    fine = (mu > 1e-4) & (x < 1e4)
    x, mu, theta = x[fine], mu[fine].requires_grad_(), theta[fine].requires_grad_()
    definition = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    definition = definition - theta * torch.log1p(mu / theta) - x * torch.log1p(theta / mu)
    by_mu, by_theta = torch.autograd.grad(definition.sum(), [mu, theta])
    found = torch.autograd.grad(gamma_poisson_log_prob(x, mu, theta).sum(), [mu, theta])
    torch.testing.assert_close(found[0], by_mu, rtol=1e-8, atol=1e-8)
    # On the scale of log θ, since 1/θ − 1/θ cancels in the definition.
    torch.testing.assert_close(
        found[1] * theta.detach(), by_theta * theta.detach(), rtol=1e-8, atol=1e-9
    )


def test_slope_towards_poisson_keeps_its_digits():
    """d/dθ → (x − (x − μ)²) / (2 θ²) for large θ, where differences of digammas are rounding."""
    x, mu, theta = torch.tensor([0.0, 3.0, 7.0]), torch.tensor(2.0), torch.tensor(1e4)
    theta.requires_grad_()
    for one in x:
        (slope,) = torch.autograd.grad(gamma_poisson_log_prob(one, mu, theta), theta)
        expected = (one - (one - mu) ** 2) / (2 * 1e8)
        assert slope.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_apart_are_as_they_are_together(dtype):
    """On a CPU, Γ is only asked for where there are counts."""
    x, mu, theta = grid(dtype)
    apart = value_and_slopes(x, mu, theta, apart=True)
    together = value_and_slopes(x, mu, theta, apart=False)
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_are_finite(dtype):
    edge = torch.tensor([0.0, 1e-45, 1e-30, 1.0, 1e30, np.inf], dtype=dtype)
    x = torch.tensor([0.0, 1.0, 1e5], dtype=dtype)[:, None, None]
    mu, theta = edge[:5, None].clone().requires_grad_(), edge.clone().requires_grad_()
    log_prob = gamma_poisson_log_prob(x, mu, theta)
    assert torch.isfinite(log_prob).all()
    assert (log_prob[0, 0] > -1e-20).all()
    assert (log_prob[0, :2, 3] == log_prob[0, 2, 3]).all()
    for slope in torch.autograd.grad(log_prob.sum(), [mu, theta]):
        assert not torch.isnan(slope).any()


def test_shapes_and_precision():
    x, mu = torch.ones(3, 1, 4, dtype=torch.int64), torch.ones(2, 1, requires_grad=True)
    theta = torch.ones(4, dtype=torch.float64, requires_grad=True)
    log_prob = gamma_poisson_log_prob(x, mu, theta)
    assert log_prob.shape == (3, 2, 4)
    assert log_prob.dtype == torch.float64
    by_mu, by_theta = torch.autograd.grad(log_prob.sum(), [mu, theta])
    assert (by_mu.shape, by_mu.dtype) == (mu.shape, torch.float32)
    assert (by_theta.shape, by_theta.dtype) == (theta.shape, torch.float64)
    assert gamma_poisson_log_prob(x, mu.bfloat16(), mu.bfloat16()).dtype == torch.float32
