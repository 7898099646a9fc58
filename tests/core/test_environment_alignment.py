"""Rigid alignment: what was turned is turned back, masks and batches, mirrors only where asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from celldyn.environment import rigid_alignment
from celldyn.errors import DataError


def turned(points, seed, *, mirror=False):
    d = points.shape[-1]
    R, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    if (np.linalg.det(R) < 0) != mirror:
        R[:, 0] *= -1
    return points @ R + np.arange(1.0, d + 1), R


@pytest.mark.parametrize("d", [2, 3, 5])
@pytest.mark.parametrize("mirror", [False, True])
def test_what_was_turned_and_moved_is_brought_back(d, mirror):
    source = np.random.default_rng(0).normal(size=(40, d))
    target, R = turned(source, d, mirror=mirror)
    found, t = rigid_alignment(source, target, reflection=True)
    np.testing.assert_allclose(found, R, atol=1e-10)
    np.testing.assert_allclose(source @ found + t, target, atol=1e-10)
    proper, t = rigid_alignment(source, target)
    assert np.linalg.det(proper) == pytest.approx(1)
    missed = np.abs(source @ proper + t - target).max()
    assert missed > 0.1 if mirror else missed < 1e-10


def test_a_quarter_turn_by_hand():
    source = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    target = np.array([[2.0, 4.0], [1.0, 3.0], [2.0, 3.0]])
    R, t = rigid_alignment(source, target)
    np.testing.assert_allclose(R, [[0, 1], [-1, 0]], atol=1e-12)
    np.testing.assert_allclose(t, [[2, 3]], atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_closed_form_in_the_plane_is_that_of_the_svd(seed, reflection):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, 9, 2))
    R, t = rigid_alignment(source, target, reflection=reflection)
    left, _, right = np.linalg.svd((source - source.mean(0)).T @ (target - target.mean(0)))
    sign = 1.0 if reflection else np.sign(np.linalg.det(left @ right))
    np.testing.assert_allclose(R, left @ np.diag([1, sign]) @ right, atol=1e-9)
    best = np.square(source @ R + t - target).sum()
    for _ in range(20):  # no other rotation and shift does better
        other, _shift = turned(source, rng.integers(1 << 30))
        other = other - other.mean(0) + target.mean(0)
        assert best <= np.square(other - target).sum() + 1e-9


def test_batches_and_masks_are_each_episode_alone():
    rng = np.random.default_rng(2)
    source, target = torch.tensor(rng.normal(size=(2, 4, 3, 12, 2)), dtype=torch.float32)
    n = torch.randint(3, 13, (4, 3), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(12) < n[..., None]
    R, t = rigid_alignment(source, target, mask=mask)
    assert R.shape == (4, 3, 2, 2)
    assert t.shape == (4, 3, 1, 2)
    assert R.dtype == torch.float32
    for b in np.ndindex(4, 3):
        few = slice(0, int(n[b]))
        alone, shift = rigid_alignment(source[b][few], target[b][few])
        torch.testing.assert_close(R[b], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(t[b], shift, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("d", [2, 3])
def test_points_that_determine_no_rotation_give_one(d):
    same = np.ones((5, d))
    for source, target in ((same, same + 1), (same[:1], same[:1])):
        R, t = rigid_alignment(source, target)
        np.testing.assert_allclose(R @ R.T, np.eye(d), atol=1e-12)
        assert np.linalg.det(R) == pytest.approx(1)
        np.testing.assert_allclose(source @ R + t, target, atol=1e-12)


def test_kind_and_type_are_kept_and_wrong_shapes_refused():
    points = np.zeros((3, 2), np.float32)
    R, t = rigid_alignment(points, points)
    assert R.dtype == t.dtype == np.float32
    for other in (np.zeros((4, 2)), np.zeros((3, 3)), np.zeros(3)):
        with pytest.raises(DataError, match="cannot be brought onto"):
            rigid_alignment(points, other)
    with pytest.raises(DataError):
        rigid_alignment(points[:0], points[:0])
