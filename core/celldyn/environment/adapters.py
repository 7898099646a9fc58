"""The environment for other libraries' agents: PettingZoo's and TorchRL's, both optional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from celldyn.environment.config import EnvironmentConfig
from celldyn.environment.line_fit import LineFit
from celldyn.environment.networks import Pinning
from celldyn.environment.train import tissue_of
from celldyn.environment.world import World
from celldyn.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from celldyn.environment.gathering import TrainingData
    from celldyn.environment.pettingzoo_adapter import CellsParallelEnv
    from celldyn.environment.torchrl_adapter import CellsEnv

_REMEDY = 'run pip install "napari-celldyn[rl]"'


def to_pettingzoo(
    data: TrainingData,
    config: EnvironmentConfig | None = None,
    *,
    pinning: Sequence[Pinning] | None = None,
    seed: int = 0,
) -> CellsParallelEnv:
    """Return an environment with PettingZoo's parallel API.

    Parameters
    ----------
    data
        From `gather`; cells that are not trained on are not drawn.
    config
        Space, rewards, cells per episode; None for the defaults.
    pinning
        Trained networks, one per target, such as `fitted.pinning`, by which rewards are given;
        None fits a line of the episode's own cells at every step.
    seed
        Of the cells that are drawn, and of where they begin.

    Raises
    ------
    UnavailableError
        If PettingZoo is not installed.
    ConfigError
        If there is not one network per target, or networks of another space.
    """
    try:
        from celldyn.environment.pettingzoo_adapter import CellsParallelEnv
    except ImportError as error:
        raise UnavailableError("pettingzoo is not installed", _REMEDY) from error
    world = _world(data, config, 1, seed, "cpu")
    names = [name for name, kept in zip(data.obs_names, data.train, strict=True) if kept]
    return CellsParallelEnv(world, _told(world, pinning), names)


def to_torchrl(
    data: TrainingData,
    config: EnvironmentConfig | None = None,
    *,
    pinning: Sequence[Pinning] | None = None,
    n_environments: int = 1,
    seed: int = 0,
    device: str = "cpu",
) -> CellsEnv:
    """Return environments as TorchRL has them.

    Parameters
    ----------
    data, config, pinning, seed
        As `to_pettingzoo` takes them.
    n_environments
        How many side by side.
    device
        Where they are: "auto", "cpu", "cuda", ...

    Raises
    ------
    UnavailableError
        If TorchRL is not installed.
    ConfigError
        If there is not one network per target, or the device is not there.
    """
    from celldyn.devices import choose_device

    try:
        from celldyn.environment.torchrl_adapter import CellsEnv
    except ImportError as error:
        raise UnavailableError("torchrl is not installed", _REMEDY) from error
    if n_environments < 1:
        raise ConfigError(f"n_environments is {n_environments}", "give at least 1")
    world = _world(data, config, n_environments, seed, choose_device(device))
    return CellsEnv(world, _told(world, pinning))


def _world(
    data: TrainingData,
    config: EnvironmentConfig | None,
    n_environments: int,
    seed: int,
    device: torch.device | str,
) -> World:
    tissue = tissue_of(data).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    return World(tissue, config or EnvironmentConfig(), n_environments, generator)


def _told(world: World, pinning: Sequence[Pinning] | None) -> list[Any]:
    targets = world.tissue.targets
    if pinning is None:
        return [LineFit(world, k) for k in range(len(targets))]
    if [each.n_features for each in pinning] != [each.shape[1] for each in targets]:
        raise ConfigError(
            "the pinning networks are of other targets", "give those of a model of these data"
        )
    if any(each.dim != world.config.dim for each in pinning):
        raise ConfigError(
            f"the pinning networks are of another space than one of {world.config.dim} dimensions",
            "give the config of their model",
        )
    return [each.to(world.position.device).requires_grad_(False).eval() for each in pinning]  # noqa: FBT003
