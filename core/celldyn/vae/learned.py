"""Asking a model what it learned of groups and features, and of what the latent space is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celldyn.errors import ConfigError, DataError
from celldyn.jobs import run
from celldyn.vae.asked import Indices
from celldyn.vae.attribution import (
    Attribution,
    How,
    Method,
    Precision,
    Removed,
    attribution_job,
)
from celldyn.vae.base import VAEBase
from celldyn.vae.expression import ambient_share_job
from celldyn.vae.references import Reference
from celldyn.vae.summaries import (
    background_table,
    dispersion_table,
    group_labels,
    share_table,
)

if TYPE_CHECKING:
    import pandas as pd


class Learned(VAEBase):
    """Background, dispersion, ambient shares, attribution."""

    def get_background(self, *, modality: str | None = None) -> Any:  # noqa: ANN401
        """Return the ambient background s of each feature in each group.

        Parameters
        ----------
        modality
            Which; None is the only one, or all.

        Returns
        -------
        (n_features, n_groups) table in counts of an average cell, without columns where no
        background is modelled; by modality where there are several.
        """
        setup = self.setup
        labels = group_labels([(key, setup.categories[key]) for key in setup.roles.ambient])
        found = {
            self.modalities[m]: background_table(
                self.module, m, setup.modalities[m].features, labels
            )
            for m in self._which(modality)
        }
        return self._told(modality, found)

    def get_dispersion(self, *, modality: str | None = None) -> Any:  # noqa: ANN401
        """Return the inverse dispersion θ of each feature in each group: (n_features, n_groups).

        It is the median of its posterior. The variance of a count is μ + μ²/θ.
        """
        setup = self.setup
        labels = setup.categories[setup.roles.dispersion]
        found = {
            self.modalities[m]: dispersion_table(
                self.module, m, setup.modalities[m].features, labels
            )
            for m in self._which(modality)
        }
        return self._told(modality, found)

    def get_background_shares(
        self,
        batch_size: int | None = None,
        *,
        modality: str | None = None,
    ) -> Any:  # noqa: ANN401
        """Return which share of each group's counts is ambient.

        Returns
        -------
        Columns group, share, low, high: means over the group's cells of the modelled share, with
        a 95 % interval; and estimate, estimate_low, estimate_high, where the model was started
        from an estimate. By modality where there are several.
        """
        cells = self._cells(None, None, batch_size)
        shares = run(ambient_share_job(cells), bar=False)
        found = {}
        for m in self._which(modality):
            name = self.modalities[m]
            estimate = self._fitted.estimates.get(name)
            if self.module.part(m).features.log_background is None:
                found[name] = share_table(cells.inputs, m, shares[name]).iloc[:0]
            else:
                found[name] = share_table(cells.inputs, m, shares[name], estimate)
        return self._told(modality, found)

    def get_modality_attribution(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
        attribution_method: Method = "exact",
        remove_covariates: Removed = False,  # noqa: FBT002
        covariate_reference: Reference = "zero",
        eps: float = 1e-2,
        *,
        precision: Precision = "float32",
    ) -> dict[str, Attribution]:
        """Return how much the decoder of each modality uses each latent dimension.

        Parameters
        ----------
        adata, indices, batch_size
            Which cells; None is all of the model's own.
        attribution_method, remove_covariates, covariate_reference, eps, precision
            See `attribution_job`.

        Returns
        -------
        By modality: "attribution" (n_cells, n_latent), mean over features of |∂μ/∂z| in each
        cell; "mean" (n_latent,) its mean over cells; "weighted_z" the latent mean times each
        cell's attribution; "weighted_z_mean" the latent mean times "mean", as the seed has it.
        """
        how = How(
            method=attribution_method,
            remove_covariates=remove_covariates,
            covariate_reference=covariate_reference,
            eps=eps,
            precision=precision,
        )
        return run(attribution_job(self._cells(adata, indices, batch_size), how), bar=False)

    def store_attribution_results(
        self,
        attribution: Mapping[str, Attribution] | None = None,
        adata: Any = None,  # noqa: ANN401
        *,
        weighted_by: str = "weighted_z_mean",
    ) -> set[str]:
        """Write a modality's view of cell state on the data: obsm X_vae_<modality>.

        Parameters
        ----------
        attribution
            Of all cells, from `get_modality_attribution`; None computes it.
        adata
            Where to; None is the model's own data.
        weighted_by
            "weighted_z_mean", the latent mean times mean attribution, or "weighted_z", times each
            cell's own.

        Returns
        -------
        What was written, as "slot/name".

        Raises
        ------
        ConfigError
            If `weighted_by` is neither.
        DataError
            If the data have other cells.
        """
        from celldyn.keys import VAE_MODALITY

        if weighted_by not in ("weighted_z", "weighted_z_mean"):
            raise ConfigError(f"weighted_by is {weighted_by!r}", "weighted_z or weighted_z_mean")
        data = self.adata if adata is None else adata
        found = self.get_modality_attribution(data) if attribution is None else attribution
        written = set()
        for name, values in found.items():
            weighted = values[weighted_by]  # type: ignore[literal-required]
            if len(weighted) != data.n_obs:
                raise DataError(
                    f"the attribution is of {len(weighted)} cells, and there are {data.n_obs}",
                    "compute it for all cells",
                )
            data.obsm[VAE_MODALITY(modality=name)] = weighted
            written.add(VAE_MODALITY.path(modality=name))
        return written

    def attribution_table(self, attribution: Mapping[str, Attribution]) -> pd.DataFrame:
        """Return mean attribution: a row per latent dimension, a column per modality."""
        import pandas as pd

        table = pd.DataFrame({name: values["mean"] for name, values in attribution.items()})
        table.index.name = "dimension"
        return table
