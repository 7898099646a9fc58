"""Do the data bear out that a gene follows the perturbed ones? A test by permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celldyn.betas.inputs import Floats, Ints
from celldyn.betas.perturbing.chance import (
    benjamini_hochberg,
    chi2_scale,
    permutations,
    strata_of,
)
from celldyn.betas.perturbing.circuit import Circuit, circuit_job
from celldyn.betas.perturbing.columns import Columns, Slopes
from celldyn.betas.perturbing.config import PerturbConfig
from celldyn.betas.perturbing.inputs import PerturbInputs
from celldyn.betas.perturbing.partial import Reduced
from celldyn.betas.perturbing.slopes import design_of
from celldyn.devices import in_one_thread
from celldyn.errors import ConfigError
from celldyn.jobs import Job, Progress, run, scaled

if TYPE_CHECKING:
    import pandas as pd


def permutation_test(
    inputs: PerturbInputs,
    config: PerturbConfig | None = None,
    *,
    n_permutations: int = 999,
    block_um: float | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Test of each gene whether it follows the perturbed genes, given its other modulators.

    The models say how genes follow; whether the data bear it out is another question, since any
    beta that is not 0 makes a change. In each cell type and section the gene's expression and the
    modulators that hold a perturbed gene are cleared of what the gene's other modulators explain.
    The statistic is the F of what is left of these modulators for what is left of the gene, put on
    the scale of χ² and summed over types and sections. Under the null
    that none of them matters, what is left of the gene might as well be that of another cell, so
    that it is permuted among the cells of a type and section (Freedman and Lane 1983). That holds
    whichever cells the betas were fitted to, since they are not used. All genes are permuted
    alike, which keeps how they depend on one another.

    Only what a gene follows directly is tested. Expression that varies smoothly over the tissue is
    not exchangeable over long ways: `block_um` permutes among neighbours only.

    Parameters
    ----------
    inputs
        From `prepare_perturb`; which genes are perturbed matters, not how and where.
    config
        The parameters.
    n_permutations
        The smallest p is 1 / (1 + this).
    block_um
        Side of the squares within which cells are permuted, in the unit of `inputs.tissue.xy`;
        None for whole sections.
    seed
        Of the permutations, and of the 4000 cells that are taken of a larger type and section.

    Returns
    -------
    One row per gene with betas that is not perturbed: gene, n_cells (in types and sections with
    more cells than modulators), partial_r2 (explained share of what is left), p, q
    (Benjamini-Hochberg over the genes tested), sorted by p. p is NaN for a gene that holds none of
    the perturbed genes as a modulator, or has too few cells.

    Raises
    ------
    ConfigError
        If there is no permutation.
    """
    config = PerturbConfig() if config is None else config
    job = permutation_test_job(
        inputs, config, n_permutations=n_permutations, block_um=block_um, seed=seed
    )
    return run(job, bar=False)


def permutation_test_job(
    inputs: PerturbInputs,
    config: PerturbConfig,
    *,
    n_permutations: int = 999,
    block_um: float | None = None,
    seed: int = 0,
) -> Job[pd.DataFrame]:
    """Do the work of `permutation_test`."""
    job = _test_job(inputs, config, n_permutations, block_um, seed)
    table = yield from in_one_thread(job)
    return table


