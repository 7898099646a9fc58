"""One step of time: forces make velocities, velocities move cells.

Shapes: n cells, d dimensions; leading axes, such as environments, are free. Source:
specs/environment.md A (semi-implicit Euler; the order of what happens matters).
"""

from __future__ import annotations

import torch
from torch import Tensor

from celldyn.environment.config import SpaceConfig
from celldyn.errors import DataError


def step(
    position: Tensor, velocity: Tensor, action: Tensor, config: SpaceConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Move cells by one step of `config.delta` seconds.

    Parameters
    ----------
    position, velocity
        (..., n, d).
    action
        (..., n, d) forces; where `config.discrete`, 0, 1 or 2 for a push back, none, or forth.
    config
        Bounds, friction and time step.

    Returns
    -------
    Position and velocity after it, (..., n, d), and which cells met the end of space, (..., n).

    Raises
    ------
    DataError
        If shapes differ, or an action is not finite.
    """
    if not position.shape == velocity.shape == action.shape:
        raise DataError(
            f"positions are {tuple(position.shape)}, velocities {tuple(velocity.shape)} and "
            f"actions {tuple(action.shape)}",
            "give one of each per cell and dimension",
        )
    if not bool(torch.isfinite(action).all()):
        raise DataError("an action is not finite", "look at the policy, or at what cells see")
    return moved(position, velocity, action, config)


def moved(
    position: Tensor, velocity: Tensor, action: Tensor, config: SpaceConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Do what `step` does without looking at what is given."""
    force = _force(action, config)
    velocity = torch.add(velocity, force, alpha=config.delta)
    if config.friction_force:
        velocity = _slowed(velocity, config)
    velocity = _bounded(velocity, config.vel_bound, config)
    position = torch.add(position, velocity, alpha=config.delta)
    if config.pos_bound is None:
        return position, velocity, position.new_zeros(position.shape[:-1], dtype=torch.bool)
    if config.spherical:
        out = position.norm(dim=-1) > config.pos_bound
    else:
        out = (position.abs() >= config.pos_bound).any(-1)
    position = torch.where(out[..., None], _bounded(position, config.pos_bound, config), position)
    return position, velocity.masked_fill(out[..., None], 0.0), out


def _force(action: Tensor, config: SpaceConfig) -> Tensor:
    if config.discrete:
        return config.discrete_force * (action - 1)
    return action if config.force_bound is None else _bounded(action, config.force_bound, config)


def _slowed(velocity: Tensor, config: SpaceConfig) -> Tensor:
    lost = config.delta * config.friction_force
    if config.spherical:
        speed: Tensor = velocity.norm(dim=-1, keepdim=True)
        return velocity * ((speed - lost).clamp_min(0) / (speed + config.epsilon))
    return torch.nn.functional.softshrink(velocity, lost)


def _bounded(vector: Tensor, bound: float, config: SpaceConfig) -> Tensor:
    """Cut every dimension, or the length where space is spherical."""
    if not config.spherical:
        return vector.clamp(-bound, bound)
    length: Tensor = vector.norm(dim=-1, keepdim=True)
    return vector * (bound / length.clamp_min(config.epsilon)).clamp_max(1.0)


def start(
    shape: tuple[int, ...],
    config: SpaceConfig,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Draw where cells are at the beginning, and how fast.

    Parameters
    ----------
    shape
        (..., n, d).
    generator
        Of the same device.

    Returns
    -------
    Position and velocity, of that shape; velocities are within `config.vel_bound`.
    """

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=device)

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=generator, device=device)

    def draw(scale: float) -> Tensor:
        if not config.spherical:
            return scale * (2 * uniform(*shape) - 1 if config.uniform_bounds else normal(*shape))
        direction = normal(*shape)
        direction /= direction.norm(dim=-1, keepdim=True).clamp_min(config.epsilon)
        length = uniform if config.uniform_bounds else normal
        return scale * direction * length(*shape[:-1], 1)

    position, velocity = draw(config.pos_rand_bound), draw(config.vel_rand_bound)
    return position, _bounded(velocity, config.vel_bound, config)
