"""Genes without ambient RNA and noise, from the model that a data set holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn import keys
from celldyn.data.words import listed
from celldyn.devices import few_threads
from celldyn.errors import DataError, NotFittedError
from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.covariates import CellTable, groups_of, numbers_of
from celldyn.vae.fitted import FittedVAE
from celldyn.vae.inputs import Batch, Ints
from celldyn.vae.module import VAEModule
from celldyn.vae.predicting import BLOCK, columns_of, evaluating, fractions
from celldyn.vae.roles import PARAMETERS
from celldyn.vae.setup_record import Setup
from celldyn.vae.storing import stored


def denoise_job(adata: Any, genes: Sequence[str]) -> Job[NDArray[np.float32]]:  # noqa: ANN401
    """Return native expression of some genes by the model that was fitted to the data set.

    Everything is read now; the job only computes.

    Parameters
    ----------
    adata
        AnnData or MuData on which `write_result` wrote.
    genes
        Features of one modality.

    Returns
    -------
    (n_obs, n_genes) counts of a cell of median library size: no ambient RNA, no noise, no
    difference of depth.

    Raises
    ------
    NotFittedError
        If no model is there.
    DataError
        If it is damaged, a gene is unknown to it, or cells have categories that it does not know.
    """
    found = stored(adata)
    if found is None:
        raise NotFittedError("the data set holds no VAE", "fit one first")
    fitted = found.fitted()
    m = _modality(fitted.setup, genes)
    columns = columns_of(fitted.setup.modalities[m].features, genes)
    assert columns is not None
    z = np.asarray(adata.obsm.get(keys.LATENT.name), np.float32)
    if z.shape != (adata.n_obs, fitted.module.spec.n_latent) or not np.isfinite(z).all():
        raise DataError(
            f"obsm[{keys.LATENT.name!r}] is not the latent state of the model", "fit again"
        )
    told = _told(adata, fitted)
    size = found.typical_library[fitted.module.modalities[m]]
    return _decode_job(fitted.module, m, torch.from_numpy(z.copy()), told, columns, size)


def _modality(setup: Setup, genes: Sequence[str]) -> int:
    """Return the modality that has these features; the first if none has all."""
    for m, each in enumerate(setup.modalities):
        if set(genes) <= set(each.features):
            return m
    return 0


def _told(adata: Any, fitted: FittedVAE) -> Batch:  # noqa: ANN401
    """Return what the decoder is told of all cells."""
    setup, n_obs = fitted.setup, int(adata.n_obs)
    if setup.is_multimodal:
        table = CellTable.of_mudata(adata, [each.key for each in setup.modalities])
    else:
        table = CellTable.of_anndata(adata)
    roles, start = setup.roles, 0
    codes = []
    for key in roles.conditioning:
        codes.append(_codes(table, setup, key, PARAMETERS["conditioning"]) + start)
        start += len(setup.categories[key])
    batch = np.zeros(n_obs, np.int64)
    if roles.batch is not None:
        batch = _codes(table, setup, roles.batch, PARAMETERS["batch"])
    continuous = [numbers_of(table, key, PARAMETERS["continuous"]) for key in roles.continuous]
    none = torch.zeros(n_obs, 0, dtype=torch.int64)
    zero = torch.zeros(n_obs, dtype=torch.int64)
    return Batch(
        counts=(),
        present=(),
        ambient=none,
        scaling=none,
        conditioning=torch.from_numpy(np.stack(codes, axis=1)) if codes else none,
        encoder=none,
        dispersion=zero,
        library=zero,
        batch=torch.from_numpy(batch),
        continuous=torch.from_numpy(np.column_stack(continuous)) if continuous else None,
    )


def _codes(table: CellTable, setup: Setup, key: str, role: str) -> Ints:
    groups = groups_of(table, key, role, setup.categories[key])
    if new := setup.new_categories(groups):
        raise DataError(
            f"obs[{key!r}] has {listed(map(repr, new))}, which the model does not know",
            "fit again",
        )
    return groups.codes


def _decode_job(
    module: VAEModule, m: int, z: Tensor, told: Batch, columns: Ints, size: float
) -> Job[NDArray[np.float32]]:
    made = np.empty((len(z), len(columns)), np.float32)
    chosen, pace = torch.from_numpy(columns), Pace()
    with few_threads():
        for start in range(0, len(z), BLOCK):
            part = slice(start, start + BLOCK)
            with evaluating(module):
                native = module.native(m, z[part], _rows(told, part))
                made[part] = (fractions(native)[:, chosen] * size).numpy()
            if pace.due():
                yield Progress("expression", min(start + BLOCK, len(z)), len(z))
    return made


def _rows(told: Batch, part: slice) -> Batch:
    changes: dict[str, Any] = {
        name: value[part]
        for name in Batch.__dataclass_fields__
        if isinstance(value := getattr(told, name), Tensor)
    }
    return Batch(counts=(), present=(), **changes)
