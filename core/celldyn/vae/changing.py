"""Cells taken to be of another batch, protocol or donor than they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch

from celldyn.data.words import listed
from celldyn.errors import ConfigError
from celldyn.vae.inputs import Batch, Groups, VAEInputs

Change: TypeAlias = Mapping[str, str]
"""Which category each cell is taken to have, by key."""


def changed(batch: Batch, inputs: VAEInputs, change: Change) -> Batch:
    """Return a block whose cells are taken to have other categories of some keys."""
    changes: dict[str, Any] = {}
    for part in ("ambient", "scaling", "conditioning"):
        keys: tuple[Groups, ...] = getattr(inputs, part)
        codes, start = getattr(batch, part), 0
        for k, groups in enumerate(keys):
            if groups.key in change:
                codes = codes.clone()
                codes[:, k] = start + groups.names.index(change[groups.key])
            start += len(groups)
        changes[part] = codes
    for part in ("dispersion", "library", "batch"):
        only: Groups | None = getattr(inputs, part)
        if only is not None and only.key in change:
            changes[part] = torch.full_like(
                getattr(batch, part), only.names.index(change[only.key])
            )
    return replace(batch, **changes)


def change_of(
    inputs: VAEInputs, wanted: str | Mapping[str, str] | Sequence[str] | None
) -> list[Change | None]:
    """Return the changes that `transform_batch` asks for; several are averaged.

    Parameters
    ----------
    inputs
        The data set.
    wanted
        A category of the batch key, or else of the one key that has it; several of them; or
        {key: category}.

    Raises
    ------
    ConfigError
        If no key has that category, or several do.
    """
    if wanted is None:
        return [None]
    if isinstance(wanted, Mapping):
        return [{key: _known(inputs, key, str(value)) for key, value in wanted.items()}]
    if isinstance(wanted, str | int | np.integer):
        wanted = [str(wanted)]
    return [_one_change(inputs, str(category)) for category in wanted]


def _one_change(inputs: VAEInputs, category: str) -> Change:
    keys = keys_of(inputs)
    if inputs.batch is not None and category in inputs.batch.names:
        return {inputs.batch.key: category}
    having = [key for key, groups in keys.items() if category in groups.names]
    if len(having) == 1:
        return {having[0]: category}
    if having:
        raise ConfigError(
            f"transform_batch is {category!r}, a category of {listed(having)}",
            f"say of which key, as in {{{having[0]!r}: {category!r}}}",
        )
    known = {name: None for groups in keys.values() for name in groups.names}
    raise ConfigError(
        f"transform_batch is {category!r}, which no key has", f"use one of {listed(known)}"
    )


def _known(inputs: VAEInputs, key: str, category: str) -> str:
    keys = keys_of(inputs)
    if key not in keys:
        raise ConfigError(
            f"transform_batch names {key!r}, which is no key of the model",
            f"use {listed(keys)}",
        )
    if category not in keys[key].names:
        raise ConfigError(
            f"transform_batch gives {key} the category {category!r}, which it has not",
            f"use one of {listed(keys[key].names)}",
        )
    return category


def keys_of(inputs: VAEInputs) -> dict[str, Groups]:
    """Return every named key with its groups."""
    found: dict[str, Groups] = {}
    for part in ("ambient", "scaling", "conditioning", "encoder"):
        found |= {groups.key: groups for groups in getattr(inputs, part)}
    for only in (inputs.dispersion, inputs.library, inputs.batch):
        if only is not None:
            found[only.key] = only
    found.pop("", None)
    return found
