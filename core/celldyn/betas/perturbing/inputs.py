"""All that a perturbation reads, as checked arrays; it holds no AnnData."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.config import ModelConfig
from celldyn.betas.field import BetaField
from celldyn.betas.inputs import Floats, Ints
from celldyn.perturbation import Perturbation


@dataclass(frozen=True, slots=True, eq=False)
class PerturbTissue:
    """A tissue and the models of its genes, whatever is perturbed in it.

    Parameters
    ----------
    model
        What the models have in common: kernel, layer, columns.
    fields
        The betas of each modelled gene.
    genes
        The genes that can change: those with betas, and those that may be perturbed.
    names, expression
        Those genes, then others that only are parts of complexes or never change, and their
        (n_obs, n_names) expression.
    features, parts
        Genes and complexes that the models read, and which of `names` each consists of.
    active
        (n_obs, n_features), whether a ligand or receptor counts in a cell; None if all do.
    responds
        (n_genes,), whether the gene has betas by which it follows others.
    heldout_r2
        (n_genes,) held-out R² of its model; NaN if unknown.
    xy
        (n_obs, 2) coordinates, in µm where the data set gives their unit.
    section_codes
        (n_obs,) section of each cell.
    cluster_codes, clusters
        (n_obs,) code of each cell's type, and the names.
    obs_names
        (n_obs,) names of the cells.
    notes
        What a person should know, in sentences.
    """

    model: ModelConfig
    fields: Mapping[str, BetaField]
    genes: tuple[str, ...]
    names: tuple[str, ...]
    expression: Floats
    features: tuple[str, ...]
    parts: tuple[Ints, ...]
    active: NDArray[np.bool_] | None
    responds: NDArray[np.bool_]
    heldout_r2: Floats
    xy: Floats
    section_codes: Ints
    cluster_codes: Ints
    clusters: tuple[str, ...]
    obs_names: NDArray[np.object_]
    notes: tuple[str, ...] = ()

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.xy)

    @property
    def levels(self) -> Floats:
        """(n_obs, n_genes) expression of the genes that can change."""
        return self.expression[:, : len(self.genes)]


@dataclass(frozen=True, slots=True, eq=False)
class PerturbInputs:
    """What a perturbation reads, as arrays.

    Parameters
    ----------
    tissue
        The tissue and its models.
    perturbation
        What is done, in the data set's spelling.
    targets
        (n_targets,) the perturbed genes, as positions among the tissue's `genes`.
    rows
        (n_rows,) the perturbed cells.
    forced
        (n_rows, n_targets) their expression in these cells while they are held.
    notes
        What a person should know of this perturbation, in sentences.
    """

    tissue: PerturbTissue
    perturbation: Perturbation
    targets: Ints
    rows: Ints
    forced: Floats
    notes: tuple[str, ...] = ()

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self.tissue.n_obs
