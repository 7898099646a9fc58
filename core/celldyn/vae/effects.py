"""What covariates do to features, apart from the cells' states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import Job, scaled
from celldyn.vae.changing import Change
from celldyn.vae.inputs import Batch, VAEInputs
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.predicting import Cells, look_job

if TYPE_CHECKING:
    import pandas as pd

_SMALLEST = 1e-12


def effects_job(cells: Cells, m: int) -> Job[pd.DataFrame]:
    """Return what each category of the decoder's and the scaling's keys does to each feature.

    Parameters
    ----------
    cells
        Over whose states native expression is averaged.
    m
        Which modality.

    Returns
    -------
    (n_features, n_effects) log2: "<key>=<category>", mean native expression if all cells were of
    it, over its mean over the key's categories; "scaling <key>=<category>", the factor.
    """
    import pandas as pd

    inputs = cells.inputs
    n_steps = sum(len(groups) for groups in inputs.conditioning)
    columns: dict[str, NDArray[np.float64]] = {}
    done = 0
    for groups in inputs.conditioning:
        means = []
        for name in groups.names:
            job = _mean_job(cells, m, {groups.key: name})
            means.append((yield from scaled(job, done, n_steps, f"{groups.key} {name}")))
            done += 1
        logs = np.log2(np.maximum(np.stack(means), _SMALLEST))
        logs -= logs.mean(axis=0)
        columns |= {
            f"{groups.key}={name}": row for name, row in zip(groups.names, logs, strict=True)
        }
    columns |= _scaling(cells.module, inputs, m)
    return pd.DataFrame(columns, index=list(inputs.modalities[m].features))


def _mean_job(cells: Cells, m: int, change: Change) -> Job[NDArray[np.float64]]:
    module = cells.module
    total = torch.zeros(module.spec.modalities[m].n_features, dtype=torch.float64)

    def look(batch: Batch, posterior: Posterior) -> Mapping[str, Tensor]:
        nonlocal total
        z = module.latent(posterior, batch)
        total += module.native(m, z, batch).double().sum(dim=0).cpu()
        return {}

    yield from look_job(replace(cells, change=change), look, "covariate effects")
    return total.numpy() / len(cells)


def _scaling(module: VAEModule, inputs: VAEInputs, m: int) -> dict[str, NDArray[np.float64]]:
    features = module.part(m).features
    if features.scaling_raw is None:
        return {}
    with torch.no_grad():
        logs = torch.log2(features._factor(features.scaling_raw).double()).cpu().numpy()
    names = [f"{g.key}={name}" for g in inputs.scaling for name in g.names] or ["all cells"]
    return {f"scaling {name}": row for name, row in zip(names, logs, strict=True)}
