"""New data in a model that is there: categories are added, and only what is new of them learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from celldyn.errors import DataError
from celldyn.jobs import Job, Progress
from celldyn.vae.changing import keys_of
from celldyn.vae.fitted import FittedVAE
from celldyn.vae.inputs import VAEInputs
from celldyn.vae.module import VAEModule
from celldyn.vae.newgroups import NewGroups
from celldyn.vae.spec import ModuleSpec
from celldyn.vae.tables import Rows, purpose_of, rows_of_tables

if TYPE_CHECKING:
    from anndata import AnnData

Trainable: TypeAlias = Mapping[str, tuple[int, ...] | None]
"""Rows of each parameter that learn; None is all of it. What is not named stays."""


def extend_job(fitted: FittedVAE, inputs: VAEInputs, *, seed: int = 0) -> Job[FittedVAE]:
    """Add the categories of a query to a model.

    New groups start where their own cells put them: the background at its estimate, the prior of
    the library size at what explains their totals. Inverse dispersions, scaling and what networks
    are told start at the mean of the groups that are known. All else is as it was, to the bit.

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
    module = _grown(fitted, inputs, rows).eval()
    estimates = dict(fitted.estimates)
    for m, modality in enumerate(inputs.modalities):
        start = NewGroups(module, m, inputs, rows)
        found = yield from start.background_job(estimates.get(modality.name), seed)
        if found is not None:
            estimates[modality.name] = found
        yield from start.library_job()
        yield Progress("new groups", m + 1, len(inputs.modalities))
    categories = dict(fitted.setup.categories)
    categories |= {
        key: groups.names for key, groups in keys_of(inputs).items() if key in categories
    }
    return replace(
        fitted,
        module=module,
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
        if purpose is None or not len(rows[purpose].new) or not len(value):
            value.copy_(old[name])
            continue
        at = rows[purpose]
        value[torch.from_numpy(at.old)] = old[name]
        for row, kin in zip(at.new, at.kin, strict=True):
            value[row] = value[torch.from_numpy(kin)].mean(dim=0)
    module.load_state_dict(state)
    module.n_obs = fitted.module.n_obs
    return module


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