def _test_job(
    inputs: PerturbInputs,
    config: PerturbConfig,
    n_permutations: int,
    block_um: float | None,
    seed: int,
) -> Job[pd.DataFrame]:
    import pandas as pd

    if n_permutations < 1:
        raise ConfigError(f"{n_permutations} permutations were asked for", "ask for some")
    circuit = yield from scaled(circuit_job(inputs.tissue, config), 0, 2)
    tested = _Tested.of(circuit, inputs)
    tally = _Tally.of(len(tested.genes), n_permutations)
    rng = np.random.default_rng(seed)
    slopes = design_of(circuit)
    strata = strata_of(inputs, circuit.order, block_um, rng)
    for k, (cells, blocks) in enumerate(strata):
        job = _stratum_job(circuit, slopes, tested, tally, cells, blocks, rng)
        yield from scaled(job, 1 + k / len(strata), 2)
    at = [circuit.position[gene] for gene in _others(inputs)]
    table = pd.DataFrame(
        {"gene": _others(inputs), "n_cells": 0, "partial_r2": np.nan, "p": np.nan, "q": np.nan},
        index=at,
    )
    known = tally.n_cells > 0
    p = tally.p()[known]
    rows = [circuit.position[gene] for gene in np.array(tested.genes, object)[known]]
    table.loc[rows, "n_cells"] = tally.n_cells[known]
    table.loc[rows, "partial_r2"] = (tally.explained / np.maximum(tally.left, 1e-300))[known]
    table.loc[rows, "p"], table.loc[rows, "q"] = p, benjamini_hochberg(p)
    return table.sort_values("p", kind="stable", ignore_index=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """The genes that hold a perturbed gene as a modulator.

    Parameters
    ----------
    genes
        Their names.
    held, others
        Of each, the columns that hold a perturbed gene, and the rest.
    common
        Columns that are among the others of every gene.
    """

    genes: tuple[str, ...]
    held: tuple[Ints, ...]
    others: tuple[Ints, ...]
    common: Ints

    @classmethod
    def of(cls, circuit: Circuit, inputs: PerturbInputs) -> _Tested:
        holds = _holding(circuit.columns, inputs)
        genes, held, others = [], [], []
        for gene in _others(inputs):
            columns = circuit.columns.of_gene[gene]
            if holds[columns].any():
                genes.append(gene)
                held.append(columns[holds[columns]])
                others.append(columns[~holds[columns]])
        count = np.zeros(len(circuit.columns), np.intp)
        for columns in others:
            count[columns] += 1
        common = np.flatnonzero(count == len(genes)) if genes else np.empty(0, np.intp)
        return cls(tuple(genes), tuple(held), tuple(others), common)

    @property
    def columns(self) -> Ints:
        """All columns of these genes, ascending."""
        every = [*self.held, *self.others]
        return np.unique(np.concatenate(every)) if every else np.empty(0, np.intp)


@dataclass(slots=True, eq=False)
class _Tally:
    """What has been found so far, summed over strata; (n_genes,) each."""

    n_cells: Ints
    explained: Floats
    left: Floats
    statistic: Floats
    drawn: Floats

    @classmethod
    def of(cls, n_genes: int, n_permutations: int) -> _Tally:
        explained, left, statistic = np.zeros((3, n_genes))
        drawn = np.zeros((n_genes, n_permutations))
        return cls(np.zeros(n_genes, np.intp), explained, left, statistic, drawn)

    def p(self) -> Floats:
        """Return the p values."""
        as_large = self.drawn >= self.statistic[:, None] * (1 - 1e-12)
        p: Floats = (1.0 + as_large.sum(axis=1)) / (1.0 + self.drawn.shape[1])
        return p


def _stratum_job(
    circuit: Circuit,
    slopes: Slopes,
    tested: _Tested,
    tally: _Tally,
    cells: Ints,
    blocks: Ints,
    rng: np.random.Generator,
) -> Job[None]:
    """Add the cells of one type and section to the tally."""
    orders = list(permutations(blocks, tally.drawn.shape[1], rng))
    design = _design(slopes, circuit.columns, tested.columns, cells)
    yield Progress("design", 0, len(tested.genes))
    reduced = Reduced.of(design, tested.columns, tested.common)
    for k, gene in enumerate(tested.genes):
        y = circuit.start[circuit.position[gene], cells]
        found = reduced.basis(y, tested.others[k], tested.held[k])
        yield Progress("permutations", k, len(tested.genes))
        if found is None:
            continue
        basis, rest = found
        left = float(rest @ rest)
        explained = np.square(basis.T @ rest).sum()
        tally.n_cells[k] += len(cells)
        tally.left[k] += left
        tally.explained[k] += explained
        n_directions, n_left = basis.shape[1], len(cells) - 1
        freedom = n_left - reduced.n_taken(tested.others[k])
        tally.statistic[k] += chi2_scale(explained / left, n_directions, freedom)
        for some, order in orders:
            drawn = np.square(basis.T @ rest[order]).sum(axis=0)
            tally.drawn[k, some] += chi2_scale(drawn / left, n_directions, n_left)


def _design(slopes: Slopes, columns: Columns, wanted: Ints, cells: Ints) -> Floats:
    """Return the (n_cells, n_wanted) design of some cells, each column less its mean."""
    some = slopes.at(cells)
    design = some.of_columns(columns, wanted, slice(0, len(cells))).T
    return np.asarray(design - design.mean(axis=0), np.float64)


def _holding(columns: Columns, inputs: PerturbInputs) -> NDArray[np.bool_]:
    """Return which columns are made of a perturbed gene."""
    tissue = inputs.tissue
    holds = np.array([np.isin(parts, inputs.targets).any() for parts in tissue.parts], bool)
    lr, tfl = columns.lr, columns.tfl
    return np.concatenate(
        [
            holds[columns.regulators],
            *(holds[side.ligand][side.signal] | holds[side.partner] for side in (lr, tfl)),
        ]
    )


def _others(inputs: PerturbInputs) -> list[str]:
    """Return the genes with betas that are not perturbed."""
    tissue, perturbed = inputs.tissue, set(inputs.perturbation.genes)
    genes = zip(tissue.genes, tissue.responds, strict=True)
    return [gene for gene, responds in genes if responds and gene not in perturbed]
