"""A model in figures and tables on disk: UMAPs, diagnostics, outputs of an analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celldyn.data.words import listed
from celldyn.errors import MissingKeyError, NotFittedError
from celldyn.jobs import run
from celldyn.persist import atomic_path
from celldyn.vae.attribution import Attribution
from celldyn.vae.expressing import Expression
from celldyn.vae.learned import Learned
from celldyn.vae.states import States

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Shown(States, Expression, Learned):
    """Figures and outputs."""

    def compute_latent_umap(
        self,
        latent: NDArray[np.float32] | None = None,
        key_added: str = "X_umap",
        *,
        seed: int = 0,
    ) -> NDArray[np.float32]:
        """Lay the cells out by their latent state; written to obsm.

        Parameters
        ----------
        latent
            (n_obs, n_latent) from `get_latent_representation`; None computes it.
        key_added
            Where in obsm.
        seed
            Of the layout.

        Returns
        -------
        (n_obs, 2).
        """
        from celldyn.data.embed import umap_job

        held = self.get_latent_representation() if latent is None else latent
        assert isinstance(held, np.ndarray)
        layout: NDArray[np.float32] = run(umap_job(held, seed=seed), bar=False)
        self.adata.obsm[key_added] = layout
        return layout

    def compute_attribution_umap(
        self,
        modality: str | None = None,
        *,
        weighted_by: str = "weighted_z_mean",
        seed: int = 0,
    ) -> dict[str, NDArray[np.float32]]:
        """Lay the cells out as each modality's decoder sees them: obsm X_umap_<modality>.

        Parameters
        ----------
        modality
            Which; None is all.
        weighted_by
            See `store_attribution_results`.
        seed
            Of the layouts.
        """
        from celldyn.data.embed import umap_job

        found = self.get_modality_attribution()
        layouts = {}
        for m in self._which(modality):
            name = self.modalities[m]
            weighted = found[name][weighted_by]  # type: ignore[literal-required]
            layouts[name] = run(umap_job(weighted, seed=seed), bar=False)
            self.adata.obsm[f"X_umap_{name}"] = layouts[name]
        return layouts

    def plot_umap_comparison(
        self,
        colours: str | Sequence[str],
        embeddings: Mapping[str, NDArray[Any]] | Sequence[str] = ("X_umap",),
    ) -> Figure:
        """Draw the same cells on several layouts.

        Parameters
        ----------
        colours
            Columns of obs.
        embeddings
            Layouts by name, or their keys in obsm.

        Raises
        ------
        MissingKeyError
            If a column or a layout is not there.
        """
        from celldyn.plots.vae import plot_umap_comparison

        columns = [colours] if isinstance(colours, str) else list(colours)
        for name in columns:
            if name not in self.adata.obs.columns:
                raise MissingKeyError(
                    f"obs has no column {name!r}", f"it has {listed(self.adata.obs.columns)}"
                )
        if not isinstance(embeddings, Mapping):
            for key in embeddings:
                if key not in self.adata.obsm:
                    raise MissingKeyError(
                        f"obsm has no layout {key!r}", "call compute_latent_umap first"
                    )
            embeddings = {key: np.asarray(self.adata.obsm[key]) for key in embeddings}
        return plot_umap_comparison(embeddings, self.adata.obs[columns])

    def plot_training_diagnostics(self, skip_epochs: int = 80) -> Figure:
        """Draw every term of the loss over the epochs, without the first.

        Parameters
        ----------
        skip_epochs
            Epochs that are left out; of a shorter training none are.

        Raises
        ------
        NotFittedError
            Before `train`.
        """
        from celldyn.plots.vae import plot_training

        if not self.is_trained:
            raise NotFittedError("the model is not trained", "call train first")
        table = self.history_table
        skipped = skip_epochs if skip_epochs < len(table) else 0
        return plot_training(table, skipped, best_epoch=self._fitted.best_epoch)

    def plot_ambient_profile(self, modality: str | None = None, n_genes: int = 20) -> Figure:
        """Draw the genes of which there is most ambient RNA, by group; see `plots.vae`."""
        from celldyn.plots.vae import plot_ambient_profile

        table = self.get_background(modality=self._one(modality))
        return plot_ambient_profile(
            table.to_numpy(), list(table.columns), list(table.index), n_genes=n_genes
        )

    def plot_ambient_shares(
        self, modality: str | None = None, truth: Mapping[str, float] | None = None
    ) -> Figure:
        """Draw which share of each group's counts is ambient, beside the truth if known."""
        from celldyn.plots.vae import plot_ambient_shares

        shares = self.get_background_shares(modality=self._one(modality))
        return plot_ambient_shares(shares, truth=truth)

    def plot_dispersion(self, modality: str | None = None) -> Figure:
        """Draw how the inverse dispersions of each group are distributed."""
        from celldyn.plots.vae import plot_dispersion

        table = self.get_dispersion(modality=self._one(modality))
        return plot_dispersion(table.to_numpy(), list(table.columns))

    def plot_modality_attribution(
        self, attribution: Mapping[str, Attribution] | None = None, *, relative: bool = True
    ) -> Figure:
        """Draw how much each modality's decoder uses each latent dimension.

        Parameters
        ----------
        attribution
            From `get_modality_attribution`; None computes it.
        relative
            Whether each modality is divided by its sum.
        """
        from celldyn.plots.vae import plot_attribution

        found = self.get_modality_attribution() if attribution is None else attribution
        means = {name: values["mean"] for name, values in found.items()}
        return plot_attribution(means, self.module.spec.slices, relative=relative)

    def _one(self, modality: str | None) -> str:
        """Return the modality asked for: by default the first that has a background."""
        if modality is not None:
            return self.modalities[self._which(modality)[0]]
        parts = [self.module.part(m) for m in range(len(self.modalities))]
        having = [part.name for part in parts if part.features.log_background is not None]
        return having[0] if having else self.modalities[0]

    def save_analysis_outputs(self, output_dir: Path | str) -> list[Path]:
        """Write what there is to look at into a folder, as CSV and NPZ.

        history.csv; per modality background, dispersion and ambient_shares as CSV (with the
        modality's name where there are several); latent.npz with the cells' names, latent means,
        library sizes and attribution.

        Returns
        -------
        The files.
        """
        import pandas as pd

        folder = Path(output_dir)
        tables: dict[str, pd.DataFrame] = {"history": self.history_table}
        arrays: dict[str, NDArray[Any]] = {
            "cells": np.asarray(self.adata.obs.index, dtype=str),
            "latent": np.asarray(self.get_latent_representation()),
        }
        several = len(self.modalities) > 1
        attribution = self.get_modality_attribution(precision="auto")
        for name in self.modalities:
            end = f"_{name}" if several else ""
            tables[f"background{end}"] = self.get_background(modality=name)
            tables[f"dispersion{end}"] = self.get_dispersion(modality=name)
            tables[f"ambient_shares{end}"] = self.get_background_shares(modality=name)
            arrays[f"library{end}"] = self.get_latent_library_size(modality=name)
            arrays[f"attribution{end}"] = attribution[name]["mean"]
        written = []
        for name, table in tables.items():
            path = folder / f"{name.replace('/', '%2F')}.csv"
            with atomic_path(path) as draft:
                table.to_csv(draft, index=not name.startswith("ambient_shares"))
            written.append(path)
        path = folder / "latent.npz"
        with atomic_path(path) as draft, draft.open("wb") as file:
            named: dict[str, Any] = {k.replace("/", "%2F"): v for k, v in arrays.items()}
            np.savez_compressed(file, **named)
        return [*written, path]
