"""What a flow is asked for, checked: the scheme, the states, the times."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, TypeAlias, cast, get_args

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from celldyn.errors import ConfigError, DataError
from celldyn.landscape.potential import Landscape

Method: TypeAlias = Literal["rk4", "dopri5", "heun", "euler"]


def check_scheme(method: str, sigma: float, seed: int | None, substeps: int | None) -> Method:
    """Return the scheme that is meant."""
    if method not in get_args(Method):
        raise ConfigError(f"method {method!r} is not known", f"use {', '.join(get_args(Method))}")
    if not 0 <= sigma < math.inf:
        raise ConfigError(f"sigma is {sigma}", "give 0 or more")
    if substeps is not None and substeps < 1:
        raise ConfigError(f"substeps is {substeps}", "give 1 or more, or leave it out")
    if sigma and seed is None:
        raise ConfigError("a path with noise was asked for without a seed", "give a seed")
    if sigma and method == "dopri5":
        raise ConfigError("dopri5 cannot integrate noise", "use rk4, heun or euler")
    if sigma and method == "rk4":
        return "heun"
    return cast("Method", method)


def as_states(potential: Landscape, z0: Tensor | ArrayLike) -> Tensor:
    """Return z0 as a tensor like the potential's parameters."""
    z = _as_tensor(z0, "states")
    like = next(parameters_of(potential), z if z.is_floating_point() else torch.empty(0))
    z = z.to(dtype=like.dtype, device=like.device)
    width = getattr(potential, "z_dim", z.shape[-1] if z.ndim else 0)
    if z.ndim != 2 or z.shape[1] != width:
        raise DataError(
            f"states are of shape {tuple(z.shape)}", f"give one row of {width} numbers per cell"
        )
    if not torch.isfinite(z).all():
        raise DataError("states are not finite", "look at the encoder that gave them")
    return z


def _as_tensor(values: Tensor | ArrayLike, what: str) -> Tensor:
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"{what} are not numbers", "give numbers in rows alike") from None


def as_times(times: Tensor | ArrayLike) -> list[float]:
    """Return times that increase."""
    at = _as_tensor(times, "times").detach().cpu().double()
    if at.ndim != 1 or not at.numel() or not torch.isfinite(at).all() or (at.diff() <= 0).any():
        raise DataError("times do not increase", "give one time or more, from early to late")
    return cast("list[float]", at.tolist())


def on_device_of(z: Tensor, times: list[float]) -> Tensor:
    """Return times as a tensor of the states' dtype and device."""
    return torch.tensor(times, dtype=z.dtype, device=z.device)


def parameters_of(potential: Landscape) -> Iterator[Tensor]:
    """Return what a potential learns, if it is a module."""
    return potential.parameters() if isinstance(potential, torch.nn.Module) else iter(())


def learns(potential: Landscape, z: Tensor) -> bool:
    """Whether anything asks for a gradient."""
    return z.requires_grad or any(p.requires_grad for p in parameters_of(potential))
