"""The whole of a fit as one job: build, train, evaluate, attribute."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from celldyn.jobs import Job, run
from celldyn.vae.attribution import How, attribution_job
from celldyn.vae.changing import keys_of
from celldyn.vae.config import VAEConfig
from celldyn.vae.course import History
from celldyn.vae.expression import ambient_share
from celldyn.vae.fitted import estimates_of, model_config, train_config
from celldyn.vae.inputs import Batch, VAEInputs
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.predicting import Cells, log_library, look_job, offset
from celldyn.vae.results import VAEResult
from celldyn.vae.summaries import background_table, dispersion_table, labels_of, share_table

if TYPE_CHECKING:
    import pandas as pd

    from celldyn.vae.building import Built

ATTRIBUTED = 2000
"""Cells over which attribution is averaged, at most."""


def fit(
    adata: Any,  # noqa: ANN401
    config: VAEConfig,
    *,
    bar: bool = True,
    modalities: Sequence[str] | Mapping[str, str] | None = None,
    layers: Mapping[str, str | None] | str | None = None,
) -> VAEResult:
    """Fit the model to a data set and write the result on it.

    Parameters
    ----------
    adata
        AnnData or MuData.
    config
        Keys, model and training.
    bar
        Whether a bar is drawn on standard error.
    modalities, layers
        Of a MuData, as `setup_mudata` takes them.

    Raises
    ------
    ConfigError, MissingKeyError, DataError
        If keys or counts cannot serve.
    """
    from celldyn.vae.preparing import prepare_job, prepare_mudata_job
    from celldyn.vae.setup import describe_anndata, describe_mudata
    from celldyn.vae.storing import write_result

    if hasattr(adata, "mod"):
        setup = describe_mudata(adata, modalities, config, layers)
        reading = prepare_mudata_job(adata, config, modalities=modalities, layers=layers)
    else:
        setup = describe_anndata(adata, config)
        reading = prepare_job(adata, config)
    result = replace(run(_whole_job(reading, config), bar=bar), setup=setup)
    write_result(adata, result)
    return result


def _whole_job(reading: Job[VAEInputs], config: VAEConfig) -> Job[VAEResult]:
    inputs = yield from reading
    return (yield from fit_job(inputs, config))


def fit_job(inputs: VAEInputs, config: VAEConfig) -> Job[VAEResult]:
    """Fit the model to inputs: build, train, evaluate, attribute.

    Parameters
    ----------
    inputs
        From `prepare` or `prepare_mudata`.
    config
        Model and training; its keys are those the inputs were prepared with.

    Yields
    ------
    Progress; in training in epochs, with the terms of the loss as metrics.
    """
    from celldyn.vae.building import build_job
    from celldyn.vae.train import train_job

    start = time.perf_counter()
    built = yield from build_job(inputs, model_config(config), seed=config.seed)
    history = yield from train_job(built.module, inputs, train_config(config))
    return (yield from _result_job(inputs, config, built, history, start))


def _result_job(
    inputs: VAEInputs, config: VAEConfig, built: Built, history: History, start: float
) -> Job[VAEResult]:
    module = built.module
    cells = Cells.all(module, inputs)
    found = yield from look_job(cells, _looking(module), "latent states")
    chosen = _some(inputs.n_obs, config.seed)
    how = How(precision="auto")
    attribution = yield from attribution_job(replace(cells, at=chosen), how)
    names, spec = module.modalities, module.spec
    table = history.table
    table.index = table.index.astype(np.int64)
    own = {n: found[f"own/{n}"] for n in names if f"own/{n}" in found and len(names) > 1}
    estimates = estimates_of(built)
    modelled = [m for m in range(len(names)) if module.part(m).features.log_background is not None]
    return VAEResult(
        config=config,
        latent=found["z"],
        latents=own,
        libraries={name: np.exp(found[f"library/{name}"]) for name in names},
        background_share=found[f"share/{names[modelled[0] if modelled else 0]}"],
        background={names[m]: _background(module, inputs, m) for m in modelled},
        dispersion={name: _dispersion(module, inputs, m) for m, name in enumerate(names)},
        shares=_shares(inputs, modelled, found, estimates),
        history=table,
        best_epoch=history.best_epoch,
        attribution={name: attribution[name]["mean"] for name in names},
        latent_slices=spec.slices,
        module=module,
        categories={key: groups.names for key, groups in keys_of(inputs).items()},
        estimates=estimates,
        seconds=time.perf_counter() - start,
        notes=tuple(dict.fromkeys((*inputs.notes, *built.notes))),
    )


def _background(module: VAEModule, inputs: VAEInputs, m: int) -> pd.DataFrame:
    labels = labels_of(inputs.ambient)
    return background_table(module, m, inputs.modalities[m].features, labels)


def _dispersion(module: VAEModule, inputs: VAEInputs, m: int) -> pd.DataFrame:
    labels = inputs.dispersion.names
    return dispersion_table(module, m, inputs.modalities[m].features, labels)


def _looking(module: VAEModule) -> Any:  # noqa: ANN401
    """Return what is looked at in one pass over the cells."""

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch)
        told = {"z": z}
        for m, name in enumerate(module.modalities):
            mean, variance = log_library(module, m, posterior, batch)
            told[f"library/{name}"] = mean + offset(module, m) + variance / 2
            told[f"share/{name}"] = ambient_share(module, m, z, batch)
            if name in posterior.z:
                own, present = posterior.z[name][0], batch.present[m]
                told[f"own/{name}"] = own if present is None else own * present[:, None]
        return told

    return look


def _shares(
    inputs: VAEInputs, modelled: list[int], found: Mapping[str, Any], estimates: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the ambient shares of all modalities that have a background."""
    import pandas as pd

    tables = []
    for m in modelled:
        name = inputs.modalities[m].name
        table = share_table(inputs, m, found[f"share/{name}"], estimates.get(name))
        if len(modelled) > 1:
            table["group"] = [f"{name} {group}" for group in table["group"]]
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["group", "share", "low", "high"])
    return pd.concat(tables, ignore_index=True)


def _some(n_obs: int, seed: int) -> Any:  # noqa: ANN401
    if n_obs <= ATTRIBUTED:
        return np.arange(n_obs, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(n_obs, ATTRIBUTED, replace=False))
