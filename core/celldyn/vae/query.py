"""New data in a model that is there: categories are added, and only what is new of them learns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.vae.ambient import AmbientEstimate, estimate_ambient_job
from celldyn.vae.building import HOLD_SD
from celldyn.vae.changing import keys_of
from celldyn.vae.fitted import FittedVAE
from celldyn.vae.inputs import Groups, VAEInputs
from celldyn.vae.modality import ModalityPart
from celldyn.vae.module import VAEModule
from celldyn.vae.moments import library_prior
from celldyn.vae.spec import ModuleSpec
from celldyn.vae.tables import Rows, purpose_of, rows_of_tables

if TYPE_CHECKING:
    from anndata import AnnData

Trainable: TypeAlias = Mapping[str, tuple[int, ...] | None]
"""Rows of each parameter that learn; None is all of it. What is not named stays."""

_SMALLEST = 1e-8


def extend_job(fitted: FittedVAE, inputs: VAEInputs, *, seed: int = 0) -> Job[FittedVAE]:
    """Add the categories of a query to a model.

    New groups start where the model would start them: library prior and background from their
    own cells, inverse dispersions, scaling and what networks are told at the mean of the groups
    that are known. All else is as it was, to the bit.

    Parameters
    ----------
    fitted
        The reference.
    inputs
        The query, read as the reference's setup has it.
    seed
        Of the background's estimate.
    """
    rows = rows_of_tables(fitted.setup, inputs)
    yield Progress("new groups", 0, len(inputs.modalities))
    module = _grown(fitted, inputs, rows)
    estimates = dict(fitted.estimates)
    for m, modality in enumerate(inputs.modalities):
        if not modality.present.any():
            continue
        part = module.part(m)
        if len(rows["library"].new):
            _start_library(part, modality.totals, inputs.library, rows["library"])
        if len(rows["ambient"].new) and part.features.log_background is not None:
            held = _old_estimates(estimates.get(modality.name), rows["ambient"])
            if part.config.background_init == "estimated":
                yield from _start_background_job(module, m, inputs, rows["ambient"], held, seed)
            if modality.name in estimates:
                estimates[modality.name] = held
        yield Progress("new groups", m + 1, len(inputs.modalities))
    categories = dict(fitted.setup.categories)
    categories |= {
        key: groups.names for key, groups in keys_of(inputs).items() if key in categories
    }
    return replace(
        fitted,
        module=module.eval(),
        setup=replace(fitted.setup, categories=categories),
        estimates=estimates,
        trainable=new_rows(module, rows),
        notes=tuple(dict.fromkeys((*fitted.notes, *inputs.notes))),
    )


def _grown(fitted: FittedVAE, inputs: VAEInputs, rows: Mapping[str, Rows]) -> VAEModule:
    """Return the module with rows for new groups, which start at the mean of their kin."""
    spec = ModuleSpec.of(inputs, fitted.config)
    with torch.random.fork_rng(devices=[]):
        module = VAEModule(spec)
    old, state = fitted.module.state_dict(), module.state_dict()
    for name, value in state.items():
        purpose = purpose_of(module, name)
        if purpose is None or not len(rows[purpose].new):
            value.copy_(old[name])
            continue
        at = rows[purpose]
        value[torch.from_numpy(at.old)] = old[name]
        for row, kin in zip(at.new, at.kin, strict=True):
            value[row] = value[torch.from_numpy(kin)].mean(dim=0)
    module.load_state_dict(state)
    module.n_obs = fitted.module.n_obs
    return module


def _compact(groups: Groups) -> tuple[Groups, NDArray[np.int64]]:
    """Return the groups that have cells, and where they are among all."""
    held, codes = np.unique(groups.codes, return_inverse=True)
    names = tuple(groups.names[k] for k in held)
    return Groups(groups.key, names, codes.astype(np.int64)), held


def _start_library(
    part: ModalityPart, totals: NDArray[np.float64], groups: Groups, rows: Rows
) -> None:
    own, held = _compact(groups)
    mean, variance = library_prior(totals, own)
    offset = float(part.library_offset)
    for k, row in enumerate(held):
        if row in rows.new:
            part.library_mean[row] = float(mean[k]) - offset
            weighted = max(float(variance[k]), _SMALLEST) * part.config.library_log_vars_weight
            part.library_variance[row] = weighted


def _old_estimates(held: NDArray[np.float64] | None, rows: Rows) -> NDArray[np.float64]:
    table = np.full((len(rows.old) + len(rows.new), 3), np.nan)
    if held is not None:
        table[rows.old] = held
    return table


def _start_background_job(
    module: VAEModule,
    m: int,
    inputs: VAEInputs,
    rows: Rows,
    table: NDArray[np.float64],
    seed: int,
) -> Job[None]:
    """Start the background of new groups at what their own cells say of it."""
    part, modality, start = module.part(m), inputs.modalities[m], 0
    for groups in inputs.ambient:
        own, held = _compact(groups)
        if np.isin(held + start, rows.new).any():
            job = estimate_ambient_job(modality.counts, own, modality.totals, seed=seed)
            found: AmbientEstimate = yield from job
            cells = np.bincount(own.codes) / inputs.n_obs
            for k, row in enumerate(held + start):
                if row not in rows.new:
                    continue
                table[row] = found.share[k], found.low[k], found.high[k]
                share = float(found.share[k]) / len(inputs.ambient)
                _put_background(part, int(row), share * found.profile[k], float(cells[k]))
        start += len(groups)


def _put_background(
    part: ModalityPart, row: int, rates: NDArray[np.float64], cells: float
) -> None:
    """Set one group's s from rates per count of library, and hold its sum there."""
    features = part.features
    assert features.log_background is not None
    s = np.maximum(rates * math.exp(float(part.library_offset)), _SMALLEST)
    with torch.no_grad():
        features.log_background[row] = torch.from_numpy(np.log(s).astype(np.float32))
    features.hold_target[row] = math.log(float(s.sum()))
    features.hold_precision[row] = cells / HOLD_SD**2


