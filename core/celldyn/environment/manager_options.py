"""What a manager is made of: a trained environment, and what is other than in its training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from celldyn.environment.config import PolicyConfig, SpaceConfig
from celldyn.errors import ConfigError

if TYPE_CHECKING:
    from celldyn.environment.fitted import FittedEnvironment

Spatial: TypeAlias = bool | Sequence[int]
"""Which modalities are coordinates; False: those of the training, True: all that are told."""


def opened(
    fitted: FittedEnvironment | None,
    policy_fname: str | Path | None,
    preprocessing_fname: str | Path | None,
    mask_fname: str | Path | None,
    spatial: Spatial,
    heads: int | None,
) -> FittedEnvironment:
    """Return the environment that was given, or that of files.

    CellTRIP's files say neither how many heads there are nor what coordinates are.
    """
    if fitted is not None:
        return fitted
    if policy_fname is None:
        raise ConfigError(
            "the manager has no environment", "give policy_fname, or fitted= of a training"
        )
    from celldyn.environment.opening import open_policy

    known = () if isinstance(spatial, bool) else tuple(spatial)
    more = {} if heads is None else {"heads": heads}
    return open_policy(policy_fname, preprocessing_fname, mask_fname, spatial=known, **more)


def with_options(
    fitted: FittedEnvironment, policy: Mapping[str, Any], space: Mapping[str, Any]
) -> FittedEnvironment:
    """Return the environment with other options of policy and space; the given one stays."""
    if not policy and not space:
        return fitted
    fixed = {"dim": fitted.dim, "discrete": fitted.config.discrete}
    for given, known, what in ((policy, PolicyConfig, "policy_kwargs"),
                               (space, SpaceConfig, "env_kwargs")):  # fmt: skip
        for name, value in given.items():
            if name not in known.model_fields:
                raise ConfigError(
                    f"{name} is not known in {what}",
                    f"it takes {', '.join(known.model_fields)}",
                )
            if name in fixed and value != fixed[name]:
                raise ConfigError(
                    f"{name} is {fixed[name]} since the training, and {value!r} was given",
                    "leave it out",
                )
    config = fitted.config.replace(**policy, **space)
    if not policy:
        return replace(fitted, config=config)
    mover = copy.copy(fitted.policy)
    mover.config = config.policy
    return replace(fitted, config=config, policy=mover)


def counts_of(given: Mapping[str, Any]) -> bool:
    """Return whether told counts are brought back to their size, of `preprocessing_kwargs`."""
    for name in given:
        if name != "counts":
            raise ConfigError(
                f"{name} is not known in preprocessing_kwargs",
                "it takes counts; all else was settled by the training",
            )
    return bool(given.get("counts", False))
