"""What a perturbation does to the genes, summarised for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.errors import DataError
from celldyn.perturbation import Perturbation

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

PERTURBED, UNKNOWN, LOW, SURE = "perturbed", "no held-out score", "low held-out R²", ""
"""Flags of a gene; the last one is that of a gene whose model predicts cells it has not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class PerturbResult:
    """The change of every gene in every cell.

    Parameters
    ----------
    perturbation, config
        What was done, and how it was followed.
    genes
        The genes that could change: those with betas, and the perturbed ones.
    delta
        (n_obs, n_genes) float32 change of expression, in the unit of the layer `layer`.
    steps
        (n_steps,) mean |delta| over cells and genes after each step.
    mean_expression
        (n_genes,) before the change.
    responds
        (n_genes,), whether a gene has betas.
    heldout_r2
        (n_genes,) held-out R² of its model; NaN if unknown.
    cluster_codes, clusters
        (n_obs,) code of each cell's type, and the names.
    cluster_annot
        The obs column that they come from; None if there is one type.
    layer
        The layer that was perturbed; None is X.
    seconds
        How long it took.
    notes
        What a person should know, in sentences.
    """

    perturbation: Perturbation
    config: PerturbConfig
    genes: tuple[str, ...]
    delta: NDArray[np.float32]
    steps: Floats
    mean_expression: Floats
    responds: NDArray[np.bool_]
    heldout_r2: Floats
    cluster_codes: Ints
    clusters: tuple[str, ...]
    cluster_annot: str | None = None
    layer: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.delta)

    @property
    def flags(self) -> NDArray[np.object_]:
        """(n_genes,) "" where the model predicts held-out cells; else why to be careful."""
        flags = np.full(len(self.genes), SURE, object)
        flags[self.heldout_r2 <= self.config.confident_r2] = LOW
        flags[np.isnan(self.heldout_r2)] = UNKNOWN
        flags[np.isin(self.genes, list(self.perturbation.genes))] = PERTURBED
        return flags

    @property
    def shift(self) -> NDArray[np.float32]:
        """(n_obs,) norm of the change of each cell."""
        shift: NDArray[np.float32] = np.sqrt(np.einsum("cg,cg->c", self.delta, self.delta))
        return shift

    def of(self, gene: str) -> NDArray[np.float32]:
        """Return the (n_obs,) change of one gene.

        Raises
        ------
        DataError
            If it could not change.
        """
        if gene not in self.genes:
            raise DataError(f"{gene} has no betas and was not perturbed", "fit it first")
        return self.delta[:, self.genes.index(gene)]

    def effects(self, by: ArrayLike | None = None) -> pd.DataFrame:
        """Return one row per cell type and gene.

        Parameters
        ----------
        by
            (n_obs,) labels to group cells by; None for the cell types of the models.

        Returns
        -------
        Columns: cluster, gene, n_cells, mean, mean_abs, sd (of the change over the cells),
        relative (mean change as a share of the gene's mean expression over all cells; NaN for a
        gene that is not expressed), direction ("up", "down", "none"), heldout_r2, flag.

        Raises
        ------
        DataError
            If there is not one label per cell.
        """
        import pandas as pd

        codes, clusters = self._groups(by)
        n_cells = np.bincount(codes, minlength=len(clusters))
        mean, mean_abs, sd = self.moments(codes, len(clusters))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(self.mean_expression > 0, mean / self.mean_expression, np.nan)
        n_genes, n_groups = len(self.genes), len(clusters)
        return pd.DataFrame(
            {
                "cluster": np.repeat(np.array(clusters, object), n_genes),
                "gene": np.tile(np.array(self.genes, object), n_groups),
                "n_cells": np.repeat(n_cells, n_genes),
                "mean": mean.ravel(),
                "mean_abs": mean_abs.ravel(),
                "sd": sd.ravel(),
                "relative": relative.ravel(),
                "direction": _direction(mean.ravel()),
                "heldout_r2": np.tile(self.heldout_r2, n_groups),
                "flag": np.tile(self.flags, n_groups),
            }
        )

    def moments(self, codes: Ints, n_groups: int) -> tuple[Floats, Floats, Floats]:
        """Return mean, mean size and sd of the change: (n_groups, n_genes) each."""
        from scipy.sparse import csr_array

        count = np.bincount(codes, minlength=n_groups)
        n_obs = len(codes)
        share = 1.0 / np.maximum(count, 1)
        mean_of = csr_array((share[codes], (codes, np.arange(n_obs))), shape=(n_groups, n_obs))
        mean = np.asarray(mean_of @ self.delta, np.float64)
        mean_abs = np.asarray(mean_of @ np.abs(self.delta), np.float64)
        square = np.asarray(mean_of @ np.square(self.delta, dtype=np.float64))
        return mean, mean_abs, np.sqrt(np.maximum(square - mean**2, 0.0))

    def top(self, n: int = 20, *, confident_only: bool = False) -> pd.DataFrame:
        """Return the genes that change most over all cells, perturbed ones left out.

        Columns: gene, mean, mean_abs, relative, direction, heldout_r2, flag.
        """
        table = self.effects(np.zeros(self.n_obs, np.intp)).drop(columns=["cluster", "n_cells"])
        table = table[(table["flag"] != PERTURBED) & (table["mean_abs"] > 0)]
        if confident_only:
            table = table[table["flag"] == SURE]
        ordered = table.sort_values("mean_abs", ascending=False, kind="stable", ignore_index=True)
        return ordered.drop(columns="sd").head(n)

    def de_genes(
        self,
        by: ArrayLike | None = None,
        *,
        min_relative: float = 0.05,
        confident_only: bool = False,
    ) -> pd.DataFrame:
        """Return the genes that go up or down in each cell type, strongest first.

        They are what the models predict, without sampling noise: there is no p-value, and
        `permutation_test` tells which of them the data bear out.

        Parameters
        ----------
        by
            As `effects` takes it.
        min_relative
            A gene counts if its mean change is at least this share of its mean expression.
        confident_only
            Whether flagged genes are left out.

        Returns
        -------
        The rows of `effects` that count, without perturbed genes, sorted by cluster (in its
        order) and size of `relative`.
        """
        table = self.effects(by)
        table = table[(table["flag"] != PERTURBED) & (table["relative"].abs() >= min_relative)]
        if confident_only:
            table = table[table["flag"] == SURE]
        order = {name: k for k, name in enumerate(dict.fromkeys(table["cluster"]))}
        keyed = table.assign(_at=table["cluster"].map(order), _size=table["relative"].abs())
        keyed = keyed.sort_values(["_at", "_size"], ascending=[True, False], kind="stable")
        return keyed.drop(columns=["_at", "_size"]).reset_index(drop=True)

    def expression_after(self, adata: AnnData) -> pd.DataFrame:
        """Return the (n_obs, n_genes) expression after the change, of the genes that could.

        Raises
        ------
        DataError
            If the AnnData has not the cells that were perturbed.
        """
        import pandas as pd

        from celldyn.data import expression

        if adata.n_obs != self.n_obs:
            raise DataError(
                f"{self.n_obs} cells were perturbed, and there are {adata.n_obs}", "perturb again"
            )
        after = expression(adata, list(self.genes), self.layer) + self.delta
        return pd.DataFrame(after, index=adata.obs_names, columns=list(self.genes))

    def _groups(self, by: ArrayLike | None) -> tuple[Ints, tuple[Any, ...]]:
        if by is None:
            return self.cluster_codes, self.clusters
        import pandas as pd

        codes, names = pd.factorize(np.asarray(by), sort=True)
        if len(codes) != self.n_obs or (codes < 0).any():
            raise DataError(f"{len(codes)} labels for {self.n_obs} cells", "label every cell")
        return np.asarray(codes, np.intp), tuple(names)


def _direction(mean: Floats) -> NDArray[np.object_]:
    return np.array(["down", "none", "up"], object)[np.sign(mean).astype(np.intp) + 1]