# --- what learns -----------------------------------------------------------------------------


def new_rows(module: VAEModule, rows: Mapping[str, Rows]) -> Trainable:
    """Return the rows of new categories in every table that is learned."""
    found = {}
    for name, _ in module.named_parameters():
        purpose = purpose_of(module, name)
        if purpose is not None and len(rows[purpose].new):
            found[name] = tuple(int(row) for row in rows[purpose].new)
    return found


def with_encoder(module: VAEModule, trainable: Trainable) -> Trainable:
    """Let the encoders' first layers learn, too."""
    first = {
        name: None
        for name, _ in module.named_parameters()
        if ".encoder.first." in name or name.startswith("mixing.encoder.first.")
    }
    return {**trainable, **first}


@contextmanager
def only_training(module: VAEModule, trainable: Trainable) -> Iterator[None]:
    """Let only some rows of some parameters learn, for as long as this lasts.

    Gradients of other rows are 0 from the first step, so that Adam moves none of them by a bit;
    it needs a weight decay of 0. Running means of batch normalisation stay.
    """
    parameters = dict(module.named_parameters())
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    hooks = []
    try:
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in trainable)
            rows = trainable.get(name)
            if rows is not None:
                hooks.append(parameter.register_hook(_keeping(rows)))  # type: ignore[no-untyped-call]
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for parameter in parameters.values():
            parameter.requires_grad_(True)  # noqa: FBT003


def _keeping(rows: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Return what keeps the gradient of some rows, and makes that of others 0."""
    at = list(rows)

    def keep(gradient: Tensor) -> Tensor:
        kept = torch.zeros_like(gradient)
        kept[at] = gradient[at]
        return kept

    return keep


# --- the query's own matrix ------------------------------------------------------------------


def matched_anndata(adata: AnnData, features: tuple[str, ...], layer: str | None) -> AnnData:
    """Return a data set with a model's features in their order; those it lacks are 0.

    Parameters
    ----------
    adata
        (n_obs, n_vars).
    features
        The model's.
    layer
        Layer that the model reads; None is X.

    Raises
    ------
    DataError
        If it has none of them.
    """
    import pandas as pd
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from celldyn.data.genes import matrix_of

    places = pd.Index(adata.var_names.astype(str)).get_indexer(pd.Index(features))
    here = places >= 0
    if not here.any():
        raise DataError(
            "the data set has no feature that the model knows", "give the same names of genes"
        )
    matrix = csr_matrix(matrix_of(adata, layer)[:])
    there = np.flatnonzero(here)
    select = csr_matrix(
        (np.ones(len(there), matrix.dtype), (places[here], there)),
        shape=(adata.n_vars, len(features)),
    )
    counts = csr_matrix(matrix @ select)
    made = AnnData(counts, obs=adata.obs.copy(), var=pd.DataFrame(index=list(features)))
    for key in adata.obsm:
        made.obsm[key] = adata.obsm[key].copy()
    if layer is not None:
        made.layers[layer] = counts.copy()
    return made
