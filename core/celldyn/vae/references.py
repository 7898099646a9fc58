"""What stands for the covariates of a cell where these are to play no part."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from celldyn.vae.features import SCALING_UNIT
from celldyn.vae.inputs import Groups, VAEInputs
from celldyn.vae.module import VAEModule

Reference: TypeAlias = Literal["zero", "mean", "reference"]
"""No category at all, an average over the cells, or the first category of each key."""


def _frequencies(keys: tuple[Groups, ...], reference: Reference) -> NDArray[np.float64]:
    """Return how much of each category of these keys, one after the other, the reference has."""
    parts = []
    for groups in keys:
        share = np.zeros(len(groups))
        if reference == "mean":
            share = np.bincount(groups.codes, minlength=len(groups)) / max(len(groups.codes), 1)
        elif reference == "reference":
            share[0] = 1.0
        parts.append(share)
    return np.concatenate(parts) if parts else np.zeros(0)


def reference_shares(module: VAEModule, inputs: VAEInputs, m: int, reference: Reference) -> Tensor:
    """Return (1, C) what the decoder is told of the reference."""
    keys = inputs.conditioning
    if module.part(m).config.use_batch_in_decoder:
        keys = (*keys, inputs.batch or Groups.one(inputs.n_obs))
    return torch.from_numpy(_frequencies(keys, reference))[None]


def reference_scaling(
    module: VAEModule, inputs: VAEInputs, m: int, reference: Reference
) -> Tensor:
    """Return (1, F) the scaling of the reference: 1, an average one, or of first categories."""
    features = module.part(m).features
    n = module.spec.modalities[m].n_features
    if features.scaling_raw is None or reference == "zero":
        return torch.ones(1, n, dtype=module.part(m).dtype)
    with torch.no_grad():
        factors = F.softplus(features.scaling_raw) / SCALING_UNIT
    if not inputs.scaling:
        return factors
    combined, start = [], 0
    for groups in inputs.scaling:
        weights = torch.from_numpy(_frequencies((groups,), reference)).to(factors.dtype)
        combined.append(weights @ factors[start : start + len(groups)])
        start += len(groups)
    stacked = torch.stack(combined)
    if features.config.feature_scaling_combination == "product":
        return stacked.prod(dim=0, keepdim=True)
    return stacked.sum(dim=0, keepdim=True)
