"""How long a step of the flow may be: explicit schemes are stable where curvature · h < 2."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from celldyn.errors import ConfigError
from celldyn.landscape.schemes import FINEST, Scheme

STABLE = 2.0
_LOOKED_AT = 512
"""States at which curvature is looked up, spread over all."""
_MOST = 100_000
"""Steps between two times beyond which something is wrong with the potential."""


def curvature(potential: Any, z: Tensor) -> float:  # noqa: ANN401
    """Return the largest eigenvalue of ∇∇V at some 500 of the states (n, d), 0 at least.

    0, too, for a potential that does not know its curvature.
    """
    if not hasattr(potential, "hessian_max_eigenvalue") or not z.shape[0]:
        return 0.0
    every = math.ceil(z.shape[0] / _LOOKED_AT)
    with torch.no_grad():
        largest = float(potential.hessian_max_eigenvalue(z.detach()[::every]).max())
    return max(largest, 0.0)


def steps_between(h: float, bend: float, scheme: Scheme, substeps: int | None) -> int:
    """Return how many steps are taken in a time h where the curvature is `bend`.

    Parameters
    ----------
    substeps
        What was asked for; None chooses so many that curvature · step stays below what the
        scheme needs for its accuracy.

    Raises
    ------
    ConfigError
        If what was asked for is unstable, or no number of steps would do.
    """
    if substeps is None:
        needed = math.ceil(h * bend / FINEST[scheme])
        if needed > _MOST:
            raise ConfigError(
                f"the potential curves by {bend:.3g}, so that a time of {h:.3g} takes {needed} "
                "steps",
                "train it with a larger V_coeff, or integrate for a shorter time",
            )
        return max(needed, 1)
    if h * bend >= STABLE * substeps:
        raise ConfigError(
            f"a step of {h / substeps:.3g} is unstable where the potential curves by {bend:.3g}",
            f"use {math.floor(h * bend / STABLE) + 1} substeps or more, or leave them out",
        )
    return substeps
