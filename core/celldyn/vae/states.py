"""Asking a model for its latent states, library sizes, and how well it explains cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celldyn.jobs import run
from celldyn.vae.asked import Indices
from celldyn.vae.base import VAEBase
from celldyn.vae.bounds import elbo_job, latent_kl_of, marginal_job
from celldyn.vae.inputs import Batch
from celldyn.vae.module import Posterior, VAEModule
from celldyn.vae.predicting import drawing, generator_of, latent_job, look_job

Matrix = NDArray[np.float32]


class States(VAEBase):
    """What the encoders say, and the evidence."""

    def get_latent_representation(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        give_mean: bool = True,  # noqa: FBT001, FBT002
        return_dist: bool = False,  # noqa: FBT001, FBT002
        batch_size: int | None = None,
        *,
        seed: int = 0,
    ) -> Matrix | tuple[Matrix, Matrix]:
        """Return the latent state of cells.

        Parameters
        ----------
        adata
            Other data with the same features; None is the model's own.
        indices
            Rows, or a mask; None is all.
        give_mean
            The posterior mean, which is the same each time; else a draw.
        return_dist
            Mean and variance instead.
        batch_size
            Cells evaluated at once.
        seed
            Of a draw.

        Returns
        -------
        (n_cells, n_latent) float32; two of them with `return_dist`. A modality that a cell lacks
        is 0 in it.
        """
        cells = self._cells(adata, indices, batch_size)
        if return_dist:
            found = run(look_job(cells, _moments(self.module), "latent states"), bar=False)
            return found["mean"], found["variance"]
        if give_mean:
            return run(latent_job(cells), bar=False)["z"]
        draws = drawing(generator_of(seed))
        look = _drawn(self.module, draws)
        return run(look_job(cells, look, "latent states"), bar=False)["z"]

    def get_latent_library_size(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        give_mean: bool = True,  # noqa: FBT001, FBT002
        batch_size: int | None = None,
        *,
        modality: str | None = None,
    ) -> Any:  # noqa: ANN401
        """Return the learned library size of cells, in counts.

        Parameters
        ----------
        adata, indices, batch_size
            See `get_latent_representation`.
        give_mean
            The mean of its log-normal posterior; else the median.
        modality
            Which; None is the only one, or all.

        Returns
        -------
        (n_cells,), by modality where there are several. Cells that lack a modality have that of
        the prior.
        """
        found = run(latent_job(self._cells(adata, indices, batch_size)), bar=False)
        sizes = {}
        for m in self._which(modality):
            name = self.modalities[m]
            variance = found[f"library_variance/{name}"] if give_mean else 0.0
            sizes[name] = np.exp(found[f"library/{name}"] + 0.5 * variance)
        return self._told(modality, sizes)

    def get_elbo(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
        return_mean: bool = True,  # noqa: FBT001, FBT002
        *,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Return the evidence lower bound in nats a cell, by one draw; higher is better.

        Parameters
        ----------
        adata, indices, batch_size, seed
            See `get_latent_representation`.
        return_mean
            The mean over cells; else (n_cells,).
        """
        found = run(elbo_job(self._cells(adata, indices, batch_size), seed=seed), bar=False)
        return float(found["elbo"].mean(dtype=np.float64)) if return_mean else found["elbo"]

    def get_reconstruction_error(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
        return_mean: bool = True,  # noqa: FBT001, FBT002
        *,
        modality: str | None = None,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Return −log p(x | z, ℓ) in nats a cell, by one draw of z and ℓ; lower is better.

        Parameters
        ----------
        adata, indices, batch_size, return_mean, seed
            See `get_elbo`.
        modality
            Which; None is the sum of all.
        """
        found = run(elbo_job(self._cells(adata, indices, batch_size), seed=seed), bar=False)
        name = "reconstruction"
        if modality is not None:
            name = f"{name}/{self.modalities[self._which(modality)[0]]}"
        return float(found[name].mean(dtype=np.float64)) if return_mean else found[name]

    def get_marginal_ll(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        n_mc_samples: int = 1000,
        batch_size: int | None = None,
        return_mean: bool = True,  # noqa: FBT001, FBT002
        n_mc_samples_per_pass: int | None = None,
        *,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Return the log evidence log p(x) in nats a cell, by importance sampling.

        Parameters
        ----------
        adata, indices, batch_size, return_mean, seed
            See `get_elbo`.
        n_mc_samples
            Draws of each cell.
        n_mc_samples_per_pass
            Draws evaluated at once; None makes about a thousand rows of them.
        """
        cells = self._cells(adata, indices, batch_size or 128)
        job = marginal_job(cells, n_mc_samples, per_pass=n_mc_samples_per_pass, seed=seed)
        found = run(job, bar=False)
        return float(found.mean()) if return_mean else found

    def get_per_dim_kl(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Return KL[q(z_d) ‖ N(0, 1)] of each latent dimension, mean over cells.

        Returns
        -------
        (n_latent_m,) nats by modality, or under "joint" of a single encoder. A dimension near 0
        says nothing of the cells.
        """
        cells = self._cells(adata, indices, batch_size)

        def look(_: Batch, posterior: Posterior) -> dict[str, Tensor]:
            return latent_kl_of(posterior)

        found = run(look_job(cells, look, "KL of dimensions"), bar=False)
        means = {}
        for name, values in found.items():
            held = values
            if name in self.modalities:
                m = self.modalities.index(name)
                held = values[cells.inputs.modalities[m].present[cells.at]]
            means[name] = held.mean(axis=0, dtype=np.float64)
        return means


def _drawn(module: VAEModule, draws: Any) -> Any:  # noqa: ANN401
    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        return {"z": module.latent(posterior, batch, draws)}

    return look


def _moments(module: VAEModule) -> Any:  # noqa: ANN401
    """Return what gives mean and variance of z: of what is side by side, or of a weighted mean."""

    def look(batch: Batch, posterior: Posterior) -> dict[str, Tensor]:
        means = [mean for mean, _ in posterior.z.values()]
        variances = [variance for _, variance in posterior.z.values()]
        if len(means) == 1:
            return {"mean": means[0], "variance": variances[0]}
        if module.spec.latent_mode == "concatenation":
            here = [None if p is None else p[:, None] for p in batch.present]
            return {
                "mean": torch.cat(
                    [x if p is None else x * p for x, p in zip(means, here, strict=True)], dim=1
                ),
                "variance": torch.cat(
                    [x if p is None else torch.where(p, x, 1.0)
                     for x, p in zip(variances, here, strict=True)], dim=1
                ),
            }  # fmt: skip
        weights = module.mixing._weights(means, batch.present)[:, :, None]
        return {
            "mean": (weights * torch.stack(means, dim=1)).sum(dim=1),
            "variance": (weights.square() * torch.stack(variances, dim=1)).sum(dim=1),
        }

    return look
