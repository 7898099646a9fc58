"""Asking a model for expression, likelihoods, drawn counts, correlations and differences."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from celldyn.errors import ConfigError
from celldyn.jobs import run
from celldyn.vae.asked import Indices, rows_of
from celldyn.vae.base import VAEBase
from celldyn.vae.changing import change_of
from celldyn.vae.expression import (
    Library,
    correlation_job,
    expression_job,
    likelihood_job,
    predictive_job,
)
from celldyn.vae.predicting import Cells, columns_of

if TYPE_CHECKING:
    import pandas as pd


class Expression(VAEBase):
    """What the decoders say."""

    def get_normalized_expression(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        transform_batch: Any = None,  # noqa: ANN401
        gene_list: Sequence[str] | None = None,
        library_size: float | Literal["latent"] = 1,
        n_samples: int = 1,
        n_samples_overall: int | None = None,
        batch_size: int | None = None,
        return_mean: bool = True,  # noqa: FBT001, FBT002
        return_numpy: bool = False,  # noqa: FBT001, FBT002
        *,
        modality: str | None = None,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Return denoised expression.

        Parameters
        ----------
        adata
            Other data with the same features; None is the model's own.
        indices
            Rows, or a mask; None is all.
        transform_batch
            What all cells are taken to be: a category of the batch key or of another key, or
            {key: category}; several categories are averaged. It acts through whatever depends on
            that key: the decoder where it is told it, ambient RNA, scaling.
        gene_list
            Which features; None is all.
        library_size
            A number: native expression, without ambient RNA and scaling, as shares of all
            features that sum to it. "latent": the mean of the counts, with both.
        n_samples
            1 is at the posterior mean, the same each time; more are draws.
        n_samples_overall
            So many cells, drawn with replacement, instead of all.
        batch_size
            Cells evaluated at once.
        return_mean
            The mean of several draws; else all of them.
        return_numpy
            Arrays instead of tables.
        modality
            Which; None is the only one, or all. Cells that lack it get what their state implies.
        seed
            Of draws.

        Returns
        -------
        (n_cells, n_features) table, by modality where there are several; (n_samples, n_cells,
        n_features) array if all draws are asked for.

        Raises
        ------
        ConfigError
            If no key has such a category, or the library size is no positive number.
        """
        size = _library(library_size)
        cells = self._cells(adata, indices, batch_size)
        if n_samples_overall is not None:
            drawn = np.random.default_rng(seed).choice(cells.at, n_samples_overall)
            cells = Cells(cells.module, cells.inputs, drawn, cells.batch_size)
        changes = change_of(cells.inputs, transform_batch)
        found = {}
        for m in self._which(modality):
            features = self._features(m)
            columns = columns_of(features, gene_list)
            job = expression_job(cells, m, library=size, columns=columns, changes=changes,
                                 n_samples=n_samples, mean=return_mean, seed=seed)  # fmt: skip
            values = run(job, bar=False)
            plain = return_numpy or values.ndim == 3
            names = features if columns is None else [features[k] for k in columns]
            found[self.modalities[m]] = (
                values if plain else _frame(values, self._names(adata, cells), names)
            )
        return self._told(modality, found)

    def _features(self, m: int) -> list[str]:
        return list(self.setup.modalities[m].features)

    def get_likelihood_parameters(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        batch_size: int | None = None,
        *,
        modality: str | None = None,
    ) -> Any:  # noqa: ANN401
        """Return the parameters of each count's Gamma-Poisson at the posterior mean.

        Returns
        -------
        "mean", μ, and "dispersions", the inverse dispersion θ: (n_cells, n_features) each; by
        modality where there are several.
        """
        cells = self._cells(adata, indices, batch_size)
        found = {
            self.modalities[m]: run(likelihood_job(cells, m), bar=False)
            for m in self._which(modality)
        }
        return self._told(modality, found)

    def posterior_predictive_sample(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        n_samples: int = 1,
        gene_list: Sequence[str] | None = None,
        batch_size: int | None = None,
        *,
        modality: str | None = None,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Draw counts of these cells from the model.

        Returns
        -------
        (n_cells, n_features) sparse matrix; a tuple of them for several samples; by modality
        where there are several.
        """
        cells = self._cells(adata, indices, batch_size)
        found = {}
        for m in self._which(modality):
            columns = columns_of(self._features(m), gene_list)
            drawn = run(predictive_job(cells, m, n_samples, columns=columns, seed=seed), bar=False)
            found[self.modalities[m]] = drawn[0] if n_samples == 1 else drawn
        return self._told(modality, found)

    def get_feature_correlation_matrix(
        self,
        adata: Any = None,  # noqa: ANN401
        indices: Indices | None = None,
        n_samples: int = 10,
        batch_size: int | None = None,
        rna_size_factor: float = 1000,
        transform_batch: Any = None,  # noqa: ANN401
        correlation_type: Literal["spearman", "pearson"] = "spearman",
        *,
        modality: str | None = None,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Return how denoised features go together over cells.

        Parameters
        ----------
        adata, indices, batch_size, transform_batch, modality, seed
            See `get_normalized_expression`.
        n_samples
            Draws of each cell.
        rna_size_factor
            What the native shares are multiplied by.
        correlation_type
            Of ranks, or of values.

        Returns
        -------
        (n_features, n_features) table; by modality where there are several.
        """
        if correlation_type not in ("spearman", "pearson"):
            raise ConfigError(f"correlation_type is {correlation_type!r}", "spearman or pearson")
        cells = self._cells(adata, indices, batch_size)
        changes = change_of(cells.inputs, transform_batch)
        found = {}
        for m in self._which(modality):
            job = correlation_job(cells, m, n_samples=n_samples, size=rna_size_factor,
                                  kind=correlation_type, changes=changes, seed=seed)  # fmt: skip
            names = self._features(m)
            found[self.modalities[m]] = _frame(run(job, bar=False), names, names)
        return self._told(modality, found)

    def differential_expression(
        self,
        adata: Any = None,  # noqa: ANN401
        groupby: str | None = None,
        group1: str | Sequence[str] | None = None,
        group2: str | None = None,
        idx1: Indices | None = None,
        idx2: Indices | None = None,
        mode: Literal["vanilla", "change"] = "change",
        delta: float = 0.25,
        batch_size: int | None = None,
        batch_correction: bool = False,  # noqa: FBT001, FBT002
        fdr_target: float = 0.05,
        *,
        n_samples: int = 5000,
        pseudocounts: float | None = None,
        gene_list: Sequence[str] | None = None,
        modality: str | None = None,
        seed: int = 0,
    ) -> Any:  # noqa: ANN401
        """Compare native expression of groups of cells.

        Parameters
        ----------
        adata
            Other data with the same features; None is the model's own.
        groupby
            Column of obs.
        group1, group2
            Its categories: each of the first, by default all, against the second, by default the
            rest.
        idx1, idx2
            Rows or masks instead; the second is by default the rest.
        mode, delta, fdr_target, n_samples, pseudocounts
            See `Comparison`.
        batch_size
            Cells evaluated at once.
        batch_correction
            Whether both groups are taken to be of every batch in turn; it matters where the
            decoder is told the batch.
        gene_list
            Which features; None is all.
        modality
            Which; None is the only one, or all.
        seed
            Of the draws.

        Returns
        -------
        A table with a row for each feature and comparison, see `differential_job`, with the
        columns comparison, group1 and group2; by modality where there are several.

        Raises
        ------
        MissingKeyError, DataError
            If the column or a group is not there.
        """
        from celldyn.vae.differential import Comparison
        from celldyn.vae.groups import Sides, compare_job, sides_of

        if mode not in ("vanilla", "change"):
            raise ConfigError(f"mode is {mode!r}", "use vanilla or change")
        everyone = self._cells(adata, None, batch_size)
        n_obs = everyone.inputs.n_obs
        if idx1 is not None:
            one = rows_of(idx1, n_obs)
            rest = np.setdiff1d(np.arange(n_obs), one)
            sides = [Sides("group1", "group2" if idx2 is not None else "rest", one,
                           rest if idx2 is None else rows_of(idx2, n_obs))]  # fmt: skip
        else:
            obs = (self.adata if adata is None else adata).obs
            sides = sides_of(obs, groupby, group1, group2)
        test = Comparison(mode, delta, fdr_target, n_samples, pseudocounts)
        found = {}
        for m in self._which(modality):
            columns = columns_of(self._features(m), gene_list)
            job = compare_job(everyone, m, sides, test, columns=columns,
                              batch_correction=batch_correction, seed=seed)  # fmt: skip
            found[self.modalities[m]] = run(job, bar=False)
        return self._told(modality, found)


def _library(size: object) -> Library:
    if isinstance(size, str) and size == "latent":
        return "latent"
    if isinstance(size, Real) and float(size) > 0:
        return float(size)
    raise ConfigError(f"library_size is {size!r}", "use 'latent' or a number above 0")


def _frame(values: Any, rows: Any, columns: Sequence[str]) -> pd.DataFrame:  # noqa: ANN401
    import pandas as pd

    return pd.DataFrame(values, index=rows, columns=list(columns))
