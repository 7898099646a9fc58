"""The rotation and translation that bring points nearest to others (Kabsch 1976).

Shapes: n points, d dimensions, any leading axes. Points are rows: aligned = source @ R + t.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.errors import DataError

Points = TypeVar("Points", Tensor, NDArray[Any])


def rigid_alignment(
    source: Points,
    target: Points,
    *,
    reflection: bool = False,
    mask: Tensor | NDArray[np.bool_] | None = None,
) -> tuple[Points, Points]:
    """Return R and t with the least Σ|source @ R + t − target|².

    Parameters
    ----------
    source, target
        (..., n, d) points; torch tensors or arrays.
    reflection
        Whether R may mirror. A tissue section has a right side, so by default it may not
        (specs/environment.md D1.21).
    mask
        (..., n) which points count; None for all. What the others are does not matter, as long as
        it is finite.

    Returns
    -------
    R, (..., d, d) with determinant 1 (or −1, where it may mirror), and t, (..., 1, d); of the kind
    and type that were given. Points that do not determine R (all equal, one point) give a rotation
    that is as good as any.

    Raises
    ------
    DataError
        If the shapes differ, or there is no point.
    """
    if source.shape != target.shape or source.ndim < 2 or 0 in source.shape:
        raise DataError(
            f"points of shape {tuple(source.shape)} cannot be brought onto {tuple(target.shape)}",
            "give as many points of as many dimensions, at least one",
        )
    if isinstance(source, np.ndarray):
        given = torch.as_tensor(np.asarray(source, np.float64))
        rotation, shift = rigid_alignment(
            given,
            torch.as_tensor(np.asarray(target, np.float64)),
            reflection=reflection,
            mask=None if mask is None else torch.as_tensor(mask),
        )
        kind = np.result_type(source.dtype, np.float32)
        return rotation.numpy().astype(kind), shift.numpy().astype(kind)
    return _aligned(source, target, None if mask is None else torch.as_tensor(mask), reflection)


def _aligned(
    source: Tensor,
    target: Tensor,
    mask: Tensor | None,
    reflection: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor]:
    if mask is None:
        middle, aim = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
        covariance = (source - middle).mT @ (target - aim)
    else:
        weight = mask.to(source.dtype)[..., None]
        total = weight.sum(-2, keepdim=True).clamp_min(1.0)
        middle = (weight * source).sum(-2, keepdim=True) / total
        aim = (weight * target).sum(-2, keepdim=True) / total
        covariance = (weight * (source - middle)).mT @ (target - aim)
    rotate = _in_plane if source.shape[-1] == 2 else _by_svd
    rotation = rotate(covariance, reflection)
    return rotation, aim - middle @ rotation


def _in_plane(covariance: Tensor, reflection: bool) -> Tensor:  # noqa: FBT001
    """Return R of 2 × 2 covariances, in closed form: no call of LAPACK per episode and step."""
    a, b = covariance[..., 0, 0], covariance[..., 0, 1]
    c, d = covariance[..., 1, 0], covariance[..., 1, 1]
    turn = _rotation(a + d, b - c, 1.0)
    if not reflection:
        return turn
    mirror = _rotation(a - d, b + c, -1.0)
    better = torch.hypot(a - d, b + c) > torch.hypot(a + d, b - c)
    return torch.where(better[..., None, None], mirror, turn)


def _rotation(along: Tensor, across: Tensor, sign: float) -> Tensor:
    """Return [[cos, sin], [−sin, cos]], or its mirror image, of the angle of (along, across)."""
    angle = torch.atan2(across, along)
    cos, sin = torch.cos(angle), torch.sin(angle)
    first = torch.stack([cos, sin], -1)
    second = torch.stack([-sign * sin, sign * cos], -1)
    return torch.stack([first, second], -2)


def _by_svd(covariance: Tensor, reflection: bool) -> Tensor:  # noqa: FBT001
    left, _, right = torch.linalg.svd(covariance)
    if not reflection:
        sign = torch.linalg.det(left @ right).sign()
        left = torch.cat([left[..., :-1], left[..., -1:] * sign[..., None, None]], -1)
    rotation: Tensor = left @ right
    return rotation
