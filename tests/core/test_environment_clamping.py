"""Clamps: the maths of 'pre', 'post' and 'action', from the equations of the page."""

from __future__ import annotations

import math

import pytest
import torch

from celldyn.environment.clamping import clamped_offset, gain, pull_gain, push, put_gain

LAMBDA = 0.19
"""What one gene of the page's example has on ten components."""


def one_gene(length=LAMBDA, n_features=10):
    basis = torch.zeros(1, n_features)
    basis[0, 3] = math.sqrt(length) * 0.6
    basis[0, 7] = math.sqrt(length) * 0.8
    return basis


def genes(g=3, n_features=8, seed=0):
    """Columns of orthonormal components: eigenvalues of A Aᵀ are within 1."""
    q, _ = torch.linalg.qr(
        torch.randn(20, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )
    return q[:n_features, :g].T.contiguous()


def test_pre_misses_fall_as_on_the_page():
    basis, target = one_gene(), torch.tensor([[0.0]])
    modality = torch.zeros(1, 10)
    modality[0] = 2.2 * basis[0] / LAMBDA  # z Aᵀ = 2.2
    offset = torch.zeros(1, 10)
    misses = [float(modality @ basis.T)]
    for _ in range(4):
        offset = clamped_offset(modality, offset, basis, target, pull_gain(basis, 0.1))
        misses.append(float((modality + offset) @ basis.T))
    expected = [2.2 * (1 - LAMBDA) ** k for k in range(5)]
    assert misses == pytest.approx(expected, rel=1e-5)


def test_pre_of_a_step_of_a_tenth_is_the_references_for_several_genes():
    basis = genes()
    z = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    found = clamped_offset(z, torch.zeros_like(z), basis, t, pull_gain(basis, 0.1))
    torch.testing.assert_close(found, -(z @ basis.T - t) @ basis)


@pytest.mark.parametrize("parts", [2, 5])
def test_pre_does_in_several_short_steps_what_it_does_in_one(parts):
    basis = genes()
    z = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    whole = clamped_offset(z, torch.zeros_like(z), basis, t, pull_gain(basis, 0.2))
    offset = torch.zeros_like(z)
    for _ in range(parts):
        offset = clamped_offset(z, offset, basis, t, pull_gain(basis, 0.2 / parts))
    torch.testing.assert_close(offset, whole)


def test_without_components_pre_puts_a_feature_there_at_once():
    basis = torch.eye(4)[1:2]
    z = torch.arange(8.0).view(2, 4)
    offset = clamped_offset(z, torch.zeros(2, 4), basis, torch.tensor([[9.0]]),
                            pull_gain(basis, 0.01))  # fmt: skip
    assert (z + offset).tolist() == [[0, 9, 2, 3], [4, 9, 6, 7]]


def test_post_is_the_shortest_change_that_reaches_the_targets():
    basis = genes()
    z = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    t = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    offset = clamped_offset(z, torch.zeros_like(z), basis, t, put_gain(basis))
    torch.testing.assert_close((z + offset) @ basis.T, t.expand(5, 3))
    by_hand = -(z @ basis.T - t) @ torch.linalg.inv(basis @ basis.T) @ basis
    torch.testing.assert_close(offset, by_hand)
    again = clamped_offset(z, offset, basis, t, put_gain(basis))
    torch.testing.assert_close(again, offset)


def test_genes_that_say_the_same_do_not_break_post():
    basis = torch.cat([one_gene(), one_gene()])
    z = torch.ones(2, 10)
    offset = clamped_offset(z, torch.zeros(2, 10), basis, torch.zeros(1, 2), put_gain(basis))
    assert torch.isfinite(offset).all()
    torch.testing.assert_close((z + offset) @ basis.T, torch.zeros(2, 2), atol=1e-5, rtol=0)


def test_an_offset_that_is_there_counts_as_seen():
    basis, before = genes(), torch.randn(3, 8, dtype=torch.float64)
    z, t = torch.zeros(3, 8, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    found = clamped_offset(z, before, basis, t, gain("post", basis, 0.1))
    torch.testing.assert_close(found @ basis.T, torch.zeros(3, 3, dtype=torch.float64))


def linear(weight):
    return lambda x: x @ weight.T


def test_push_of_one_cell_by_hand():
    # rho(x) = x on one dimension, held at 1: x' = 0 + .1·2 + .01·3 = .23, g = 2 (.23 − 1) = −1.54.
    x, v, a = torch.tensor([[0.0]]), torch.tensor([[2.0]]), torch.tensor([[3.0]])
    found = push(x, v, a, linear(torch.eye(1)), torch.eye(1), torch.ones(1, 1),
                 factor=2.0, delta=0.1)  # fmt: skip
    assert float(found) == pytest.approx(3.0 + 2.0 * 0.1 * 1.54 / (1.54**2 + 1e-8), rel=1e-5)


def test_a_push_does_not_depend_on_how_many_cells_there_are():
    gen = torch.Generator().manual_seed(0)
    x, v, a = (torch.randn(4, 3, generator=gen) for _ in range(3))
    weight, basis, target = torch.randn(6, 3, generator=gen), torch.eye(6)[:1], torch.ones(1, 1)
    once = push(x, v, a, linear(weight), basis, target, factor=1.0, delta=0.1)
    twice = push(*(torch.cat([m, m]) for m in (x, v, a)), linear(weight), basis, target,
                 factor=1.0, delta=0.1)  # fmt: skip
    torch.testing.assert_close(twice[:4], once)
    assert (once != a).any()


def test_a_push_leaves_other_cells_alone_and_environments_apart():
    gen = torch.Generator().manual_seed(0)
    x, v, a = (torch.randn(2, 4, 3, generator=gen) for _ in range(3))
    weight, basis, target = torch.randn(6, 3, generator=gen), torch.eye(6)[:1], torch.ones(1, 1)
    cells = torch.tensor([True, False, True, False])
    more = {"factor": 1.0, "delta": 0.1, "cells": cells}
    both = push(x, v, a, linear(weight), basis, target, **more)
    assert torch.equal(both[:, ~cells], a[:, ~cells])
    assert (both[:, cells] != a[:, cells]).any()
    alone = push(x[1], v[1], a[1], linear(weight), basis, target, **more)
    torch.testing.assert_close(both[1], alone)


def test_a_push_lowers_the_miss():
    x, v, a = torch.zeros(3, 2), torch.zeros(3, 2), torch.zeros(3, 2)
    told = linear(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    basis, target = torch.eye(2)[:1], torch.tensor([[1.0]])
    for _ in range(5):
        act = push(x, v, a, told, basis, target, factor=0.5, delta=0.1)
        v = v + 0.1 * act
        x = x + 0.1 * v
    assert (x[:, 0] > 0).all()
    assert (x[:, 1] == 0).all()
