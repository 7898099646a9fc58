"""How a network's output scales the coefficients of the linear model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from celldyn.errors import ConfigError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sigmoidx2": lambda x: 2.0 * torch.sigmoid(x),
    "gelu": F.gelu,
    "softplus": F.softplus,
}
"""Name to function: sigmoid can only shrink a coefficient, sigmoidx2 can also double it."""


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the function of that name; ConfigError if there is none."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"activation is {name!r}, which is not known", f"use {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]
