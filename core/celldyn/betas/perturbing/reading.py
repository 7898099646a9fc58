"""The betas that are on an AnnData, with all that a perturbation needs to know of their models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from celldyn import keys
from celldyn.betas.config import ModelConfig
from celldyn.betas.field import BetaField, fit_of_cells
from celldyn.betas.results import BetasResult, ClusterFit
from celldyn.betas.stored import read_result
from celldyn.errors import ConfigError, NotFittedError

if TYPE_CHECKING:
    from anndata import AnnData

_ALIKE = ("layer", "section_key", "kernel", "normalisation", "scale_factor", "include_self")


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The models of several genes.

    Parameters
    ----------
    fields
        The betas of each gene.
    config
        What they were fitted with, but for the gene.
    heldout_r2
        Held-out R² of each gene's model, where it is known.
    """

    fields: Mapping[str, BetaField]
    config: ModelConfig
    heldout_r2: Mapping[str, float]


def genes_with_betas(adata: AnnData) -> list[str]:
    """Return the genes whose betas are on the AnnData."""
    home = adata.uns.get(keys.CELLDYN.name, {})
    if not isinstance(home, Mapping):
        return []
    info = [part for part in home.values() if isinstance(part, Mapping) and "gene" in part]
    named = [str(part["gene"]) for part in info]
    return [
        gene
        for gene in dict.fromkeys(named)
        if keys.BETAS(gene=gene) in adata.obsm and keys.BETAS_INFO(gene=gene) in home
    ]


def read_models(adata: AnnData, genes: Sequence[str] | None = None) -> Models:
    """Read the models of some genes, of all that have betas by default.

    Raises
    ------
    NotFittedError
        If there are none.
    ConfigError
        If they were fitted on different layers or sections, or with different kernels.
    """
    genes = genes_with_betas(adata) if genes is None else genes
    if not genes:
        raise NotFittedError("the data set has no betas", "fit some genes first")
    fields: dict[str, BetaField] = {}
    heldout: dict[str, float] = {}
    first: BetasResult | None = None
    for gene in genes:
        result = read_result(adata, gene)
        first = result if first is None else first
        check_alike({first.gene: first.config, gene: result.config})
        fields[gene] = BetaField.of(result, fit_of_cells(adata, result))
        heldout[gene] = heldout_r2(result.fits)
    assert first is not None
    return Models(fields, first.config, heldout)


def check_alike(configs: Mapping[str, ModelConfig]) -> None:
    """Raise ConfigError if models cannot be put together into one tissue."""
    held: dict[str, tuple[str, Any]] = {}
    for gene, config in configs.items():
        for name in _ALIKE:
            value = getattr(config, name)
            other, there = held.setdefault(name, (gene, value))
            if there != value:
                raise ConfigError(
                    f"{other} was fitted with {name} {there!r} and {gene} with {value!r}",
                    "fit them alike, or perturb with the betas of some of them",
                )


def heldout_r2(fits: Sequence[ClusterFit]) -> float:
    """Return the mean held-out R² of the clusters that have a model, by their cells; or NaN."""
    known = [fit for fit in fits if fit.status == "fitted" and np.isfinite(fit.heldout_r2)]
    if not known:
        return float("nan")
    weights = [fit.n_cells for fit in known]
    return float(np.average([fit.heldout_r2 for fit in known], weights=weights))
