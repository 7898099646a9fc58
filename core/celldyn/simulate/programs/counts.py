"""Gene table and counts of a program model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse

from celldyn.errors import DataError
from celldyn.jobs import Job, run
from celldyn.simulate.blocks import MeanBlock
from celldyn.simulate.counts import STAGE, sample_means_job, sample_strata_job
from celldyn.simulate.genes import gene_leakage
from celldyn.simulate.inversion import Floats
from celldyn.simulate.programs.cells import mean_activations, program_activations
from celldyn.simulate.programs.genes import program_loadings, resolve_genes
from celldyn.simulate.strata import Strata, type_codes

if TYPE_CHECKING:
    from celldyn.simulate.config import SimulationConfig

_LEAST_MEAN = 1e-6
"""Means that negative loadings would bring below 0 are raised to this."""


def build_program_gpar_df(config: SimulationConfig) -> pd.DataFrame:
    """Return the gene table of a program model, at the mean activations of each cell type.

    Returns
    -------
    One row per gene: `feature_name`, `gene_type` (the program of the largest loading, or "hk"),
    per cell type `<type>_theta` and `<type>_mu`, then `gene_leakage` in [0, 1]. A cell's own
    means differ from it where activations differ between cells.
    """
    names, kinds = resolve_genes(config)
    table: dict[str, Any] = {"feature_name": names, "gene_type": kinds}
    means = _means(config, program_loadings(config), mean_activations(config)[0])
    thetas = np.broadcast_to(_theta(config, means), means.shape)
    for celltype, mu, theta in zip(config.celltype_names, means, thetas, strict=True):
        table[f"{celltype}_theta"], table[f"{celltype}_mu"] = theta, mu
    table["gene_leakage"] = gene_leakage(config.leakage_by_gene, names)
    return pd.DataFrame(table)


def program_block(
    config: SimulationConfig, celltype_codes: ArrayLike, scale: ArrayLike, *, cell_ids: ArrayLike
) -> MeanBlock:
    """Return what gives `sample_means_job` the means and inverse dispersions of some cells.

    Parameters
    ----------
    config
        Programs, cell types and seed.
    celltype_codes
        (n,) positions among `celltype_names`.
    scale
        (n,) size factors: the mean is mu* s, and theta is that of mu*.
    cell_ids
        (n,) integer identities, which fix the activations.
    """
    codes, ids = np.asarray(celltype_codes), np.asarray(cell_ids)
    factors, loadings = np.asarray(scale, dtype=np.float64), program_loadings(config)

    def block(rows: slice) -> tuple[Floats, Floats]:
        activations = program_activations(config, codes[rows], config.seed, ids[rows])
        means = _means(config, loadings, activations)
        theta = _theta(config, means)
        means *= factors[rows, None]
        return means, theta

    return block


def program_strata(
    config: SimulationConfig, celltype_codes: ArrayLike, scale: ArrayLike
) -> Strata | None:
    """Return the cell types as strata, where their cells are alike but for their size.

    They give the counts that `program_block` gives, in a fraction of the time. None where an
    activation varies between the cells of a type.
    """
    activations, sds = mean_activations(config)
    if sds.any():
        return None
    means = _means(config, program_loadings(config), activations)
    theta = np.broadcast_to(_theta(config, means), means.shape)
    return Strata(means, theta, np.asarray(celltype_codes), np.asarray(scale))


def sample_counts_program_model(
    config: SimulationConfig,
    celltype: ArrayLike,
    scale: ArrayLike,
    *,
    cell_ids: ArrayLike | None = None,
) -> sparse.csr_matrix:
    """Draw the counts of all genes in all cells by the program model.

    Parameters
    ----------
    config
        Programs, cell types and seed.
    celltype
        (n_cells,) cell type names, or their positions among `celltype_names`.
    scale
        (n_cells,) size factors, or one for all.
    cell_ids
        (n_cells,) integer identities; by default 0, 1, 2, ...

    Returns
    -------
    (n_cells, n_genes) CSR of integers, genes as in `build_program_gpar_df`. A cell of size s has
    s Σ_g (mu_0 + W z)_g counts in expectation, where no mean was raised to the least one.

    Raises
    ------
    MissingKeyError
        If a cell type is not of this config.
    DataError
        If a size factor is out of bounds or the lengths differ.
    """
    return run(sample_program_job(config, celltype, scale, cell_ids=cell_ids), bar=False)


def sample_program_job(
    config: SimulationConfig,
    celltype: ArrayLike,
    scale: ArrayLike,
    *,
    cell_ids: ArrayLike | None = None,
    stage: str = STAGE,
    threads: int | None = None,
) -> Job[sparse.csr_matrix]:
    """Do the work of `sample_counts_program_model` block by block; progress counts cells."""
    codes = type_codes(celltype, config.celltype_names)
    ids = np.arange(codes.size) if cell_ids is None else np.asarray(cell_ids)
    factors = np.asarray(scale, dtype=np.float64)
    if factors.shape not in ((), codes.shape) or ids.shape != codes.shape:
        raise DataError(
            f"scale {factors.shape} or cell_ids {ids.shape} do not fit {codes.size} cells",
            "give one of each per cell",
        )
    factors = np.broadcast_to(factors, codes.shape)
    names, kinds = resolve_genes(config)
    common: dict[str, Any] = {
        "cell_ids": ids,
        "stage": stage,
        "correlation": config.gene_correlation,
        "classes": kinds,
        "threads": threads,
    }
    strata = program_strata(config, codes, factors)
    if strata is not None:
        return (yield from sample_strata_job(strata, names, config.seed, **common))
    block = program_block(config, codes, factors, cell_ids=ids)
    return (yield from sample_means_job(block, codes.size, names, config.seed, **common))


def _means(config: SimulationConfig, loadings: Floats, activations: Floats) -> Floats:
    """Return max(mu_0 + z W, eps), (n, n_genes), every element the same in every block."""
    means = np.full((len(activations), loadings.shape[1]), config.expression_baseline)
    # Program by program: a matrix product may round a row differently with other rows beside it.
    for p, loading in enumerate(loadings):
        genes = np.flatnonzero(loading)
        means[:, genes] += activations[:, p, None] * loading[genes]
    np.maximum(means, _LEAST_MEAN, out=means)
    return means


def _theta(config: SimulationConfig, means: Floats) -> Floats:
    """Return mu^(2 alpha) / phi_0², of the means' shape or, where it is one for all, one row."""
    exponent, cv = 2.0 * config.overdispersion_exponent, config.overdispersion_cv
    if exponent == 0.0:
        return np.full((1, means.shape[1]), cv**-2)
    theta: Floats = np.power(means, exponent) / cv**2
    return theta
