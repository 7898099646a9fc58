"""Expression as the model sees it: native shares, expected counts, and counts drawn from it.

Shapes: n cells, G features asked for, S samples.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.devices import few_threads
from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.changing import Change
from celldyn.vae.draws import Draws
from celldyn.vae.inputs import Batch, Ints
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.predicting import (
    MEAN,
    Cells,
    drawing,
    drawn_library,
    evaluating,
    fractions,
    generator_of,
    log_library,
    look_job,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_DRAWN = 128
"""Cells whose counts are drawn at once: a count takes fifty times as long as a mean."""
_PRODUCTS = 1 << 31
"""Multiplications of a matrix product that are made at once."""

Library: TypeAlias = float | Literal["latent"]


def expression_job(
    cells: Cells,
    m: int,
    *,
    library: Library = 1.0,
    columns: Ints | None = None,
    changes: list[Change | None] | None = None,
    n_samples: int = 1,
    mean: bool = False,
    seed: int | None = 0,
) -> Job[NDArray[np.float32]]:
    """Return expression without technical effects, or the model's mean.

    Parameters
    ----------
    cells
        Which.
    m
        Which modality; cells that lack it get what their state implies.
    library
        A number: native expression as shares of all features, which sum to it. "latent": the
        mean μ of the counts, with ambient RNA and scaling, at each cell's library size.
    columns
        Which features; None is all.
    changes
        What the cells are taken to be instead of what they are; several are averaged.
    n_samples
        1 takes the posterior mean of z and ℓ; more are draws.
    mean
        Whether draws are averaged.
    seed
        Of the draws.

    Returns
    -------
    (n, G) of one sample or a mean, else (S, n, G).
    """
    changes = changes or [None]
    n_columns = cells.module.spec.modalities[m].n_features if columns is None else len(columns)
    n_kept = 1 if mean else n_samples
    total = np.zeros((n_kept, len(cells), n_columns), np.float32)
    weight = np.float32(n_kept / (n_samples * len(changes)))
    for change in changes:
        draws = None if n_samples == 1 else drawing(generator_of(seed))
        for k in range(n_samples):
            part = replace(cells, change=change)
            job = look_job(part, _looking(cells, m, library, columns, draws), "expression")
            values = (yield from job)["values"]
            total[0 if mean else k] += values if weight == 1 else values * weight
    return total[0] if n_kept == 1 else total


def _looking(
    cells: Cells, m: int, library: Library, columns: Ints | None, draws: Draws | None
) -> Any:  # noqa: ANN401
    module = cells.module
    chosen = None if columns is None else torch.from_numpy(columns)

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch, draws)
        if library == "latent":
            size = drawn_library(module, m, posterior, batch, draws)
            values = module.mean(m, z, size, batch)
        else:
            values = fractions(module.native(m, z, batch)) * library
        return {"values": values if chosen is None else values[:, chosen]}

    return look


def ambient_share_job(cells: Cells) -> Job[dict[str, NDArray[np.float32]]]:
    """Return which share of each cell's expected counts is ambient, at the posterior mean.

    Returns
    -------
    {modality: (n,)}; those without a background have 0 everywhere.
    """
    module = cells.module

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch)
        return {
            name: ambient_share(module, m, z, batch) for m, name in enumerate(module.modalities)
        }

    return look_job(cells, look, "ambient shares")


def ambient_share(module: VAEModule, m: int, z: Tensor, batch: Batch) -> Tensor:
    """Return Σ_g s y / Σ_g (ρ + s) y of each cell, (B,)."""
    features = module.part(m).features
    table, rows = features.background(batch.ambient)
    if table is None:
        return torch.zeros(len(batch))
    native, background = module.native(m, z, batch), table[rows]
    scaling, scaling_rows = features.scaling(batch.scaling)
    if scaling is not None:
        y = scaling[scaling_rows]
        native, background = native * y, background * y
    ambient = background.sum(dim=1)
    return ambient / (native.sum(dim=1) + ambient)


def likelihood_job(cells: Cells, m: int) -> Job[dict[str, NDArray[np.float32]]]:
    """Return the parameters of the Gamma-Poisson of each count at the posterior mean.

    Returns
    -------
    "mean", μ, and "dispersions", the inverse dispersion θ: (n, G) each.
    """
    module = cells.module

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch)
        size, _ = log_library(module, m, posterior, batch)
        return {
            "mean": module.mean(m, z, size, batch),
            "dispersions": theta_of(module, m, batch),
        }

    return look_job(cells, look, "likelihood")


def theta_of(module: VAEModule, m: int, batch: Batch) -> Tensor:
    """Return θ of each cell and feature, (B, G), at its median."""
    table, rows = module.part(m).features.theta(batch.dispersion, MEAN, "")
    return table[rows]


def predictive_job(
    cells: Cells,
    m: int,
    n_samples: int,
    *,
    columns: Ints | None = None,
    seed: int | None = 0,
) -> Job[tuple[csr_matrix, ...]]:
    """Draw counts of these cells from the model: z, ℓ ~ q, then x ~ GammaPoisson(θ, θ/μ).

    Returns
    -------
    S sparse matrices (n, G), float32.
    """
    from scipy.sparse import csr_matrix, vstack

    source = generator_of(seed)
    blocks: list[list[csr_matrix]] = [[] for _ in range(n_samples)]
    pace, done = Pace(), 0
    chosen = slice(None) if columns is None else torch.from_numpy(columns)
    with few_threads():
        for batch in replace(cells, batch_size=min(cells.batch_size, _DRAWN)).batches():
            with evaluating(cells.module):
                posterior = cells.module.encode(batch)
            for drawn in blocks:
                with evaluating(cells.module):
                    counts = _drawn_counts(cells.module, m, posterior, batch, source)[:, chosen]
                drawn.append(csr_matrix(counts.numpy()))
                if pace.due():
                    yield Progress("predictive counts", done, len(cells))
            done += len(batch)
    return tuple(vstack(drawn, format="csr") for drawn in blocks)


def _drawn_counts(
    module: VAEModule, m: int, posterior: Posterior, batch: Batch, source: torch.Generator
) -> Tensor:
    draws = drawing(source)
    z = module.latent(posterior, batch, draws)
    size = drawn_library(module, m, posterior, batch, draws)
    mean, theta = module.mean(m, z, size, batch), theta_of(module, m, batch)
    return torch.poisson(drawn_rates(mean, theta, source), generator=source)


def drawn_rates(mean: Tensor, theta: Tensor, source: torch.Generator) -> Tensor:
    """Draw the Gamma part: rates of mean μ and shape θ."""
    gamma = torch._standard_gamma(theta, generator=source)
    return gamma * (mean / theta)


def correlation_job(
    cells: Cells,
    m: int,
    *,
    n_samples: int = 10,
    size: float = 1000.0,
    kind: Literal["spearman", "pearson"] = "spearman",
    changes: list[Change | None] | None = None,
    seed: int | None = 0,
) -> Job[NDArray[np.float64]]:
    """Return the correlation of features over cells, of denoised rates drawn from the posterior.

    Each draw has z ~ q and a Gamma(θ, θ/μ) rate with μ the native share times `size`: the scatter
    of the likelihood stays in it, that of counting does not.

    Returns
    -------
    (G, G), 1 on its diagonal.
    """
    module, source = cells.module, generator_of(seed)
    draws = drawing(source)
    changes = changes or [None]

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch, draws)
        mean = fractions(module.native(m, z, batch)) * size
        return {"rates": drawn_rates(mean, theta_of(module, m, batch), source)}

    n, n_features = len(cells), module.spec.modalities[m].n_features
    rates = np.empty((len(changes) * n_samples * n, n_features), np.float32)
    for k, change in enumerate(change for change in changes for _ in range(n_samples)):
        job = look_job(replace(cells, change=change), look, "denoised rates")
        rates[k * n : (k + 1) * n] = (yield from job)["rates"]
    if kind == "spearman":
        yield from _rank_job(rates)
    return (yield from _correlate_job(rates))


def _correlate_job(rates: NDArray[np.float32]) -> Job[NDArray[np.float64]]:
    """Return the correlation of columns, some at a time; the columns are scaled in place."""
    n, n_features = rates.shape
    rates -= rates.mean(axis=0, dtype=np.float64).astype(np.float32)
    norms = np.sqrt(np.einsum("ng,ng->g", rates, rates, dtype=np.float64))
    rates /= np.where(norms > 0, norms, 1.0).astype(np.float32)
    found, pace = np.empty((n_features, n_features)), Pace()
    step = max(_PRODUCTS // max(n * n_features, 1), 1)
    for start in range(0, n_features, step):
        part = slice(start, start + step)
        found[part] = rates[:, part].T @ rates
        if pace.due():
            yield Progress("correlations", start, n_features)
    np.fill_diagonal(found, 1.0)
    return found


def _rank_job(rates: NDArray[np.float32]) -> Job[None]:
    """Replace values by their ranks within each column, centred and scaled to [−½, ½]."""
    from scipy.stats import rankdata

    pace, n = Pace(), len(rates)
    step = max((1 << 18) // max(n, 1), 1)
    for start in range(0, rates.shape[1], step):
        block = rates[:, start : start + step]
        block[:] = rankdata(block, axis=0) / n - 0.5
        if pace.due():
            yield Progress("ranks", start, rates.shape[1])
