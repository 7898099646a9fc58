"""How well the model explains cells: reconstruction, the evidence bound, the evidence itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.devices import few_threads
from celldyn.jobs import Job, Pace, Progress
from celldyn.vae.draws import Draws
from celldyn.vae.inputs import Batch
from celldyn.vae.likelihood import gamma_poisson_log_prob
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.predicting import (
    MEAN,
    Cells,
    drawing,
    evaluating,
    generator_of,
    look_job,
    misfit,
    repeated,
)
from celldyn.vae.reconstruction_plain import dense
from celldyn.vae.spec import JOINT

PASS = 1024
"""Draws of cells that are evaluated at once."""


def elbo_job(cells: Cells, *, seed: int | None = 0) -> Job[dict[str, NDArray[Any]]]:
    """Return the evidence bound of each cell, by one draw of its latent variables.

    Parameters
    ----------
    cells
        Which.
    seed
        Of the draws.

    Returns
    -------
    (n,) each, in nats: "elbo", "kl_z", "kl_library", "reconstruction" and
    "reconstruction/<modality>"; elbo = −reconstruction − kl_z − kl_library, higher is better.
    """
    module, draws = cells.module, drawing(generator_of(seed, _device(cells)))

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        z = module.latent(posterior, batch, draws)
        told: dict[str, Tensor] = {}
        for m, name in enumerate(module.modalities):
            mean, variance = posterior.library[m]
            library = mean + variance.sqrt() * draws.normal(f"library/{name}", mean)
            told[f"reconstruction/{name}"] = misfit(module, m, z, library, batch)
        told["reconstruction"] = torch.stack(list(told.values())).sum(dim=0)
        told["kl_z"] = _latent_kl(module, posterior, batch)
        told["kl_library"] = _library_kl(module, posterior, batch)
        told["elbo"] = -told["reconstruction"] - told["kl_z"] - told["kl_library"]
        return told

    return look_job(cells, look, "evidence bound")


def _device(cells: Cells) -> torch.device:
    return next(cells.module.parameters()).device


def _latent_kl(module: VAEModule, posterior: Posterior, batch: Batch) -> Tensor:
    """Return (B,) KL of q(z), summed over encoders; 0 for a modality that a cell lacks."""
    total = torch.zeros(len(batch), device=batch.dispersion.device)
    for name, kl in latent_kl_of(posterior).items():
        total = total + _where_present(kl.sum(dim=1), module, name, batch)
    return total


def latent_kl_of(posterior: Posterior) -> dict[str, Tensor]:
    """Return KL[q(z_d) ‖ N(0, 1)] of each dimension, (B, D_m) by encoder."""
    return {
        name: 0.5 * (mean.square() + variance - 1 - variance.log())
        for name, (mean, variance) in posterior.z.items()
    }


def _library_kl(module: VAEModule, posterior: Posterior, batch: Batch) -> Tensor:
    total = torch.zeros(len(batch), device=batch.dispersion.device)
    for m, name in enumerate(module.modalities):
        part = module.part(m)
        if part.learns_library:
            kl = part.library_kl(posterior.library[m], batch)
            total = total + _where_present(kl, module, name, batch)
    return total


def _where_present(values: Tensor, module: VAEModule, name: str, batch: Batch) -> Tensor:
    """Return values per cell, 0 where a cell lacks the modality."""
    present = None if name == JOINT else batch.present[module.modalities.index(name)]
    return values if present is None else values * present


def marginal_job(
    cells: Cells, n_samples: int, *, per_pass: int | None = None, seed: int | None = 0
) -> Job[NDArray[np.float64]]:
    """Return the log evidence of each cell, log p(x), by importance sampling.

        log p(x) ≈ log 1/S Σ_s p(x | z_s, ℓ_s) p(z_s) p(ℓ_s) / q(z_s, ℓ_s),  z_s, ℓ_s ~ q

    summed in log space. It rises towards the evidence with S, and is never far below the bound.

    Parameters
    ----------
    cells
        Which.
    n_samples
        S.
    per_pass
        Draws evaluated at once; None makes about a thousand rows of them.
    seed
        Of the draws.

    Returns
    -------
    (n,) nats.
    """
    draws = drawing(generator_of(seed, _device(cells)))
    found = np.empty(len(cells))
    pace, done = Pace(), 0
    with few_threads():
        for batch in cells.batches():
            most = per_pass or max(PASS // len(batch), 1)
            total = torch.full((len(batch),), -math.inf, dtype=torch.float64)
            left = n_samples
            while left:
                times = min(most, left)
                with evaluating(cells.module):
                    weights = _log_weights(cells.module, batch, times, draws)
                total = torch.logaddexp(total, torch.logsumexp(weights, dim=0))
                left -= times
                if pace.due():
                    share = 1 - left / n_samples
                    yield Progress("log evidence", done + share * len(batch), len(cells))
            found[done : done + len(batch)] = total.numpy() - math.log(n_samples)
            done += len(batch)
    return found


def _log_weights(module: VAEModule, batch: Batch, times: int, draws: Draws) -> Tensor:
    """Return log p(x, z, ℓ) − log q(z, ℓ) of so many draws of each cell, (times, B)."""
    posterior = _repeated_posterior(module.encode(batch), times)
    wide = repeated(batch, times)
    noise: dict[str, Tensor | int] = {}
    total = torch.zeros(len(wide), dtype=torch.float64)
    for name, (mean, variance) in posterior.z.items():
        eps = draws.normal(f"z/{name}", mean)
        z = mean + variance.sqrt() * eps
        ratio = 0.5 * (eps.square() - z.square() + variance.log()).sum(dim=1)
        total += _where_present(ratio, module, name, wide).double().cpu()
        noise[f"z/{name}"] = eps
    z = module.latent(posterior, wide, Draws(noise, None, training=False))
    for m, name in enumerate(module.modalities):
        part, (mean, variance) = module.part(m), posterior.library[m]
        library = mean
        if part.learns_library:
            eps = draws.normal(f"library/{name}", mean)
            library = mean + variance.sqrt() * eps
            prior = part.library_variance[wide.library]
            away = (library - part.library_mean[wide.library]).square() / prior
            ratio = 0.5 * (eps.square() - away + variance.log() - prior.log())
            total += _where_present(ratio, module, name, wide).double().cpu()
        total -= misfit(module, m, z, library, wide).double().cpu()
    return total.reshape(times, len(batch))


def _repeated_posterior(posterior: Posterior, times: int) -> Posterior:
    def tiled(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        first, second = (value.repeat(times, *(1,) * (value.ndim - 1)) for value in pair)
        return first, second

    z = {name: tiled(pair) for name, pair in posterior.z.items()}
    return Posterior(z, tuple(tiled(pair) for pair in posterior.library))


def feature_misfit_job(
    cells: Cells, *, seed: int | None = 0
) -> Job[dict[str, NDArray[np.float64]]]:
    """Return −log p(x | z, ℓ) of each feature, mean over cells, by the draws of `elbo_job`.

    Returns
    -------
    {modality: (n_features,)} nats a cell, which sum to the reconstruction of `elbo_job`.
    """
    module, draws = cells.module, drawing(generator_of(seed, _device(cells)))
    totals = [torch.zeros(part.n_features, dtype=torch.float64) for part in module.spec.modalities]
    pace, done = Pace(), 0
    with few_threads():
        for batch in cells.batches():
            with evaluating(module):
                posterior = module.encode(batch)
                z = module.latent(posterior, batch, draws)
                for m, name in enumerate(module.modalities):
                    mean, variance = posterior.library[m]
                    library = mean + variance.sqrt() * draws.normal(f"library/{name}", mean)
                    totals[m] += _by_feature(module, m, z, library, batch)
            done += len(batch)
            if pace.due():
                yield Progress("reconstruction by feature", done, len(cells))
    return {
        name: total.numpy() / len(cells)
        for name, total in zip(module.modalities, totals, strict=True)
    }


def _by_feature(module: VAEModule, m: int, z: Tensor, library: Tensor, batch: Batch) -> Tensor:
    counts = batch.counts[m]
    x = counts if isinstance(counts, Tensor) else dense(counts, z)
    mean = module.mean(m, z, library, batch)
    table, rows = module.part(m).features.theta(batch.dispersion, MEAN, "")
    loss = -gamma_poisson_log_prob(x, mean, table[rows]).double()
    present = batch.present[m]
    return (loss if present is None else loss * present[:, None]).sum(dim=0).cpu()
