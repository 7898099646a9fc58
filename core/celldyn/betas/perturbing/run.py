"""The job of a perturbation, and the whole of it in one call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from celldyn.betas.config import ModelConfig
from celldyn.betas.perturbing.circuit import circuit_job
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.inputs import PerturbInputs
from celldyn.betas.perturbing.preparing import prepare_perturb
from celldyn.betas.perturbing.propagate import in_data_order_job, propagate_job
from celldyn.betas.perturbing.reading import Fields, Models
from celldyn.betas.perturbing.results import PerturbResult
from celldyn.betas.perturbing.stored import write_perturbed
from celldyn.jobs import Job, run, scaled
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    from anndata import AnnData


def perturb(
    adata: AnnData,
    perturbation: Perturbation,
    config: PerturbConfig | None = None,
    *,
    name: str = "",
    fields: Fields | Models | None = None,
    model: ModelConfig | None = None,
    bar: bool = True,
) -> PerturbResult:
    """Change genes and follow the change through the fitted betas; write it on the AnnData.

    Parameters
    ----------
    adata
        The tissue; see `write_perturbed` for what is written.
    perturbation
        What is done.
    config
        The parameters.
    name
        Under which it is written; by default what is done, in a few words.
    fields, model
        As `prepare_perturb` takes them.
    bar
        Whether to draw a progress bar.

    Raises
    ------
    NotFittedError, MissingKeyError, ConfigError, DataError
        As `prepare_perturb` does.
    """
    config = PerturbConfig() if config is None else config
    inputs = prepare_perturb(adata, perturbation, config, fields=fields, model=model)
    result = run(perturb_job(inputs, config), bar=bar)
    write_perturbed(adata, result, name or result.perturbation.describe(adata.n_obs))
    return result


def perturb_job(inputs: PerturbInputs, config: PerturbConfig) -> Job[PerturbResult]:
    """Follow a perturbation through the fitted betas.

    Parameters
    ----------
    inputs
        What `prepare_perturb` returned for this config.
    config
        The parameters.

    Yields
    ------
    Progress. When a step is done its `metrics` hold "mean |delta|", and its `preview` is a
    `StepPreview`.

    Raises
    ------
    ConfigError, DataError
        If neighbours are too many, or the change grows beyond all numbers.
    """
    started = time.perf_counter()
    wiring = circuit_job(inputs.tissue, config)
    circuit = yield from scaled(wiring, 0, 1 + config.n_propagation)
    delta, steps = yield from propagate_job(circuit, inputs, config, done=1)
    n_steps = config.n_propagation
    job = in_data_order_job(circuit, delta, config.negligible)
    change = yield from scaled(job, n_steps, 1 + n_steps)
    tissue = inputs.tissue
    return PerturbResult(
        perturbation=inputs.perturbation,
        config=config,
        genes=tissue.genes,
        delta=change,
        steps=steps,
        mean_expression=tissue.levels.mean(axis=0),
        responds=tissue.responds,
        heldout_r2=tissue.heldout_r2,
        cluster_codes=tissue.cluster_codes,
        clusters=tissue.clusters,
        cluster_annot=tissue.model.cluster_annot,
        layer=tissue.model.layer,
        seconds=time.perf_counter() - started,
        notes=inputs.notes,
    )
