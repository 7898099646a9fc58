"""Transitions downhill: the dense equation, detailed balance, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from landscape_cases import ring

from celldyn.errors import ConfigError, DataError
from celldyn.landscape import boltzmann_transitions

N = 50


@pytest.fixture
def potential():
    return np.random.default_rng(2).gamma(2.0, size=N)


@pytest.mark.parametrize("beta", [0.0, 1.0, 3.0])
def test_it_is_the_dense_equation(potential, beta):
    graph = ring(N, reach=4)
    found = boltzmann_transitions(graph, potential, beta=beta)
    weight = (graph.toarray() > 0) * np.exp(-beta * (potential[None, :] - potential[:, None]))
    expected = weight / weight.sum(axis=1, keepdims=True)
    assert found.format == "csr"
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-14)


def test_the_chain_is_reversible_with_the_density_of_boltzmann(potential):
    graph = ring(N, reach=4)
    found = boltzmann_transitions(graph, potential).toarray()
    around = (graph.toarray() > 0) @ np.exp(-potential)
    density = np.exp(-potential) * around
    density /= density.sum()
    flux = density[:, None] * found
    np.testing.assert_allclose(flux, flux.T, atol=1e-15)
    np.testing.assert_allclose(density @ found, density, atol=1e-15)


@pytest.mark.parametrize("offset", [1e5, -1e5])
def test_only_differences_of_the_potential_matter(potential, offset):
    graph = ring(N)
    found = boltzmann_transitions(graph, potential + offset)
    expected = boltzmann_transitions(graph, potential)
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-9)


def test_values_of_a_graph_of_torch_are_taken_as_numbers(potential):
    values = torch.tensor(potential, requires_grad=True)
    found, expected = (boltzmann_transitions(ring(N), v) for v in (values, potential))
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_high_walls_do_not_overflow():
    found = boltzmann_transitions(ring(N), np.linspace(0, 1e6, N))
    assert np.isfinite(found.data).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_what_cannot_serve_is_refused(potential):
    with pytest.raises(DataError, match="potential is 49 for 50 cells"):
        boltzmann_transitions(ring(N), potential[:-1])
    potential[7] = np.nan
    with pytest.raises(DataError, match="1 cell is without a finite potential"):
        boltzmann_transitions(ring(N), potential)
    with pytest.raises(DataError, match="2 cells are without a neighbour"):
        boltzmann_transitions(np.zeros((2, 2)), [0.0, 1.0])
    with pytest.raises(ConfigError, match="beta is -1"):
        boltzmann_transitions(ring(N), np.zeros(N), beta=-1)
